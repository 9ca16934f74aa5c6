"""nginx and Envoy with the configurations that ship, before a real server. Skipped where they are not installed.

`make replicas` brings Envoy.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.server import Server, ServerProcess, running

DEPLOY = Path(__file__).parents[2] / "deploy"
LONG = "The river went on past the mill. " * 20


@contextmanager
def proxied(kind: str, server: ServerProcess, folder: Path) -> Iterator[Server]:
    """The proxy before the server, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host, upstream = server.host.split(":")
    if kind == "nginx":
        text = (DEPLOY / "nginx.conf").read_text("utf-8")
        text = text.replace("speech:8000", server.host).replace("listen 8080", f"listen 127.0.0.1:{port}")
        text = text.replace("/tmp/", f"{folder}/")
        config = folder / "nginx.conf"
        command = ["nginx", "-c", str(config), "-g", "daemon off;"]
    else:
        text = (DEPLOY / "envoy.yaml").read_text("utf-8")
        text = text.replace("address: speech, port_value: 8000", f"address: {host}, port_value: {upstream}")
        text = text.replace("address: 0.0.0.0, port_value: 8080", f"address: 127.0.0.1, port_value: {port}")
        config = folder / "envoy.yaml"
        command = ["envoy", "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    config.write_text(text, "utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            proxy = Server(f"http://127.0.0.1:{port}")
            end = time.monotonic() + 60
            while not _answers(proxy):
                assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text("utf-8")
                time.sleep(0.1)
            yield proxy
        finally:
            process.terminate()
            process.wait(30)


def _answers(proxy: Server) -> bool:
    try:
        return httpx.get(f"{proxy.url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running("--grace-s", "30", toy={"step_s": 0.02}) as server:
        yield server


@pytest.fixture(scope="module", params=["nginx", "envoy"])
def proxy(
    request: pytest.FixtureRequest, server: ServerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    kind: str = request.param
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    with proxied(kind, server, tmp_path_factory.mktemp(kind)) as proxy:
        yield proxy


def test_events_pass_while_the_rest_is_being_made(proxy: Server, server: ServerProcess) -> None:
    """The first audio is through the proxy while the server still works on the request."""
    body = {"gen_text": LONG, "num_inference_steps": 32, "seed": 1}
    with httpx.stream("POST", f"{proxy.url}/v1/generate/stream", json=body, timeout=60) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        assert json.loads(next(lines).removeprefix("data: "))["audio_chunk"]
        assert server.active() == 1
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert events[-1]["is_final"]


def test_the_request_id_and_a_refusal_are_the_servers_own(proxy: Server) -> None:
    reply = httpx.post(f"{proxy.url}/v1/generate", json={"gen_text": ""}, headers={"X-Request-ID": "mine-1"})
    assert reply.status_code == 422
    assert reply.headers["x-request-id"] == reply.json()["error"]["request_id"] == "mine-1"


def test_a_body_over_the_limit_is_refused_in_json(proxy: Server) -> None:
    """With the server's limit below nginx's, the server's early refusal cut the upload off and clients saw a 502."""
    reply = httpx.post(f"{proxy.url}/v1/generate", content=b"{" + b" " * (2**24 + 1), timeout=60)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (413, "body_too_large"), error


def test_websockets_pass(proxy: Server) -> None:
    kinds: list[str] = []
    with connect(f"ws://{proxy.host}/v1/audio/speech/stream", open_timeout=20) as socket:
        socket.send(json.dumps({"type": "session.config", "voice": "ada", "response_format": "pcm"}))
        socket.send(json.dumps({"type": "input.text", "text": "Hello you. "}))
        socket.send(json.dumps({"type": "input.done"}))
        while kinds[-1:] not in (["session.done"], ["error"]):
            message = socket.recv(timeout=30)
            kinds.append(json.loads(message)["type"] if isinstance(message, str) else "bytes")
    assert "audio.start" in kinds and kinds[-1] == "session.done", kinds
