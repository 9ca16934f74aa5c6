"""Keys, rate limit and CORS."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from f5_tts_server.api import access as access_module
from f5_tts_server.api.access import MOST_KEYLESS, Access, read_keys
from f5_tts_server.app import create_app
from f5_tts_server.engine.usage import Usage
from f5_tts_server.inference_types import SamplingDefaults
from f5_tts_server.json_log import JsonFormatter
from f5_tts_server.settings import Settings
from f5_tts_server.voices.store import VoiceStore
from tests.server import ServerThread
from tests.toy_programs import ToyPrograms

KEYS = ("first-secret-key", "second-secret-key")


def test_without_a_key_only_probes_and_the_page_answer(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=KEYS)
    body = {"model": "m", "input": "Hello there."}
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for path in ("/", "/livez", "/readyz", "/v1/health", "/metrics", "/static/icon.svg"):
            assert client.get(path).status_code == 200, path
        for path in ("/v1/models", "/v1/audio/voices", "/v1/nothing"):
            assert client.get(path).status_code == 401, path
        refused = client.post("/v1/audio/speech", json=body, headers={"Authorization": "Bearer wrong"})
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
        for key in KEYS:
            assert client.get("/v1/models", headers={"Authorization": f"bearer {key}"}).status_code == 200
            assert client.get("/v1/models", headers={"xi-api-key": key}).status_code == 200
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://{server.host}/v1/audio/speech/stream", open_timeout=20)
    assert caught.value.response.status_code == 403
    with connect(
        f"ws://{server.host}/v1/audio/speech/stream", additional_headers={"Authorization": f"Bearer {KEYS[0]}"}
    ):
        pass


def test_a_server_with_keys_takes_no_empty_or_partial_key() -> None:
    access = Access(KEYS, None)
    assert access.knows(KEYS[1])
    for wrong in (None, "", KEYS[0][:-1], KEYS[0] + " ", "é", "\udce9"):
        assert not access.knows(wrong)
    assert Access((), None).knows(None)


def test_keys_come_from_settings_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfile-secret-key\n\n  spaced-secret-key  \n")
    assert read_keys(["listed-secret-key"], file) == ("listed-secret-key", "file-secret-key", "spaced-secret-key")
    with pytest.raises(ValueError, match="8 characters"):
        read_keys(["short"], None)
    file.write_text("# nothing\n")
    with pytest.raises(ValueError, match="no API key"):
        read_keys([], file)


def test_an_allowance_fills_up_evenly_for_each_caller() -> None:
    access = Access((), 60)
    assert [access.spend("a", 0.0) for _ in range(60)] == [0.0] * 60
    assert access.spend("a", 0.0) == pytest.approx(1.0)
    assert access.spend("b", 0.0) == 0.0
    assert access.spend("a", 0.5) == pytest.approx(0.5)
    assert access.spend("a", 1.01) == 0.0
    assert [access.spend("a", 1000.0) for _ in range(61)][-1] > 0


def test_over_the_rate_limit_the_reply_says_when_to_come_back(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=KEYS, rate_limit=2)
    with httpx.Client(base_url=server.url) as client:
        first, second = ({"Authorization": f"Bearer {key}"} for key in KEYS)
        assert [client.get("/v1/models", headers=first).status_code for _ in range(3)] == [200, 200, 429]
        reply = client.get("/v1/models", headers=first)
        assert 1 <= int(reply.headers["retry-after"]) <= 31
        assert reply.json()["error"]["type"] == "rate_limit_error"
        assert client.get("/v1/models", headers=second).status_code == 200
        assert {client.get("/livez").status_code for _ in range(5)} == {200}


def test_cors_is_off_unless_asked_for(serve: Callable[..., ServerThread], client: httpx.Client) -> None:
    origin = {"Origin": "https://app.example"}
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
    server = serve(cors_origins=("https://app.example",), api_keys=KEYS)
    with httpx.Client(base_url=server.url) as allowed:
        preflight = allowed.options(
            "/v1/audio/speech",
            headers={
                **origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        refused = allowed.get("/v1/models", headers=origin)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example"
        other = allowed.get("/v1/models", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("host", "keys", "warned"),
    [
        ("127.0.0.1", (), False),
        ("::1", (), False),
        ("localhost", (), False),
        ("0.0.0.0", (), True),
        ("0.0.0.0", KEYS, False),
    ],
)
def test_an_open_port_without_keys_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, keys: tuple[str, ...], warned: bool
) -> None:
    caplog.set_level(logging.WARNING)
    create_app(
        Settings(host=host, api_keys=keys, compilation_cache=None),
        load=lambda _: ToyPrograms(),
        defaults=lambda _: SamplingDefaults(),
        voices=VoiceStore(None, tmp_path),
    )
    assert ("without API keys" in caplog.text) is warned


def test_wrong_keys_count_against_the_rate_limit_of_their_address(serve: Callable[..., ServerThread]) -> None:
    """They did not, so that keys could be tried as fast as the network allows."""
    server = serve(api_keys=KEYS, rate_limit=3)
    with httpx.Client(base_url=server.url) as client:
        guesses = [client.get("/v1/models", headers={"xi-api-key": f"guess-{n}"}) for n in range(5)]
        assert [reply.status_code for reply in guesses] == [401, 401, 401, 429, 429]
        assert int(guesses[-1].headers["retry-after"]) >= 1
        right = client.get("/v1/models", headers={"Authorization": f"Bearer {KEYS[0]}"})
        assert right.status_code == 200, "who has a key is not locked out by others at the same address"


def test_late_wrong_keys_count_too(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=KEYS, rate_limit=4)
    told = []
    for number in range(4):  # each is a call of its address, and a wrong key of it
        try:
            with connect(f"ws://{server.host}/v1/text-to-speech/ada/stream-input", open_timeout=20) as socket:
                socket.send(json.dumps({"text": " ", "xi_api_key": f"guess-{number}"}))
                told.append(json.loads(socket.recv(timeout=20))["error"])
        except InvalidStatus:
            told.append("refused")
    assert told == ["invalid_api_key", "invalid_api_key", "refused", "refused"]


SOCKETS = ("/v1/audio/speech/stream", "/v1/text-to-speech/ada/stream-input")


@pytest.mark.parametrize("path", SOCKETS)
def test_pages_of_other_origins_open_no_socket(serve: Callable[..., ServerThread], path: str) -> None:
    """Browsers apply no rule of their own to WebSockets: any page could have spoken through a server on this machine."""
    server = serve(cors_origins=("https://app.example",))
    with connect(f"ws://{server.host}{path}", open_timeout=20):
        pass  # no browser
    for origin in (f"http://{server.host}", f"https://{server.host}", "https://app.example"):
        with connect(f"ws://{server.host}{path}", origin=Origin(origin), open_timeout=20):
            pass
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "https://app.example.evil"):
        with pytest.raises(InvalidStatus) as caught:
            connect(f"ws://{server.host}{path}", origin=Origin(origin), open_timeout=20)
        assert caught.value.response.status_code == 403


def test_connections_without_a_key_are_few(serve: Callable[..., ServerThread]) -> None:
    """300 of 300 were accepted and held: the key may come in the first message, so that they could not be refused."""
    server = serve(api_keys=KEYS)
    path = f"ws://{server.host}/v1/text-to-speech/ada/stream-input"
    with ExitStack() as stack:
        for _ in range(MOST_KEYLESS):
            stack.enter_context(connect(path, open_timeout=20))
        with connect(path, open_timeout=20) as socket:
            assert json.loads(socket.recv(timeout=20))["error"] == "too_many_connections"
        with connect(path, additional_headers={"xi-api-key": KEYS[0]}, open_timeout=20) as socket:
            socket.send(json.dumps({"text": " "}))
            socket.send(json.dumps({"text": ""}))
            assert json.loads(socket.recv(timeout=20))["isFinal"]


def test_what_is_open_is_bounded_and_probes_are_answered(serve: Callable[..., ServerThread]) -> None:
    server = serve(max_connections=3)
    path = f"ws://{server.host}/v1/audio/speech/stream"
    with httpx.Client(base_url=server.url, timeout=30) as client:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(connect(path, open_timeout=20))
            full = client.post("/v1/text-to-speech/ada", json={"text": "Hello."})
            assert (full.status_code, full.headers["retry-after"]) == (503, "1")
            assert full.json()["detail"]["status"] == "too_many_connections"
            with pytest.raises(InvalidStatus):
                connect(path, open_timeout=20)
            for probe in ("/livez", "/readyz", "/v1/health", "/metrics"):
                assert client.get(probe).status_code == 200
        until = time.monotonic() + 30
        while client.get("/v1/models").status_code != 200:
            assert time.monotonic() < until, "connections that are closed still count"


def test_keys_have_names_and_the_file_is_read_again(
    serve: Callable[..., ServerThread],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A new key once took a restart. A file that is emptied by mistake must not open the server."""
    monkeypatch.setattr(access_module, "RELOAD_S", 0.0)
    file = tmp_path / "keys"
    file.write_text("ada key-of-ada-1\nnameless-key\n")
    server = serve(api_keys_file=file)
    with httpx.Client(base_url=server.url, timeout=30) as client:

        def status(key: str) -> int:
            reply = client.post(
                "/v1/audio/speech",
                json={"model": "m", "input": "Hello there."},
                headers={"Authorization": f"Bearer {key}"},
            )
            return reply.status_code

        assert (status("key-of-ada-1"), status("nameless-key"), status("key-of-ben-1"), status("ada")) == (
            200,
            200,
            401,
            401,
        )
        file.write_text("ada key-of-ada-2\nben key-of-ben-1\n")
        assert (status("key-of-ada-1"), status("key-of-ada-2"), status("key-of-ben-1")) == (401, 200, 200)
        file.write_text("")
        assert (status("key-of-ben-1"), status("wrong-key")) == (200, 401)
        file.unlink()
        assert (status("key-of-ben-1"), status("wrong-key")) == (200, 401)
        metrics = client.get("/metrics").text
    assert 'f5_key_characters_total{key="ada"} 24.0' in metrics
    assert 'f5_key_audio_seconds_total{key="ben"}' in metrics
    name = f"key-{hashlib.sha256(b'nameless-key').hexdigest()[:8]}"
    assert f'f5_key_characters_total{{key="{name}"}} 12.0' in metrics
    assert not any(key in metrics + caplog.text for key in ("key-of-ada", "key-of-ben", "nameless-key"))


def test_limits_of_a_key(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("ada key-of-ada-1", "ben key-of-ben-1"), key_audio_s=0.5)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        body = {"model": "m", "input": "A sentence that takes longer than half a second."}
        ada, ben = ({"Authorization": f"Bearer key-of-{name}-1"} for name in ("ada", "ben"))
        assert client.post("/v1/audio/speech", json=body, headers=ada).status_code == 200
        refused = client.post("/v1/audio/speech", json=body, headers=ada)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "audio_limit_exceeded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert client.post("/v1/audio/speech", json=body, headers=ben).status_code == 200


def test_open_requests_of_a_caller_are_bounded_and_audio_comes_back_with_time() -> None:
    usage = Usage()
    ask = partial(usage.refusal, concurrent=2, audio_s=60)
    for _ in range(2):
        assert ask("ada", 0) is None
        usage.began("ada")
    refusal = ask("ada", 0)
    assert refusal is not None and refusal.code == "too_many_requests_of_key"
    assert ask("ben", 0) is None and ask("", 0) is None
    usage.ended("ada", 90, 0, audio_s=60)  # 60 were left: 30 in debt, which a second pays one of
    refusal = ask("ada", 0)
    assert refusal is not None and refusal.retry_after == 31
    assert ask("ada", 31) is None


def test_log_lines_as_json() -> None:
    record = logging.LogRecord("f5.http", logging.INFO, "", 0, "said %s", ("“hi”\nthere",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line).items() >= {"level": "info", "logger": "f5.http", "message": "said “hi”\nthere"}.items()
