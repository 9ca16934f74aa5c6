"""Sounds with the loudness pattern of speech, made by formula."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 24_000
TEXT = "The quick brown fox jumps over the lazy dog, again and again."


def speech(
    seconds: float, *, rate: int = RATE, level: float = 0.3, noise: float = 0.0, seed: int = 0
) -> NDArray[np.float32]:
    """A buzz of 140 Hz with syllables four times a second, with short gaps, over noise of the given RMS."""
    t = np.arange(int(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) / 2
    syllables = np.clip(1.2 * np.abs(np.sin(2 * np.pi * 2 * t)) - 0.2, 0, 1) ** 2
    hiss = np.random.default_rng(seed).normal(size=len(t)) * noise
    return (level * buzz * syllables + hiss).astype(np.float32)


def silence(seconds: float, *, rate: int = RATE) -> NDArray[np.float32]:
    return np.zeros(int(seconds * rate), np.float32)


def file(samples: NDArray[np.float32], *, rate: int = RATE, format: str = "WAV") -> bytes:
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate, format=format)
    return sound.getvalue()
