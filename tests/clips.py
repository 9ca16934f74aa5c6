"""Reference clips for tests, made by formula."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 24_000
TEXT = "The quick brown fox jumps over the lazy dog, again and again."


def speech(
    seconds: float, *, rate: int = RATE, level: float = 0.3, noise: float = 0.0, seed: int = 0
) -> NDArray[np.float32]:
    """The loudness pattern of speech: 140 Hz with harmonics, syllables four times a second, noise of the given RMS."""
    t = np.arange(int(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) / 2
    syllables = np.clip(1.2 * np.abs(np.sin(2 * np.pi * 2 * t)) - 0.2, 0, 1) ** 2
    hiss = np.random.default_rng(seed).normal(size=len(t)) * noise
    return (level * buzz * syllables + hiss).astype(np.float32)


def noise(seconds: float, *, rate: int = RATE, level: float = 0.05, seed: int = 0) -> NDArray[np.float32]:
    """Noise that swells and fades: energy in every mel band."""
    n = int(seconds * rate)
    swell = 1.2 + np.sin(np.arange(n) / 3000)
    return (level * np.random.default_rng(seed).standard_normal(n) * swell).astype(np.float32)


def silence(seconds: float, *, rate: int = RATE) -> NDArray[np.float32]:
    return np.zeros(int(seconds * rate), np.float32)


def file(samples: NDArray[Any], *, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    """The samples as a file in memory; 16 bits in a WAV unless `subtype` says otherwise."""
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate, format=format, subtype=subtype)
    return sound.getvalue()


def embedded_voices(folder: Path) -> Path:
    """Writes three voices as the package embeds them, Ada, Ben and Cleo; Ada is the default. Returns `folder`."""
    folder.mkdir()
    voices = []
    for level, name in ((0.3, "Ada"), (0.2, "Ben"), (0.1, "Cleo")):
        (folder / f"{name}.wav").write_bytes(file(speech(2, level=level)))
        voices.append({"id": name.lower(), "name": name, "audio": f"{name}.wav", "text": TEXT})
    (folder / "voices.json").write_text(json.dumps({"default": "ada", "voices": voices}))
    return folder


def speechlike(count: int) -> NDArray[np.float32]:
    """A sweep with a slow envelope that begins and ends loud, so that a lost edge is seen."""
    t = np.arange(count) / RATE
    return (0.4 * (0.7 + 0.3 * np.cos(7 * t)) * np.sin(2 * np.pi * (150 + 400 * t) * t + 1.0)).astype(np.float32)


def pieces(samples: NDArray[np.float32], seed: int, longest: int = 6000) -> list[NDArray[np.float32]]:
    """`samples` cut at random places, empty pieces among them."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, len(samples) + 1, size=2 + 2 * len(samples) // longest))
    return np.split(samples, cuts)
