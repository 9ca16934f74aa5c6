"""Voices, user and subscription as ElevenLabs' official Python SDK asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError

from tests.clips import TEXT, file, silence, speech
from tests.server import ServerThread

CLIP = file(speech(4))
WORDS: Any = {"additional_body_parameters": {"ref_text": TEXT}}


def test_a_voice_is_added_found_used_and_deleted(elevenlabs: ElevenLabs) -> None:
    made = elevenlabs.voices.ivc.create(
        name="Dora", files=[("clip.wav", CLIP)], description="from the tests", request_options=WORDS
    )
    assert made.requires_verification is False
    voice = elevenlabs.voices.get(made.voice_id)
    assert (voice.name, voice.category, voice.description) == ("Dora", "cloned", "from the tests")
    assert voice.settings is not None and voice.settings.speed == 1.0
    assert made.voice_id in [voice.voice_id for voice in elevenlabs.voices.get_all().voices]
    data = b"".join(elevenlabs.text_to_speech.convert(made.voice_id, text="Hello.", output_format="ulaw_8000"))
    assert data and len(data) % 160 == 0
    assert elevenlabs.voices.delete(made.voice_id).status == "ok"
    with pytest.raises(ApiError) as caught:
        elevenlabs.voices.get(made.voice_id)
    assert caught.value.status_code == 404


def test_search_filters_sorts_and_turns_pages(elevenlabs: ElevenLabs) -> None:
    for name in ("Zoe", "anna"):
        elevenlabs.voices.ivc.create(name=name, files=[CLIP], description="a Visitor", request_options=WORDS)
    everyone = ["Ada", "anna", "Ben", "Cleo", "Zoe"]
    names = []
    token = None
    while True:
        page = elevenlabs.voices.search(page_size=2, sort="name", next_page_token=token)
        assert page.total_count == 5
        names.append([voice.name for voice in page.voices])
        token = page.next_page_token
        assert page.has_more == (token is not None)
        if token is None:
            break
    assert names == [everyone[:2], everyone[2:4], everyone[4:]]

    def found(**query: Any) -> list[str | None]:
        return [voice.name for voice in elevenlabs.voices.search(**query).voices]

    visitors = {"Zoe", "anna"}  # by age, which is told in whole seconds: in either order
    assert set(found(search="visitor")) == visitors
    assert found(search="zo") == ["Zoe"]
    assert found(sort="name", sort_direction="desc") == everyone[::-1]
    assert found(sort="created_at_unix", category="cloned", sort_direction="desc")[-1:] != ["Ada"]
    assert found(category="premade") == found(voice_type="default") == ["Ada", "Ben", "Cleo"]
    assert set(found(voice_type="personal")) == visitors
    assert found(voice_type="workspace") == []
    assert found(voice_ids=["ben", "cleo"]) == ["Ben", "Cleo"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"page_size": 0}, "page_size"),
        ({"page_size": 101}, "page_size"),
        ({"next_page_token": "nobody"}, "next_page_token"),
        ({"sort": "age"}, "sort"),
        ({"search": "x" * 200}, "search"),
    ],
)
def test_a_wrong_search_is_refused_by_name(client: httpx.Client, query: dict[str, Any], param: str) -> None:
    reply = client.get("/v2/voices", params=query)
    assert reply.status_code == 422
    assert reply.json()["detail"]["param"] == param


def test_what_no_voice_can_be_made_of_is_refused(own: ServerThread, elevenlabs: ElevenLabs) -> None:
    def refused(status: int, param: str | None, told: str, **fields: Any) -> None:
        with pytest.raises(ApiError) as caught:
            elevenlabs.voices.ivc.create(**{"name": "New", "files": [CLIP], "request_options": WORDS, **fields})
        detail = caught.value.body["detail"]
        assert (caught.value.status_code, detail["param"]) == (status, param)
        assert told in detail["message"]

    refused(422, "name", "exists already", name="Ada")
    refused(422, "files", "files: ", files=[b"no sound at all"])
    refused(422, "files", "files: ", files=[file(silence(4))])
    refused(422, None, "Too many files", files=[CLIP, CLIP])
    refused(422, "ref_text", "ref_text", request_options=None)  # nothing transcribes here
    with httpx.Client(base_url=own.url) as client:
        reply = client.post("/v1/voices/add", files={"name": (None, "New")})
        assert reply.status_code == 422 and reply.json()["detail"]["param"] == "files"
        assert client.post("/v1/voices/add", json={"name": "New"}).status_code == 415
        assert client.delete("/v1/voices/ada").status_code == 403


def test_the_settings_of_a_voice(elevenlabs: ElevenLabs) -> None:
    assert elevenlabs.voices.settings.get_default() == elevenlabs.voices.settings.get("ada")
    with pytest.raises(ApiError) as caught:
        elevenlabs.voices.settings.get("nobody")
    assert caught.value.status_code == 404
    with pytest.raises(ApiError) as caught:
        elevenlabs.voices.settings.update("ada", request=elevenlabs.voices.settings.get_default())
    assert caught.value.status_code == 403


def test_settings_that_are_kept_with_a_voice_are_spoken_with(elevenlabs: ElevenLabs) -> None:
    """It answered 501. What a text asks for goes before what is kept, and the rest stays as it was given."""
    made = elevenlabs.voices.ivc.create(name="Dora", files=[CLIP], request_options=WORDS).voice_id

    def seconds(**fields: Any) -> float:
        audio = elevenlabs.text_to_speech.convert(
            made, text="Hello there, all of you.", output_format="pcm_24000", seed=1, **fields
        )
        return len(b"".join(audio)) / 48_000

    usual = seconds()
    assert elevenlabs.voices.settings.update(made, request=VoiceSettings(speed=2.0, stability=0.1)).status == "ok"
    kept = elevenlabs.voices.settings.get(made)
    assert (kept.speed, kept.stability, kept.similarity_boost) == (2.0, 0.1, 0.75)
    assert elevenlabs.voices.get(made).settings == kept
    assert seconds() == seconds(voice_settings=VoiceSettings(speed=2.0)) < 0.7 * usual
    assert seconds(voice_settings=VoiceSettings(speed=1.0)) == usual
    for wrong, param in (({"speed": 9}, "speed"), ({"stability": 1.5}, "stability")):
        with pytest.raises(ApiError) as caught:
            elevenlabs.voices.settings.update(made, request=wrong)  # type: ignore[arg-type]
        assert (caught.value.status_code, caught.value.body["detail"]["param"]) == (422, param)


def test_a_voice_is_edited(own: ServerThread, elevenlabs: ElevenLabs) -> None:
    """It answered 501. What the form does not have stays; a new recording takes the old one's place under the same id."""
    made = elevenlabs.voices.ivc.create(
        name="Dora", files=[CLIP], description="first", labels={"language": "en"}, request_options=WORDS
    ).voice_id
    before = own.voices.get(made)
    assert elevenlabs.voices.update(made, name="Dora Two", labels={"accent": "british"}).status == "ok"
    voice = elevenlabs.voices.get(made)
    assert (voice.name, voice.description, voice.labels) == ("Dora Two", "first", {"accent": "british"})
    assert own.voices.get(made).clip == before.clip
    other = file(speech(6))
    words: Any = {"additional_body_parameters": {"ref_text": TEXT + " And again."}}
    elevenlabs.voices.update(made, name="dora two", files=[other], description="second", request_options=words)
    after = own.voices.get(made)
    assert (after.name, after.description, after.clip.text) == ("dora two", "second", TEXT + " And again.")
    assert after.labels == {"accent": "british"} and after.created == before.created
    assert after.report is not None and after.report["duration"] == pytest.approx(6, abs=0.01)
    assert b"".join(elevenlabs.text_to_speech.convert(made, text="Hello.", output_format="ulaw_8000"))
    assert elevenlabs.voices.delete(made).status == "ok"


def test_what_cannot_be_edited_is_refused_and_nothing_is_changed(own: ServerThread, elevenlabs: ElevenLabs) -> None:
    made = elevenlabs.voices.ivc.create(name="Dora", files=[CLIP], request_options=WORDS).voice_id
    before = own.voices.get(made)

    def refused(status: int, param: str | None, told: str, voice: str = made, **fields: Any) -> None:
        with pytest.raises(ApiError) as caught:
            elevenlabs.voices.update(voice, **{"name": "New", **fields})
        detail = caught.value.body["detail"]
        assert (caught.value.status_code, detail["param"]) == (status, param), detail
        assert told in detail["message"]

    refused(403, "voice_id", "cannot be deleted or changed", voice="ada")
    refused(404, "voice_id", "unknown", voice="nobody")
    refused(422, "name", "exists already", name="Ada")
    refused(422, "name", "1 to 64", name="x" * 65)
    refused(422, "files", "files: ", files=[b"no sound at all"], request_options=WORDS)
    refused(422, "ref_text", "ref_text", files=[CLIP])  # nothing transcribes here
    refused(422, "ref_text", "new recording", request_options=WORDS)
    refused(422, "labels", "JSON object", labels="no object")
    refused(422, "labels", "JSON object", labels={"language": "x" * 101})
    refused(422, "labels", "surrogate", labels={"language": "\ud800"})
    assert own.voices.get(made) == before


def test_the_account_has_characters_left_and_counts_voices(elevenlabs: ElevenLabs) -> None:
    before = elevenlabs.user.subscription.get()
    assert before.character_limit - before.character_count > 10**9
    assert (before.voice_slots_used, before.can_use_instant_voice_cloning) == (0, True)
    elevenlabs.voices.ivc.create(name="Dora", files=[CLIP], request_options=WORDS)
    assert elevenlabs.user.get().subscription.voice_slots_used == 1


@pytest.mark.parametrize(
    "path",
    ["/v1/voices", "/v2/voices", "/v1/voices/ada", "/v1/voices/ada/settings", "/v1/user", "/v1/user/subscription"],
)
def test_every_address_wants_the_key(serve: Callable[..., ServerThread], path: str) -> None:
    server = serve(api_keys=("secret-key-1",))
    refused = httpx.get(f"{server.url}{path}")
    assert refused.status_code == 401 and "detail" in refused.json()
    assert httpx.get(f"{server.url}{path}", headers={"xi-api-key": "secret-key-1"}).status_code == 200


def test_an_upload_is_bounded_as_sound_is(serve: Callable[..., ServerThread]) -> None:
    """What carries sound has the limit for sound, and nothing over it is read."""
    server = serve(max_body_mib=1.0)
    long: dict[str, Any] = {"name": (None, "New"), "files": ("clip.wav", b"\0" * 2**21)}
    reply = httpx.post(f"{server.url}/v1/voices/add", files=long)
    assert reply.status_code == 413 and "detail" in reply.json()


def test_the_cost_and_the_request_are_told_in_headers(client: httpx.Client) -> None:
    reply = client.post("/v1/text-to-speech/ada", json={"text": "Hello there."}, headers={"X-Request-ID": "mine-1"})
    assert (reply.headers["character-cost"], reply.headers["request-id"]) == ("12", "mine-1")


def test_text_normalization_may_be_turned_off(client: httpx.Client) -> None:
    body = {"text": "777777", "seed": 1}
    lengths = [
        len(client.post("/v1/text-to-speech/ada?output_format=pcm_24000", json={**body, **more}).content)
        for more in ({}, {"apply_text_normalization": "on"}, {"apply_text_normalization": "off"})
    ]
    assert lengths[0] == lengths[1] > 2 * lengths[2]


def test_what_has_no_meaning_here_is_passed_over(client: httpx.Client) -> None:
    body = {"text": "Hello there.", "seed": 1}
    more = {
        "model_id": "eleven_v3",
        "previous_text": "Before it.",
        "next_text": "After it.",
        "previous_request_ids": ["req-1"],
        "voice_settings": {"stability": 0.3, "similarity_boost": 0.9, "style": 0.1, "use_speaker_boost": True},
    }
    plain, full = (client.post("/v1/text-to-speech/ada", json=fields).content for fields in (body, {**body, **more}))
    assert plain == full
