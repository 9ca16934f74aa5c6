"""How many requests and WebSockets are open at a time, whatever they wait for: beyond a bound, 503, but not for probes."""

from __future__ import annotations

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f5_tts_server.api.errors import error_response
from f5_tts_server.inference_types import Refused
from f5_tts_server.settings import Settings

log = logging.getLogger("f5.http")

PROBES = frozenset({"/livez", "/readyz", "/v1/health", "/metrics"})
RETRY_AFTER_S = 1
_TRY_AGAIN_LATER = 1013


class OpenRequestsMiddleware:
    """Refuses what comes beyond ``settings.max_connections``; cuts off replies that nobody reads."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._most = settings.max_connections
        self._stall_s = settings.stall_timeout_s
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if self._open >= self._most:
            await self._refuse(scope, receive, send)
            return
        self._open += 1
        try:
            if scope["type"] == "http":
                await self._answer(scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            self._open -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def timed(message: Message) -> None:
            nonlocal begun
            begun = True
            async with asyncio.timeout(self._stall_s):
                await send(message)

        try:
            await self._app(scope, receive, timed)
        except asyncio.CancelledError:  # by the server, which ends and waits no longer
            if begun:
                raise
            error = Refused(
                503, "shutting_down", "the server shut down before it had answered; see whether the request was done"
            )
            await error_response(error, scope, headers={"Connection": "close"})(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"{self._most} requests and connections are open, which is the limit"
        if scope["type"] == "http":
            error = Refused(503, "too_many_connections", message, RETRY_AFTER_S)
            await error_response(error, scope, headers={"Connection": "close"})(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": message})
