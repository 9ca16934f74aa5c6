"""Custom voices with consent, as OpenAI's official Python SDK makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from f5_tts_server.voices.consents import ConsentFolder
from tests.clips import TEXT, file, silence, speech
from tests.server import ServerThread

CLIP = ("clip.wav", file(speech(4)), "audio/wav")


@pytest.fixture
def sdk(own: ServerThread) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{own.url}/v1", api_key="anything", max_retries=0) as client:
        yield client


def test_a_voice_is_made_with_a_recording_of_consent(own: ServerThread, sdk: openai.OpenAI) -> None:
    consent = sdk.audio.voice_consents.create(name="Dora", language="en-US", recording=CLIP)
    assert (consent.object, consent.name, consent.language) == ("audio.voice_consent", "Dora", "en-US")
    assert sdk.audio.voice_consents.retrieve(consent.id) == consent
    made = sdk.audio.voices.create(name="Dora", audio_sample=CLIP, consent=consent.id, extra_body={"ref_text": TEXT})
    assert (made.object, made.name) == ("audio.voice", "Dora")
    assert httpx.get(f"{own.url}/v1/audio/voices/{made.id}").json()["consent"] == consent.id
    spoken = sdk.audio.speech.create(model="gpt-4o-mini-tts", voice={"id": made.id}, input="Hello there.")
    assert len(spoken.content) > 1000
    assert spoken.response.headers["X-Usage-Input-Tokens"] == "12"
    renamed = sdk.audio.voice_consents.update(consent.id, name="Dora, at home")
    assert renamed == consent.model_copy(update={"name": "Dora, at home"})
    folder = own.voices.folder
    assert folder is not None
    assert (Path(folder) / "consents" / f"{consent.id}.audio").read_bytes() == CLIP[1]
    assert sdk.audio.voice_consents.delete(consent.id).deleted is True
    assert list((Path(folder) / "consents").iterdir()) == []
    with pytest.raises(openai.NotFoundError):
        sdk.audio.voice_consents.retrieve(consent.id)
    assert sdk.audio.voices.delete(made.id).deleted is True


def test_pages_of_consents(sdk: openai.OpenAI) -> None:
    made = {sdk.audio.voice_consents.create(name=n, language="de", recording=CLIP).id for n in ("a", "b", "c")}
    first = sdk.audio.voice_consents.list(limit=2)
    assert len(first.data) == 2 and first.has_more
    assert {consent.id for consent in sdk.audio.voice_consents.list(limit=2)} == made  # the SDK turns the pages


def test_what_is_no_consent_is_refused(own: ServerThread, sdk: openai.OpenAI) -> None:
    def refused(param: str, **fields: Any) -> None:
        with pytest.raises(openai.UnprocessableEntityError) as caught:
            sdk.audio.voice_consents.create(**{"name": "x", "language": "en", "recording": CLIP, **fields})
        assert caught.value.param == param

    refused("name", name=" ")
    refused("name", name="x" * 65)
    refused("language", language="e" * 36)
    refused("recording", recording=("a.wav", b"no sound"))
    refused("recording", recording=("a.wav", file(silence(3))))
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.audio.voices.create(
            name="New", audio_sample=CLIP, consent="cons_0123456789abcdef", extra_body={"ref_text": TEXT}
        )
    assert caught.value.param == "consent"
    reply = httpx.get(f"{own.url}/v1/audio/voice_consents", params={"after": "cons_x"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "after")
    assert httpx.get(f"{own.url}/v1/audio/voice_consents/..%2f..%2fsecret").status_code == 404


def test_consents_want_the_key(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",))
    assert httpx.get(f"{server.url}/v1/audio/voice_consents").status_code == 401


def test_a_recording_that_another_server_deletes_meanwhile_is_left_out(own: ServerThread, sdk: openai.OpenAI) -> None:
    """Listing reads the folder's names and then each file: one that had gone in between made a 404 of the list."""
    folder = own.voices.folder
    assert folder is not None
    kept = ConsentFolder(folder / "consents").add("Kept", "en", b"recording")
    # A name that leads nowhere is listed, and gone when it is read.
    (folder / "consents" / "cons_0123456789abcdef.json").symlink_to(folder / "gone")
    reply = httpx.get(f"{own.url}/v1/audio/voice_consents")
    assert reply.status_code == 200 and [one["id"] for one in reply.json()["data"]] == [kept.id]
