"""Bodies and messages that are too large, too deep, too slow or no text at all."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import connect

from f5_tts_server.text import Composer
from tests.server import ServerThread, serving
from tests.toy_programs import ToyPrograms

BODIES = {
    "/v1/generate": "gen_text",
    "/v1/audio/speech": "input",
    "/v1/text-to-speech/ada": "text",
}
JSON = {"content-type": "application/json"}


def message_of(reply: httpx.Response) -> str:
    body = reply.json()
    return str((body.get("error") or body["detail"])["message"])


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("body", [b"[" * 2**24, b"{}," * 2**22, b'"\\u0041' * 2**20], ids=["deep", "wide", "escapes"])
def test_a_body_of_structure_is_refused_before_it_is_parsed(
    server: ServerThread, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes
) -> None:
    """16 MB of brackets held the event loop for 4.7 s: parsed, and then quoted whole in the error."""
    parsed: list[int] = []
    loads = json.loads

    def counted(text: str | bytes, **options: Any) -> Any:
        parsed.append(len(text))
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", counted)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        try:
            reply = client.post(path, content=body, headers=JSON)
        except httpx.WriteError:
            return  # the connection was closed before all of it was sent
    assert max(parsed, default=0) < 2**20
    assert reply.status_code == 413
    assert "limit" in message_of(reply) or "more than" in message_of(reply)


@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_is_nested_too_deeply_is_no_fault_of_the_server(client: httpx.Client, path: str) -> None:
    body = b'{"' + BODIES[path].encode() + b'": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert client.post(path, content=body, headers=JSON).status_code in (400, 422)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("character", [",", '"', "\\", "\U0001f600", "[", "é"])
def test_every_text_within_its_limit_fits(client: httpx.Client, path: str, character: str) -> None:
    """However it is escaped: the limits of bodies are no second limit of texts."""
    length = {"/v1/audio/speech": 4096}.get(path, 10_000)
    body = json.dumps({"model": "m", BODIES[path]: character * length})
    if path == "/v1/generate":
        body = json.dumps({BODIES[path]: character * length})
    reply = client.post(path, content=body, headers=JSON, timeout=60)
    assert reply.status_code in (200, 400, 422), reply.text  # what the text's own limits and the model say to it


def test_text_bodies_have_a_limit_of_their_own(client: httpx.Client) -> None:
    """Bodies that cannot hold audio have no reason to be as large as those that can.

    The refusal once closed the connection while the client still sent: it saw a reset, and a proxy before it said 502.
    """
    padding = " " * 2**20
    for path, field in BODIES.items():
        reply = client.post(path, content=f'{{"{field}": "..."{padding}}}', headers=JSON)
        assert reply.status_code == (422 if path == "/v1/generate" else 413)


@pytest.mark.parametrize("value", ["x" * 100_000, ["y"] * 1000, {"z" * 100_000: 1}, "\u00e9" * 5000])
def test_errors_quote_little_of_a_value(client: httpx.Client, value: object) -> None:
    for body in ({"gen_text": "Hello.", "response_format": value}, {"gen_text": "Hello.", "x" * 50_000: value}):
        reply = client.post("/v1/generate", json=body)
        assert reply.status_code == 422
        assert len(reply.content) < 1500


def test_a_body_of_unknown_fields_gets_one_error(client: httpx.Client) -> None:
    reply = client.post("/v1/generate", json={"gen_text": "Hello.", **{f"f{n}": n for n in range(5000)}})
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "f0")
    other_name = client.post("/v1/generate", json={"gen_text": "Hello.", "language_code": "en", "f1": 1})
    assert (other_name.status_code, other_name.json()["error"]["param"]) == (422, "f1")


# time


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    """A server that waits a second for what it is sent."""
    with serving(tmp_path_factory.mktemp("hasty"), ToyPrograms(), receive_timeout_s=1.0) as running:
        yield running


def raw(server: ServerThread) -> socket.socket:
    host, port = server.host.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def until_closed(connection: socket.socket) -> bytes:
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize("path", BODIES)
def test_half_a_body_is_not_waited_for(hasty: ServerThread, path: str) -> None:
    """1,000 of 1,000 connections with half a body were still open after 40 s."""
    with raw(hasty) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b'{"')
        reply = until_closed(connection)
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"did not come within 1 s" in reply


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/audio/voices", "/v1/audio/voice_consents", "/v1/voices/add", "/v1/generate"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault_of_the_server(
    server: ServerThread, path: str
) -> None:
    """Where a route reads its body itself, each upload that was broken off left a traceback in the log, as an error. Found by
    tests.soak."""
    kind = b"application/json" if path == "/v1/generate" else b"multipart/form-data; boundary=x"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "client": ("127.0.0.1", 1), "server": ("x", 80),
        "headers": [(b"host", b"x"), (b"content-type", kind), (b"content-length", b"1000")],
    }  # fmt: skip
    messages: Iterator[dict[str, Any]] = iter(
        [{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}]
    )
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await server.app(scope, receive, send)  # raised what uvicorn then logs
    assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [400]


def test_a_large_body_has_the_time_it_takes(hasty: ServerThread) -> None:
    """The deadline grows with what has come; a body may be slow as long as it comes."""
    body = b'{"gen_text": "' + b" " * 60_000 + b'..."}'
    with raw(hasty) as connection:
        head = "POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        for start in range(0, len(body), 10_000):
            connection.sendall(body[start : start + 10_000])
            time.sleep(0.25)
        reply = until_closed(connection)
    assert reply.startswith(b"HTTP/1.1 422 ")


SOCKETS = [
    "/v1/audio/speech/stream",
    "/v1/text-to-speech/ada/stream-input",
    "/v1/text-to-speech/ada/multi-stream-input",
]


@pytest.mark.parametrize("path", SOCKETS)
def test_a_socket_without_a_first_message_is_closed(hasty: ServerThread, path: str) -> None:
    with connect(f"ws://{hasty.host}{path}", open_timeout=20) as connection:
        assert "no message came for 1 s" in connection.recv(timeout=20)
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=20)


# messages of sockets


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("[" * 60_000, "nested too deeply"),
        ('{"text": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested too deeply"),
        ('{"text": "\\ud800", "type": "session.config"}', "surrogate"),
        ('{"type": "\\udfff"}', "surrogate"),
        ('{"type": "session.config", "voice": "[pause:\\ud800]"}', "surrogate"),
    ],
)
def test_messages_that_broke_a_connection_off_are_answered(
    server: ServerThread, path: str, message: str, words: str
) -> None:
    with connect(f"ws://{server.host}{path}", open_timeout=20) as connection:
        connection.send(message)
        assert words in json.loads(connection.recv(timeout=20))["message"]


@pytest.mark.parametrize("path", SOCKETS)
def test_marks_with_half_a_pair_are_answered_in_mid_text(server: ServerThread, path: str) -> None:
    """The refusal of `[pause:\\ud800]` quoted it in the reason of the close frame, which could not be encoded."""
    with connect(f"ws://{server.host}{path}", open_timeout=20) as connection:
        connection.send('{"type": "session.config", "text": " "}')
        connection.send('{"type": "input.text", "text": "One. [pause:\\ud800] Two. "}')
        assert "surrogate" in json.loads(connection.recv(timeout=20))["message"]


@pytest.mark.parametrize("value", ["nan", "-nan", "soon", ""])
@pytest.mark.parametrize("path", SOCKETS[1:])
def test_a_time_that_is_no_number_is_told(server: ServerThread, path: str, value: str) -> None:
    with connect(f"ws://{server.host}{path}?inactivity_timeout={value}", open_timeout=20) as connection:
        assert "is no number of seconds" in json.loads(connection.recv(timeout=20))["message"]
        with pytest.raises(ConnectionClosedError):
            connection.recv(timeout=20)


@pytest.mark.parametrize("path", SOCKETS)
def test_a_fault_of_the_server_closes_a_socket_with_a_reason(
    server: ServerThread, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The connection was just cut, which a client cannot tell from a broken line."""

    def broken(self: Composer, text: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Composer, "parts", broken)
    with connect(f"ws://{server.host}{path}", open_timeout=20) as connection:
        connection.send('{"type": "session.config", "text": " "}')
        connection.send('{"type": "input.text", "text": "A whole sentence is here. And more "}')
        with pytest.raises(ConnectionClosed) as caught:
            while True:
                connection.recv(timeout=20)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    assert "the server's log says why" in caught.value.rcvd.reason
