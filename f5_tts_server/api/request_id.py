"""Request ids: taken from ``X-Request-ID`` or made, sent back, and in every log line."""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
_GOOD = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="-")


def current_request_id() -> str:
    """The id of the request that the running task serves, or ``-``."""
    return _current.get()


def serve_request_id(request_id: str) -> None:
    """What the running task does from here on is that request's."""
    _current.set(request_id)


class RequestIdMiddleware:
    """Gives every HTTP request and WebSocket an id. An id that is not 1 to 64 of ``A-Za-z0-9._:-`` is replaced."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(HEADER.encode(), b"").decode("latin-1")
        request_id = sent if _GOOD.fullmatch(sent) else f"req-{secrets.token_hex(8)}"
        serve_request_id(request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class RequestIdFilter(logging.Filter):
    """Puts ``request_id`` on every record: the one it was logged with, else that of the running task."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = current_request_id()
        return True
