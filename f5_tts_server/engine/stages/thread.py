"""A named thread that repeats a stage's turns, and whose death is noticed."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from typing import Protocol

from f5_tts_server.engine.channel import Closed

log = logging.getLogger("f5.engine")


class Stage(Protocol):
    """A part of the engine that one thread runs."""

    @property
    def wake(self) -> threading.Event:
        """Set by others when there may be something to do."""

    def turn(self) -> float:
        """Do a piece of what can be done now, without waiting for another stage.

        Returns the seconds for which nothing will need doing unless ``wake`` is set: 0 when there is more to do,
        infinity when there is nothing. Raises `Closed` at the end.
        """


class StageThread(threading.Thread):
    """Repeats a stage's turns until its channels close; anything else that ends it is reported as its death.

    Args:
        name: shown in health reports and debuggers.
        make: called on this thread; None where there is nothing to run.
        died: called on this thread with the stage's name and what killed it.
    """

    def __init__(self, name: str, make: Callable[[], Stage | None], died: Callable[[str, BaseException], None]) -> None:
        # Daemon: an immediate stop (second Ctrl-C) must not wait for a step of the flow.
        super().__init__(name=name, daemon=True)
        self._make = make
        self._died = died

    def run(self) -> None:
        try:
            if (stage := self._make()) is not None:
                self._repeat(stage)
        except Closed:
            return
        except BaseException as error:
            # Not only Exception: whatever ended the thread, its requests must hear of it.
            log.critical("the %s stage died", self.name, exc_info=error)
            self._died(self.name, error)

    def _repeat(self, stage: Stage) -> None:
        while True:
            # Cleared before the turn, so that what comes during it is not missed.
            stage.wake.clear()
            if seconds := stage.turn():
                stage.wake.wait(None if math.isinf(seconds) else seconds)
