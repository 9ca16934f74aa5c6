"""A text to the parts that the engine speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from f5_tts_server import given_sounds
from f5_tts_server.inference_types import Pause, Speech, VoiceClip
from f5_tts_server.limits import SECONDS_MIN
from f5_tts_server.text.errors import TextError
from f5_tts_server.text.inflection import spelled_with_ending
from f5_tts_server.text.lexicon import CheckTranscription, Lexicon, apply
from f5_tts_server.text.markup import Mark, PauseMark, SayMark, SpeedMark, VoiceMark, parse
from f5_tts_server.text.normalization import normalize
from f5_tts_server.text.plain import without_emoji, without_markdown
from f5_tts_server.text.ssml_document import document

MAX_PARTS = 200

FindVoice = Callable[[str], VoiceClip]
"""Looks a voice up by the name that a `[voice:…]` mark gives; raises what the caller wants raised."""

LexiconsOf = Callable[[VoiceClip], Sequence[Lexicon]]
"""The lexicons that hold for what a voice says; of two that have a word the first counts."""


@dataclass
class Composer:
    """Makes parts out of pieces of one text, in order: a `[voice:…]` of one piece holds in the next ones.

    Args:
        find_voice: finds the voices that the text names.
        clip: the voice of the request.
        speed: of the request; marks in the text multiply it.
        read_numbers: numbers, times, money, units and abbreviations become words (`text.normalization`).
        strip_markup: Markdown and emoji are taken out (`text.plain`).
        ssml: each text is a document of SSML instead of text with marks.
        lexicons: of a voice.
        check: refuses, by a ValueError, a transcription in a mark that the model cannot speak.
        language: of the text, as a tag such as "de" or "en-GB"; left out, it is found out for each sentence.
    """

    find_voice: FindVoice
    clip: VoiceClip
    speed: float = 1.0
    read_numbers: bool = True
    strip_markup: bool = False
    language: str | None = None
    ssml: bool = False
    lexicons: LexiconsOf = lambda _: ()
    check: CheckTranscription = lambda _: None

    def __post_init__(self) -> None:
        self._clip = self.clip
        self._speed = 1.0

    def parts(self, text: str) -> tuple[Speech | Pause, ...]:
        """The parts of a piece; none when nothing in it can be said.

        Raises TextError for a mark with a bad value, and what `find_voice` raises.
        """
        return self._parts(document(text) if self.ssml else parse(given_sounds.without_private(text)))

    def _parts(self, items: Iterable[str | Mark]) -> tuple[Speech | Pause, ...]:
        parts: list[Speech | Pause] = []
        words: list[str] = []

        def speak() -> None:
            if text := self._words(words):
                parts.append(Speech(text, self._clip, speed=self.speed * self._speed))
            words.clear()

        for item in items:
            match item:
                case str():
                    words.append(item)
                    continue
                case SayMark():
                    words.append(self._said(item))
                    continue
            speak()
            match item:
                case PauseMark(seconds):
                    parts.append(Pause(seconds))
                case VoiceMark(name):
                    self._clip = self.clip if name.casefold() == "default" else self.find_voice(name)
                case SpeedMark(speed):
                    self._speed = speed
        speak()
        if len(parts) > MAX_PARTS:
            raise TextError(f"the text has {len(parts)} parts, the limit is {MAX_PARTS}; use fewer marks")
        return tuple(parts)

    def _said(self, mark: SayMark) -> str:
        if transcription := mark.spoken.transcription:
            try:
                self.check(transcription)
            except ValueError as error:
                raise TextError(f"[say:{mark.word}|{transcription}]: {error}") from error
        word = spelled_with_ending(mark.word, mark.ending) if mark.ending else mark.word
        return mark.spoken.text(word, mark.ending)

    def _words(self, pieces: list[str]) -> str:
        text = "".join(pieces)
        if self.strip_markup:
            text = without_emoji(without_markdown(text))
        text = apply(text, self.lexicons(self._clip))
        if self.read_numbers:
            text = normalize(text, self.language)
        text = text.strip()
        heard = any(character.isalnum() for character in text) or any(given for _, given in given_sounds.parts(text))
        return text if heard else ""


def compose(text: str, composer: Composer, *, seconds: float | None = None) -> tuple[Speech | Pause, ...]:
    """The parts of a whole text; at least one of them is spoken.

    `seconds` is the length of the whole clip: what its pauses leave is shared among the spoken parts by their length.

    Raises TextError when nothing is to be said, a mark is wrong, or `seconds` is too short for the parts.
    """
    parts = composer.parts(text)
    spoken = [part for part in parts if isinstance(part, Speech)]
    if not spoken:
        raise TextError("there is nothing to say: no letter and no digit is in it")
    if seconds is None:
        return parts
    weights = {id(part): len(part.text.encode()) / part.speed for part in spoken}
    left = seconds - sum(part.seconds for part in parts if isinstance(part, Pause))
    share = left / sum(weights.values())
    if min(weights.values()) * share < SECONDS_MIN:
        raise TextError(
            f"a duration of {seconds:g} s leaves one of {len(spoken)} spoken parts less than {SECONDS_MIN:g} s"
        )
    return tuple(
        replace(part, seconds=weights[id(part)] * share) if isinstance(part, Speech) else part for part in parts
    )
