"""Which model speaks, in every protocol, and how each lists them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from f5_tts_server.api.generate_body import GenerateBody
from f5_tts_server.app import create_app
from f5_tts_server.inference_types import Speech, VoiceClip
from f5_tts_server.settings import Settings
from tests.server import ServerThread, serving
from tests.toy_programs import ToyPrograms

MODELS = """
models:
  - {name: english, weights: one}
  - {name: german, weights: two, load: first-use, aliases: [de], defaults: {num_inference_steps: 3}}
"""
TEXT = "A sentence that is spoken."


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    folder = tmp_path_factory.mktemp("several")
    (folder / "models.yaml").write_text(MODELS)
    with serving(folder, ToyPrograms(), models_file=folder / "models.yaml") as server:
        yield server


@pytest.fixture
def client(several: ServerThread) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=several.url, timeout=30) as session:
        yield session


def spoken(client: httpx.Client) -> dict[str, float]:
    """Requests that ended well, by model."""
    counts = {}
    for line in client.get("/metrics").text.splitlines():
        if line.startswith("f5_requests_total{") and 'outcome="done"' in line:
            counts[line.partition('model="')[2].partition('"')[0]] = float(line.split()[-1])
    return counts


def generate(client: httpx.Client, model: str) -> httpx.Response:
    return client.post("/v1/generate", json={"gen_text": TEXT, "model": model, "seed": 1, "response_format": "pcm"})


def openai(client: httpx.Client, model: str) -> httpx.Response:
    body = {"input": TEXT, "model": model, "seed": 1, "response_format": "pcm", "voice": "ada"}
    return client.post("/v1/audio/speech", json=body)


def elevenlabs(client: httpx.Client, model: str) -> httpx.Response:
    body = {"text": TEXT, "model_id": model, "seed": 1}
    return client.post("/v1/text-to-speech/ada", params={"output_format": "pcm_24000"}, json=body)


def samples(reply: httpx.Response) -> bytes:
    is_json = reply.headers["content-type"].startswith("application/json")
    return base64.b64decode(reply.json()["audio_base64"]) if is_json else reply.content


@pytest.mark.parametrize(("ask", "field"), [(generate, "model"), (openai, "model"), (elevenlabs, "model_id")])
def test_a_request_chooses_its_model(client: httpx.Client, ask: Callable[..., httpx.Response], field: str) -> None:
    before = spoken(client)
    replies = {name: ask(client, name) for name in ("english", "german", "de")}
    assert all(reply.status_code == 200 for reply in replies.values()), replies["german"].text
    assert samples(replies["german"]) == samples(replies["de"])
    assert samples(replies["german"]) != samples(replies["english"]), "german is asked for three steps by its file"
    after = spoken(client)
    assert {name: after[name] - before[name] for name in after} == {"english": 1, "german": 2}

    unknown = ask(client, "french")
    assert unknown.status_code == 404
    text = unknown.text
    assert "'french' is unknown here; there is english, german, de" in text and f'"param":"{field}"' in text


def test_sockets_choose_their_model(several: ServerThread, client: httpx.Client) -> None:
    before = spoken(client)
    with connect(f"ws://{several.host}/v1/audio/speech/stream", open_timeout=20) as socket:
        for message in (
            {"type": "session.config", "model": "german"},
            {"type": "input.text", "text": TEXT},
            {"type": "input.done"},
        ):
            socket.send(json.dumps(message))
        while "session.done" not in str(socket.recv(timeout=20)):
            pass
    query = "output_format=pcm_24000&model_id=de"
    with connect(f"ws://{several.host}/v1/text-to-speech/ada/stream-input?{query}", open_timeout=20) as socket:
        for text in (" ", TEXT, ""):
            socket.send(json.dumps({"text": text}))
        while not json.loads(socket.recv(timeout=20)).get("isFinal"):
            pass
    after = spoken(client)
    assert {name: after[name] - before[name] for name in after} == {"english": 0, "german": 2}


def test_a_models_own_voice_speaks_where_a_request_names_none(tmp_path: Path) -> None:
    """And by the name `default`, which clients send that must name a voice. The toy model's voices sound alike: it is
    the request's clip that tells."""
    voice = "{voice: ben}"
    (tmp_path / "models.yaml").write_text(
        f"models:\n  - {{name: one, weights: embedded}}\n  - {{name: two, weights: embedded, defaults: {voice}}}\n"
    )
    app = create_app(Settings(models_file=tmp_path / "models.yaml"))
    voices, builder = app.state.voices, app.state.services.builder
    ada, ben = (voices.get(name).clip for name in ("ada", "ben"))

    def clip(**body: Any) -> VoiceClip:
        (part,) = GenerateBody(gen_text=TEXT, **body).request(builder, "r").parts
        assert isinstance(part, Speech)
        return part.clip

    assert clip(model="two") is clip(model="two", voice="default") is clip(voice="ben") is ben
    assert clip(model="two", voice="ada") is clip(model="one") is clip() is voices.default.clip is ada


def test_a_model_with_a_voice_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models:\n  - {name: one, weights: embedded, defaults: {voice: nobody}}\n")
    with pytest.raises(ValueError, match=r"models\.yaml: model one: defaults\.voice: voice 'nobody' is"):
        create_app(Settings(models_file=tmp_path / "models.yaml"))


def test_lists_in_each_protocols_shape(client: httpx.Client) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["english", "german", "de"]
    assert [model["id"] for model in client.get("/v1/audio/models").json()["models"]] == ["english", "german", "de"]
    listed = client.get("/v1/models", headers={"xi-api-key": "anything"}).json()
    assert [model["model_id"] for model in listed] == ["english", "german"]


def test_one_of_the_models_by_its_name(client: httpx.Client) -> None:
    """What OpenAI's `client.models.retrieve` asks for; it was 404 "Not Found" for models that were in the list."""
    for model in client.get("/v1/models").json()["data"]:
        assert client.get(f"/v1/models/{model['id']}").json() == model
    unknown = client.get("/v1/models/french")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"


def test_health_shows_each_model(client: httpx.Client) -> None:
    generate(client, "german")
    health = client.get("/v1/health").json()
    assert {name: model["state"] for name, model in health["engine"]["models"].items()} == {
        "english": "ready",
        "german": "ready",
    }
    assert health["engine"]["models"]["german"]["compiled"] == {"done": 7, "of": 7}


def test_the_single_model_is_served_as_before(server: ServerThread) -> None:
    """Clients of other protocols send the names of other servers' models; only our own says that there is no such one."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        assert [m["id"] for m in client.get("/v1/models").json()["data"]] == ["toy", "tts-1", "tts-1-hd"]
        assert openai(client, "gpt-4o-mini-tts").status_code == elevenlabs(client, "eleven_v3").status_code == 200
        assert generate(client, "toy").status_code == 200
        assert generate(client, "gpt-4o-mini-tts").status_code == 404
        assert client.get("/v1/health").json()["engine"]["models"] is None


def steps_of(client: httpx.Client, path: str, body: dict[str, Any]) -> bytes:
    reply = client.post(path, json={"seed": 1, "response_format": "pcm", **body})
    assert reply.status_code == 200, reply.text
    return base64.b64decode(reply.json()["audio_base64"]) if path == "/v1/generate" else reply.content


def test_a_quality_is_steps_and_guidance_which_fields_overrule(server: ServerThread) -> None:
    """The toy's samples depend on its steps, guidance and sway: equal audio is an equal request."""
    with httpx.Client(base_url=server.url, timeout=30) as client:

        def own(**body: Any) -> bytes:
            return steps_of(client, "/v1/generate", {"gen_text": TEXT, **body})

        def foreign(**body: Any) -> bytes:
            return steps_of(client, "/v1/audio/speech", {"input": TEXT, "model": "m", **body})

        fast = own(num_inference_steps=7, guidance_scale=2.0, use_sway_sampling=True)
        assert own(quality="fast") == foreign(quality="fast") == fast
        assert own() == foreign() == own(num_inference_steps=8) != fast, "the model's own"
        assert own(quality="fast", num_inference_steps=8) == own(num_inference_steps=8)
        for path, body in (("/v1/generate", {"gen_text": TEXT}), ("/v1/audio/speech", {"input": TEXT, "model": "m"})):
            refused = client.post(path, json={**body, "quality": "perfect"})
            assert refused.status_code in (400, 422) and refused.json()["error"]["param"] == "quality"


def test_the_servers_quality_is_in_the_schema(tmp_path: Path) -> None:
    with serving(tmp_path, ToyPrograms(), quality="draft") as server, httpx.Client(base_url=server.url) as client:
        schema = client.get("/openapi.json").json()["components"]["schemas"]["GenerateRequest"]["properties"]
        assert schema["num_inference_steps"]["default"] == 5
        assert schema["quality"]["anyOf"][0]["enum"] == ["draft", "fast", "balanced", "best"]
