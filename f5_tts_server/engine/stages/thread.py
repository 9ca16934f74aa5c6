"""A named thread whose death is noticed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from f5_tts_server.engine.channel import Closed

log = logging.getLogger("f5.engine")


class StageThread(threading.Thread):
    """Runs a stage until its channels close; anything else that ends it is reported as its death.

    Args:
        name: shown in health reports and debuggers.
        run_stage: the stage's loop.
        died: called on this thread with the stage's name and what killed it.
    """

    def __init__(self, name: str, run_stage: Callable[[], None], died: Callable[[str, BaseException], None]) -> None:
        # Daemon: an immediate stop (second Ctrl-C) must not wait for a step of the flow.
        super().__init__(name=name, daemon=True)
        self._run_stage = run_stage
        self._died = died

    def run(self) -> None:
        try:
            self._run_stage()
        except Closed:
            return
        except BaseException as error:
            # Not only Exception: whatever ended the thread, its requests must hear of it.
            log.critical("the %s stage died", self.name, exc_info=error)
            self._died(self.name, error)
