"""When what is said in a clip: segments, words and characters as our endpoints tell them, and subtitles."""

# Annotations are not deferred here: FastAPI reads the models' types.
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from f5_tts_server.given_sounds import written
from f5_tts_server.inference_types import SpokenSegment

Detail = Literal["segment", "word", "character"]
SubtitleFormat = Literal["srt", "vtt"]

LONGEST_CUE = 84  # characters: two lines of subtitles
LONGEST_CUE_S = 7.0
_SENTENCE_ENDS = (".", "?", "!", "…")


class TimedText(BaseModel):
    """A word, with its punctuation, or a character, and when it is said. Seconds of the joined file."""

    text: str
    start: float
    end: float


class SegmentTimes(BaseModel):
    """A piece of the text as it is spoken. Neighbours overlap where they are cross-faded."""

    text: str = Field(description="numbers and abbreviations are words in it")
    start: float
    end: float
    words: list[TimedText] | None = Field(
        None, description="left out where it is not known when they are said, since the text is not English"
    )
    characters: list[TimedText] | None = Field(None, description="of the whole text, its blanks included")


def segment_times(segment: SpokenSegment, detail: Detail) -> SegmentTimes:
    """A segment as it is told, down to ``detail``."""
    words = None
    if segment.words is not None and detail != "segment":
        words = [
            _timed(written(word.text), segment.start + word.start, segment.start + word.end) for word in segment.words
        ]
    return SegmentTimes(
        text=written(segment.text),
        start=round(segment.start, 3),
        end=round(segment.end, 3),
        words=words,
        characters=[_timed(*one) for one in characters(segment)]
        if words is not None and detail == "character"
        else None,
    )


def _timed(text: str, start: float, end: float) -> TimedText:
    return TimedText(text=text, start=round(start, 3), end=round(end, 3))


class Character(NamedTuple):
    """Seconds of the joined file."""

    text: str
    start: float
    end: float


def characters(segment: SpokenSegment) -> Iterator[Character]:
    """The characters of a segment whose words are known, in order and without gaps between the first and the last word.

    A word's characters share its time evenly; what stands between two words has the time between them.
    """
    assert segment.words is not None  # the caller has looked
    at, now = 0, segment.start
    for word in segment.words:
        start, end = segment.start + word.start, segment.start + word.end
        yield from _even(segment.text[at : word.first], now, start)
        yield from _even(segment.text[word.first : word.last], start, end)
        at, now = word.last, end
    yield from _even(segment.text[at:], now, now)


def _even(text: str, start: float, end: float) -> Iterator[Character]:
    shown = written(text)
    step = (end - start) / max(len(shown), 1)
    for index, character in enumerate(shown):
        yield Character(character, start + index * step, start + (index + 1) * step)


def subtitles(segments: Iterable[SpokenSegment], format: SubtitleFormat) -> str:
    """An SRT or WebVTT file: cues of at most `LONGEST_CUE` characters and `LONGEST_CUE_S` seconds, cut after sentences.

    Segments whose words are not known are one cue each.
    """
    mark = "," if format == "srt" else "."
    lines = [] if format == "srt" else ["WEBVTT", ""]
    end = 0.0
    for number, cue in enumerate(_cues(segments), start=1):
        start = max(cue.start, end)  # cross-faded neighbours overlap, cues must not
        end = max(cue.end, start)
        lines += [str(number), f"{_clock(start, mark)} --> {_clock(end, mark)}", _two_lines(cue.text), ""]
    return "\n".join(lines)


def _cues(segments: Iterable[SpokenSegment]) -> Iterator[Character]:
    words: list[Character] = []
    for segment in segments:
        if segment.words is None:
            yield from _joined(words)
            words = []
            yield Character(written(segment.text), segment.start, segment.end)
            continue
        for word in segment.words:
            one = Character(written(word.text), segment.start + word.start, segment.start + word.end)
            length = sum(len(other.text) + 1 for other in words) + len(one.text)
            if words and (
                length > LONGEST_CUE
                or one.end - words[0].start > LONGEST_CUE_S
                or words[-1].text.rstrip("\"'”’)»").endswith(_SENTENCE_ENDS)
            ):
                yield from _joined(words)
                words = []
            words.append(one)
    yield from _joined(words)


def _joined(words: list[Character]) -> Iterator[Character]:
    if words:
        yield Character(" ".join(word.text for word in words), words[0].start, words[-1].end)


def _two_lines(text: str) -> str:
    text = " ".join(text.split()).replace("-->", "→")
    half = LONGEST_CUE // 2
    if len(text) <= half:
        return text
    blanks = [place for place, character in enumerate(text) if character == " "]
    if not blanks:
        return text
    middle = min(blanks, key=lambda place: abs(place - len(text) / 2))
    return f"{text[:middle]}\n{text[middle + 1 :]}"


def _clock(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
