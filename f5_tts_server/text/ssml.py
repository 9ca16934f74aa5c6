"""Tags of SSML to what is spoken: `<break time="1.5s"/>` becomes a pause mark, other tags leave their inner text."""

from __future__ import annotations

import re

from f5_tts_server.limits import PAUSE_MAX_S
from f5_tts_server.text.errors import TextError

_TAG = re.compile(r"<([/!?]?[A-Za-z-][^<>]*)>")  # one class after the first letter: two would take quadratic time
_NAME = re.compile(r"/?[^\s/]*")
_TIME = re.compile(r"\btime\s*=\s*[\"']\s*(?P<number>\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})\s*(?P<unit>ms|s)\s*[\"']")
_NO_BREAK = re.compile(r"\bstrength\s*=\s*[\"']none[\"']")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
# The end of a text that may be the beginning of a tag or an entity.
_BEGUN = re.compile(r"(?:<(?:[/!?]?(?:[A-Za-z-][^<>]{0,400})?)?|&[a-z]{0,4})$")
_BLOCKS = {"p", "s", "speak", "/p", "/s", "/speak"}


def without_tags(text: str) -> str:
    """The text with pauses as marks of `text.markup` and without tags; entities of XML become their characters.

    Raises TextError for a `<break>` whose time is missing or over the limit.
    """
    return _ENTITY.sub(lambda found: _ENTITIES[found.group(1)], _TAG.sub(_spoken, text))


class TagReader:
    """`without_tags` for a text that is still being written: a tag may come in pieces."""

    def __init__(self) -> None:
        self._begun = ""

    def feed(self, text: str) -> str:
        """Add text; gives what can be read so far."""
        text = self._begun + text
        begun = _BEGUN.search(text)
        end = begun.start() if begun else len(text)
        self._begun = text[end:]
        return without_tags(text[:end])

    def flush(self) -> str:
        """What was held back."""
        text, self._begun = self._begun, ""
        return without_tags(text)


def _spoken(tag: re.Match[str]) -> str:
    inside = tag.group(1)
    found = _NAME.match(inside)
    name = found.group().lower() if found else ""
    if name != "break":
        return "\n" if name in _BLOCKS else ""
    if _NO_BREAK.search(inside):
        return ""
    time = _TIME.search(inside)
    if not time:
        raise TextError('<break> has no time: give one, such as <break time="0.5s"/>')
    seconds = float(time.group("number")) / (1000 if time.group("unit") == "ms" else 1)
    if seconds > PAUSE_MAX_S:
        raise TextError(f"<break> of {seconds:g} s is over the limit of {PAUSE_MAX_S:g} s")
    return f" [pause:{seconds:.3f}] " if seconds >= 0.001 else ""
