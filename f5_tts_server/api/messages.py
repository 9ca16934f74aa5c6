"""JSON messages over a WebSocket: bounded, timed, and with errors in words."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.inference_types import RequestError

log = logging.getLogger("f5.http")

INTERNAL = 1011
"""The close code of a server at fault, or cut off from a client that takes nothing."""

MAX_FRAME = 2**20
"""Bytes of a WebSocket message, for the server: more than any message here may have in its longest encoding."""


async def receive_object(socket: WebSocket, *, longest: int, within_s: float | None) -> dict[str, Any]:
    """The next message, a JSON object of at most ``longest`` characters.

    Raises:
        RequestError: it is none, or too long; 408 when none came in time.
        WebSocketDisconnect: the client is gone.
    """
    try:
        async with asyncio.timeout(within_s):
            message = await socket.receive()
    except TimeoutError as error:
        raise RequestError(408, "idle", f"no message came for {within_s:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None:
        raise RequestError(400, "invalid_message", "a message is binary; messages are JSON text")
    if len(text) > longest:
        raise RequestError(413, "message_too_long", f"a message has {len(text)} characters; the limit is {longest}")
    try:
        parsed = json.loads(text)
        if "\\u" in text:  # what an escape can make: half of a surrogate pair, which nothing can encode
            json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RequestError(422, "invalid_request", "a message has half of a surrogate pair") from error
    except ValueError as error:
        raise RequestError(400, "invalid_json", f"a message is not JSON: {error}") from error
    except RecursionError as error:
        raise RequestError(400, "invalid_json", "a message is nested too deeply") from error
    if not isinstance(parsed, dict):
        raise RequestError(400, "invalid_message", "a message is no JSON object")
    return parsed


async def send_within(socket: WebSocket, message: dict[str, Any] | bytes, seconds: float) -> None:
    """Send an object as JSON, or bytes as they are. Raises TimeoutError when the client takes nothing for so long."""
    async with asyncio.timeout(seconds):
        if isinstance(message, bytes):
            await socket.send_bytes(message)
        else:
            await socket.send_text(json.dumps(message))


async def close(socket: WebSocket, code: int = 1000, reason: str = "") -> None:
    """Close a connection, which the client may have closed already."""
    try:
        # A close frame holds 123 bytes of reason.
        await socket.close(code, reason.encode("ascii", "replace")[:120].decode())
    except (RuntimeError, WebSocketDisconnect):
        log.debug("the connection was closed by the client first")


async def close_at_fault(socket: WebSocket) -> None:
    """Close a connection whose handler failed; the server's log has the traceback under the same id."""
    await close(socket, INTERNAL, f"request {current_request_id()} failed; the server's log says why")
