"""JSON messages over a WebSocket: bounded, timed, and with errors in words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from f5_tts_server.inference_types import RequestError


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
    except ValueError as error:
        raise RequestError(400, "invalid_json", f"a message is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise RequestError(400, "invalid_message", "a message is no JSON object")
    return parsed


def invalid(error: ValidationError) -> RequestError:
    """The first fault of a message's fields."""
    fault = error.errors()[0]
    name = ".".join(str(step) for step in fault["loc"]) or "message"
    return RequestError(422, "invalid_request", f"{name}: {fault['msg']}", name)


async def send_within(socket: WebSocket, message: dict[str, Any] | bytes, seconds: float) -> None:
    """Send an object as JSON, or bytes as they are. Raises TimeoutError when the client takes nothing for so long."""
    async with asyncio.timeout(seconds):
        if isinstance(message, bytes):
            await socket.send_bytes(message)
        else:
            await socket.send_text(json.dumps(message))
