"""A request's events on their way from the engine's threads to the one reader in the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable

from f5_tts_server.inference_types import AudioChunk, Done, Event, Failed


class EventBuffer:
    """Chunks, then exactly one terminal event: whoever ends the buffer first decides which.

    The buffer itself does not wait for the reader. It tells how much lies unread and for how long, and the request
    queue makes no more audio, or gives the request up, when that is too much.

    Args:
        loop: the reader's event loop.
        sample_rate: of the chunks, in hertz.
        clock: seconds, monotonic.
        on_end: called once, on the thread that ended the buffer; must not block.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sample_rate: int,
        *,
        clock: Callable[[], float],
        on_end: Callable[[Done | Failed], None],
    ) -> None:
        self._loop = loop
        self._sample_rate = sample_rate
        self._clock = clock
        self._on_end = on_end
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._accepted = False
        self._ended: Done | Failed | None = None
        self._unread_samples = 0
        self._samples = 0
        self._unread_since: float | None = None

    # engine's side, any thread

    def accept(self) -> None:
        with self._lock:
            self._accepted = True
        self._notify()

    def put(self, chunk: AudioChunk) -> None:
        """Add a chunk; after the end it is dropped, for nobody waits for it."""
        with self._lock:
            if self._ended is not None:
                return
            unread = bool(self._events)
            self._events.append(chunk)
            self._unread_samples += chunk.samples
            self._samples += chunk.samples
            if self._unread_since is None:
                self._unread_since = self._clock()
        if not unread:  # else the reader has been woken, and reads on until nothing is left
            self._notify()

    def end(self, event: Done | Failed, *, discard: bool = False) -> bool:
        """Add the terminal event, and with ``discard`` drop what is unread. False if there was one already."""
        with self._lock:
            if self._ended is not None:
                return False
            self._ended = event
            if discard:
                self._events.clear()
                self._unread_samples = 0
            self._events.append(event)
        self._notify()
        self._on_end(event)
        return True

    @property
    def seconds(self) -> float:
        """Of audio made so far."""
        return self._samples / self._sample_rate

    @property
    def unread_seconds(self) -> float:
        return self._unread_samples / self._sample_rate

    @property
    def ended(self) -> bool:
        return self._ended is not None

    def stalled_for(self, now: float) -> float:
        """Seconds for which something has been waiting to be read without any event being read."""
        with self._lock:
            return 0.0 if self._unread_since is None else now - self._unread_since

    # reader's side, event loop

    async def accepted(self) -> None:
        while True:
            with self._lock:
                failure = self._ended if isinstance(self._ended, Failed) else None
                if failure is None and (self._accepted or self._ended):
                    return
            if failure is not None:
                raise failure.error
            await self._changed()

    async def read(self) -> AsyncIterator[Event]:
        while True:
            event = self._pop()
            if event is None:
                await self._changed()
                continue
            yield event
            if not isinstance(event, AudioChunk):
                return

    def _pop(self) -> Event | None:
        with self._lock:
            if not self._events:
                return None
            event = self._events.popleft()
            if isinstance(event, AudioChunk):
                self._unread_samples -= event.samples
            self._unread_since = self._clock() if self._events else None
            return event

    async def _changed(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    def _notify(self) -> None:
        # A closed loop has no reader left to wake.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)
