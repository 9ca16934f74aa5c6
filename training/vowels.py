"""Steady vowels of a synthesiser: buzzes of any pitch through random formants, for voices lower than the teachers' are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.source_vocos import HIGHEST, LOWEST
from f5_tts_server.f5.audio import TARGET_RMS
from training.pitch import Track
from training.shards import MEL

_FORMANTS = ((300, 900), (900, 2200), (2200, 3300))  # Hz, each drawn from its range
_HISS = 3e-4


def vowel(frames: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], Track]:
    """Samples [(frames − 1) · hop] whose pitch glides by at most a fifth, and their true pitch, voiced throughout."""
    hertz = np.exp(rng.uniform(np.log(1.1 * LOWEST), np.log(0.9 * HIGHEST)))
    glide = rng.uniform(-0.2, 0.2)
    time = np.arange(frames * MEL.hop) / (frames * MEL.hop) - 0.5
    pitch = hertz * np.exp(np.clip(glide * time, -0.1, 0.1))
    cycles = np.cumsum(pitch) / MEL.sample_rate + rng.random()
    centres, widths = np.array([rng.uniform(*one) for one in _FORMANTS]), rng.uniform(70, 180, 3)
    samples = np.zeros(len(time))
    for harmonic in range(1, int(8000 / pitch.max())):
        gain = np.sum(1 / (1 + np.square((harmonic * hertz - centres) / widths)))
        samples += gain * np.cos(2 * np.pi * harmonic * cycles)
    samples *= TARGET_RMS / np.sqrt(np.mean(np.square(samples)))
    samples += rng.normal(0, _HISS, len(samples))
    at = np.arange(frames) * MEL.hop
    track = Track(pitch[at].astype(np.float32), np.ones(frames, bool), (cycles[at] % 1).astype(np.float32))
    return samples[: (frames - 1) * MEL.hop].astype(np.float32), track
