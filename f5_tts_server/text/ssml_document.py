"""SSML documents (https://www.w3.org/TR/speech-synthesis11/): the part of it that can be done here, the rest refused.

Elements: `speak`, `p`, `s`, `break`, `say-as`, `sub`, `phoneme` (IPA) and `prosody` with `rate`. There are no document
types, so no entities but XML's own, and depth and number of elements are bounded.
"""

from __future__ import annotations

import re
from xml.parsers import expat

from f5_tts_server import given_sounds
from f5_tts_server.limits import PAUSE_MAX_S, SPEED_MAX, SPEED_MIN
from f5_tts_server.text.errors import TextError
from f5_tts_server.text.markup import Mark, PauseMark, SayMark, SpeedMark, say_mark, with_ending

DEPTH_MAX = 20
ELEMENTS_MAX = 1_000

# Attributes by element; those of `speak` say nothing that is not known.
_ATTRIBUTES = {
    "speak": {"version", "xmlns", "xml:lang", "xmlns:xsi", "xsi:schemaLocation"},
    "p": set[str](),
    "s": set[str](),
    "break": {"time", "strength"},
    "say-as": {"interpret-as", "format"},
    "sub": {"alias"},
    "phoneme": {"alphabet", "ph"},
    "prosody": {"rate"},
}
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.0}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.5}
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s*(ms|s)")
_PERCENT = re.compile(r"([+-]?)(\d{1,4}(?:\.\d{1,4})?)%")
# What these hold is read by the rules for numbers as it stands.
_AS_WRITTEN = {"cardinal", "number", "date", "time", "currency", "fraction", "unit", "address"}
_LETTERS = {"characters", "spell-out", "verbatim", "digits", "telephone"}
_LEAVES = {"say-as", "sub", "phoneme", "break"}


def document(text: str) -> list[str | Mark]:
    """A whole document as text and marks, in order.

    Raises TextError for what is no XML, an element, attribute or value that is not done here, and what is too deep or long.
    """
    return _Document().read(text)


class _Document:
    def __init__(self) -> None:
        self._items: list[str | Mark] = []
        self._open: list[tuple[str, dict[str, str]]] = []
        self._rates = [1.0]
        self._inside = ""  # the text of an open leaf
        self._elements = 0

    def read(self, text: str) -> list[str | Mark]:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = _no_doctype
        parser.ProcessingInstructionHandler = _no_instruction
        try:
            parser.Parse(text.strip().encode(), True)
        except expat.ExpatError as error:
            raise TextError(
                f"this is no SSML document: {expat.ErrorString(error.code)} in line {error.lineno}"
            ) from error
        return self._items

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > ELEMENTS_MAX or len(self._open) >= DEPTH_MAX:
            raise TextError(f"SSML may have {ELEMENTS_MAX} elements and be {DEPTH_MAX} deep")
        if name not in _ATTRIBUTES:
            raise TextError(f"SSML's <{name[:40]}> is not done here; {', '.join(_ATTRIBUTES)} are")
        if (name == "speak") != (not self._open):
            raise TextError("an SSML document is one <speak> with all others inside")
        if self._open and self._open[-1][0] in _LEAVES:
            raise TextError(f"<{self._open[-1][0]}> holds text only, not <{name}>")
        unknown = next((one for one in attributes if one not in _ATTRIBUTES[name]), None)
        if unknown is not None:
            raise TextError(f"<{name}>'s attribute {unknown[:40]!r} is not done here")
        self._open.append((name, attributes))
        if name in ("p", "s"):
            self._items.append("\n")
        elif name == "break":
            if seconds := _pause(attributes):
                self._items.append(PauseMark(seconds))
        elif name == "prosody":
            self._rates.append(self._rates[-1] * _rate(attributes))
            self._speed()

    def _end(self, name: str) -> None:
        _, attributes = self._open.pop()
        inside, self._inside = self._inside, ""
        if name in ("p", "s"):
            self._items.append("\n")
        elif name == "prosody":
            self._rates.pop()
            self._speed()
        elif name == "sub":
            self._items.append(given_sounds.without_private(_needed("sub", "alias", attributes)))
        elif name == "say-as":
            self._items.append(_said_as(inside.strip(), _needed("say-as", "interpret-as", attributes)))
        elif name == "phoneme":
            alphabet = attributes.get("alphabet", "ipa")
            if alphabet != "ipa":
                raise TextError(f"<phoneme>'s alphabet {alphabet[:40]!r} is not done here; ipa is")
            self._items.append(say_mark(inside, f"/{_needed('phoneme', 'ph', attributes).strip('/')}/"))

    def _characters(self, text: str) -> None:
        text = given_sounds.without_private(text)
        if self._open[-1][0] not in _LEAVES:
            if self._items and isinstance(mark := self._items[-1], SayMark):
                self._items[-1], at = with_ending(mark, text, 0)
                text = text[at:]
            self._items.append(text)
        elif self._open[-1][0] != "break":
            self._inside += text
        elif text.strip():
            raise TextError("<break> holds no text")

    def _speed(self) -> None:
        if not SPEED_MIN <= self._rates[-1] <= SPEED_MAX:
            raise TextError(f"<prosody>'s rates come to {self._rates[-1]:g}; {SPEED_MIN:g} to {SPEED_MAX:g} do")
        self._items.append(SpeedMark(self._rates[-1]))


def _needed(element: str, name: str, attributes: dict[str, str]) -> str:
    value = attributes.get(name, "")
    if not value.strip():
        raise TextError(f"<{element}> has no {name}")
    return value


def _pause(attributes: dict[str, str]) -> float:
    if "time" not in attributes:
        strength = attributes.get("strength", "medium")
        if strength not in _STRENGTHS:
            raise TextError(f"<break>'s strength {strength[:40]!r} is none; {', '.join(_STRENGTHS)} are")
        return _STRENGTHS[strength]
    found = _TIME.fullmatch(attributes["time"].strip())
    seconds = float(found.group(1)) / (1000 if found.group(2) == "ms" else 1) if found else -1.0
    if not 0 <= seconds <= PAUSE_MAX_S:
        raise TextError(f"<break>'s time {attributes['time'][:40]!r} is none; 0s to {PAUSE_MAX_S:g}s are")
    return seconds


def _rate(attributes: dict[str, str]) -> float:
    value = _needed("prosody", "rate", attributes).strip()
    if value in _RATES:
        return _RATES[value]
    found = _PERCENT.fullmatch(value)
    if not found:
        raise TextError(f"<prosody>'s rate {value[:40]!r} is none; {', '.join(_RATES)}, 80% and +10% are")
    sign, percent = found.group(1), float(found.group(2)) / 100
    return 1 + percent if sign == "+" else 1 - percent if sign == "-" else percent


def _said_as(text: str, kind: str) -> str:
    if kind in _AS_WRITTEN:
        return text
    if kind in _LETTERS:
        # A lone "a" would be read as the article.
        return " ".join("ay" if one in "aA" else one for one in text if one.isalnum())
    if kind == "ordinal" and text.isdecimal() and len(text) <= 9:
        last = "th" if text[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(text[-1], "th")
        return f"{text}{last}"
    kinds = ", ".join(sorted({*_AS_WRITTEN, *_LETTERS, "ordinal"}))
    raise TextError(f"<say-as>'s {kind[:40]!r} of {text[:40]!r} is not done here; {kinds} are (ordinals of digits)")


def _no_doctype(*_: object) -> None:
    raise TextError("SSML here has no document type and no entities of its own: leave out <!DOCTYPE>")


def _no_instruction(*_: object) -> None:
    raise TextError("SSML here has no processing instructions: leave out <?...?>")
