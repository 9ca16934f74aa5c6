"""The pitch that the vocoder learns from, against signals whose pitch and phase are known."""

from __future__ import annotations

import numpy as np
import pytest

from f5_tts_server.embedded.source_vocos import HIGHEST, LOWEST
from training.pitch import track
from training.shards import MEL

FRAMES = 94


@pytest.mark.parametrize("hertz", [60.0, 71.3, 100.0, 226.7, 390.0])
def test_pitch_and_phase_of_a_tone_with_an_overtone(hertz: float) -> None:
    turn = hertz * np.arange(MEL.sample_rate) / MEL.sample_rate
    samples = np.cos(2 * np.pi * turn) + 0.3 * np.cos(4 * np.pi * turn)
    found = track(samples.astype(np.float32), FRAMES)
    inside = slice(10, -10)
    assert found.voiced[inside].all()
    np.testing.assert_allclose(found.hertz[inside], hertz, rtol=1e-3)
    passed = turn[:: MEL.hop][:FRAMES]
    assert np.abs((found.cycles - passed + 0.5) % 1 - 0.5)[inside].max() < 2e-3


@pytest.mark.parametrize("kind", ["silence", "noise", "slope"])
def test_what_has_no_period_is_not_voiced_and_stays_within_bounds(kind: str) -> None:
    """A frame without any peak gave a negative pitch, its logarithm a NaN, and training was lost."""
    random = np.random.default_rng(0)
    samples = {
        "silence": np.zeros(MEL.sample_rate),
        "noise": random.normal(0, 0.1, MEL.sample_rate),
        "slope": np.linspace(-1, 1, MEL.sample_rate),
    }[kind]
    found = track(samples.astype(np.float32), FRAMES)
    assert found.hertz.min() > 0.9 * LOWEST
    assert found.hertz.max() < 1.1 * HIGHEST
    assert np.isfinite(found.cycles).all()
    assert found.voiced[8:-8].mean() < 0.1
