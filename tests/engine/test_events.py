"""A request's events between threads and their reader."""

from __future__ import annotations

import asyncio

from f5_tts_server.engine.events import EventBuffer
from f5_tts_server.inference_types import AudioChunk, Failed, RequestError


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often another thread wakes it."""

    woken = 0

    def call_soon_threadsafe(self, *arguments, **options):  # type: ignore[no-untyped-def,override]
        self.woken += 1
        return super().call_soon_threadsafe(*arguments, **options)


def test_a_reader_who_has_something_to_read_is_not_woken_for_more() -> None:
    """Each chunk woke the event loop; with 300 streams at a time it had no time left for probes."""
    loop = CountingLoop()

    async def run() -> None:
        buffer = EventBuffer(loop, 24_000, clock=lambda: 0.0, on_end=lambda _: None)
        chunks = [AudioChunk(b"x", 1, index, 24_000, False, ()) for index in range(6)]
        reading = asyncio.create_task(_all(buffer))
        await asyncio.sleep(0)  # it waits
        before = loop.woken
        for chunk in chunks[:5]:
            buffer.put(chunk)
        assert loop.woken == before + 1
        await asyncio.sleep(0.05)  # all is read
        assert not buffer.unread_seconds
        buffer.put(chunks[5])
        assert loop.woken == before + 2
        buffer.end(Failed(RequestError(500, "internal_error", "over")))
        assert [event.index for event in await reading if isinstance(event, AudioChunk)] == [0, 1, 2, 3, 4, 5]

    try:
        loop.run_until_complete(asyncio.wait_for(run(), 30))
    finally:
        loop.close()


async def _all(buffer: EventBuffer) -> list[object]:
    return [event async for event in buffer.read()]
