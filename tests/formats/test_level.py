"""The limiter against its definition."""

import numpy as np

from f5_tts_server.formats.level import KNEE, limited, unlimited


def test_quiet_samples_are_not_touched() -> None:
    samples = np.linspace(-KNEE, KNEE, 1001, dtype=np.float32)
    assert np.array_equal(limited(samples), samples)


def test_loud_samples_bend_smoothly_below_full_scale() -> None:
    """The vocoder of the embedded voice was seen at 1.5; cut off at 1 that is a flat top, which is heard as a click."""
    samples = np.linspace(-1.5, 1.5, 300_001, dtype=np.float32)
    bent = limited(samples)
    slope = np.diff(bent.astype(np.float64)) / np.diff(samples.astype(np.float64))
    assert np.abs(bent).max() <= 1.0
    assert slope.min() >= -1e-6 and slope.max() <= 1 + 0.02  # rises everywhere, and nowhere faster than the input
    assert np.abs(np.diff(slope)).max() < 0.05  # no corner, the knee included
    assert np.array_equal(limited(-samples), -bent)


def test_pieces_come_out_as_the_whole() -> None:
    samples = np.random.default_rng(3).normal(0, 0.6, 5000).astype(np.float32)
    assert np.array_equal(
        np.concatenate([limited(piece) for piece in np.split(samples, [9, 1000, 1001])]), limited(samples)
    )


def test_what_is_unlimited_first_comes_out_as_it_was() -> None:
    """Every 16-bit sample, full scale included."""
    samples = (np.arange(-32767, 32768) / 32767).astype(np.float32)
    raised = unlimited(samples)
    assert np.isfinite(raised).all()
    np.testing.assert_array_equal(np.rint(limited(raised) * 32767), np.arange(-32767, 32768))
