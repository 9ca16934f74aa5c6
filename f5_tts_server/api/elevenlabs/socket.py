"""A WebSocket of ElevenLabs' protocol: its key, its time-outs, its errors and its end."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from f5_tts_server.api.access import given_key
from f5_tts_server.api.caller import serve_caller
from f5_tts_server.api.elevenlabs.written import Opening, opening_of
from f5_tts_server.api.errors import ELEVENLABS
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.messages import INTERNAL, close, close_at_fault, receive_object, send_within
from f5_tts_server.api.services import Services
from f5_tts_server.inference_types import RequestError, invalid_field

log = logging.getLogger("f5.http")

MAX_MESSAGE = 64 * 1024  # characters
DEFAULT_IDLE_S, MOST_IDLE_S = "20", 180.0
_POLICY_VIOLATION = 1008


class Connection:
    """Messages in and out. ``idle_s``: seconds in which the client must write something."""

    def __init__(self, socket: WebSocket, services: Services, idle_s: float) -> None:
        self._socket = socket
        self._services = services
        self._idle_s = idle_s
        self._stall_s = services.settings.stall_timeout_s

    async def opening(self) -> tuple[dict[str, Any], Opening]:
        """The first message. Raises RequestError (401) when neither it nor the handshake brought a key."""
        within_s = min(self._idle_s, self._services.settings.receive_timeout_s)
        access = self._services.access
        known = access.knows(given_key(self._socket))
        with nullcontext() if known else access.awaiting_key():
            message = await receive_object(self._socket, longest=MAX_MESSAGE, within_s=within_s)
        opening = opening_of(message)
        if not known and not access.knows(opening.key):
            raise access.refusal(self._socket)
        if not known:
            serve_caller(access.caller(opening.key))
        return message, opening

    async def receive(self, *, forever: bool = False) -> dict[str, Any]:
        """The next message. Raises RequestError (408) when none comes in time, and WebSocketDisconnect."""
        return await receive_object(self._socket, longest=MAX_MESSAGE, within_s=None if forever else self._idle_s)

    async def tell(self, message: dict[str, Any]) -> None:
        """Send a message. Raises TimeoutError when the client takes nothing."""
        await send_within(self._socket, message, self._stall_s)

    async def tell_fault(self, error: Exception, **further: Any) -> RequestError:
        """Send an error, any of `FAULTS`; gives it in the protocol's words."""
        fault = ELEVENLABS.translate(as_request_error(error))
        await self.tell({"message": fault.message, "error": fault.code, "code": _POLICY_VIOLATION, **further})
        return fault

    @staticmethod
    def text_of(message: dict[str, Any]) -> str:
        """The text of a message. Raises RequestError."""
        text = message.get("text")
        if not isinstance(text, str):
            raise invalid_field("text", "text must be a string")
        return text


async def serve(
    socket: WebSocket, services: Services, inactivity_timeout: str, run: Callable[[Connection], Awaitable[None]]
) -> None:
    """Accept a connection and let ``run`` serve it; whatever ends it, the client hears why where it still can."""
    await socket.accept()
    connection = Connection(socket, services, MOST_IDLE_S)
    try:
        connection = Connection(socket, services, _idle_s(inactivity_timeout))
        try:
            await run(connection)
        except BaseExceptionGroup as group:
            raise _first(group) from None
    except WebSocketDisconnect:
        log.info("the client of a text stream went away")
    except TimeoutError:
        log.warning("a client took nothing for %g s; its text stream is cut off", services.settings.stall_timeout_s)
        await close(socket, INTERNAL, "the client takes nothing")
    except FAULTS as error:
        fault = await connection.tell_fault(error)
        await close(socket, _POLICY_VIOLATION, fault.message)
    except Exception:
        await close_at_fault(socket)
        raise
    else:
        await close(socket)


def _idle_s(inactivity_timeout: str) -> float:
    try:
        asked = float(inactivity_timeout)
    except ValueError:
        asked = math.nan
    if math.isnan(asked):
        message = f"inactivity_timeout {inactivity_timeout[:40]!r} is no number of seconds"
        raise invalid_field("inactivity_timeout", message)
    return min(max(asked, 1.0), MOST_IDLE_S)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
