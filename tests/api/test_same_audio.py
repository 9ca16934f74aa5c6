"""One seed, one text, one voice: the same samples over every protocol, alone, among others, and after a restart."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import soundfile
from websockets.sync.client import connect

from f5_tts_server.inference_types import Samples
from tests.server import ServerThread
from tests.toy_programs import ToyPrograms

SEED = 7
TEXT = "The boats were already far out on the water when the old man came down to the harbor with bread and coffee"


def generate(server: ServerThread) -> bytes:
    body = {"gen_text": TEXT, "voice": "Ada", "seed": SEED, "response_format": "pcm"}
    return base64.b64decode(httpx.post(f"{server.url}/v1/generate", json=body, timeout=60).json()["audio_base64"])


def stream(server: ServerThread) -> bytes:
    body = {"gen_text": TEXT, "voice": "Ada", "seed": SEED, "response_format": "pcm"}
    lines = httpx.post(f"{server.url}/v1/generate/stream", json=body, timeout=60).text.splitlines()
    events = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    return b"".join(base64.b64decode(event["audio_chunk"]) for event in events)


def flac(server: ServerThread) -> bytes:
    """Another format of the same samples, which loses nothing."""
    body = {"gen_text": TEXT, "voice": "Ada", "seed": SEED, "response_format": "flac"}
    reply = httpx.post(f"{server.url}/v1/generate", json=body, timeout=60).json()
    samples, _ = soundfile.read(io.BytesIO(base64.b64decode(reply["audio_base64"])), dtype="int16")
    return bytes(samples.tobytes())


def openai(server: ServerThread) -> bytes:
    body = {"model": "tts-1", "input": TEXT, "voice": "Ada", "seed": SEED, "response_format": "pcm"}
    return httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=60).content


def elevenlabs(server: ServerThread) -> bytes:
    url = f"{server.url}/v1/text-to-speech/Ada?output_format=pcm_24000"
    return httpx.post(url, json={"text": TEXT, "seed": SEED}, timeout=60).content


def elevenlabs_stream(server: ServerThread) -> bytes:
    url = f"{server.url}/v1/text-to-speech/Ada/stream?output_format=pcm_24000"
    return httpx.post(url, json={"text": TEXT, "seed": SEED}, timeout=60).content


def speech_socket(server: ServerThread) -> bytes:
    audio = b""
    with connect(f"ws://{server.host}/v1/audio/speech/stream", open_timeout=20) as socket:
        config = {"type": "session.config", "voice": "Ada", "seed": SEED, "response_format": "pcm"}
        for message in (config, {"type": "input.text", "text": TEXT}, {"type": "input.done"}):
            socket.send(json.dumps(message))
        while True:
            data = socket.recv(timeout=60)
            if isinstance(data, bytes):
                audio += data
            elif (told := json.loads(data))["type"] in ("session.done", "error"):
                assert told["type"] == "session.done", told
                return audio


def written(server: ServerThread, path: str, *messages: dict[str, Any]) -> bytes:
    audio = b""
    url = f"ws://{server.host}/v1/text-to-speech/Ada/{path}?output_format=pcm_24000"
    with connect(url, open_timeout=20) as socket:
        for message in messages:
            socket.send(json.dumps(message))
        while True:
            told = json.loads(socket.recv(timeout=60))
            assert "error" not in told, told
            audio += base64.b64decode(told.get("audio") or "")
            if told.get("isFinal") or told.get("is_final"):
                return audio


def stream_input(server: ServerThread) -> bytes:
    return written(server, "stream-input", {"text": " ", "seed": SEED}, {"text": f"{TEXT} "}, {"text": ""})


def multi_stream_input(server: ServerThread) -> bytes:
    end = {"context_id": "c", "close_context": True}
    texts = ({"text": " ", "seed": SEED, "context_id": "c"}, {"text": f"{TEXT} ", "context_id": "c"})
    return written(server, "multi-stream-input", *texts, end)


PROTOCOLS: tuple[Callable[[ServerThread], bytes], ...] = (
    generate, stream, flac, openai, elevenlabs, elevenlabs_stream, speech_socket, stream_input, multi_stream_input,
)  # fmt: skip


def check(server: ServerThread, by_generate: Samples | None = None) -> Samples:
    """Every protocol gives the samples of the first; gives them."""
    for protocol in PROTOCOLS:
        samples = np.frombuffer(protocol(server), "<i2")
        if by_generate is None:
            assert len(samples) > 24_000
            by_generate = samples
        np.testing.assert_array_equal(samples, by_generate, err_msg=protocol.__name__)
    assert by_generate is not None
    return by_generate


def test_one_seed_is_one_clip_whatever_the_protocol_and_whatever_else_goes_on(
    serve: Callable[..., ServerThread],
) -> None:
    server = serve(ToyPrograms(step_s=0.001))
    alone = check(server)
    stop = threading.Event()

    def others(number: int) -> None:
        """Requests of other texts, lengths and steps, some of which leave in the middle."""
        while not stop.is_set():
            body = {"gen_text": f"{number} more words. " * (number + 1), "num_inference_steps": 2 + number}
            with httpx.stream("POST", f"{server.url}/v1/generate/stream", json=body, timeout=60) as reply:
                for _ in reply.iter_lines():
                    if number % 2:
                        break

    threads = [threading.Thread(target=others, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        check(server, alone)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    check(serve(ToyPrograms()), alone)
