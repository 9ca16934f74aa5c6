"""An event loop whose clock jumps to what happens next, and the engine's stages as fibers in it.

Everything runs in one thread, in an order that a seed decides: coroutines of the event loop, and the stages, each a fiber
that repeats its turns as `engine.stages.thread.StageThread` does. A call of the model that takes time gives the others
their turns meanwhile. So a run of hours takes a moment and can be repeated exactly.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from f5_tts_server.engine.channel import Closed
from f5_tts_server.engine.stages.thread import Stage


class Stuck(AssertionError):
    """Nothing will ever happen again, and somebody waits."""


class _Jump(selectors.SelectSelector):
    """Lets the time pass for which the loop would sleep."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("no stage and no client has anything to do, and not all requests have ended")
        self.loop.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a clock of its own; ``fibers`` run in it beside its tasks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fibers: list[StageFiber] = []
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        for fiber in self.fibers:
            fiber.look()

    def _write_to_self(self) -> None:
        """There is no other thread that could have to wake this one."""

    def spend(self, seconds: float) -> None:
        """Pass time inside a stage's turn, or none outside of it."""
        fiber = getcurrent()
        if seconds > 0 and fiber.parent is not None:
            fiber.parent.switch(seconds)


class StageFiber:
    """Repeats a stage's turns.

    Args:
        died: called with the stage's name and what ended it.
        delay: seconds before a turn that could begin now: a busy machine.
    """

    def __init__(
        self,
        loop: VirtualLoop,
        name: str,
        stage: Stage,
        died: Callable[[str, BaseException], None],
        delay: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._name = name
        self._stage = stage
        self._died = died
        self._delay = delay
        self._fiber = greenlet(self._repeat)
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for: float | None = None
        loop.fibers.append(self)
        loop.call_later(delay(), self._resume)

    def look(self) -> None:
        """Go on if somebody has woken the stage."""
        if self._waiting and self._stage.wake.is_set():
            self._go_on()

    def end(self) -> None:
        self._loop.fibers.remove(self)
        self._fiber.throw(GreenletExit)

    def _repeat(self) -> None:
        try:
            while True:
                self._stage.wake.clear()
                self._waits_for = self._stage.turn()
                self._fiber.parent.switch(None)
        except (Closed, GreenletExit):
            return
        except BaseException as error:  # noqa: BLE001 - as `StageThread` does
            self._died(self._name, error)

    def _resume(self) -> None:
        spent = self._fiber.switch()
        if self._fiber.dead:
            return
        if spent is not None:  # in the middle of a turn
            self._loop.call_later(spent, self._resume)
        elif not self._waits_for:
            self._loop.call_later(self._delay(), self._resume)
        else:
            self._waiting = True
            if not math.isinf(self._waits_for):
                self._timer = self._loop.call_later(self._waits_for, self._go_on)

    def _go_on(self) -> None:
        self._waiting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop.call_later(self._delay(), self._resume)
