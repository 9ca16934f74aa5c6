"""The synthesiser's vowels that the vocoder learns from: the pitch they claim is the one that is heard in them."""

from __future__ import annotations

import numpy as np

from training.pitch import track
from training.shards import MEL
from training.vowels import vowel


def test_the_pitch_and_its_phase_are_those_that_autocorrelation_finds() -> None:
    rng = np.random.default_rng(3)
    inside = slice(4, -4)
    for _ in range(12):
        samples, true = vowel(49, rng)
        assert len(samples) == 48 * MEL.hop
        found = track(samples, 49)
        assert found.voiced[inside].all()
        assert np.abs(found.hertz / true.hertz - 1)[inside].max() < 0.02
        away = (found.cycles - true.cycles + 0.5) % 1 - 0.5
        assert np.abs(away)[inside].max() < 0.05
