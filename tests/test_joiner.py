"""Joins against the official formula applied to finished waves, whatever the blocks they come in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f5_tts_server.joiner import Joiner

RATE = 1000  # a fade of 150 samples
Wave = npt.NDArray[np.float32]


def official_join(waves: list[Wave]) -> Wave:
    """Linear cross-fade of finished waves, written from the description of the official function."""
    joined = waves[0].astype(np.float64)
    for wave in waves[1:]:
        n = min(int(0.15 * RATE), len(joined), len(wave))
        head, tail = (joined[:-n], joined[-n:]) if n else (joined, joined[:0])
        mixed = tail * np.linspace(1, 0, n) + wave[:n] * np.linspace(0, 1, n)
        joined = np.concatenate([head, mixed, wave[n:]])
    return joined.astype(np.float32)


def stream(waves: list[Wave], block: int, exact: int | None = None) -> list[Wave]:
    joiner = Joiner(RATE, exact)
    out = []
    for i, wave in enumerate(waves):
        joiner.begin(len(wave), more=i + 1 < len(waves))
        out += [joiner.push(wave[start : start + block]) for start in range(0, len(wave), block)]
    return out


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 700), min_size=1, max_size=6),
    block=st.integers(1, 400),
    seed=st.integers(0, 2**16),
)
def test_streamed_joins_equal_the_official_join_of_finished_waves(lengths: list[int], block: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    waves = [rng.standard_normal(n).astype(np.float32) for n in lengths]
    # Between overlaps of overlaps the official code keeps float64 and the stream float32: hence the tolerance.
    np.testing.assert_allclose(np.concatenate(stream(waves, block)), official_join(waves), rtol=0, atol=2e-6)


def test_a_join_of_equal_tones_has_no_click() -> None:
    t = np.arange(3000) / RATE
    tone = np.sin(2 * np.pi * 5 * t).astype(np.float32)
    first, second = tone[:1500], tone[1350:]  # overlap by the fade, in phase
    np.testing.assert_allclose(np.concatenate(stream([first, second], 64)), tone, atol=1e-6)


def test_samples_leave_before_their_segment_is_whole() -> None:
    wave = np.ones(1000, np.float32)
    given_out = stream([wave, wave], 100)
    assert [len(piece) for piece in given_out[:8]] == [100] * 8
    assert sum(map(len, given_out[:10])) == 850  # all but the tail that the next segment will touch


@pytest.mark.parametrize("exact", [1, 700, 1850, 1900, 2500])
def test_an_exact_length_is_kept_to_the_sample(exact: int) -> None:
    wave = np.ones(1000, np.float32)
    out = np.concatenate(stream([wave, wave], 128, exact))
    assert len(out) == exact
    np.testing.assert_allclose(out[: min(exact, 1850)], 1, atol=1e-6)
    assert not out[1850:].any()


def test_a_segment_of_the_wrong_length_is_an_error() -> None:
    joiner = Joiner(RATE)
    joiner.begin(10, more=False)
    with pytest.raises(ValueError, match="10 samples got 11"):
        joiner.push(np.zeros(11, np.float32))
    joiner.push(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="ended after 4"):
        joiner.begin(10, more=False)
