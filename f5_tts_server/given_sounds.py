"""Words whose pronunciation is given, as characters of a text: how texts carry it to a front end.

Such a word is a run of private-use characters: the letters as they are written, moved to plane 15, then the transcription,
moved to plane 16. Nothing that cuts or reads texts takes them for letters, digits or marks, and a run holds no white space,
so it stays one word. Which transcriptions a model can speak is its front end's business.
"""

from __future__ import annotations

import re

_WRITTEN, _SAID = 0xF0000, 0x100000
_LAST = 0xFFFD  # in a plane; the two beyond it are no characters

SAID = f"[{chr(_WRITTEN)}-{chr(_WRITTEN + _LAST)}]*+[{chr(_SAID)}-{chr(_SAID + _LAST)}]++"
"""A regular expression for such a word."""

_WORD = re.compile(SAID)
_PRIVATE = re.compile(f"[{chr(_WRITTEN)}-{chr(_SAID + 0xFFFF)}]")


def encode(written: str, transcription: str) -> str:
    """The word; letters beyond U+FFFD, which no transcription needs, are left out of it."""
    letters = "".join(chr(_WRITTEN + ord(character)) for character in written if ord(character) <= _LAST)
    return letters + "".join(chr(_SAID + ord(character)) for character in transcription if ord(character) <= _LAST)


def transcription(word: str) -> str:
    """How such a word, or what a cut has left of it, is said."""
    return "".join(chr(ord(character) - _SAID) for character in word if ord(character) >= _SAID)


def is_said(word: str) -> bool:
    """Whether a word of a text is such a run."""
    return _WORD.fullmatch(word) is not None


def parts(text: str) -> list[tuple[str, str]]:
    """The text in order as pairs (plain text, transcription), one of them empty."""
    found: list[tuple[str, str]] = []
    at = 0
    for word in _WORD.finditer(text):
        if word.start() > at:
            found.append((text[at : word.start()], ""))
        found.append(("", transcription(word.group())))
        at = word.end()
    if at < len(text):
        found.append((text[at:], ""))
    return found


def written(text: str) -> str:
    """The text for people: such words as they were written."""
    if text.isascii():
        return text
    return _PRIVATE.sub(lambda found: _as_written(found.group()), text)


def without_private(text: str) -> str:
    """The text without characters of the planes that are used here; a text from outside must not have any."""
    return text if text.isascii() else _PRIVATE.sub("", text)


def _as_written(character: str) -> str:
    return chr(ord(character) - _WRITTEN) if ord(character) < _SAID else ""
