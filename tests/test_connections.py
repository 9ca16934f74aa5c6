"""Connections that send nothing, half a head, or are too many: real sockets to a real server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import uvicorn

from f5_tts_server.connections import RESERVE, bounded
from tests.server import running

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def hello(scope: dict[str, Any], _: Any, send: Any) -> None:
    """Answers everything."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def listening(head_timeout_s: float, max_requests: int) -> Iterator[int]:
    """A server of `hello`; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    config = uvicorn.Config(
        hello, http=bounded(head_timeout_s, max_requests), log_config=None, lifespan="off", timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(30)
        listener.close()


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def closed(connection: socket.socket) -> bool:
    """Wait until the server has closed a connection."""
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True


def answer(connection: socket.socket) -> bytes:
    connection.sendall(HEAD + b"\r\n")
    data = b""
    while not data.endswith(b"\r\n\r\nok"):
        piece = connection.recv(4096)
        assert piece, "closed"
        data += piece
    return data


def test_a_connection_that_sends_nothing_or_half_a_head_is_closed() -> None:
    """1,000 of 1,000 were still open after 40 s: uvicorn times connections between requests only."""
    with listening(0.3, 100) as port:
        for sent in (b"", b"G", HEAD):
            with opened(port) as connection:
                connection.sendall(sent)
                assert closed(connection)
        with opened(port) as connection:  # after a request that was answered
            assert answer(connection).endswith(b"ok")
            connection.sendall(HEAD)
            assert closed(connection)


def test_a_head_that_comes_byte_by_byte_has_no_more_time() -> None:
    with listening(0.5, 100) as port, opened(port) as connection:
        connection.settimeout(0.1)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                connection.sendall(b"a")
                if connection.recv(4096) == b"":
                    return
            except TimeoutError:
                continue
            except OSError:
                return
        raise AssertionError("the connection is open for as long as its client sends a byte now and then")


def test_a_connection_whose_requests_come_in_time_stays() -> None:
    with listening(1.0, 100) as port, opened(port) as connection:
        for _ in range(4):
            assert answer(connection).endswith(b"ok")
            time.sleep(0.4)


def test_of_too_many_connections_the_one_that_is_idle_longest_goes() -> None:
    """Idle connections cannot keep a probe out."""
    with listening(60, 2) as port, ExitStack() as stack:
        connections = [stack.enter_context(opened(port)) for _ in range(2 + RESERVE)]
        for connection in (*connections[1:], connections[0]):  # so the second has been idle for the longest
            assert answer(connection).endswith(b"ok")
        later = [stack.enter_context(opened(port)) for _ in range(3)]
        for connection in later:
            assert answer(connection).endswith(b"ok")
        for connection in connections[1:4]:
            assert closed(connection)
        for connection in (connections[4], connections[-1], connections[0]):
            assert answer(connection).endswith(b"ok")


def test_the_server_itself_has_these_bounds() -> None:
    with running("--receive-timeout-s", "0.5", toy={}) as server:
        port = int(server.host.rpartition(":")[2])
        with opened(port) as connection:
            connection.sendall(b"POST /v1/generate HTTP/1.1\r\nHost: x\r\n")
            assert closed(connection)
