"""SubRip (SRT) and WebVTT read strictly: a fault is told with its line, not passed over.

WebVTT after https://www.w3.org/TR/webvtt1/ (cues, `NOTE`, `STYLE` and `REGION` blocks, voice tags, entities); settings of
a cue's position are ignored. SubRip has no standard: a number, a line of times, lines of text, a blank line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from dataclasses import dataclass

from f5_tts_server.text.errors import TextError

_TIME = r"(?:(\d{1,4}):)?([0-5]\d):([0-5]\d)[.,](\d{3})"
_TIMES = re.compile(rf"\s*{_TIME}\s+-->\s+{_TIME}(?:\s.*)?")
_ARROW = "-->"
_SKIPPED = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
_VOICE = re.compile(r"<v(?:\.[^\s<>]{0,100})?\s{1,20}([^<>]{1,200})>")
_TAG = re.compile(r"<[^<>]{0,200}>|\{\\[^{}]{0,100}\}")
_BLANKS = re.compile(r"\s+")
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Subtitle:
    """A cue: its number from 1 and its line in the file, its times in seconds, who speaks, and the text without tags."""

    number: int
    line: int
    start: float
    end: float
    speaker: str | None
    text: str


def read_subtitles(text: str, *, speakers: Collection[str], most: int, longest: float) -> list[Subtitle]:
    """The cues of an SRT or, where it begins with WEBVTT, a VTT file.

    Args:
        text: the file.
        speakers: names that a cue may begin with ("Ann: Hello."); other words before a colon are text. Case does not
            count. A voice tag (`<v Ann>`) names any.
        most: how many cues there may be.
        longest: seconds in which the last cue must end.

    Raises TextError, which names the line: not a cue, a time that is none, cues that end before they begin or begin
    before the one above, two speakers in a cue; no cue or too many.
    """
    lines = _LINE_END.split(text.removeprefix("\ufeff"))
    webvtt = bool(lines) and re.match(r"WEBVTT(?:[ \t]|$)", lines[0]) is not None
    known = {_name(speaker) for speaker in speakers}
    found: list[Subtitle] = []
    for first, block in _blocks(lines):
        if webvtt and (first == 1 or _SKIPPED.match(block[0])):
            if any(_ARROW in line for line in block):
                raise TextError(f"line {first}: a blank line must come before the next cue")
            continue
        if len(found) == most:
            raise TextError(f"line {first}: there are more than {most} cues, which is the limit")
        cue = _cue(first, block, len(found) + 1, known, webvtt=webvtt)
        if found and cue.start < found[-1].start:
            raise TextError(f"line {cue.line}: the cue begins before the one above it; cues go in order of time")
        if cue.end > longest:
            raise TextError(f"line {cue.line}: the cue ends after {cue.end:g} s; the limit is {longest:g} s")
        found.append(cue)
    if not found:
        raise TextError("there is no cue: neither SRT nor VTT")
    return found


def _blocks(lines: list[str]) -> list[tuple[int, list[str]]]:
    """Runs of lines that are not blank, with the number of their first line."""
    blocks: list[tuple[int, list[str]]] = []
    inside = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            inside = False
        elif inside:
            blocks[-1][1].append(line)
        else:
            blocks.append((number, [line]))
            inside = True
    return blocks


def _cue(first: int, block: list[str], number: int, known: set[str], *, webvtt: bool) -> Subtitle:
    at = 0
    if _ARROW not in block[0]:
        if not webvtt and not block[0].strip().isdecimal():
            raise TextError(f"line {first}: a cue's number must be here, not {block[0].strip()[:40]!r}")
        at = 1
    line = first + at
    if at == len(block):
        raise TextError(f"line {line}: a line of times (00:00:01,000 --> 00:00:02,500) is missing")
    times = _TIMES.fullmatch(block[at])
    if times is None:
        raise TextError(f"line {line}: {block[at].strip()[:60]!r} is no line of times (00:00:01,000 --> 00:00:02,500)")
    start, end = _seconds(*times.groups()[:4]), _seconds(*times.groups()[4:])
    if end <= start:
        raise TextError(f"line {line}: the cue ends at {end:g} s, not after its beginning at {start:g} s")
    payload = block[at + 1 :]
    for below, text in enumerate(payload, line + 1):
        if _ARROW in text:
            raise TextError(f"line {below}: a blank line must come before the next cue")
    text = "\n".join(payload)
    named = [_BLANKS.sub(" ", name).strip() for name in _VOICE.findall(text)]
    if len({_name(name) for name in named}) > 1:
        raise TextError(f"line {line}: two speakers in one cue ({named[0]}, {named[1]}); give each a cue of its own")
    text = _BLANKS.sub(" ", html.unescape(_TAG.sub("", text))).strip()
    before, colon, after = text.partition(":")
    if named:
        return Subtitle(number, line, start, end, named[0], text)
    if colon and _name(before) in known:
        return Subtitle(number, line, start, end, before.strip(), after.strip())
    return Subtitle(number, line, start, end, None, text)


def _name(speaker: str) -> str:
    return _BLANKS.sub(" ", speaker).strip().casefold()


def _seconds(hours: str | None, minutes: str, seconds: str, milliseconds: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(milliseconds) / 1000
