"""The body of ``/v1/audio/dubs`` and of a line of an offline file that names subtitles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.api.speech_options import Format, Name, OwnOptions, Text
from f5_tts_server.inference_types import Cue, GenerationRequest, Part, Speech, invalid_field
from f5_tts_server.limits import CUES_MAX, RATE_MAX, SPEAKERS_MAX, TRACK_MAX_S
from f5_tts_server.text import TextError
from f5_tts_server.text.subtitles import Subtitle, read_subtitles


class DubBody(OwnOptions):
    """Subtitles to one track, each cue spoken in its time."""

    subtitles: Text = Field(
        min_length=1,
        description=f"An SRT or VTT file of at most {CUES_MAX} cues and {TRACK_MAX_S:g} s. A cue names who speaks by "
        "`<v Ann>` or, for speakers in `voices`, by `Ann: ` before its text.",
    )
    voices: dict[Name, Name] = Field(
        default_factory=dict,
        max_length=SPEAKERS_MAX,
        description="Speakers, each with the id or name of a stored voice.",
    )
    voice: Name | None = Field(None, description="The voice of cues that name no speaker; by default the server's own.")
    max_rate: Annotated[float, Field(ge=1, le=2, allow_inf_nan=False)] = Field(
        RATE_MAX, description="How many times faster than by nature a cue may be spoken to fit its time."
    )
    overrun: Literal["refuse", "speak"] = Field(
        "refuse",
        description="What becomes of cues that do not fit even so: the request is refused and names them, or they are "
        "spoken beyond their end, over the next ones if need be, and named in the metadata.",
    )
    response_format: Format = Field("wav", description="Format of the audio.")
    ssml: Literal[False] = Field(False, description="Not for dubs.")
    duration: None = Field(None, description="Not for dubs: they last as long as their cues say.")
    timestamps: None = Field(None, description="Not for dubs: their cues are where the file has them.")

    def request(self, builder: RequestBuilder, request_id: str) -> GenerationRequest:
        """What the engine is asked. Blocks; raises what `RequestBuilder` raises, and RequestError."""
        speakers = {_folded(name): voice for name, voice in self.voices.items()}
        cues = read_subtitles(self.subtitles, speakers=self.voices, most=CUES_MAX, longest=TRACK_MAX_S)
        clips = {voice: builder.stored(voice, self) for voice in {*speakers.values(), self.voice}}
        parts = []
        for cue in cues:
            clip = clips[self._voice(cue, speakers)]
            spoken = _spoken(cue, builder.composer(clip, self, speed=None).parts)
            if spoken is not None:
                timed = Cue(cue.number, cue.start, cue.end, self.max_rate, self.overrun == "speak")
                parts.append(Speech(spoken, clip, cue=timed))
        if not parts:
            raise TextError("there is nothing to say: no letter and no digit is in any cue")
        return builder.request(tuple(parts), self, format=self.response_format, request_id=request_id)

    def _voice(self, cue: Subtitle, speakers: dict[str, str]) -> str | None:
        if cue.speaker is None:
            return self.voice
        voice = speakers.get(_folded(cue.speaker))
        if voice is None:
            message = f"voices has none for the speaker {cue.speaker!r} of line {cue.line}"
            raise invalid_field("voices", message)
        return voice


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _spoken(cue: Subtitle, parts: Callable[[str], tuple[Part, ...]]) -> str | None:
    """What is said in a cue, in words; None where there is nothing. A cue is one piece of speech by one voice."""
    try:
        found = parts(cue.text)
    except TextError as error:
        raise TextError(f"line {cue.line}: {error}") from error
    if not found:
        return None
    if len(found) > 1 or not isinstance(found[0], Speech):
        raise TextError(f"line {cue.line}: a cue has no marks in it; pauses and voices are cues of their own")
    return found[0].text


EXAMPLES: dict[str, Any] = {
    "vtt": {
        "summary": "Two speakers in a VTT file",
        "value": {
            "subtitles": "WEBVTT\n\n00:00.500 --> 00:03.000\n<v Ann>Is the kettle on?\n\n"
            "00:03.200 --> 00:06.000\n<v Bob>It has been on since noon.\n",
            "voices": {"Ann": "ada", "Bob": "ben"},
            "seed": 7,
        },
    },
}
