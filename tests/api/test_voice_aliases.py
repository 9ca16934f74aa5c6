"""Further names of voices: the operator's and those that clients give, in every protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.clips import TEXT, file, speech
from tests.server import ServerThread

ELEVENLABS_ID = "21m00Tcm4TlvDq8ikWAM"


@pytest.fixture
def client(serve: Callable[..., ServerThread]) -> Iterator[httpx.Client]:
    server = serve(voice_aliases=("Rachel=cleo", "alloy=Ben"))
    with httpx.Client(base_url=server.url, timeout=30) as session:
        yield session


def put(client: httpx.Client, name: str, voice: str) -> httpx.Response:
    return client.put(f"/v1/audio/voice_aliases/{name}", json={"voice": voice})


def test_a_name_stands_for_a_voice_in_every_protocol(serve: Callable[..., ServerThread]) -> None:
    """A reference that is spoken with again is not prepared again: which voice it was is so seen."""
    server = serve(voice_aliases=("Rachel=cleo", "alloy=Ben"))
    with httpx.Client(base_url=server.url, timeout=30) as client:
        reply = put(client, ELEVENLABS_ID, "Ben")
        assert (reply.status_code, reply.json()["voice"]) == (200, "ben")

        def prepared(voice: str) -> int:
            before = server.programs.references
            for path, body in (
                ("/v1/audio/speech", {"input": "Hello there.", "voice": voice}),
                (f"/v1/text-to-speech/{voice}", {"text": "Hello there."}),
                ("/v1/generate", {"gen_text": "Hello there.", "voice": voice}),
                ("/v1/generate", {"gen_text": f"[voice:{voice}] Hello there."}),
            ):
                assert client.post(path, json=body).status_code == 200
            return server.programs.references - before

        assert [prepared(name) for name in ("ben", ELEVENLABS_ID, "alloy", "cleo", "RACHEL")] == [1, 0, 0, 1, 0]


def test_aliases_are_listed_changed_and_forgotten(client: httpx.Client) -> None:
    put(client, "Nova", "ada")
    assert put(client, "nova", "ben").json() == {
        "name": "nova",
        "object": "audio.voice_alias",
        "voice": "ben",
        "fixed": False,
    }
    listed = client.get("/v1/audio/voice_aliases").json()["aliases"]
    assert [(one["name"], one["voice"], one["fixed"]) for one in listed] == [
        ("Rachel", "cleo", True),
        ("alloy", "Ben", True),
        ("nova", "ben", False),
    ]
    assert client.get("/v1/voices/nova").json()["voice_id"] == "ben"
    assert client.delete("/v1/audio/voice_aliases/NOVA").json()["deleted"] is True
    assert client.get("/v1/voices/nova").json()["voice_id"] == "cleo"  # one of OpenAI's names again


@pytest.mark.parametrize(
    ("name", "voice", "status", "code", "param"),
    [
        ("Nova", "nobody", 404, "voice_not_found", "voice"),
        ("Nova", "x" * 65, 422, "invalid_request", "voice"),
        ("ada", "ben", 409, "voice_exists", "name"),
        ("ALLOY", "ada", 403, "voice_read_only", "voice"),
        ("x" * 65, "ada", 422, "invalid_voice", "name"),
        ("a:b", "ada", 422, "invalid_voice", "name"),
        ("default", "ada", 422, "invalid_voice", "name"),
    ],
)
def test_what_is_wrong_is_said(client: httpx.Client, name: str, voice: str, status: int, code: str, param: str) -> None:
    reply = put(client, name, voice)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (status, code, param), error


def test_what_cannot_be_forgotten_is_said(client: httpx.Client) -> None:
    for name, status, code in (("rachel", 403, "voice_read_only"), ("nova", 404, "voice_alias_not_found")):
        reply = client.delete(f"/v1/audio/voice_aliases/{name}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


def test_a_stored_voice_of_that_name_comes_first_and_a_deleted_one_is_told(client: httpx.Client) -> None:
    fields = {"name": "Mine", "ref_text": TEXT}
    made = client.post("/v1/audio/voices", data=fields, files={"audio_sample": file(speech(4))}).json()["id"]
    put(client, "nova", made)
    assert client.get("/v1/voices/nova").json()["name"] == "Mine"
    client.delete(f"/v1/audio/voices/{made}")
    reply = client.post("/v1/audio/speech", json={"input": "Hello.", "voice": "nova"})
    assert reply.status_code == 404 and "'nova' stands for" in reply.json()["error"]["message"]
    client.post("/v1/audio/voices", data={**fields, "name": "Nova"}, files={"audio_sample": file(speech(4))})
    assert client.get("/v1/voices/nova").json()["name"] == "Nova"
