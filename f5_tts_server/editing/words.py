"""Which words of a text another one changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from f5_tts_server import given_sounds
from f5_tts_server.text import TextError
from f5_tts_server.text.markup import parse
from f5_tts_server.text.normalization import normalize

_NO_LETTER = re.compile(r"[^\w']+")


def plain_words(text: str, *, read_numbers: bool) -> str:
    """A text without marks, which are not for edits; its numbers and abbreviations as they are said in English.

    Raises TextError for marks.
    """
    text = given_sounds.without_private(text)
    if any(not isinstance(piece, str) for piece in parse(text)):
        raise TextError("marks such as [pause:1] are not for edits")
    return normalize(text, "en") if read_numbers else text


@dataclass(frozen=True, slots=True)
class Difference:
    """Words [first, last) of the old text become words [new_first, new_last) of the new one; one side may be empty."""

    first: int
    last: int
    new_first: int
    new_last: int


def differences(old: Sequence[str], new: Sequence[str]) -> list[Difference]:
    """In order. Case and punctuation make no difference: they are not what is changed in a recording."""
    matcher = SequenceMatcher(None, [_bare(word) for word in old], [_bare(word) for word in new], autojunk=False)
    return [Difference(i, j, k, n) for tag, i, j, k, n in matcher.get_opcodes() if tag != "equal"]


def _bare(word: str) -> str:
    return _NO_LETTER.sub("", word.replace("’", "'")).casefold() or word
