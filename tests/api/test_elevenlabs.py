"""ElevenLabs' API, used by its official Python SDK."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import queue
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import VoiceSettings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.ffmpeg import decode
from tests.server import ServerThread
from tests.toy_programs import ToyPrograms

# The SDK reads an attribute that its websockets library gives up.
pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")

TEXT = "The first sentence is here. The second one follows it."


@pytest.fixture
def sdk(server: ServerThread) -> Iterator[ElevenLabs]:
    with httpx.Client(timeout=30) as client:
        sdk = ElevenLabs(base_url=server.url, api_key="anything", httpx_client=client)
        # The SDK turns any base address into wss; this server speaks without TLS here.
        sdk.text_to_speech._ws_base_url = server.url.replace("http", "ws")
        yield sdk


def test_sdk_convert(sdk: ElevenLabs) -> None:
    data = b"".join(sdk.text_to_speech.convert("ada", text=TEXT, model_id="eleven_turbo_v2_5"))
    assert len(decode("mp3", data)) > 24_000


def test_sdk_stream(sdk: ElevenLabs, client: httpx.Client) -> None:
    data = b"".join(sdk.text_to_speech.stream("ada", text=TEXT, output_format="pcm_24000", seed=5))
    body = {"model": "m", "input": TEXT, "voice": "ada", "response_format": "pcm", "seed": 5}
    assert data == client.post("/v1/audio/speech", json=body).content


def test_sdk_streams_text_as_it_is_written(sdk: ElevenLabs) -> None:
    def words() -> Iterator[str]:
        for word in TEXT.split(" "):
            yield f"{word} "

    settings = VoiceSettings(speed=1.1)
    pieces = list(
        sdk.text_to_speech.convert_realtime("ada", text=words(), output_format="pcm_24000", voice_settings=settings)
    )
    assert len(pieces) > 2
    assert len(b"".join(pieces)) > 2 * 24_000


def test_sdk_realtime_mp3_is_one_file(sdk: ElevenLabs) -> None:
    data = b"".join(sdk.text_to_speech.convert_realtime("ada", text=iter([TEXT])))
    assert len(decode("mp3", data)) > 24_000


def test_sdk_errors(sdk: ElevenLabs) -> None:
    with pytest.raises(ApiError) as caught:
        b"".join(sdk.text_to_speech.convert("nobody", text=TEXT))
    assert caught.value.status_code == 404
    assert "nobody" in caught.value.body["detail"]["message"]
    with pytest.raises(ApiError) as caught:
        b"".join(sdk.text_to_speech.convert_realtime("nobody", text=iter([TEXT])))
    assert "nobody" in str(caught.value.body)


def test_sdk_lists_voices(sdk: ElevenLabs) -> None:
    voices = sdk.voices.get_all().voices
    assert [(voice.voice_id, voice.name) for voice in voices][:3] == [("ada", "Ada"), ("ben", "Ben"), ("cleo", "Cleo")]


def open_socket(server: ServerThread, query: str = "output_format=pcm_24000") -> ClientConnection:
    return connect(f"ws://{server.host}/v1/text-to-speech/ada/stream-input?{query}", open_timeout=20)


def say(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def hear(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=20))
    return message


def test_flush_speaks_before_the_text_ends(server: ServerThread) -> None:
    with open_socket(server) as socket:
        say(socket, text=" ")
        say(socket, text="No full stop yet, ", flush=True)
        assert base64.b64decode(hear(socket)["audio"])
        say(socket, text="")
        while not (message := hear(socket)).get("isFinal"):
            pass
        assert message["audio"] is None
        with pytest.raises(ConnectionClosed):
            hear(socket)


def test_an_empty_text_ends_at_once(server: ServerThread) -> None:
    with open_socket(server) as socket:
        say(socket, text=" ")
        say(socket, text="")
        assert hear(socket) == {"audio": None, "isFinal": True}


@pytest.mark.parametrize("query", ["output_format=pcm_16000", "output_format=ulaw_8000"])
def test_formats_that_are_not_made_are_refused(server: ServerThread, query: str) -> None:
    with open_socket(server, query) as socket:
        assert "is not made here" in hear(socket)["message"]
        with pytest.raises(ConnectionClosed):
            hear(socket)


def test_a_client_that_writes_nothing_is_let_go(server: ServerThread) -> None:
    with open_socket(server, "inactivity_timeout=1") as socket:
        say(socket, text=" ")
        assert "no message came for 1 s" in hear(socket)["message"]


def test_the_key_may_come_in_the_first_message(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",))
    for opening, heard in (({"xi_api_key": "secret-key-1"}, True), ({"xi-api-key": "wrong-key"}, False), ({}, False)):
        with open_socket(server) as socket:
            say(socket, text=" ", **opening)
            say(socket, text=f"{TEXT} ")
            say(socket, text="")
            assert ("audio" in hear(socket)) is heard


def test_going_away_frees_the_engine(serve: Callable[..., ServerThread]) -> None:
    server = serve(ToyPrograms(step_s=0.05))
    with open_socket(server) as socket:
        say(socket, text=" ")
        say(socket, text=f"{TEXT} " * 5)
        hear(socket)
    with httpx.Client(base_url=server.url) as client:
        for _ in range(200):
            if client.get("/v1/health").json()["engine"]["queues"]["active"]["depth"] == 0:
                return
    raise AssertionError("the engine still works for a client that is gone")


@contextmanager
def tls_proxy(server: ServerThread, key: Path, certificate: Path) -> Iterator[int]:
    """Forwards TLS connections to a server; gives the port it listens on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    host, port = server.host.split(":")

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, upstream[1]), copy(upstream[0], writer), return_exceptions=True)

    async def run() -> None:
        async with await asyncio.start_server(forward, "localhost", 0, ssl=context) as proxy:
            ports.put(proxy.sockets[0].getsockname()[1])
            await stop.wait()

    ports: queue.Queue[int] = queue.Queue()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield ports.get(timeout=20)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


SDK_OVER_TLS = """
import sys
from elevenlabs.client import ElevenLabs

sdk = ElevenLabs(base_url=sys.argv[1], api_key="anything")
sys.stdout.buffer.write(b"".join(sdk.text_to_speech.convert_realtime("ada", text=iter(["Hello ", "there, friend."]))))
"""


def test_sdk_unchanged_over_tls(server: ServerThread, tmp_path: Path) -> None:
    """The SDK as it is, against a proxy with a certificate, as an operator would put one in front."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*new, *subject, "-days", "1"], check=True, capture_output=True)
    with tls_proxy(server, key, certificate) as port:
        done = subprocess.run(
            [sys.executable, "-c", SDK_OVER_TLS, f"https://localhost:{port}"],
            env={**os.environ, "SSL_CERT_FILE": str(certificate)},
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert len(decode("mp3", done.stdout)) > 12_000
