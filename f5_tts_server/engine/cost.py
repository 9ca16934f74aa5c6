"""What requests cost and how fast costs are worked off: the ground of every ``Retry-After``.

The unit is the frame-step: one frame, padding not counted, advanced by one Euler step.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from f5_tts_server.inference_types import Part, Speech

FRAMES_PER_SECOND = 93.75
# A first guess, until plans have been seen: 15 bytes of text a second, and half as much again for the reference.
_FRAMES_PER_BYTE = FRAMES_PER_SECOND / 15 * 1.5
# A first guess, until turns have been timed: the embedded voice on two slow cores.
_FRAME_STEPS_PER_SECOND = 20_000.0
_SMOOTHING = 0.1


@dataclass(slots=True)
class _Account:
    unplanned: float = 0.0  # text bytes / speed * nfe
    planned: float = 0.0
    done: float = 0.0


class Ledger:
    """Open costs by request (its number of arrival), and the measured speed. Safe for any thread."""

    def __init__(self) -> None:
        self._accounts: dict[int, _Account] = {}
        self._frames_per_byte = _FRAMES_PER_BYTE
        self._rate = _FRAME_STEPS_PER_SECOND
        self.measured = False  # whether the speed rests on a turn that was timed
        self._lock = threading.Lock()

    def expect(self, job: int, parts: Sequence[Part], nfe: int) -> None:
        """Text has come in."""
        with self._lock:
            account = self._accounts.setdefault(job, _Account())
            account.unplanned += sum(_weight(part.text, part.speed) * nfe for part in parts if isinstance(part, Speech))

    def plan(self, job: int, text: str, speed: float, nfe: int, frames: int) -> None:
        """A segment's true length is known; learn from it."""
        weight = _weight(text, speed)
        with self._lock:
            self._frames_per_byte += _SMOOTHING * (frames / max(weight, 1) - self._frames_per_byte)
            if (account := self._accounts.get(job)) is not None:
                account.unplanned = max(account.unplanned - weight * nfe, 0.0)
                account.planned += frames * nfe

    def advance(self, frames: dict[int, int], seconds: float) -> None:
        """A turn has advanced these frames, by request, by one step each, in ``seconds``."""
        with self._lock:
            if seconds > 0 and frames:
                rate = sum(frames.values()) / seconds
                self._rate += (_SMOOTHING if self.measured else 1.0) * (rate - self._rate)
                self.measured = True
            for job, count in frames.items():
                if (account := self._accounts.get(job)) is not None:
                    account.done += count

    def close(self, job: int) -> None:
        with self._lock:
            self._accounts.pop(job, None)

    def seconds_for_all(self) -> float:
        """Until everything now open would be done."""
        with self._lock:
            return sum(map(self._open, self._accounts.values())) / self._rate

    def seconds_for_a_place(self) -> float:
        """Until the first of the open requests would be done, if they advance side by side."""
        with self._lock:
            return min(map(self._open, self._accounts.values()), default=0.0) * len(self._accounts) / self._rate

    def _open(self, account: _Account) -> float:
        return account.unplanned * self._frames_per_byte + max(account.planned - account.done, 0.0)


def whole_seconds(seconds: float) -> int:
    """For a ``Retry-After`` header: at least 1."""
    return max(1, math.ceil(seconds))


def _weight(text: str, speed: float) -> float:
    return len(text.encode()) / speed
