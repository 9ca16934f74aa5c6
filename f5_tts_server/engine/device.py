"""One device and the engines that share it, an engine for each model that is loaded.

Their inference threads take turns: whoever has the segment that is needed first goes first, as if one scheduler held the
segments of all. A turn of one model therefore never slows down a turn that another one is timing, so that each engine
learns its own speed, and their seconds of work add up.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from f5_tts_server.engine.admission import Outlook
from f5_tts_server.engine.usage import Usage


class Work(Protocol):
    """What an engine has to do, as others see it. Read from any thread, without a lock."""

    @property
    def outlooks(self) -> tuple[Outlook, ...]:
        """Of the requests that are being worked on."""

    @property
    def places(self) -> int:
        """Of the requests that may be worked on at a time, how many it has taken."""

    def counts(self) -> tuple[int, int]:
        """Active and waiting requests."""

    @property
    def work_ahead_s(self) -> float:
        """Seconds of work for all that is open."""

    def seconds_for_a_place(self) -> float:
        """Until the first of its open requests would be done, if nothing else were."""


class Device:
    """Turns, work in all, and one load at a time. Safe for any thread."""

    def __init__(self) -> None:
        self.loading = threading.Lock()  # held while a model is loaded: two at once would need the memory of both
        self.compiled = 0  # programs in this process when the last model was ready
        self.usage = Usage()  # by caller, whatever model is asked for
        self._condition = threading.Condition()
        self._order = itertools.count()
        self._waiting: list[tuple[float, int]] = []  # when their work is needed
        self._busy = False
        self._works: tuple[Work, ...] = ()

    def join(self, work: Work) -> None:
        with self._condition:
            self._works = (*self._works, work)

    def leave(self, work: Work) -> None:
        """Harmless when repeated."""
        with self._condition:
            self._works = tuple(other for other in self._works if other is not work)

    @contextmanager
    def turn(self, due: float) -> Iterator[None]:
        """Hold the device, when no other does and no other waits whose work is needed before ``due``."""
        mine = (due, next(self._order))
        with self._condition:
            self._waiting.append(mine)
            self._condition.wait_for(lambda: not self._busy and min(self._waiting) == mine)
            self._waiting.remove(mine)
            self._busy = True
        try:
            yield
        finally:
            with self._condition:
                self._busy = False
                self._condition.notify_all()

    def beside(self, work: Work) -> tuple[Work, ...]:
        """What the other engines have to do."""
        return tuple(other for other in self._works if other is not work)

    def counts(self) -> tuple[int, int]:
        """Active and waiting requests of all engines."""
        counts = [work.counts() for work in self._works]
        return sum(active for active, _ in counts), sum(waiting for _, waiting in counts)

    @property
    def work_ahead_s(self) -> float:
        """Seconds of work for all that is open."""
        return sum(work.work_ahead_s for work in self._works)

    def seconds_for_a_place(self) -> float:
        """The shortest wait of any engine, times the engines that have work and share the device meanwhile."""
        busy = [seconds for work in self._works if (seconds := work.seconds_for_a_place()) > 0]
        return min(busy, default=0.0) * len(busy)
