"""Cues on the time line of one clip: each begins to sound at its time, they are mixed where they overlap, and between
them there are zeros. Arrays of samples only.

Where a cue sounds is found by energy: what is quieter than 35 dB below its loudest 5 ms, at either end, is taken off but
for a few milliseconds, over which the sound is faded in and out.
"""

from __future__ import annotations

import numpy as np

from f5_tts_server.inference_types import Samples

BEFORE_S = 0.02  # kept before the first sound
AFTER_S = 0.03  # and after the last
LATE_S = 0.04  # by which a cue that must end in time may end late
_CUT_S = 0.02  # fade of what does not end by then
_WINDOW_S = 0.005
_QUIET = 10 ** (-35 / 20)


class Track:
    """Cues are placed in order of their beginnings. ``sample_rate`` in hertz."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._wave = np.zeros(0, np.float32)  # samples [_given, ...) that a cue has reached
        self._given = 0
        self._final = 0  # up to here no further cue can reach
        self._end = 0  # of the last cue, by its time

    def place(self, samples: Samples, start: float, end: float, *, overrun: bool, next_start: float) -> None:
        """A cue's speech [n], silence around it included. The next cue begins at ``next_start``, infinite if none."""
        sound, before = trimmed(samples, self._rate, None if overrun else end - start + LATE_S)
        at = round(start * self._rate) - before
        if at < self._given:  # a cue at the very beginning has nothing before its first sound
            sound, at = sound[self._given - at :], self._given
        reached = at - self._given + len(sound)
        if reached > len(self._wave):
            self._wave = np.concatenate([self._wave, np.zeros(reached - len(self._wave), np.float32)])
        self._wave[at - self._given : reached] += sound
        self._end = max(self._end, round(end * self._rate), self._given + len(self._wave))
        self._final = self._end if np.isinf(next_start) else round((next_start - BEFORE_S) * self._rate)

    @property
    def ready(self) -> bool:
        """Whether `take` has anything to give."""
        return self._final > self._given

    def take(self, most: int) -> Samples:
        """At most so many samples that nothing can change any more."""
        count = min(max(self._final - self._given, 0), most)
        out = np.zeros(count, np.float32)
        known = self._wave[:count]
        out[: len(known)] = known
        self._wave = self._wave[count:]
        self._given += count
        return out


def trimmed(samples: Samples, rate: int, seconds: float | None) -> tuple[Samples, int]:
    """What sounds in ``samples`` [n], faded in and out, and how many samples of it come before the first sound.

    ``seconds``: how long it may be from the first sound on; what is longer fades out there.
    """
    window = max(1, round(_WINDOW_S * rate))
    padded = np.pad(samples, (0, -len(samples) % window)).reshape(-1, window)
    power = np.square(padded, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power > power.max(initial=0.0) * _QUIET**2)
    if not len(loud):
        return np.zeros(0, np.float32), 0
    onset, offset = int(loud[0]) * window, min((int(loud[-1]) + 1) * window, len(samples))
    first, last = max(onset - round(BEFORE_S * rate), 0), min(offset + round(AFTER_S * rate), len(samples))
    fade_out = last - offset
    if seconds is not None and (limit := onset + int(seconds * rate)) < last:
        last, fade_out = limit, max(fade_out - (last - limit), round(_CUT_S * rate) if limit < offset else 0)
    sound = samples[first:last].copy()
    sound[: onset - first] *= np.linspace(0, 1, onset - first, endpoint=False, dtype=np.float32)
    fade_out = min(fade_out, len(sound))
    sound[len(sound) - fade_out :] *= np.linspace(1, 0, fade_out + 1, dtype=np.float32)[1:]
    return sound, onset - first
