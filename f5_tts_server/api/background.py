"""Work that nobody waits for: jobs and batches, one after the other, in the time that other requests leave over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, Protocol

from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.streaming import read_clip
from f5_tts_server.inference_types import Engine, GenerationRequest, Metadata, Refused, RequestError

log = logging.getLogger("f5.jobs")

AT_ONCE = 2  # requests: one is spoken while the next is prepared
RETRY_S = 2.0
_LATER = frozenset({429, 503, 504})  # the server is full, loading or ending, or the request was too long in the queue
_TOO_LONG_MAX = 3  # times that a request which had begun may be out of time


class Work(Protocol):
    """A job or a batch."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> int: ...


class Source(Protocol):
    """A kind of work. Everything is called on the event loop."""

    def open_work(self) -> Work | None:
        """The oldest that is to be done."""

    async def work(self, one: Any) -> None:
        """Do it, also where it was begun before; cancelled when it is stopped. What this raises is what it failed of."""

    async def failed(self, one: Any, error: BaseException) -> None:
        """It has failed."""


class Background:
    """Does the work of its ``sources``, the oldest first."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._wake = asyncio.Event()
        self._current: tuple[str, asyncio.Task[None]] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            found = [(work, source) for source in self.sources if (work := source.open_work()) is not None]
            if not found:
                self._wake.clear()
                await self._wake.wait()
                continue
            work, source = min(found, key=lambda one: (one[0].created, one[0].id))
            task = asyncio.create_task(source.work(work))
            self._current = (work.id, task)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                self._current = None
            if not task.cancelled() and (error := task.exception()) is not None:
                if not isinstance(error, (*FAULTS, OSError, ValueError)):
                    log.error("%s failed", work.id, exc_info=error)
                await source.failed(work, error)

    def added(self) -> None:
        """Something has come."""
        self._wake.set()

    async def stop(self, work_id: str) -> None:
        """Stop what is being done, if it is this; its source gives it out no more."""
        if self._current is not None and self._current[0] == work_id:
            self._current[1].cancel()
            await asyncio.wait({self._current[1]})


async def in_order(work: AsyncIterator[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Run what comes, in order, so many at a time. Ends the others when one raises, and raises that; as when cancelled."""
    running: set[asyncio.Task[None]] = set()
    try:
        async for one in work:
            running.add(asyncio.create_task(one))
            if len(running) >= at_once:
                running = await _one_ended(running)
        while running:
            running = await _one_ended(running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _one_ended(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    ended, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    return left


async def speak_last(engine: Engine, request: GenerationRequest) -> tuple[bytes, Metadata]:
    """A whole clip after all other requests, tried again until there is room for it.

    Raises:
        RequestError: the request is at fault, or takes longer than requests may.
    """
    request = replace(request, live=False, background=True)
    too_long = 0
    while True:
        heard: list[bytes] = []
        try:
            return await read_clip(engine.submit(request), heard)
        except RequestError as error:
            too_long += error.status == 504 and bool(heard)
            if error.status not in _LATER or too_long >= _TOO_LONG_MAX:
                raise
            wait = error.retry_after if isinstance(error, Refused) and error.retry_after else RETRY_S
            await asyncio.sleep(wait)


def sentence(error: BaseException) -> str:
    """Why work failed, for whoever asked for it."""
    if isinstance(error, FAULTS):
        return as_request_error(error).message
    if isinstance(error, OSError):
        return f"the disk: {error.strerror or type(error).__name__}"
    return f"{type(error).__name__}: {error}"


def not_kept() -> RequestError:
    """What a server without a folder answers."""
    message = "this server keeps no jobs, files and batches; its operator has set no folder for them (F5_JOBS_FOLDER)"
    return RequestError(403, "jobs_off", message)
