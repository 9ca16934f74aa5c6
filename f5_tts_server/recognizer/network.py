"""The recognizer's network: log-mel frames to log-posteriors of phoneme classes, in NumPy.

A stack of residual blocks over time (dilated depthwise convolution, layer norm, two products with a ReLU between), as
ConvNeXt has them. About 1.7 million parameters; `training.train_recognizer` makes them. NumPy, so that it runs in any
thread for audio of any length without a compiled program for each.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from f5_tts_server.embedded.phonemes import PAUSES, SYMBOLS
from f5_tts_server.embedded.pronunciation import CONSONANTS, VOWELS
from f5_tts_server.f5.audio import TARGET_RMS, mel
from f5_tts_server.f5.config import MelConfig

MEL = MelConfig()
CLASSES: tuple[str, ...] = ("", *CONSONANTS, *VOWELS)
"""What a frame can be: silence, or a phoneme without its stress."""
CLASS_OF: dict[str, int] = {symbol: 0 if symbol in PAUSES else CLASSES.index(symbol.lstrip("ˈˌ")) for symbol in SYMBOLS}
"""The class of each symbol of `embedded.phonemes`."""

WIDTH, INNER = 224, 448
TAPS = 7  # of each depthwise convolution
DILATIONS = (1, 2, 4, 1, 2, 4, 1, 2)
FIRST_TAPS = 3
MEAN, SCALE = -1.5, 2.0
"""The input is (log-mel − MEAN) / SCALE: about −2 to 2."""
FLOOR = -6.0
"""Log-mel below which nothing was trained: digital silence lies far under it."""
NORM_EPSILON = 1e-5
_BLOCK = 4096  # frames that are worked on at once, which bounds the memory
_CONTEXT = FIRST_TAPS // 2 + sum(TAPS // 2 * dilation for dilation in DILATIONS)

_ASSETS = Path(__file__).parent / "assets"

Array = NDArray[np.float32]


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the weights and their shapes."""
    blocks = len(DILATIONS)
    return {
        "embed": (FIRST_TAPS * MEL.n_mels, WIDTH),
        "embed_bias": (WIDTH,),
        "taps": (blocks, TAPS, WIDTH),
        "taps_bias": (blocks, WIDTH),
        "scale": (blocks, WIDTH),
        "shift": (blocks, WIDTH),
        "rise": (blocks, WIDTH, INNER),
        "rise_bias": (blocks, INNER),
        "fall": (blocks, INNER, WIDTH),
        "fall_bias": (blocks, WIDTH),
        "last_scale": (WIDTH,),
        "last_shift": (WIDTH,),
        "out": (WIDTH, len(CLASSES)),
        "out_bias": (len(CLASSES),),
    }


class Recognizer:
    """Weights, and what they say of audio. Immutable: shared between threads."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        """Raises ValueError where the tensors are not those of `shapes()`."""
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != shapes():
            raise ValueError(f"the recognizer's tensors are {found}; expected {shapes()}")
        self._weights = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}

    @classmethod
    def load(cls, path: Path = _ASSETS / "recognizer.safetensors") -> Recognizer:
        """From a safetensors file. Raises ValueError where its tensors are not those of this network."""
        return cls(load_file(path))

    def listen(self, samples: Array) -> Array:
        """Log-posteriors [frames, len(CLASSES)] of mono audio [n] at 24 kHz; frame k is centred on sample 256 k.

        Any level will do: it is set to the one that was trained.
        """
        if len(samples) < MEL.n_fft:
            samples = np.pad(samples, (0, MEL.n_fft - len(samples)))
        rms = float(np.sqrt(np.square(samples, dtype=np.float64).mean()))
        return self.log_posteriors(mel(samples * np.float32(TARGET_RMS / max(rms, 1e-4)), MEL))

    def log_posteriors(self, frames: Array) -> Array:
        """Log-posteriors [t, len(CLASSES)] of log-mel frames [t, 100]."""
        count = len(frames)
        pieces = []
        for start in range(0, count, _BLOCK):
            first, stop = max(start - _CONTEXT, 0), min(start + _BLOCK + _CONTEXT, count)
            piece = self._forward(frames[first:stop])
            pieces.append(piece[start - first : min(start + _BLOCK, count) - first])
        return np.concatenate(pieces) if pieces else np.zeros((0, len(CLASSES)), np.float32)

    def _forward(self, frames: Array) -> Array:
        w = self._weights
        count = len(frames)
        scaled = np.pad(
            (np.maximum(frames, FLOOR).astype(np.float32) - np.float32(MEAN)) / np.float32(SCALE), ((1, 1), (0, 0))
        )
        x = np.concatenate([scaled[tap : tap + count] for tap in range(FIRST_TAPS)], axis=1) @ w["embed"]
        x += w["embed_bias"]
        for block, dilation in enumerate(DILATIONS):
            reach = TAPS // 2 * dilation
            padded = np.pad(x, ((reach, reach), (0, 0)))
            y = np.empty_like(x)
            y[:] = w["taps_bias"][block]
            for tap in range(TAPS):
                y += padded[tap * dilation : tap * dilation + count] * w["taps"][block, tap]
            y = _normalise(y, w["scale"][block], w["shift"][block]) @ w["rise"][block]
            y += w["rise_bias"][block]
            np.maximum(y, 0, out=y)
            x += y @ w["fall"][block]
            x += w["fall_bias"][block]
        logits = _normalise(x, w["last_scale"], w["last_shift"]) @ w["out"] + w["out_bias"]
        logits -= logits.max(axis=1, keepdims=True)
        posteriors: Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return posteriors


@lru_cache
def recognizer() -> Recognizer:
    """The one that ships, loaded once."""
    return Recognizer.load()


def _normalise(x: Array, scale: Array, shift: Array) -> Array:
    x = x - x.mean(axis=1, keepdims=True)
    x *= scale / np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] / x.shape[1] + np.float32(NORM_EPSILON))
    x += shift
    return x
