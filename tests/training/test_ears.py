"""The evaluation's instruments on signals whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from f5_tts_server.f5.audio import mel
from f5_tts_server.f5.config import MelConfig
from training.ears import edits, error_rates, pitch, spelt, timbre
from training.griffin_lim import griffin_lim

RATE = 24_000


def harmonics(f0: float, seconds: float = 0.6) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return np.sum([np.sin(2 * np.pi * f0 * k * t) / k for k in range(1, 12)], axis=0).astype(np.float32) * 0.1


@pytest.mark.parametrize(("said", "heard", "distance"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0)])
def test_edits(said: str, heard: str, distance: int) -> None:
    assert edits(said, heard) == distance


def test_error_rates_pool_all_sentences() -> None:
    pairs = [(["a", "b", "c"], ["a", "c"]), (["d"], ["d", "e"])]
    assert error_rates(pairs)[0] == 2 / 4


def test_spelt() -> None:
    assert spelt("It's late, isn't it?") == ["it's", "late", "isn't", "it"]


@pytest.mark.parametrize("f0", [85.0, 120.0, 220.0, 310.0])
def test_pitch_of_a_harmonic_tone(f0: float) -> None:
    assert pitch(harmonics(f0), RATE) == pytest.approx(f0, rel=0.02)


def test_silence_has_no_pitch() -> None:
    assert pitch(np.zeros(RATE, np.float32), RATE) == 0


def test_timbre_does_not_hear_loudness() -> None:
    tone = harmonics(150) + np.random.default_rng(0).normal(0, 0.02, int(0.6 * RATE)).astype(np.float32)
    np.testing.assert_allclose(timbre(tone), timbre(3 * tone), atol=1e-3)


def test_griffin_lim_gives_back_the_mel_it_was_given() -> None:
    """Noise that swells and fades: any phases will do, only the magnitudes have to be consistent."""
    config = MelConfig()
    swell = np.abs(np.sin(np.arange(RATE) / 4000)) + 0.1
    frames = mel((np.random.default_rng(1).normal(0, 0.1, RATE) * swell).astype(np.float32), config)
    made = mel(griffin_lim(frames, config, rounds=30), config)
    assert np.abs(made[2 : len(frames) - 3] - frames[2:-3]).mean() < 0.3
