"""Pronunciation dictionaries as ElevenLabs' clients keep them, and the texts that name them.

A rule's ``alias`` is read in the word's place; its ``phoneme`` is IPA. A dictionary does not change: its one version has
its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Text
from f5_tts_server.inference_types import RequestError, invalid_field
from f5_tts_server.text import Lexicon, TextError
from f5_tts_server.text.lexicon import PRONUNCIATION_MAX, REQUEST_ENTRIES_MAX, WORD_MAX, Entry
from f5_tts_server.voices.dictionaries import NAME_MAX, Dictionary, Rule, UnknownDictionary

LOCATORS_MAX = 3
RULES_MAX = 10 * REQUEST_ENTRIES_MAX
_PREFIX = "/v1/pronunciation-dictionaries"


class RuleBody(BaseModel):
    """A rule as a client sends it."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["alias", "phoneme"]
    string_to_replace: Text = Field(min_length=1, max_length=WORD_MAX)
    alias: Text | None = Field(None, max_length=PRONUNCIATION_MAX)
    phoneme: Text | None = Field(None, max_length=PRONUNCIATION_MAX)
    alphabet: Literal["ipa"] = "ipa"
    case_sensitive: bool = True
    word_boundaries: Literal[True] = True

    def rule(self) -> Rule:
        """Raises ValueError where it says nothing."""
        said = self.alias if self.type == "alias" else self.phoneme
        if not (said or "").strip():
            raise ValueError(f"the rule for {self.string_to_replace!r} has no {self.type}")
        value = f"{said}" if self.type == "alias" else f"/{(said or '').strip().strip('/')}/"
        return Rule(self.string_to_replace, value, not self.case_sensitive)


class DictionaryBody(BaseModel):
    """A dictionary as a client sends it."""

    model_config = ConfigDict(extra="ignore")

    name: Text = Field(min_length=1, max_length=NAME_MAX)
    description: Text | None = Field(None, max_length=500)
    rules: list[RuleBody] = Field(min_length=1, max_length=RULES_MAX)


class Locator(BaseModel):
    """A dictionary that a text is spoken with."""

    model_config = ConfigDict(extra="ignore")

    pronunciation_dictionary_id: Text = Field(max_length=64)
    version_id: Text | None = Field(None, max_length=64)


Locators = Annotated[list[Locator], Field(max_length=LOCATORS_MAX)]


def lexicons(services: Services, locators: Sequence[Locator]) -> list[Lexicon]:
    """The dictionaries that a text names, in its order. Blocks; raises RequestError."""
    field = "pronunciation_dictionary_locators"
    made = []
    for locator in locators:
        found = _get(services, locator.pronunciation_dictionary_id, field)
        if locator.version_id not in (None, found.id):
            message = (
                f"{field}: dictionary {found.id} has no version {locator.version_id!r}; its only one is {found.id}"
            )
            raise RequestError(404, "pronunciation_dictionary_not_found", message, field)
        made.append(_lexicon(found.rules, services))
    return made


def add(routes: APIRouter, services: Services) -> None:
    """Add the routes."""
    kept = services.dictionaries

    @routes.post(f"{_PREFIX}/add-from-rules")
    async def add_from_rules(body: DictionaryBody) -> dict[str, Any]:
        """Keep a dictionary of rules; the words in it must be such as a lexicon can have."""

        def store() -> Dictionary:
            try:
                rules = tuple(rule.rule() for rule in body.rules)
                _lexicon(rules, services)
            except (ValueError, TextError) as error:
                raise invalid_field("rules", f"rules: {error}") from error
            return kept.add(body.name, body.description, rules)

        made = await to_thread.run_sync(store)
        return _described(made) | {"version_id": made.id, "version_rules_num": len(made.rules)}

    @routes.get(_PREFIX)
    def dictionaries(
        page_size: Annotated[int, Query(ge=1, le=100)] = 30, cursor: Annotated[str, Query(max_length=64)] = ""
    ) -> dict[str, Any]:
        """The dictionaries, page by page."""
        following = [one for one in kept.ids() if one > cursor]
        page = following[:page_size]
        more = len(following) > page_size
        found = [_latest(kept.get(one)) for one in page]
        return {"pronunciation_dictionaries": found, "has_more": more, "next_cursor": page[-1] if more else None}

    @routes.get(f"{_PREFIX}/{{dictionary_id}}")
    def dictionary(dictionary_id: str) -> dict[str, Any]:
        """One dictionary with its rules."""
        found = _get(services, dictionary_id, "dictionary_id")
        return _latest(found) | {"rules": [_rule(rule) for rule in found.rules]}


def _get(services: Services, dictionary_id: str, field: str) -> Dictionary:
    try:
        return services.dictionaries.get(dictionary_id)
    except UnknownDictionary as error:
        message = f"{field}: {error.args[0]}"
        raise RequestError(404, "pronunciation_dictionary_not_found", message, field) from error


def _lexicon(rules: Sequence[Rule], services: Services) -> Lexicon:
    """Raises TextError."""
    check = services.check_transcription
    return Lexicon(Entry.of(rule.word, rule.value, check, any_case=rule.any_case) for rule in rules)


def _described(one: Dictionary) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "created_by": "f5-tts-server",
        "creation_time_unix": one.created,
        "permission_on_resource": None,
    }


def _latest(one: Dictionary) -> dict[str, Any]:
    return _described(one) | {"latest_version_id": one.id, "latest_version_rules_num": len(one.rules)}


def _rule(rule: Rule) -> dict[str, Any]:
    common = {"string_to_replace": rule.word, "case_sensitive": not rule.any_case, "word_boundaries": True}
    if rule.value.startswith("/"):
        return {"type": "phoneme", **common, "phoneme": rule.value[1:-1], "alphabet": "ipa"}
    return {"type": "alias", **common, "alias": rule.value}
