"""A reply that is a ticket's audio while it is being made, whatever the protocol writes around it.

Whichever way the reply ends, the ticket is cancelled, which does nothing when it has ended by itself: a client that goes
away, or stops reading for too long, frees its slots at the next step.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sse_starlette import ServerSentEvent
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from f5_tts_server.inference_types import AudioChunk, Failed, Metadata, RequestError, Ticket

log = logging.getLogger("f5.http")

PING = b": ping\n\n"
"""A comment in a stream of events."""


class Interrupted(Exception):
    """Raised by a body whose format has no place for a failure: the connection closes without the reply's end."""


class TicketStream(Response):
    """Streams ``body``, which reads ``ticket``.

    Args:
        ticket: accepted already, so that refusals could still be answered with a status.
        body: pieces of the reply.
        ping: sent after ``ping_s`` seconds of silence; None where the protocol has no place for it.
        stall_timeout_s: the reply is cut off when the client takes nothing for so long.
    """

    def __init__(
        self,
        ticket: Ticket,
        body: AsyncIterator[bytes],
        *,
        media_type: str,
        ping: bytes | None,
        ping_s: float,
        stall_timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        # Proxies must neither keep nor collect a stream.
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})})
        self._ticket = ticket
        self._body = body
        self._ping = ping
        self._ping_s = ping_s
        self._stall_timeout_s = stall_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ticket.cancel()
            for task in (writing, leaving):
                if not task.done():
                    task.cancel()
            results = await asyncio.gather(writing, leaving, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _write(self, send: Send) -> None:
        try:
            await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for piece in with_pings(self._body, self._ping, self._ping_s):
                await self._send(send, {"type": "http.response.body", "body": piece, "more_body": True})
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except Interrupted as error:
            log.warning("the reply is cut off: %s", error)
        except TimeoutError:
            # Returning without the final message makes the server close the connection.
            log.warning("the client took nothing for %g s; its reply is cut off", self._stall_timeout_s)

    async def _send(self, send: Send, message: dict[str, object]) -> None:
        async with asyncio.timeout(self._stall_timeout_s):
            await send(message)


async def audio_file(ticket: Ticket) -> AsyncIterator[bytes]:
    """The encoded file. A failure cuts the reply off, for a file has no place to tell it."""
    async for event in ticket:
        if isinstance(event, AudioChunk):
            yield event.data
        elif isinstance(event, Failed):
            raise Interrupted(event.error.message)


async def with_pings(pieces: AsyncIterator[bytes], ping: bytes | None, ping_s: float) -> AsyncIterator[bytes]:
    """The pieces, with a ping wherever none came for ``ping_s`` seconds."""
    iterator = aiter(pieces)
    while True:
        coming = asyncio.ensure_future(anext(iterator, None))
        try:
            while ping is not None and not (await asyncio.wait({coming}, timeout=ping_s))[0]:
                yield ping
            piece = await coming
        finally:
            coming.cancel()
        if piece is None:
            return
        yield piece


def sse_event(data: dict[str, Any], name: str | None = None) -> bytes:
    """One server-sent event with a JSON object for its data."""
    return ServerSentEvent(json.dumps(data), event=name, sep="\n").encode()


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client is gone. The body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def admit(ticket: Ticket, receive: Receive) -> None:
    """Wait until a ticket is accepted; give it up when the client goes away meanwhile, or anything else happens.

    Raises:
        RequestError: the request was refused, or (499) nobody is there any more.
    """
    accepted = asyncio.create_task(ticket.accepted())
    leaving = asyncio.create_task(wait_for_disconnect(receive))
    try:
        await asyncio.wait({accepted, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not accepted.done():
            raise RequestError(499, "cancelled", "the client went away before its request was accepted")
        await accepted
    except BaseException:
        ticket.cancel()
        raise
    finally:
        for task in (accepted, leaving):
            task.cancel()
        await asyncio.gather(accepted, leaving, return_exceptions=True)


async def read_clip(ticket: Ticket, data: list[bytes] | None = None) -> tuple[bytes, Metadata]:
    """All audio of a ticket, and what is known of it then. The ticket is given up whichever way this ends.

    ``data`` is where the audio is collected, for whoever wants to know how far it came.

    Raises:
        RequestError: the request failed.
    """
    data = [] if data is None else data
    try:
        async for event in ticket:
            if isinstance(event, AudioChunk):
                data.append(event.data)
            elif isinstance(event, Failed):
                raise event.error
            else:
                return b"".join(data), event.metadata
    finally:
        ticket.cancel()
    raise AssertionError("a ticket ended without a terminal event")


async def whole_clip(ticket: Ticket, receive: Receive) -> tuple[bytes, Metadata] | None:
    """`read_clip`, or None when the client went away meanwhile.

    Raises:
        RequestError: the request failed.
    """
    collecting = asyncio.create_task(read_clip(ticket))
    leaving = asyncio.create_task(wait_for_disconnect(receive))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await collecting if collecting.done() else None
    finally:
        ticket.cancel()
        for task in (collecting, leaving):
            task.cancel()
        await asyncio.gather(collecting, leaving, return_exceptions=True)
