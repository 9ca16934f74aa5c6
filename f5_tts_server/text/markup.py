"""Marks inside a text: `[pause:0.5]`, `[voice:name]`, `[speed:1.2]`, `[say:tomato|təmˈɑɾO]`.

A voice or speed holds until the next such mark; `[voice:default]` and `[speed:1]` go back. Everything else in square
brackets is text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from f5_tts_server import given_sounds
from f5_tts_server.limits import PAUSE_MAX_S, SPEED_MAX, SPEED_MIN
from f5_tts_server.text.errors import TextError
from f5_tts_server.text.inflection import Ending
from f5_tts_server.text.lexicon import WORD_MAX, Spoken

_MARK = re.compile(r"\[\s*(pause|voice|speed|say)\s*:([^\[\]\n]*)\]", re.IGNORECASE)
_ENDINGS: dict[str, Ending] = {"s": "s", "es": "s", "'s": "'s", "’s": "'s", "ed": "ed", "d": "ed", "ing": "ing"}
_ENDING = re.compile(r"(?:'s|’s|es|s|ed|d|ing)(?!\w)", re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s*(ms|s)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PauseMark:
    seconds: float


@dataclass(frozen=True, slots=True)
class VoiceMark:
    name: str


@dataclass(frozen=True, slots=True)
class SpeedMark:
    speed: float


@dataclass(frozen=True, slots=True)
class SayMark:
    """A word, and how it is said. The English ending that is written behind the mark belongs to the word."""

    word: str
    spoken: Spoken
    ending: Ending | None = None


Mark = PauseMark | VoiceMark | SpeedMark | SayMark


def parse(text: str) -> list[str | Mark]:
    """The text and its marks, in order; pieces of text are not empty.

    Raises TextError when a mark's value is not one.
    """
    found: list[str | Mark] = []
    position = 0
    for match in _MARK.finditer(text):
        if before := text[position : match.start()]:
            found.append(before)
        mark = _mark(match.group(1).lower(), match.group(2).strip())
        position = match.end()
        if isinstance(mark, SayMark):
            mark, position = with_ending(mark, text, position)
        found.append(mark)
    if rest := text[position:]:
        found.append(rest)
    return found


def _mark(kind: str, value: str) -> Mark:
    if kind == "voice":
        if not value:
            raise TextError("[voice:] names no voice; [voice:default] goes back to the request's own")
        return VoiceMark(value)
    if kind == "speed":
        return SpeedMark(_speed(value))
    if kind == "say":
        return say_mark(*value.rpartition("|")[::2])
    return PauseMark(_pause(value))


def with_ending(mark: SayMark, text: str, position: int) -> tuple[SayMark, int]:
    """The mark with the English ending that the text goes on with at a position, and where the text goes on after it."""
    ending = _ENDING.match(text, position)
    if ending is None:
        return mark, position
    return replace(mark, ending=_ENDINGS[ending.group().lower()]), ending.end()


def say_mark(word: str, value: str) -> SayMark:
    """The mark for a word and its pronunciation. Raises TextError."""
    word = " ".join(given_sounds.without_private(word).split())
    shown = f"[say:{word[:20]}|{value[:20]}]" if word else f"[say:{value[:20]}]"
    if not word or len(word) > WORD_MAX:
        raise TextError(f"{shown}: write the word, |, and how it is said; the word may have {WORD_MAX} characters")
    try:
        return SayMark(word, Spoken.of(value))
    except ValueError as error:
        raise TextError(f"{shown}: {error}") from error


def _pause(value: str) -> float:
    match = _DURATION.fullmatch(value)
    seconds = float(match.group(1)) / (1000 if (match.group(2) or "").lower() == "ms" else 1) if match else math.nan
    if not 0 < seconds <= PAUSE_MAX_S:
        raise TextError(f"[pause:{value[:20]}] is no pause; more than 0 and at most {PAUSE_MAX_S:g} seconds do")
    return seconds


def _speed(value: str) -> float:
    match = _DURATION.fullmatch(value)
    speed = float(match.group(1)) if match and not match.group(2) else math.nan
    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise TextError(f"[speed:{value[:20]}] is no speed; {SPEED_MIN:g} to {SPEED_MAX:g} do")
    return speed
