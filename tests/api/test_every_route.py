"""What holds of every route and socket that the application has, also of those that are added later.

Routes are found by walking the application, so that one that is forgotten by a rule fails here without a test of its own.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from f5_tts_server.api.request_id import RequestIdFilter
from f5_tts_server.app import LogFormatter
from tests.server import ServerThread
from tests.soak_clients import PROTOCOLS

KEY = "a-secret-key"
OPEN = {
    "/", "/livez", "/readyz", "/v1/health", "/metrics", "/docs", "/openapi.json", "/favicon.ico", "/static/{name}",
}  # fmt: skip
"""What answers without a key, written down here a second time on purpose."""
SILENT = {
    "/v1/audio/voices/import", "/v1/audio/voice_consents", "/v1/audio/voice_consents/{consent_id}",
    "/v1/batches/{batch_id}/cancel", "/v1/jobs/{job_id}/cancel", "/v1/pronunciation-dictionaries/add-from-rules",
    "/v1/voices/add", "/v1/voices/{voice_id}/edit", "/v1/voices/{voice_id}/settings/edit",
}  # fmt: skip
"""What is posted and speaks nothing."""
FORGED = "2026-01-01 00:00:00,000 CRITICAL forged"


def routes(parent: Any) -> Iterator[Any]:
    """All routes, those of included routers too."""
    for route in parent.routes:
        inside = getattr(route, "original_router", route)
        if hasattr(inside, "routes"):
            yield from routes(inside)
        else:
            yield route


def calls(server: ServerThread) -> list[tuple[str, str]]:
    """Method and path, with parameters in braces, of every HTTP route."""
    found = [(m, r.path) for r in routes(server.app) if not isinstance(r, WebSocketRoute) for m in sorted(r.methods)]
    assert ("POST", "/v1/generate") in found and ("GET", "/v1/audio/voices") in found, "the walk finds nothing"
    return found


def sockets(server: ServerThread) -> list[str]:
    found = [filled(route.path) for route in routes(server.app) if isinstance(route, WebSocketRoute)]
    assert len(found) >= 3, "the walk finds no sockets"
    return found


def filled(path: str, value: str = "ada") -> str:
    return re.sub(r"\{[^}]*\}", value, path)


def test_every_route_and_socket_that_speaks_is_in_the_soak(server: ServerThread) -> None:
    """Batches, edits and several sockets had been forgotten there."""
    found = {path for method, path in calls(server) if method == "POST"}
    found |= {route.path for route in routes(server.app) if isinstance(route, WebSocketRoute)}
    asked = {path for paths in PROTOCOLS.values() for path in paths}
    assert asked == found - SILENT


def test_every_route_but_the_probes_and_the_page_needs_a_key(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=(KEY,))
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for method, path in calls(server):
            status = client.request(method, filled(path)).status_code
            assert (status != 401) if path in OPEN else (status == 401), f"{method} {path}: {status}"
            if path not in OPEN:
                right = client.request(method, filled(path), headers={"xi-api-key": KEY}).status_code
                assert right != 401, f"{method} {path} with a key: {right}"


def test_every_socket_needs_a_key(serve: Callable[..., ServerThread]) -> None:
    """Before it is opened or, for clients that send theirs in the first message, before anything is done."""
    server = serve(api_keys=(KEY,))
    for path in sockets(server):
        try:
            with connect(f"ws://{server.host}{path}", open_timeout=20) as socket:
                socket.send(json.dumps({"text": "Hello. ", "type": "session.config"}))
                told = json.loads(socket.recv(timeout=20))
                assert "invalid_api_key" in str(told.get("error")), f"{path}: {told}"
                with pytest.raises(ConnectionClosed):
                    socket.recv(timeout=20)
        except InvalidStatus as refused:
            assert refused.response.status_code == 403, path
        with pytest.raises(InvalidStatus):
            connect(f"ws://{server.host}{path}", additional_headers={"xi-api-key": "wrong-key"}, open_timeout=20)


def test_no_socket_opens_for_a_page_of_another_origin(server: ServerThread) -> None:
    for path in sockets(server):
        for origin in ("https://evil.example", "null", f"http://{server.host}.evil.example"):
            with pytest.raises(InvalidStatus) as caught:
                connect(f"ws://{server.host}{path}", origin=Origin(origin), open_timeout=20)
            assert caught.value.response.status_code == 403, f"{path} for {origin}"


def series(client: httpx.Client) -> set[str]:
    """Names and labels of all that is counted."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0] for line in lines if line and not line.startswith("#")}


def test_nothing_that_a_caller_sends_makes_a_new_series(server: ServerThread, client: httpx.Client) -> None:
    """Paths, methods, voices, models, formats, ids and agents are the caller's: a label of them would grow for ever."""
    client.post("/v1/generate", json={"gen_text": "Hello."})
    before = series(client)
    for number in range(3):
        odd = f"odd{number}"
        headers = {"X-Request-ID": odd, "User-Agent": odd, "xi-api-key": odd, "Origin": f"https://{odd}.example"}
        for method, path in calls(server):
            client.request(method, filled(path, odd), json={"text": "Hi."}, headers=headers)
        client.request(f"ODD{number}", "/v1/generate", headers=headers)
        client.get(f"/{odd}/{odd}?{odd}={odd}", headers=headers)
        body = {"input": "Hi.", "model": odd, "voice": odd, "response_format": odd, "language": odd}
        for path in ("/v1/audio/speech", f"/v1/text-to-speech/{odd}?output_format={odd}&model_id={odd}"):
            client.post(path, json=body, headers=headers)
        client.post("/v1/generate", json={"gen_text": "Hi.", "voice": odd, "response_format": odd}, headers=headers)
    assert series(client) == before


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the log says meanwhile, as the product writes it."""
    file = io.StringIO()
    handler = logging.StreamHandler(file)
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(LogFormatter())
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield file
    root.removeHandler(handler)
    root.setLevel(level)


def test_no_value_of_a_caller_begins_a_line(server: ServerThread, client: httpx.Client, written: io.StringIO) -> None:
    """A line break in a value looked like a record of the log; none may look like a header of the reply either."""
    broken = f"a\r\n{FORGED}\r\nX-Forged: 1"
    quoted = "a%0d%0aX-Forged:%201"
    for method, path in calls(server):
        for body in ({"gen_text": broken, "voice": broken}, {"text": broken}, {"input": broken, "voice": broken}):
            reply = client.request(method, f"{filled(path, quoted)}?output_format={quoted}&x={quoted}", json=body)
            assert "x-forged" not in reply.headers, f"{method} {path}"
            assert reply.status_code < 500 or reply.status_code == 501, f"{method} {path}: {reply.text}"
    logging.getLogger("f5.engine").info(
        "failed: %s", f"no voice {broken}\u2028{FORGED}\x1b[2J", extra={"request_id": "r"}
    )
    lines = written.getvalue().splitlines()
    assert any("no voice a" in line for line in lines)
    assert not [line for line in lines if line.startswith((FORGED, "X-Forged"))]
    assert "\x1b" not in written.getvalue()


def test_no_path_leads_out_of_where_it_should(server: ServerThread, client: httpx.Client) -> None:
    ups = ("../", "..%2f", "%2e%2e/", "..%5c", "....//", "%00", "/etc/passwd", "C:%5c")
    for method, path in calls(server):
        if "{" not in path:
            continue
        for up in ups:
            reply = client.request(method, filled(path, f"{up * 4}etc/passwd"))
            assert "root:" not in reply.text, f"{method} {path} {up}"
            assert reply.status_code < 500 or reply.status_code == 501, f"{method} {path} {up}: {reply.text}"


HOSTILE = {
    "deep": "[" * 30_000,
    "digits": '{"gen_text": "x", "seed": ' + "9" * 10_000 + "}",
    "exponent": '{"gen_text": "x", "guidance_scale": 1e999999}',
    "marks": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "a [pause:0.01] " * 1000)),
    "open marks": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "[pause:" * 1400)),
    "tags": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "<break time='1s'" * 600)),
    "opening tags": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "<speak>" + "<s>" * 3000)),
    "bangs": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "!" * 9999)),
    "letters": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "a" * 9999)),
    "points": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "1.1," * 2499)),
    "a number": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "9" * 9999)),
    "spaces": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "a" + " " * 9990 + "b")),
    "combining": json.dumps(dict.fromkeys(("gen_text", "text", "input", "subtitles"), "e" + "́" * 9990)),
    "keys": json.dumps({"gen_text": "x", **{f"k{n}": n for n in range(9000)}}),
    "base64": json.dumps({"gen_text": "x", "ref_text": "x", "ref_audio_base64": "A" * 3_000_000}),
    "no base64": json.dumps({"gen_text": "x", "ref_text": "x", "ref_audio_base64": "!" * 3_000_000}),
    "surrogates": '{"gen_text": "' + "\\ud800" * 3000 + '", "text": "\\udc00", "input": "\\udfff"}',
    "words": json.dumps({"gen_text": "x", "pronunciations": {f"w{n}": "x" for n in range(2000)}}),
}


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """Processor seconds of each callback of every event loop, most first: waiting for a turn of the processor is not
    counted, so that it does not matter what else the machine does."""
    seen: list[tuple[float, str]] = []
    original = asyncio.events.Handle._run  # type: ignore[attr-defined]

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        original(handle)
        seen.append((time.thread_time() - began, repr(handle)[:300]))
        seen.sort(key=lambda each: -each[0])
        del seen[5:]

    monkeypatch.setattr(asyncio.events.Handle, "_run", measured)
    return seen


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_holds_the_event_loop(
    server: ServerThread, client: httpx.Client, longest: list[tuple[float, str]], name: str
) -> None:
    """Not for 50 ms of the processor, whatever is sent to whichever route; and none of it is a fault of the server."""
    headers = {"Content-Type": "application/json"}
    for method, path in calls(server):
        if method != "POST":
            continue

        try:
            reply = client.post(filled(path), content=HOSTILE[name].encode(), headers=headers)
        except (httpx.ReadError, httpx.WriteError):
            assert len(HOSTILE[name]) > 100_000, path  # refused, and closed before all of it was sent
            continue
        assert reply.status_code < 500 or reply.status_code == 501, f"{path}: {reply.text[:300]}"

    if name not in ("base64", "no base64"):
        for path in sockets(server):
            with connect(f"ws://{server.host}{path}", open_timeout=20, max_size=None) as socket:
                try:
                    socket.send(HOSTILE[name].replace("gen_text", "text", 1))
                    socket.recv(timeout=2)
                except (ConnectionClosed, TimeoutError):
                    pass
    seconds, where = longest[0]
    assert seconds < 0.05, f"{1e3 * seconds:.0f} ms in {where}"
