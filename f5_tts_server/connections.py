"""uvicorn's HTTP/1.1 connections with a time-out for the head of a request and a bound on how many are open.

uvicorn times out connections only between requests: one that sends nothing, or half a head, stays for ever, and each holds
a file descriptor. What comes after the head (bodies, messages, how many requests are served) is the application's.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger("f5.server")

_events = itertools.count()

RESERVE = 64
"""Connections beyond those that may be busy, so that a probe always finds one."""


class BoundedConnection(H11Protocol):
    """A connection that is closed when a head takes longer than ``head_timeout_s``.

    Of more than ``most`` connections, the one that has been idle for the longest is closed; when all of them are busy, the
    newest. Idle is one that has no request in progress, or is closed already and waits for its client to read the rest.
    """

    head_timeout_s: ClassVar[float]
    most: ClassVar[int]

    _timer: asyncio.TimerHandle | None = None
    _idle_since: int = 0  # in the order of events: clocks may be coarse
    _evicted: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = next(_events)
        self._watch()
        leaving = sum(isinstance(c, BoundedConnection) and c._evicted for c in self.connections)
        if len(self.connections) - leaving > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_watching()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        self._idle_since = next(_events)
        super().on_response_complete()

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete or self.transport.is_closing()

    def _make_room(self) -> None:
        others = [c for c in self.connections if isinstance(c, BoundedConnection) and c is not self]
        idle = [connection for connection in others if connection.idle and not connection._evicted]
        oldest = min(idle, key=lambda connection: connection._idle_since, default=self)
        oldest._evicted = True  # it stays among the connections until the loop comes to it
        oldest.transport.abort()

    def _watch(self) -> None:
        """Let the time run while a head is expected; what has come of it does not stop it."""
        if not self.idle:
            self._stop_watching()
        elif self._timer is None and self.transport.get_protocol() is self:
            self._timer = self.loop.call_later(self.head_timeout_s, self._too_slow)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        log.info("a connection sent no whole request within %g s and is closed", self.head_timeout_s)
        self.transport.abort()


def bounded(head_timeout_s: float, max_requests: int) -> type[BoundedConnection]:
    """The class for uvicorn's ``http`` option; ``max_requests`` may be busy at a time."""
    members = {"head_timeout_s": head_timeout_s, "most": max_requests + RESERVE}
    return type("Connection", (BoundedConnection,), members)
