"""Regular endings of English words, in letters and in sounds.

The rules of sounds are those of any grammar: a plural or possessive is ᵻz after a sibilant, s after a voiceless sound, else
z; a past form ᵻd after t and d, t after a voiceless sound, else d.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Ending = Literal["s", "'s", "ed", "ing"]

_SIBILANT = "szʃʒʧʤ"
_VOICELESS = "ptkfθ"
_ENDS_IN_ES = re.compile(r"(?:[sxz]|ch|sh)\Z", re.IGNORECASE)


def with_ending(sounds: str, ending: Ending) -> str:
    """A transcription in IPA with an ending: "təmˈɑɾO" and "s" give "təmˈɑɾOz"."""
    last = sounds[-1]
    if ending == "ing":
        return f"{sounds}ɪŋ"
    if ending == "ed":
        return sounds + ("ᵻd" if last in "td" else "t" if last in f"{_VOICELESS}sʃʧ" else "d")
    return sounds + ("ᵻz" if last in _SIBILANT else "s" if last in _VOICELESS else "z")


def spelled_with_ending(word: str, ending: Ending) -> str:
    """A word in letters with an ending, so that it is read with it: "win" and "s" give "wins"."""
    if ending == "s" and _ENDS_IN_ES.search(word):
        return f"{word}es"
    if ending in ("ed", "ing") and word.endswith("e"):
        word = word[:-1]
    return word + ending


def stems(word: str) -> Iterator[tuple[str, Ending]]:
    """What a word may be a regular form of, with its ending: "tomatoes" gives "tomatoe", "tomato". Case is kept."""
    lower = word.lower().replace("’", "'")
    if lower.endswith("'s"):
        yield word[:-2], "'s"
    elif lower.endswith("s'"):
        yield word[:-2], "s"
    elif lower.endswith("s"):
        yield word[:-1], "s"
        if lower.endswith("es"):
            yield word[:-2], "s"
        if lower.endswith("ies"):
            yield f"{word[:-3]}y", "s"
    elif lower.endswith("ed"):
        yield word[:-1], "ed"
        yield word[:-2], "ed"
        if lower.endswith("ied"):
            yield f"{word[:-3]}y", "ed"
        if lower[-3:-2] == lower[-4:-3]:
            yield word[:-3], "ed"
    elif lower.endswith("ing"):
        yield word[:-3], "ing"
        yield f"{word[:-3]}e", "ing"
        if lower[-4:-3] == lower[-5:-4]:
            yield word[:-4], "ing"
