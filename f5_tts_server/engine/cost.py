"""What requests cost and how fast costs are worked off: the ground of admission and of every ``Retry-After``.

Work of the flow is counted in frame-steps: one frame, padding not counted, advanced by one Euler step. Work of the
vocoder is counted in frames.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from f5_tts_server.inference_types import Infill, Part, Speech

FRAMES_PER_SECOND = 93.75
# First guesses, until plans have been seen: 15 bytes of text a second, and so many seconds of reference.
_BYTES_PER_SECOND = 15
_REFERENCE_S = 3.0
_LATER_S = 4.0  # of speech in a segment that is not a request's first
# A first guess, until turns have been timed: the embedded voice on two slow cores.
_FRAME_STEPS_PER_SECOND = 20_000.0
_SMOOTHING = 0.1
# Of a text that is not cut yet: each segment is so much longer than the one before, up to so many generated frames.
_GROWTH = 1.6
_LONGEST = 4.0 * FRAMES_PER_SECOND


@dataclass(slots=True)
class _Average:
    """A value that follows what is seen."""

    value: float

    def see(self, seen: float, smoothing: float = _SMOOTHING) -> None:
        self.value += smoothing * (seen - self.value)


class _Segments:
    """What segments of a kind are like: running means of their frames, of the generated ones among them, and of the
    bytes of their text. Ratios are those of the means, so that a short segment counts for little."""

    def __init__(self, seconds: float) -> None:
        self._frames = _Average((_REFERENCE_S + seconds) * FRAMES_PER_SECOND)
        self._gen_frames = _Average(seconds * FRAMES_PER_SECOND)
        self._bytes = _Average(seconds * _BYTES_PER_SECOND)

    def see(self, frames: int, gen_frames: int, size: float) -> None:
        self._frames.see(frames)
        self._gen_frames.see(gen_frames)
        self._bytes.see(size)

    @property
    def frames(self) -> float:
        return self._frames.value

    @property
    def bytes(self) -> float:
        return self._bytes.value

    @property
    def frames_per_byte(self) -> float:
        return self._frames.value / self._bytes.value

    @property
    def gen_frames_per_byte(self) -> float:
        return self._gen_frames.value / self._bytes.value


@dataclass(slots=True)
class _Planned:
    """What is left of a segment."""

    frame_steps: float
    gen_frames: int


@dataclass(slots=True)
class _Account:
    nfe: int
    bytes: float = 0.0  # of text that is not planned yet, divided by its speed
    planned: deque[_Planned] = field(default_factory=deque)  # and not vocoded yet, in order
    last_frames: int = 0  # generated ones of the segment planned last

    @property
    def begun(self) -> bool:
        return self.last_frames > 0


@dataclass(frozen=True, slots=True)
class Piece:
    """Seconds of work, and of the audio that it makes."""

    work: float
    audio: float


@dataclass(frozen=True, slots=True)
class Open:
    """What is open of a request: what is left of the segments that are planned, and the segments to expect after them."""

    planned: tuple[Piece, ...]
    expected: tuple[Piece, ...]


class Ledger:
    """Open costs by request (its number of arrival), and the measured speeds. Safe for any thread.

    Args:
        first_segment_s: seconds of speech in a request's first segment.
    """

    def __init__(self, first_segment_s: float) -> None:
        self._accounts: dict[int, _Account] = {}
        self._first = _Segments(first_segment_s)
        self._later = _Segments(_LATER_S)
        self._rate = _Average(_FRAME_STEPS_PER_SECOND)
        self._block_s, self._block_frames = _Average(0.0), _Average(64.0)  # of the vocoder
        self.measured = False  # whether the speed rests on a turn that was timed
        self._lock = threading.Lock()

    def expect(self, job: int, parts: Sequence[Part], nfe: int) -> None:
        """Text has come in."""
        with self._lock:
            account = self._accounts.setdefault(job, _Account(nfe))
            account.bytes += sum(_weight(part.text, part.speed) for part in parts if isinstance(part, Speech))
            account.bytes += sum(len(part.text.encode()) for part in parts if isinstance(part, Infill))

    def plan(self, job: int, text: str, speed: float, frames: int, gen_frames: int) -> None:
        """A segment's true length is known; learn from it."""
        size = _weight(text, speed)
        with self._lock:
            account = self._accounts.get(job)
            (self._later if account is None or account.begun else self._first).see(frames, gen_frames, size)
            if account is not None:
                account.last_frames = gen_frames
                account.bytes = max(account.bytes - size, 0.0)
                account.planned.append(_Planned(frames * account.nfe, gen_frames))

    def again(self, job: int, frames: int, gen_frames: int) -> None:
        """A segment, the first of those that are not sent, is made once more."""
        with self._lock:
            if (account := self._accounts.get(job)) is not None:
                account.planned.appendleft(_Planned(frames * account.nfe, gen_frames))

    def advance(self, frames: dict[int, int], seconds: float, *, full: bool) -> None:
        """A turn has advanced these frames, by request, by one step each, in ``seconds``.

        ``full``: there was more to advance than a turn takes. Of a device that had room left only so much is known as
        that it is not slower.
        """
        with self._lock:
            if seconds > 0 and frames:
                rate = sum(frames.values()) / seconds
                if full or not self.measured or rate > self._rate.value:
                    self._rate.see(rate, _SMOOTHING if self.measured else 1.0)
                self.measured = True
            for job, count in frames.items():
                if (account := self._accounts.get(job)) is not None:
                    _work_off(account.planned, count)

    def vocoded(self, job: int, frames: int, seconds: float | None) -> None:
        """The vocoder has made the audio of so many frames, if it did not wait for them, in ``seconds``."""
        with self._lock:
            if seconds is not None:
                self._block_s.see(seconds)
                self._block_frames.see(frames)
            if (account := self._accounts.get(job)) is not None and account.planned:
                account.planned[0].gen_frames -= frames
                if account.planned[0].gen_frames <= 0:
                    account.planned.popleft()

    def close(self, job: int) -> None:
        with self._lock:
            self._accounts.pop(job, None)

    def open(self, job: int) -> Open:
        """What is open of a request; nothing if it is closed."""
        with self._lock:
            account = self._accounts.get(job)
            if account is None:
                return Open((), ())
            return Open(tuple(map(self._left, account.planned)), tuple(self._expected(account)))

    def seconds_for_all(self) -> float:
        """Until everything now open would be done."""
        with self._lock:
            return sum(map(self._open, self._accounts.values()))

    def seconds_for_a_place(self) -> float:
        """Until the first of the open requests would be done, if they advance side by side."""
        with self._lock:
            return min(map(self._open, self._accounts.values()), default=0.0) * len(self._accounts)

    def _open(self, account: _Account) -> float:
        return sum(piece.work for piece in (*map(self._left, account.planned), *self._expected(account)))

    def _left(self, segment: _Planned) -> Piece:
        return self._piece(segment.frame_steps, segment.gen_frames)

    def _expected(self, account: _Account) -> Iterator[Piece]:
        """Segments of the text that is not planned yet."""
        left, frames = account.bytes, float(account.last_frames)
        if left and not account.begun:  # most of a first segment is the reference
            size = min(left, self._first.bytes)
            frames = size * self._first.gen_frames_per_byte
            yield self._piece(self._first.frames * account.nfe, frames)
            left -= size
        while left > 0:
            frames = min(frames * _GROWTH, _LONGEST)
            size = min(left, frames / self._later.gen_frames_per_byte)
            yield self._piece(size * self._later.frames_per_byte * account.nfe, size * self._later.gen_frames_per_byte)
            left -= size

    @property
    def _vocoder_s(self) -> float:
        """Seconds for a frame."""
        return self._block_s.value / self._block_frames.value

    def _piece(self, frame_steps: float, gen_frames: float) -> Piece:
        work = frame_steps / self._rate.value + gen_frames * self._vocoder_s
        return Piece(work, gen_frames / FRAMES_PER_SECOND)


def whole_seconds(seconds: float) -> int:
    """For a ``Retry-After`` header: at least 1."""
    return max(1, math.ceil(seconds))


def _weight(text: str, speed: float) -> float:
    return len(text.encode()) / speed


def _work_off(planned: deque[_Planned], frame_steps: float) -> None:
    """Segments are advanced in their order, or side by side, in which case it does not matter whose work it was."""
    for segment in planned:
        done = min(segment.frame_steps, frame_steps)
        segment.frame_steps -= done
        frame_steps -= done
