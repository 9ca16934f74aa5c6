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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import VoiceSettings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from f5_tts_server.api.speech_options import SpeechOptions
from f5_tts_server.voices.store import UnknownVoice
from tests.ffmpeg import decode
from tests.server import ServerThread, serving
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


def test_a_client_that_writes_nothing_is_let_go(server: ServerThread) -> None:
    with open_socket(server, "inactivity_timeout=1") as socket:
        say(socket, text=" ")
        assert "no message came for 1 s" in hear(socket)["message"]


def test_the_key_may_come_in_the_first_message(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",))
    for opening, heard in (({"xi_api_key": "secret-key-1"}, True), ({"xi-api-key": "wrong-key"}, False), ({}, False)):
        with open_socket(server) as socket:
            say(socket, text=" ", **opening)
            with suppress(ConnectionClosed):  # who is refused may have been cut off by now
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


# several texts over one connection


def open_multi(server: ServerThread, query: str = "output_format=pcm_24000", **headers: str) -> ClientConnection:
    address = f"ws://{server.host}/v1/text-to-speech/ada/multi-stream-input?{query}"
    return connect(address, open_timeout=20, additional_headers=headers)


def hear_contexts(socket: ClientConnection, count: int) -> dict[str, bytes]:
    """The audio of each context, until so many are final."""
    audio: dict[str, bytes] = {}
    final: set[str] = set()
    while len(final) < count:
        message = hear(socket)
        assert "error" not in message, message
        name = message["contextId"]
        assert name not in final, "audio after the last message of its context"
        audio[name] = audio.get(name, b"") + base64.b64decode(message["audio"] or "")
        if message["isFinal"]:
            final.add(name)
    return audio


def test_contexts_are_texts_of_their_own(server: ServerThread) -> None:
    """The address was refused with 403, so that LiveKit's and Pipecat's ElevenLabs services failed."""
    with open_multi(server) as socket:
        for name in ("a", "b"):
            say(socket, text=" ", context_id=name, voice_settings={"speed": 1.0}, seed=5)
        for word in TEXT.split():
            for name in ("a", "b"):
                say(socket, text=f"{word} ", context_id=name)
        say(socket, text="")  # keeps the connection, as Pipecat does
        say(socket, text="", context_id="a")
        for name in ("a", "b"):
            say(socket, context_id=name, flush=True)
            say(socket, context_id=name, close_context=True)
        audio = hear_contexts(socket, 2)
        assert audio["a"] == audio["b"]
        say(socket, text=f"{TEXT} ", context_id="a", seed=5)  # the name is free again
        say(socket, text="", context_id="a", close_context=True)
        assert hear_contexts(socket, 1)["a"] == audio["a"]
    with open_socket(server) as single:
        say(single, text=" ", seed=5)
        say(single, text=f"{TEXT} ")
        say(single, text="")
        alone = b""
        while not (message := hear(single)).get("isFinal"):
            alone += base64.b64decode(message["audio"])
    assert alone == audio["a"]


def test_closing_the_connection_speaks_what_is_written(server: ServerThread) -> None:
    with open_multi(server) as socket:
        say(socket, text=f"{TEXT} ")
        say(socket, text="And a last one", context_id="other")
        say(socket, close_socket=True)
        audio = hear_contexts(socket, 2)
        assert set(audio) == {"default", "other"}
        assert all(len(data) > 2 * 6_000 for data in audio.values())
        with pytest.raises(ConnectionClosed):
            hear(socket)


def test_a_fault_of_a_context_leaves_the_others(server: ServerThread) -> None:
    with open_multi(server) as socket:
        say(socket, text=" ", context_id="good")
        say(socket, text="Wait [pause:77] here. ", context_id="bad", flush=True)
        error = hear(socket)
        assert error["contextId"] == "bad"
        assert "10 seconds" in error["message"]
        say(socket, text="It has a fail-step inside.", context_id="broken", close_context=True)
        while "error" not in (message := hear(socket)):
            assert message["contextId"] == "broken"
        assert (message["contextId"], message["error"]) == ("broken", "internal_error")
        say(socket, text=TEXT, context_id="good", close_context=True)
        assert len(hear_contexts(socket, 1)["good"]) > 2 * 24_000


def test_contexts_are_bounded_and_closed_ones_take_no_text(serve: Callable[..., ServerThread]) -> None:
    server = serve(ToyPrograms(step_s=0.02))
    with open_multi(server) as socket:
        for number in range(9):
            say(socket, text=" ", context_id=f"c{number}")
        error = hear(socket)
        assert (error["contextId"], error["error"]) == ("c8", "too_many_contexts")
        say(socket, text=TEXT, context_id="c0", close_context=True)
        say(socket, text="More.", context_id="c0")
        heard = [hear(socket)]
        while not heard[-1].get("isFinal"):
            heard.append(hear(socket))
        assert [message["error"] for message in heard if "error" in message] == ["context_closed"]


def test_a_multi_connection_needs_a_key(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",))
    with open_multi(server, **{"xi-api-key": "secret-key-1"}) as socket:
        say(socket, text=TEXT, context_id="a", close_context=True)
        assert hear_contexts(socket, 1)["a"]
    with open_multi(server) as socket:
        say(socket, text=TEXT, context_id="a", close_context=True)
        assert hear(socket)["error"] == "invalid_api_key"
        with pytest.raises(ConnectionClosed):
            hear(socket)


# what other systems have


def test_breaks_are_pauses_and_tags_are_not_spoken(client: httpx.Client) -> None:
    def samples(text: str) -> bytes:
        body = {"text": text, "seed": 1}
        return client.post("/v1/text-to-speech/ada?output_format=pcm_24000", json=body).content

    assert samples('One here.<break time="1.5s"/> Two there.') == samples("One here. [pause:1.5] Two there.")
    assert samples('Say <phoneme alphabet="ipa" ph="x">tomato</phoneme> now.') == samples("Say tomato now.")


@pytest.mark.parametrize("name", ["stream-input", "multi-stream-input"])
def test_a_text_in_pieces_cannot_be_ssml(server: ServerThread, name: str) -> None:
    """Its pieces were taken for documents, and refused as damaged ones."""
    with connect(f"ws://{server.host}/v1/text-to-speech/ada/{name}", open_timeout=20) as socket:
        say(socket, text="<speak>One. ", ssml=True)
        error = hear(socket)
    assert error["error"] == "invalid_request" and error["message"].startswith("ssml: a text that is sent")


def test_a_break_that_comes_in_pieces_is_a_pause(server: ServerThread) -> None:
    def samples(*texts: str) -> bytes:
        audio = b""
        with open_socket(server) as socket:
            say(socket, text=" ", seed=1)
            for text in (*texts, ""):
                say(socket, text=text)
            while not (message := hear(socket)).get("isFinal"):
                audio += base64.b64decode(message["audio"])
        return audio

    pieces = ("One sentence is here. <bre", 'ak time="1.', '5s"/> Two are ', "there now. ")
    assert samples(*pieces) == samples("One sentence is here. [pause:1.5] Two are there now. ")


@pytest.mark.parametrize("name", ["stream-input", "multi-stream-input"])
def test_the_language_of_the_address_is_the_texts(server: ServerThread, name: str) -> None:
    """LiveKit and Pipecat put `language_code` there; a number is a word of that language."""

    def samples(text: str, language: str) -> int:
        query = f"output_format=pcm_24000&language_code={language}"
        with connect(f"ws://{server.host}/v1/text-to-speech/ada/{name}?{query}", open_timeout=20) as socket:
            say(socket, text=" ", seed=1)
            say(socket, text=text)
            say(socket, close_socket=True, **({"text": ""} if name == "stream-input" else {}))
            count = 0
            while not (message := hear(socket)).get("isFinal"):
                count += len(base64.b64decode(message["audio"]))
        return count

    assert samples("777777", "en") > 3 * samples("777777", "xx")


def test_sdk_timestamps(sdk: ElevenLabs, client: httpx.Client) -> None:
    """The text comes back character by character, in order, within the clip; streamed and whole say the same."""
    options: dict[str, Any] = {"text": TEXT, "output_format": "pcm_24000", "seed": 5}
    whole = sdk.text_to_speech.convert_with_timestamps("ada", **options)
    audio = base64.b64decode(whole.audio_base_64)
    times = whole.normalized_alignment
    assert times is not None and whole.alignment is not None
    assert "".join(times.characters) == TEXT
    starts, ends = times.character_start_times_seconds, times.character_end_times_seconds
    assert starts == sorted(starts) and ends == sorted(ends) and ends[-1] <= len(audio) / 48_000 + 1e-3
    pieces = list(sdk.text_to_speech.stream_with_timestamps("ada", **options))
    assert b"".join(base64.b64decode(piece.audio_base_64) for piece in pieces) == audio
    streamed = [piece.normalized_alignment for piece in pieces if piece.normalized_alignment is not None]
    assert [c for one in streamed for c in one.characters] == times.characters
    assert [t for one in streamed for t in one.character_start_times_seconds] == starts


def test_the_alignments_of_a_socket_add_up(server: ServerThread, client: httpx.Client) -> None:
    """Times of a message count from the end of the alignment before it, as Pipecat adds them up."""
    with connect(f"ws://{server.host}/v1/text-to-speech/ada/stream-input?output_format=pcm_24000") as socket:
        say(socket, text=" ", seed=5)
        say(socket, text=TEXT + " ")
        say(socket, text="")
        now, characters, samples = 0.0, [], 0
        while not (message := hear(socket)).get("isFinal"):
            samples += len(base64.b64decode(message["audio"])) // 2
            if times := message["normalizedAlignment"]:
                assert times["charStartTimesMs"] == sorted(times["charStartTimesMs"])
                characters += times["chars"]
                now += (times["charStartTimesMs"][-1] + times["charDurationsMs"][-1]) / 1000
    assert "".join(characters) == TEXT
    assert 0.5 * samples / 24_000 < now <= samples / 24_000 + 0.01


def test_the_list_of_models_has_the_shape_of_who_asks(sdk: ElevenLabs, client: httpx.Client) -> None:
    """ElevenLabs' JavaScript SDK threw at OpenAI's shape."""
    (model,) = sdk.models.list()
    assert (model.model_id, model.can_do_text_to_speech) == ("toy", True)
    assert client.get("/v1/models").json()["object"] == "list"
    agent = {"User-Agent": "@elevenlabs/elevenlabs-js/2.73.0"}
    assert client.get("/v1/models", headers=agent).json()[0]["model_id"] == "toy"


def test_a_fallback_voice_speaks_for_unknown_ones(serve: Callable[..., ServerThread]) -> None:
    """Clients made for ElevenLabs ask for its stock voices; the operator may say who speaks for them."""
    server = serve(fallback_voice="Ben")
    stock = "21m00Tcm4TlvDq8ikWAM"
    with httpx.Client(base_url=server.url, timeout=30) as client:
        body = {"text": TEXT, "seed": 1}
        found, ben = (
            client.post(f"/v1/text-to-speech/{voice}?output_format=pcm_24000", json=body).content
            for voice in (stock, "ben")
        )
        assert found == ben
        builder = server.app.state.services.builder  # the toy model's voices sound alike
        assert (
            builder.stored(stock, SpeechOptions.model_validate({}))
            == server.voices.get("ben").clip
            != server.voices.default.clip
        )
        spoken = client.post("/v1/audio/speech", json={"model": "m", "input": TEXT, "voice": "Rachel"})
        assert spoken.status_code == 200
        marked = client.post("/v1/text-to-speech/ada", json={"text": "[voice:nobody] Hello."})
        assert marked.status_code == 404, "a mark means the voice that it names"


def test_an_unknown_fallback_voice_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(UnknownVoice, match="nobody"), serving(tmp_path, ToyPrograms(), fallback_voice="nobody"):
        pass


def test_errors_before_the_route_have_the_protocols_shape(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",), max_body_mib=0.1)
    with httpx.Client(base_url=server.url) as client:
        path, key = "/v1/text-to-speech/ada", {"xi-api-key": "secret-key-1"}
        replies = {
            401: client.post(path, json={"text": TEXT}),
            404: client.get("/v1/text-to-speech/ada/nothing/here", headers=key),
            405: client.get(path, headers=key),
            413: client.post(path, content=b"x" * 2**18, headers=key),
            422: client.post(path, json={"text": ""}, headers=key),
        }
        for status, reply in replies.items():
            assert reply.status_code == status
            assert set(reply.json()["detail"]) == {"status", "message", "param"}
        assert set(client.get("/v1/audio/speech", headers=key).json()) == {"error"}


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
