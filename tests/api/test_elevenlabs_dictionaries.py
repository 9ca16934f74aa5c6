"""Pronunciation dictionaries, kept and used by ElevenLabs' official Python SDK."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from elevenlabs import PronunciationDictionaryVersionLocator as Locator
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.pronunciation_dictionaries import (
    BodyAddAPronunciationDictionaryV1PronunciationDictionariesAddFromRulesPostRulesItem_Alias as Alias,
)
from elevenlabs.pronunciation_dictionaries import (
    BodyAddAPronunciationDictionaryV1PronunciationDictionariesAddFromRulesPostRulesItem_Phoneme as Phoneme,
)
from websockets.sync.client import connect

from tests.server import ServerThread


def spoken(elevenlabs: ElevenLabs, text: str, *locators: Locator) -> bytes:
    more: dict[str, Any] = {"pronunciation_dictionary_locators": list(locators)} if locators else {}
    return b"".join(elevenlabs.text_to_speech.convert("ada", text=text, output_format="pcm_24000", seed=1, **more))


def test_a_dictionary_is_kept_and_speaks(own: ServerThread, elevenlabs: ElevenLabs) -> None:
    made = elevenlabs.pronunciation_dictionaries.create_from_rules(
        name="databases",
        description="of the tests",
        rules=[
            Alias(string_to_replace="SQL", alias="sequel"),
            Alias(string_to_replace="postgres", alias="post gress queue ell", case_sensitive=False),
        ],
    )
    assert made.version_rules_num == 2
    read = elevenlabs.pronunciation_dictionaries.get(made.id)
    assert (read.name, read.description, read.latest_version_id) == ("databases", "of the tests", made.version_id)
    rules = [(rule.string_to_replace, rule.alias, rule.case_sensitive) for rule in read.rules if rule.type == "alias"]
    assert rules == [("SQL", "sequel", True), ("postgres", "post gress queue ell", False)]
    listed = elevenlabs.pronunciation_dictionaries.list()
    assert [one.id for one in listed.pronunciation_dictionaries] == [made.id] and listed.has_more is False

    here = Locator(pronunciation_dictionary_id=made.id, version_id=made.version_id)
    assert spoken(elevenlabs, "We speak SQL to Postgres.", here) == spoken(
        elevenlabs, "We speak sequel to post gress queue ell."
    )
    assert spoken(elevenlabs, "We speak SQL to Postgres.") != spoken(elevenlabs, "We speak SQL to Postgres.", here)
    assert spoken(elevenlabs, "We speak sql.", here) == spoken(elevenlabs, "We speak sql.")

    address = f"ws://{own.host}/v1/text-to-speech/ada/stream-input?output_format=pcm_24000"
    locator = {"pronunciation_dictionary_id": made.id, "version_id": made.version_id}
    audio = {}
    for text, locators in (("We speak SQL. ", [locator]), ("We speak sequel. ", [])):
        with connect(address, open_timeout=20) as socket:
            socket.send(json.dumps({"text": " ", "seed": 1, "pronunciation_dictionary_locators": locators}))
            socket.send(json.dumps({"text": text}))
            socket.send(json.dumps({"text": ""}))
            audio[text] = [json.loads(message).get("audio") for message in socket]
    assert audio["We speak SQL. "] == audio["We speak sequel. "]


def test_pages_of_dictionaries(elevenlabs: ElevenLabs) -> None:
    made = {
        elevenlabs.pronunciation_dictionaries.create_from_rules(
            name=name, rules=[Alias(string_to_replace="a", alias="b")]
        ).id
        for name in ("one", "two", "three")
    }
    first = elevenlabs.pronunciation_dictionaries.list(page_size=2)
    second = elevenlabs.pronunciation_dictionaries.list(page_size=2, cursor=first.next_cursor)
    found = [one.id for page in (first, second) for one in page.pronunciation_dictionaries]
    assert (first.has_more, second.has_more) == (True, False)
    assert set(found) == made and len(found) == 3


def test_what_no_dictionary_can_have_is_refused(own: ServerThread, elevenlabs: ElevenLabs) -> None:
    with pytest.raises(ApiError) as caught:
        elevenlabs.pronunciation_dictionaries.create_from_rules(
            name="x", rules=[Phoneme(string_to_replace="hello", phoneme="HH AH0 L OW1", alphabet="cmu-arpabet")]
        )
    assert caught.value.status_code == 422
    assert caught.value.body["detail"]["param"] == "rules.0.alphabet"
    with httpx.Client(base_url=own.url) as client:

        def refused(rule: dict[str, Any], param: str, told: str) -> None:
            body = {"name": "x", "rules": [rule]}
            reply = client.post("/v1/pronunciation-dictionaries/add-from-rules", json=body)
            detail = reply.json()["detail"]
            assert (reply.status_code, detail["param"]) == (422, param)
            assert told in detail["message"]

        refused({"type": "alias", "string_to_replace": "a"}, "rules", "no alias")
        refused({"type": "alias", "string_to_replace": "!", "alias": "b"}, "rules", "must begin with a letter")
        refused({"type": "alias", "string_to_replace": "a" * 99, "alias": "b"}, "rules.0.string_to_replace", "60")
        refused(
            {"type": "alias", "string_to_replace": "a", "alias": "b", "word_boundaries": False},
            "rules.0.word_boundaries",
            "should be True",
        )
        many = [{"type": "alias", "string_to_replace": "a", "alias": "b"}] * 1001
        reply = client.post("/v1/pronunciation-dictionaries/add-from-rules", json={"name": "x", "rules": many})
        assert reply.json()["detail"]["param"] == "rules"


@pytest.mark.parametrize("name", ["dict_0000000000000000", "../../etc/passwd", "voice_0"])
def test_an_unknown_dictionary_is_named(elevenlabs: ElevenLabs, name: str) -> None:
    with pytest.raises(ApiError) as caught:
        spoken(elevenlabs, "Hello.", Locator(pronunciation_dictionary_id=name, version_id=name))
    assert caught.value.status_code == 404
    assert caught.value.body["detail"]["param"] == "pronunciation_dictionary_locators"


def test_dictionaries_want_the_key(serve: Callable[..., ServerThread]) -> None:
    server = serve(api_keys=("secret-key-1",))
    assert httpx.get(f"{server.url}/v1/pronunciation-dictionaries").status_code == 401
