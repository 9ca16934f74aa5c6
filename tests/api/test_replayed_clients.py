"""Requests as clients that are no Python packages send them, written down from their source."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.ffmpeg import decode
from tests.server import ServerThread

TEXT = "A reply of the assistant, to be read out."


def test_open_webui(client: httpx.Client) -> None:
    """open-webui/open-webui, backend/open_webui/routers/audio.py: speech, get_available_models, get_available_voices.

    The settings page asks for the lists without a key; the chat posts what its front end gave, with the model added.
    """
    models = client.get("/v1/audio/models").json().get("models", [])
    assert all(model["id"] for model in models)
    voices = client.get("/v1/audio/voices").json().get("voices", [])
    chosen = {voice["id"]: voice["name"] for voice in voices}
    reply = client.post(
        "/v1/audio/speech",
        json={"input": TEXT, "voice": next(iter(chosen)), "model": models[0]["id"]},
        headers={
            "Content-Type": "application/json",
            "Authorization": "Bearer",
            "X-OpenWebUI-User-Name": "A user",
            "X-OpenWebUI-User-Id": "1",
            "X-OpenWebUI-User-Email": "user@example.org",
            "X-OpenWebUI-User-Role": "user",
        },
    )
    reply.raise_for_status()
    assert len(decode("mp3", reply.content)) > 24_000  # it keeps the body as an .mp3 file
    refused = client.post("/v1/audio/speech", json={"input": TEXT, "voice": "nobody", "model": "tts-1"})
    assert refused.json()["error"].get("message")  # what it shows its user


def test_sillytavern(client: httpx.Client) -> None:
    """SillyTavern/SillyTavern, public/scripts/extensions/tts/openai-compatible.js: fetchTtsGeneration.

    Its own server passes these fields on to the address that its user set, with the key it keeps, or none.
    """
    for voice in ("alloy", "echo", "fable", "onyx", "nova", "shimmer"):
        reply = client.post(
            "/v1/audio/speech",
            json={"model": "tts-1", "input": TEXT, "voice": voice, "response_format": "mp3", "speed": 1},
            headers={"Content-Type": "application/json", "Authorization": "Bearer"},
        )
        reply.raise_for_status()
        assert len(decode("mp3", reply.content)) > 24_000


def test_wyoming_openai(client: httpx.Client) -> None:
    """roryeckel/wyoming_openai, src/wyoming_openai/compatibility.py: its voice list takes entries' `id`, else `name`.

    It speaks through the OpenAI SDK, which `test_openai_speech` runs; the package itself is not on PyPI.
    """
    result = client.get("/v1/audio/voices").json()
    assert [voice.get("id") or voice.get("name") for voice in result["voices"]][:3] == ["ada", "ben", "cleo"]


@pytest.mark.parametrize("format", ["mp3", "opus", "wav", "flac", "aac", "pcm"])
def test_home_assistant_openai_tts(client: httpx.Client, format: str) -> None:
    """sfortis/openai_tts, custom_components/openai_tts/openaitts_engine.py: get_tts and async_get_tts_stream.

    A user's own JSON is merged into the body; without a key it sends no Authorization at all.
    """
    body = {
        "model": "gpt-4o-mini-tts",
        "input": TEXT,
        "voice": "shimmer",
        "response_format": format,
        "speed": 1.0,
        "instructions": "Speak as to a friend.",
        "seed": 7,
        "chunk_size": 200,
        "repo_id": "a field of another server",
    }
    reply = client.post("/v1/audio/speech", json=body, headers={"User-Agent": "HomeAssistant-OpenAI-TTS"})
    reply.raise_for_status()
    assert reply.headers["content-type"].startswith("audio/")
    assert len(decode(format, reply.content)) > 24_000


def test_clients_of_openai_edge_tts(serve: Callable[..., ServerThread]) -> None:
    """travisvn/openai-edge-tts, app/server.py and README.md: a body may be the text alone; voices are Microsoft's."""
    server = serve(fallback_voice="ada")
    with httpx.Client(base_url=server.url, timeout=30, headers={"Authorization": "Bearer your_api_key_here"}) as client:
        for more in (
            {},
            {"voice": "en-US-AvaNeural", "response_format": "mp3", "speed": 1.1},
            {"model": "tts-1-hd", "voice": "echo", "speed": 1, "stream_format": "sse"},
        ):
            reply = client.post("/v1/audio/speech", json={"input": TEXT, **more})
            reply.raise_for_status()
            if "stream_format" not in more:
                assert len(decode("mp3", reply.content)) > 20_000
        assert client.get("/v1/models").json()["data"][0]["id"]
        assert client.get("/v1/voices").json()["voices"]
