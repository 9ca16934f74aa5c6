"""Requests as clients that are no Python packages send them, written down from their source."""

from __future__ import annotations

import httpx

from tests.ffmpeg import decode

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
