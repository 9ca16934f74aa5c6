"""A uvicorn server that drains: on the first signal it stops taking requests in, and stops when the open ones have ended.

uvicorn itself closes its port on the first signal, so that nobody could see the readiness probe fail, and leaves the
process with the signal's exit code. Here the port stays open while the engine drains, and the exit code is 0.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn

log = logging.getLogger("f5.server")

INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C
FLUSH_S = 5  # for the last bytes of streams that were ended


def check_address(host: str, port: int) -> None:
    """Raises OSError, in a sentence, where nothing can listen; uvicorn finds out when the model is being loaded."""
    try:
        for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror} (F5_HOST, F5_PORT)") from error


class DrainingServer(uvicorn.Server):
    """Runs ``drain`` on the first SIGTERM or SIGINT, then shuts down; a second SIGINT ends the process at once.

    When ``fatal`` gives a reason, the server cannot become ready: it stops, and ``failure`` is that reason.
    """

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], Awaitable[None]], fatal: Callable[[], str | None]
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._fatal = fatal
        self.failure: str | None = None
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        self._loop = asyncio.get_running_loop()
        await super().startup()

    async def on_tick(self, counter: int) -> bool:
        if (reason := self._fatal()) is not None and not self.should_exit:
            log.critical("stopping: %s", reason)
            self.failure = reason
            self.should_exit = True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler that uvicorn installs; runs on the main thread between two bytecodes."""
        if self._loop is None:
            self.should_exit = True
        elif self._draining is None:
            self._loop.call_soon_threadsafe(self._begin, signal.Signals(sig).name)
        elif sig == signal.SIGINT:
            # Threads may be deep inside the device's runtime: nothing waits for them.
            os.write(2, b"interrupted twice: stopping at once\n")
            os._exit(INTERRUPTED)

    def _begin(self, name: str) -> None:
        if self._draining is None:
            log.info("%s: draining; Ctrl-C again stops at once", name)
            self._draining = asyncio.create_task(self._finish())

    async def _finish(self) -> None:
        try:
            await self._drain()
        finally:
            self.should_exit = True
