"""OpenAI's speech API as its specification describes it, and as its SDK uses it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from f5_tts_server.formats import FORMATS
from tests.ffmpeg import DELAY, MOST_PADDING, decode
from tests.server import ServerThread
from tests.toy_programs import ToyPrograms

TEXT = "The first sentence is here. The second one follows it, and is a little longer than the first."


# So much comes before the failure that the reply has begun by then.
FAILS_LATE = f"{TEXT} " * 12 + "Then comes a fail-step in the middle of it."


def post(client: httpx.Client, **fields: object) -> httpx.Response:
    return client.post(
        "/v1/audio/speech", json={"model": "tts-1", "input": TEXT, "voice": "alloy", "seed": 1, **fields}
    )


@pytest.fixture
def sdk(server: ServerThread) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="anything", max_retries=0) as client:
        yield client


def events(data: str) -> list[dict[str, object]]:
    return [json.loads(line.removeprefix("data: ")) for line in data.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_is_the_wav_decoded(client: httpx.Client, name: str) -> None:
    rate = 8000 if name in ("ulaw", "alaw") else 24_000  # telephony has one rate only
    wav = decode("wav", post(client, response_format="wav", sample_rate=rate).content, rate)
    reply = post(client, response_format=name, sample_rate=rate)
    assert reply.headers["content-type"] == FORMATS[name].media_type
    decoded = decode(name, reply.content, rate)
    assert 0 <= len(decoded) - DELAY[name] - len(wav) <= MOST_PADDING[name]
    if name in ("pcm", "flac"):  # what lossy codecs keep is looked at in tests/formats, with a sound worth it
        np.testing.assert_array_equal(decoded, wav)


def test_the_format_is_mp3_unless_said_otherwise(client: httpx.Client) -> None:
    assert post(client).headers["content-type"] == "audio/mpeg"


def test_pcm_is_the_samples_of_the_generate_endpoint(client: httpx.Client) -> None:
    pcm = post(client, response_format="pcm").content
    body = {"gen_text": TEXT, "seed": 1, "voice": "alloy", "response_format": "pcm"}
    assert base64.b64decode(client.post("/v1/generate", json=body).json()["audio_base64"]) == pcm


def test_events_carry_the_same_file(client: httpx.Client) -> None:
    whole = post(client, response_format="flac").content
    reply = post(client, response_format="flac", stream_format="sse")
    assert reply.headers["content-type"].startswith("text/event-stream")
    *deltas, done = events(reply.text)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(str(event["audio"])) for event in deltas) == whole
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    assert isinstance(usage, dict)
    assert usage["input_tokens"] == len(TEXT)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > len(TEXT)


def test_audio_comes_before_the_clip_is_whole(serve: Callable[..., ServerThread]) -> None:
    server = serve(ToyPrograms(step_s=0.02))
    body = {"model": "m", "input": f"{TEXT} " * 8, "voice": "ada", "response_format": "pcm"}
    with (
        httpx.Client(base_url=server.url, timeout=30) as client,
        client.stream("POST", "/v1/audio/speech", json=body) as r,
    ):
        pieces = r.iter_raw()
        next(pieces)
        steps = len(server.programs.steps)
        for _ in pieces:
            pass
        assert len(server.programs.steps) > 2 * steps


def test_voices_are_found_by_name_id_object_and_openai_name(client: httpx.Client) -> None:
    ada = post(client, voice="ada", response_format="pcm").content
    assert post(client, voice="Ada", response_format="pcm").content == ada
    assert post(client, voice={"id": "ada"}, response_format="pcm").content == ada
    assert post(client, voice=None, response_format="pcm").content == ada
    assert post(client, voice="alloy", response_format="pcm").content == ada


def test_our_options_are_taken(client: httpx.Client) -> None:
    exact = post(client, response_format="pcm", duration=3.5, num_inference_steps=4, guidance_scale=1.5).content
    assert len(exact) == 2 * 84_000
    fast, slow = (len(post(client, response_format="pcm", speed=speed).content) for speed in (2.0, 0.5))
    assert slow > 3 * fast
    assert (
        len(post(client, response_format="pcm", input="One [pause:2] two [voice:ben] three").content) > 2 * 2 * 24_000
    )


@pytest.mark.parametrize(
    ("fields", "status", "param", "words"),
    [
        ({"input": ""}, 400, "input", "at least 1"),
        ({"input": "x" * 4097}, 400, "input", "4096"),
        ({"input": "... !"}, 400, "input", "nothing to say"),
        ({"input": "a [pause:99] b"}, 400, "input", "10 seconds"),
        ({"input": "a [voice:nobody] b"}, 404, "input", "'nobody'"),
        ({"voice": "nobody"}, 404, "voice", "/v1/audio/voices"),
        ({"speed": 5}, 400, "speed", "4"),
        ({"response_format": "ogg"}, 400, "response_format", "mp3"),
        ({"stream_format": "x"}, 400, "stream_format", "sse"),
        ({"num_inference_steps": 1000}, 400, "num_inference_steps", "64"),
        ({"timeout_s": 10_000}, 400, "timeout_s", "300"),
        ({"model": ""}, 400, "model", "at least 1"),
    ],
)
def test_what_is_wrong_is_said_in_openais_shape(
    client: httpx.Client, fields: dict[str, object], status: int, param: str, words: str
) -> None:
    reply = post(client, **fields)
    error = reply.json()["error"]
    assert reply.status_code == status, error
    assert error["param"] == param
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"


def test_a_failure_in_midstream_is_an_event(client: httpx.Client) -> None:
    last = events(post(client, input=FAILS_LATE, stream_format="sse", response_format="pcm").text)[-1]
    assert last["type"] == "speech.audio.error"
    assert isinstance(last["error"], dict)
    assert last["error"]["type"] == "server_error"


def test_a_failure_in_midstream_breaks_a_file_off(client: httpx.Client) -> None:
    """A reply that ended as usual would pass for a whole clip."""
    with pytest.raises(httpx.RemoteProtocolError):
        post(client, input=FAILS_LATE, response_format="pcm")


def test_the_lists(client: httpx.Client) -> None:
    models = client.get("/v1/models").json()
    assert models["object"] == "list"
    assert [model["id"] for model in models["data"]] == ["toy", "tts-1", "tts-1-hd"]
    assert {"id": "tts-1", "name": "tts-1"} in client.get("/v1/audio/models").json()["models"]
    voices = client.get("/v1/audio/voices").json()["voices"]
    assert {"id": "ada", "name": "Ada"}.items() <= voices[0].items()


# the official SDK


def test_sdk_whole(sdk: openai.OpenAI) -> None:
    reply = sdk.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
    assert len(decode("mp3", reply.read())) > 24_000


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_sdk_streaming(sdk: openai.OpenAI, name: Any) -> None:
    with sdk.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="nova", input=TEXT, response_format=name, instructions="Speak softly."
    ) as reply:
        data = b"".join(reply.iter_bytes())
    assert len(decode(name, data)) > 24_000


def test_sdk_events(sdk: openai.OpenAI) -> None:
    with sdk.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="nova", input=TEXT, response_format="pcm", stream_format="sse"
    ) as reply:
        found = [json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: ")]
    assert found[-1]["type"] == "speech.audio.done"
    assert sum(len(base64.b64decode(event["audio"])) for event in found[:-1]) > 48_000


def test_sdk_errors(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="4096"):
        sdk.audio.speech.create(model="tts-1", voice="alloy", input="x" * 5000)
    with pytest.raises(openai.NotFoundError, match="nobody"):
        sdk.audio.speech.create(model="tts-1", voice="nobody", input="x")


@pytest.mark.anyio
async def test_sdk_async(server: ServerThread) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="anything") as sdk:
        reply = await sdk.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="wav")
        assert (await reply.aread())[:4] == b"RIFF"
        assert (await sdk.models.list()).data[0].id == "toy"


@pytest.mark.parametrize("voice", [7, "", "v" * 101, {"id": ""}])
def test_a_wrong_voice_is_told_by_its_name(client: httpx.Client, voice: Any) -> None:
    """A field of two types was called by what checks them: `voice.function-after[functools.partial(<function ... at 0x7f`."""
    reply = client.post("/v1/audio/speech", json={"model": "m", "input": "x", "voice": voice})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, "voice") and error["message"].startswith("voice: ")
    assert "function" not in reply.text
