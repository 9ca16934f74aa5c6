"""What ElevenLabs' HTTP bodies and WebSocket messages share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from f5_tts_server.api.elevenlabs.dictionaries import Locators
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import SpeechOptions, Speed
from f5_tts_server.api.timestamps import Character, characters
from f5_tts_server.formats import UnknownFormat, UnknownRate, check_rates
from f5_tts_server.inference_types import SpokenSegment, VoiceClip, invalid_field

DEFAULT_FORMAT = "mp3_44100_128"
_NAME = re.compile(r"([a-z0-9]{1,10})(?:_([0-9]{1,6}))?(?:_([0-9]{1,4}))?")

Options = TypeVar("Options", bound=SpeechOptions)


class VoiceSettings(BaseModel):
    """Only the speed is of use here."""

    model_config = ConfigDict(extra="ignore")

    speed: Speed | None = None


class ElevenLabsOptions(SpeechOptions):
    """What whole texts and those still being written have in common; `apply_text_normalization` is `read_numbers`."""

    voice_settings: VoiceSettings | None = None
    pronunciation_dictionary_locators: Locators | None = None
    apply_text_normalization: Literal["auto", "on", "off"] | None = None

    def speed(self, services: Services, clip: VoiceClip) -> float | None:
        """The speed of these settings, else of those kept with the voice whose clip it is. May read the disk."""
        if self.voice_settings is not None and self.voice_settings.speed is not None:
            return self.voice_settings.speed
        owner = services.voices.owner(clip)
        return None if owner is None else owner.settings.get("speed")

    @model_validator(mode="after")
    def _normalization(self) -> Self:
        if self.apply_text_normalization == "off":
            self.read_numbers = False
        return self


class OutputFormat(NamedTuple):
    """One of ElevenLabs' formats, such as `mp3_44100_128`, as the format and the rates that it names here."""

    format: str
    sample_rate: int | None = None
    bit_rate: int | None = None

    def on(self, options: Options) -> Options:
        """The options with these rates."""
        return options.model_copy(update={"sample_rate": self.sample_rate, "bit_rate": self.bit_rate})


def format_named(name: str, model_rate: int) -> OutputFormat:
    """What a name of ElevenLabs' means: a format, hertz and kbit/s, of which the latter two may be left out.

    Raises RequestError for what is not made, and says what is.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        message = f"output_format {name[:40]!r} is none; one is a format, its hertz and kbit/s: {DEFAULT_FORMAT}"
        raise invalid_field("output_format", message)
    codec, hertz, kbits = match.groups()
    named = OutputFormat(codec, int(hertz) if hertz else None, 1000 * int(kbits) if kbits else None)
    try:
        check_rates(*named, model_rate)
    except (UnknownFormat, UnknownRate) as error:
        message = f"output_format {name[:40]!r} is not made here: {error}"
        raise invalid_field("output_format", message) from error
    return named


def said(segments: Iterable[SpokenSegment], *, after: float | None) -> list[Character]:
    """The characters of segments whose words are known, a blank between two segments, in order of time.

    Segments overlap where they are cross-faded: what begins there is told to begin when what came before has ended.
    ``after``: the end of the character before these, None if none came before.
    """
    found: list[Character] = []
    for segment in segments:
        if segment.words is None:
            continue
        blank = [] if after is None else [Character(" ", segment.start, segment.start)]
        for one in (*blank, *characters(segment)):
            start = max(one.start, after or 0.0)
            after = max(one.end, start)
            found.append(Character(one.text, start, after))
    return found


def alignment(found: list[Character]) -> dict[str, Any] | None:
    """Characters as replies over HTTP have them; None where there are none."""
    if not found:
        return None
    return {
        "characters": [one.text for one in found],
        "character_start_times_seconds": [round(one.start, 3) for one in found],
        "character_end_times_seconds": [round(one.end, 3) for one in found],
    }


def alignment_after(found: list[Character], before: float) -> dict[str, Any] | None:
    """Characters as messages of a WebSocket have them: milliseconds after the end of the alignment before this one."""
    if not found:
        return None
    starts = [round(1000 * max(one.start - before, 0.0)) for one in found]
    ends = [round(1000 * max(one.end - before, 0.0)) for one in found]
    return {
        "chars": [one.text for one in found],
        "charStartTimesMs": starts,
        "charDurationsMs": [end - start for start, end in zip(starts, ends, strict=True)],
    }
