"""Every protocol gives the rates that were asked for, and tells them."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from f5_tts_server.formats.pcm import int16_samples
from tests.ffmpeg import decode
from tests.server import ServerThread

TEXT = "The first sentence is here. The second one follows it."


@pytest.fixture(scope="module")
def whole(server: ServerThread) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The model's own samples, 16 bits fine."""
    body = {"gen_text": TEXT, "voice": "ada", "seed": 5, "response_format": "flac"}
    reply = httpx.post(f"{server.url}/v1/generate", json=body, timeout=30).json()
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(reply["audio_base64"])), dtype="float32")
    assert rate == 24_000
    return np.asarray(samples * np.float32(32768 / 32767), np.float32)


def generate(client: httpx.Client, **fields: Any) -> httpx.Response:
    return client.post("/v1/generate", json={"gen_text": TEXT, "voice": "ada", "seed": 5, **fields})


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_a_stream_at_another_rate_is_the_resampled_clip(client: httpx.Client, whole: Any, rate: int) -> None:
    body = {"gen_text": TEXT, "voice": "ada", "seed": 5, "response_format": "wav", "sample_rate": rate}
    told = events(client.post("/v1/generate/stream", json=body).text)
    assert {event["sample_rate"] for event in told} == {rate}
    assert told[-1]["metadata"]["duration"] == pytest.approx(len(whole) / 24_000)
    streamed = b"".join(base64.b64decode(event["audio_chunk"]) for event in told)
    assert int.from_bytes(streamed[24:28], "little") == rate
    wanted = int16_samples(soxr.resample(whole, 24_000, rate)).astype(int)
    got = np.frombuffer(streamed[44:], "<i2").astype(int)
    assert len(got) == len(wanted) and np.abs(got - wanted).max() <= 2  # what went in had been rounded to 16 bits
    reply = generate(client, sample_rate=rate).json()
    data = base64.b64decode(reply["audio_base64"])
    assert reply["sample_rate"] == rate and data[44:] == streamed[44:]
    assert soundfile.info(io.BytesIO(data)).frames == len(got)  # its header says so


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_a_whole_flac_file_states_its_length_at_its_rate(client: httpx.Client, rate: int) -> None:
    wav, flac = (
        base64.b64decode(generate(client, sample_rate=rate, response_format=name).json()["audio_base64"])
        for name in ("wav", "flac")
    )
    info = soundfile.info(io.BytesIO(flac))
    assert (info.samplerate, info.frames) == (rate, (len(wav) - 44) // 2)


def test_telephony_over_events_comes_in_packets(client: httpx.Client) -> None:
    body = {"gen_text": TEXT, "voice": "ada", "seed": 5, "response_format": "ulaw"}
    told = events(client.post("/v1/generate/stream", json=body).text)
    assert {event["sample_rate"] for event in told} == {8000}
    assert all(len(base64.b64decode(event["audio_chunk"])) % 160 == 0 for event in told)


ELEVENLABS = [
    *(f"pcm_{rate}" for rate in (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    *(f"wav_{rate}" for rate in (8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)),
    *("mp3_22050_32", "mp3_24000_48", *(f"mp3_44100_{kbits}" for kbits in (32, 64, 96, 128, 192))),
    *(f"opus_48000_{kbits}" for kbits in (32, 64, 96, 128, 192)),
    *("ulaw_8000", "alaw_8000"),
]


@pytest.mark.parametrize("name", ELEVENLABS)
def test_each_of_elevenlabs_names(client: httpx.Client, whole: Any, name: str) -> None:
    codec, rate = name.split("_")[0], int(name.split("_")[1])
    body = {"text": TEXT, "seed": 5}
    reply = client.post(f"/v1/text-to-speech/ada?output_format={name}", json=body)
    assert reply.status_code == 200, reply.text
    decoded = decode(codec, reply.content, rate)
    assert -1 / rate < len(decoded) / rate - len(whole) / 24_000 < 0.11


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ulaw_16000", "ulaw has here: 8000"),
        ("mp3_44100_33", "at 44100 Hz: 32000, 40000"),
        ("opus_44100_64", "8000, 12000, 16000, 24000, 48000"),
        ("pcm_24000_64", "pcm has none to choose"),
        ("ogg_24000", "the formats are wav, pcm"),
        ("mp3 44100", "its hertz and kbit/s: mp3_44100_128"),
    ],
)
@pytest.mark.parametrize("path", ["", "/stream", "/stream-input", "/multi-stream-input"])
def test_what_is_not_made_is_refused_with_what_is(server: ServerThread, path: str, name: str, told: str) -> None:
    address = f"/v1/text-to-speech/ada{path}?output_format={name}"
    if not path.endswith("input"):
        reply = httpx.post(f"{server.url}{address}", json={"text": TEXT}, timeout=30)
        assert reply.status_code == 422
        detail = reply.json()["detail"]
        assert told in detail["message"] and detail["param"] == "output_format"
        return
    with connect(f"ws://{server.host}{address.replace(' ', '%20')}", open_timeout=20) as socket:
        assert told in hear(socket)["message"]
        with pytest.raises(ConnectionClosed):
            hear(socket)


def hear(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=20))
    return message


def heard(socket: ClientConnection) -> bytes:
    audio = b""
    while not (message := hear(socket)).get("isFinal"):
        audio += base64.b64decode(message["audio"])
        assert len(audio) % 160 == 0
    return audio


@pytest.mark.parametrize("path", ["stream-input", "multi-stream-input"])
def test_elevenlabs_sockets_speak_to_telephones(server: ServerThread, client: httpx.Client, path: str) -> None:
    address = f"ws://{server.host}/v1/text-to-speech/ada/{path}?output_format=ulaw_8000"
    with connect(address, open_timeout=20) as socket:
        socket.send(json.dumps({"text": " ", "seed": 5, "voice_settings": {}}))
        socket.send(json.dumps({"text": "One sentence only. ", "flush": True}))
        socket.send(json.dumps({"text": "", "close_socket": True}))
        audio = heard(socket)
    body = {"text": "One sentence only.", "seed": 5}
    assert audio == client.post("/v1/text-to-speech/ada?output_format=ulaw_8000", json=body).content


def test_the_speech_socket_tells_and_gives_the_rate(server: ServerThread, client: httpx.Client) -> None:
    with connect(f"ws://{server.host}/v1/audio/speech/stream", open_timeout=20) as socket:
        config = {"type": "session.config", "voice": "ada", "seed": 5, "response_format": "pcm", "sample_rate": 16_000}
        for message in (config, {"type": "input.text", "text": "One sentence only."}, {"type": "input.done"}):
            socket.send(json.dumps(message))
        start = hear(socket)
        assert (start["type"], start["sample_rate"]) == ("audio.start", 16_000)
        audio = b""
        while isinstance(piece := socket.recv(timeout=20), bytes):
            audio += piece
    body = {"input": "One sentence only.", "model": "m", "voice": "ada", "seed": 5, "response_format": "pcm"}
    assert audio == client.post("/v1/audio/speech", json={**body, "sample_rate": 16_000}).content
    assert abs(len(client.post("/v1/audio/speech", json=body).content) / len(audio) - 1.5) < 0.001


def test_bit_rates_of_openais_body(client: httpx.Client) -> None:
    body = {"input": TEXT, "model": "m", "voice": "ada", "seed": 5, "sample_rate": 44_100}
    small, large = (
        client.post("/v1/audio/speech", json={**body, "bit_rate": rate}).content for rate in (32_000, 128_000)
    )
    assert len(large) == pytest.approx(4 * len(small), rel=0.02)


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"sample_rate": 11_025}, "sample_rate", "8000, 12000, 16000"),
        ({"sample_rate": 44_100, "response_format": "opus"}, "sample_rate", "8000, 12000, 16000, 24000 or 48000"),
        ({"sample_rate": 24_000, "response_format": "alaw"}, "sample_rate", "alaw has here: 8000"),
        ({"bit_rate": 64_000, "response_format": "flac"}, "bit_rate", "flac has none to choose"),
        ({"bit_rate": 192_000, "response_format": "mp3"}, "bit_rate", "at 24000 Hz: 8000"),
        ({"bit_rate": 1}, "bit_rate", "6000"),
    ],
)
def test_rates_that_cannot_be_are_refused_by_name(
    client: httpx.Client, fields: dict[str, Any], param: str, told: str
) -> None:
    for reply in (
        generate(client, **fields),
        client.post("/v1/audio/speech", json={"input": TEXT, "model": "m", "response_format": "wav", **fields}),
    ):
        assert reply.status_code in (400, 422)
        error = reply.json()["error"]
        assert error["param"] == param
        assert told.replace(" or 48000", ", 48000") in error["message"].replace(" or 48000", ", 48000")
