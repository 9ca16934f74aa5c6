"""The body of ``/v1/generate`` and of a line of an offline file."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, create_model

from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.api.speech_options import Format, Guidance, OwnOptions, Speed, Steps, Sway, Text, Timeout
from f5_tts_server.api.timestamps import SubtitleFormat
from f5_tts_server.inference_types import GenerationRequest, SamplingDefaults, VoiceClip, invalid_field
from f5_tts_server.limits import REFERENCE_TEXT_MAX
from f5_tts_server.remote_files import URL_MAX
from f5_tts_server.settings import Settings


class GenerateBody(OwnOptions):
    """What to say, and how. Everything but ``gen_text`` may be left out."""

    gen_text: Text = Field(
        min_length=1, description="Text to speak. Marks: `[pause:0.5]`, `[voice:name]`, `[speed:1.2]`."
    )
    ref_text: Text | None = Field(
        None,
        max_length=REFERENCE_TEXT_MAX,
        description="What is said in `ref_audio_base64`; left out, it is transcribed where the server can.",
    )
    ref_audio_base64: str | None = Field(
        None,
        description="A clip of the voice to speak with, base64 of any file libsndfile reads (WAV, FLAC, MP3, OGG). "
        "Leave it out to use a stored voice.",
    )
    ref_audio_url: Text | None = Field(
        None,
        max_length=URL_MAX,
        description="The clip by its URL instead, from a host that the server's operator allows.",
    )
    voice: Text | None = Field(
        None, max_length=64, description="A stored voice, by id or name; by default the server's own."
    )
    speed_factor: Speed = 1.0
    response_format: Format = Field("wav", description="Format of the audio.")
    subtitles: SubtitleFormat | None = Field(
        None, description="Send subtitles along: an SRT or WebVTT file, in the reply or in the stream's final event."
    )

    def request(self, builder: RequestBuilder, request_id: str) -> GenerationRequest:
        """What the engine is asked. Blocks; raises what `RequestBuilder` raises, and RequestError."""
        composer = builder.composer(self._clip(builder), self, speed=self.speed_factor)
        asked = builder.whole(self.gen_text, composer, self, format=self.response_format, request_id=request_id)
        return replace(asked, timestamps=asked.timestamps or self.subtitles is not None)

    def _clip(self, builder: RequestBuilder) -> VoiceClip:
        if self.ref_audio_url is not None:
            for name in ("ref_audio_base64", "voice"):
                if getattr(self, name) is not None:
                    raise invalid_field(name, f"{name} and ref_audio_url exclude each other: leave one of them out")
            return builder.fetched(self.ref_audio_url, self.ref_text)
        if self.ref_audio_base64 is None:
            if self.ref_text is not None:
                raise invalid_field("reference", "reference is missing: ref_text says what is spoken in it")
            return builder.stored(self.voice, self)
        if self.voice is not None:
            raise invalid_field("voice", "voice and ref_audio_base64 exclude each other: leave one of them out")
        return builder.reference(self.ref_audio_base64, self.ref_text)


def generate_body(settings: Settings, defaults: SamplingDefaults) -> type[GenerateBody]:
    """The body with this server's limits and this model's defaults in its schema."""
    gen_text = GenerateBody.model_fields["gen_text"]
    fields: dict[str, Any] = {
        "gen_text": (
            Text,
            Field(min_length=1, max_length=settings.max_text_chars, description=gen_text.description),
        ),
        "num_inference_steps": (Steps, defaults.nfe),
        "guidance_scale": (Guidance, defaults.cfg_strength),
        "use_sway_sampling": (Sway, defaults.sway),
        "timeout_s": (
            Annotated[Timeout, Field(le=settings.timeout_s)] | None,
            Field(None, description=f"Give up after so many seconds; by default {settings.timeout_s:g}."),
        ),
    }
    return create_model("GenerateRequest", __base__=GenerateBody, __doc__=GenerateBody.__doc__, **fields)


EXAMPLES: dict[str, Any] = {
    "plain": {
        "summary": "The server's own voice",
        "value": {"gen_text": "Hello! This is speech that begins before it is finished."},
    },
    "settings": {
        "summary": "With a seed, a format and a speed",
        "value": {"gen_text": "The same seed gives the same audio.", "seed": 7, "speed_factor": 1.1},
    },
    "marks": {
        "summary": "With a pause",
        "value": {"gen_text": "Wait for it. [pause:0.8] There it is.", "num_inference_steps": 8},
    },
}
