"""Segments joined into one clip while they are being made.

Inside a part neighbouring segments overlap by 0.15 s with linear ramps, as the official ``infer_batch_process`` joins
finished waves (SWivid/F5-TTS 1.1.22, ``infer/utils_infer.py``): the overlap is at most the length of the wave so far
and of the next segment. Here the wave so far has already been sent, but for the tail that a further join may touch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FADE_SECONDS = 0.15

Samples = NDArray[np.float32]


class Joiner:
    """One part of a request: the wave of its segments, in order.

    Args:
        sample_rate: hertz.
        exact: number of samples the part must have; it is cut or filled with silence at its end. None: as it comes.
    """

    def __init__(self, sample_rate: int, exact: int | None = None) -> None:
        self._fade = int(FADE_SECONDS * sample_rate)
        self._exact = exact
        # samples [self._given, end) of the part, the newest perhaps without their fade-in yet
        self._wave: Samples = np.zeros(0, np.float32)
        self._given = 0  # samples handed out, over the whole part
        self._end = 0  # length of the part up to the segment before this one
        self._start = 0  # where this segment begins in the part
        self._written = 0  # samples of this segment that have come
        self._length = 0  # samples this segment will have
        self._more = True

    @property
    def start(self) -> int:
        """Where the segment that has begun last begins in the part, in samples."""
        return self._start

    def begin(self, length: int, *, more: bool) -> None:
        """A segment of ``length`` samples follows; ``more``: and it is not the last of its part."""
        if self._written != self._length:
            raise ValueError(f"a segment of {self._length} samples ended after {self._written}")
        self._end = self._start + self._length
        self._start = self._end - min(self._fade, self._end, length)
        self._written, self._length, self._more = 0, length, more

    def push(self, samples: Samples) -> Samples:
        """Take the segment's next samples; give those of the clip that nothing can change any more."""
        here = self._start + self._written
        if self._written + len(samples) > self._length:
            raise ValueError(f"a segment of {self._length} samples got {self._written + len(samples)}")
        overlap = min(max(self._end - here, 0), len(samples))
        if overlap:
            fade = self._end - self._start
            ramp = np.linspace(0, 1, fade)[self._written : self._written + overlap]
            old = self._wave[here - self._given : here - self._given + overlap]
            # Both ramps are computed, not one as the complement of the other: so does the official code.
            down = np.linspace(1, 0, fade)[self._written : self._written + overlap]
            old[:] = old * down + samples[:overlap] * ramp
        self._wave = np.concatenate([self._wave, samples[overlap:]])
        self._written += len(samples)
        done = self._start + self._written
        if self._more:
            done = min(done, self._start + self._length - self._fade)
        elif self._written == self._length and self._exact is not None:
            missing = max(self._exact - done, 0)
            self._wave = np.concatenate([self._wave, np.zeros(missing, np.float32)])
            done += missing
        return self._give(done)

    def _give(self, until: int) -> Samples:
        count = max(until - self._given, 0)
        out, self._wave = self._wave[:count], self._wave[count:].copy()
        if self._exact is not None:
            out = out[: max(self._exact - self._given, 0)]
        self._given += count
        return out
