"""The engine from its start to its stop, for work that is done before the process ends."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from f5_tts_server.pool import ModelPool
from f5_tts_server.serving import INTERRUPTED
from f5_tts_server.tts_engine import EngineState, TTSEngine

LOAD_POLL_S = 0.05
_BROKEN_POLL_S = 0.5


async def with_engine(engine: TTSEngine | ModelPool, work: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Load the model, do the work, and stop the engine; the work is cancelled by Ctrl-C, SIGTERM and a broken engine.

    Gives the exit code: 0, 1 where the engine broke or did not load, 130 after a signal. Raises what the work raises.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    engine.start()
    try:
        while engine.state is EngineState.LOADING and not stop.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(LOAD_POLL_S)
        if not stop.is_set() and not engine.broken:
            await _until_stopped(engine, asyncio.create_task(work()), asyncio.create_task(stop.wait()))
    finally:
        broken = engine.broken
        await asyncio.to_thread(engine.stop)
    if broken:
        print(engine.failure, file=sys.stderr)
        return 1
    return INTERRUPTED if stop.is_set() else 0


async def _until_stopped(
    engine: TTSEngine | ModelPool, working: asyncio.Task[None], stopping: asyncio.Task[Any]
) -> None:
    try:
        while not (working.done() or stopping.done() or engine.broken):
            await asyncio.wait({working, stopping}, timeout=_BROKEN_POLL_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait({working, stopping})
    if not working.cancelled():
        working.result()
