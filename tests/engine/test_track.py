"""Cues on a time line: where they sound, what lies between, what they are where they overlap."""

from __future__ import annotations

import math

import numpy as np
import pytest

from f5_tts_server.engine.track import AFTER_S, BEFORE_S, LATE_S, Track, trimmed
from f5_tts_server.inference_types import Samples

RATE = 24_000


def tone(seconds: float, *, before: float = 0.1, after: float = 0.2, hertz: float = 200.0) -> Samples:
    """A tone between two stretches of faint noise, as a model leaves them."""
    rng = np.random.default_rng(5)
    length = round((before + seconds + after) * RATE)
    wave = 1e-4 * rng.standard_normal(length)
    sounding = slice(round(before * RATE), round((before + seconds) * RATE))
    wave[sounding] += 0.3 * np.sin(2 * np.pi * hertz * np.arange(sounding.stop - sounding.start) / RATE)
    return wave.astype(np.float32)


def everything(track: Track, size: int = 5000) -> Samples:
    pieces = []
    while track.ready:
        pieces.append(track.take(size))
    return np.concatenate(pieces or [np.zeros(0, np.float32)])


def test_cues_sound_at_their_times_with_zeros_between() -> None:
    track = Track(RATE)
    times = [(0.5, 1.0), (1.5, 2.25), (2.25, 3.0)]
    clip = []
    for (start, end), (following, _) in zip(times, [*times[1:], (math.inf, 0)], strict=True):
        track.place(tone(0.4), start, end, overrun=False, next_start=following)
        clip.append(everything(track))
    wave = np.concatenate(clip)
    assert len(wave) == 3 * RATE
    silent = np.ones(len(wave), bool)
    for start, _ in times:
        first = round(start * RATE)
        assert np.abs(wave[first : first + 240]).max() > 0.1 and np.abs(wave[first - 240 : first]).max() < 1e-3
        silent[first - round(BEFORE_S * RATE) : first + round((0.4 + AFTER_S) * RATE)] = False
    assert not wave[silent].any(), "silence between cues is exact zeros"
    assert np.abs(np.diff(wave)).max() < 0.3 * 2 * np.pi * 200 / RATE * 1.1, "a fade made a click"


def test_a_cue_at_the_very_beginning_sounds_there() -> None:
    track = Track(RATE)
    track.place(tone(0.4), 0.0, 1.0, overrun=False, next_start=math.inf)
    assert np.abs(everything(track)[:240]).max() > 0.1


def test_what_overlaps_is_mixed_and_what_must_end_does() -> None:
    def made(*, overrun: bool) -> Samples:
        track = Track(RATE)
        track.place(tone(1.0), 0.5, 1.0, overrun=overrun, next_start=1.0)
        first = everything(track)
        track.place(tone(0.4, hertz=300), 1.0, 1.8, overrun=False, next_start=math.inf)
        return np.concatenate([first, everything(track)])

    alone = Track(RATE)
    alone.place(tone(0.4, hertz=300), 1.0, 1.8, overrun=False, next_start=math.inf)
    second = everything(alone)
    over, cut = made(overrun=True), made(overrun=False)
    mixed = slice(round(1.05 * RATE), round(1.35 * RATE))
    assert np.abs((over - second)[mixed]).max() > 0.2, "the first cue goes on under the second"
    np.testing.assert_array_equal(cut[mixed], second[mixed])
    late = round((1.0 + LATE_S) * RATE)
    np.testing.assert_array_equal(cut[late:], second[late:])


def test_no_more_is_given_than_is_final() -> None:
    """The next cue may begin to sound a little before its time."""
    track = Track(RATE)
    track.place(tone(0.4), 0.0, 1.0, overrun=False, next_start=10.0)
    assert len(everything(track)) == round((10 - BEFORE_S) * RATE)
    assert len(track.take(5)) == 0


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(1000, np.float32)])
def test_silence_is_nothing(samples: Samples) -> None:
    sound, before = trimmed(samples, RATE, None)
    assert len(sound) == before == 0
