"""The body of ``/v1/generate`` and of a line of an offline file, and its translation to the engine's words."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from f5_tts_server.engine.limits import CFG_MAX, SECONDS_MAX, SEED_MAX, SPEED_MAX, SPEED_MIN
from f5_tts_server.formats import FORMATS
from f5_tts_server.inference_types import GenerationRequest, RequestError, SamplingDefaults, VoiceClip
from f5_tts_server.settings import Settings
from f5_tts_server.text import Composer, ManuscriptError, compose
from f5_tts_server.voices.report import UnusableClip
from f5_tts_server.voices.store import UnknownVoice, VoiceStore
from f5_tts_server.voices.transcription import Transcriber, TranscriptionUnavailable

STEPS_MAX = 64
REF_TEXT_MAX = 2000
MIN_DURATION = 0.2

# What a request's fields are called here, by the engine's names.
FIELD_NAMES = {
    "text": "gen_text",
    "reference": "ref_audio_base64",
    "nfe": "num_inference_steps",
    "cfg_strength": "guidance_scale",
    "speed": "speed_factor",
    "sway": "use_sway_sampling",
    "seconds": "duration",
    "format": "response_format",
    "pause": "gen_text",
}


def encodable(value: Any) -> Any:
    """Lone surrogates cannot be encoded, and no text has them."""
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("text has half of a surrogate pair, which is no character")
    return value


Text = Annotated[str, BeforeValidator(encodable)]


class GenerateBody(BaseModel):
    """What to say, and how. Everything but ``gen_text`` may be left out."""

    # Lax mode would take true for 1 and "3" for 3; a client that sends those has a fault worth telling.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    gen_text: Text
    ref_text: Text | None
    ref_audio_base64: str | None
    voice: Text | None
    num_inference_steps: int
    guidance_scale: float
    speed_factor: float
    use_sway_sampling: bool
    seed: int | None
    duration: float | None
    response_format: str
    timeout_s: float | None
    read_numbers: bool
    strip_markup: bool


def generate_body(settings: Settings, defaults: SamplingDefaults) -> type[GenerateBody]:
    """The body with this server's limits and this model's defaults in its schema."""
    formats = Literal[tuple(FORMATS)]  # type: ignore[valid-type]
    fields: dict[str, Any] = {
        "gen_text": (
            Text,
            Field(
                min_length=1,
                max_length=settings.max_text_chars,
                description="Text to speak. Marks: `[pause:0.5]`, `[voice:name]`, `[speed:1.2]`.",
            ),
        ),
        "ref_text": (
            Text | None,
            Field(
                None,
                max_length=REF_TEXT_MAX,
                description="What is said in `ref_audio_base64`; left out, it is transcribed where the server can.",
            ),
        ),
        "ref_audio_base64": (
            str | None,
            Field(
                None,
                description="A clip of the voice to speak with, base64 of any file libsndfile reads (WAV, FLAC, MP3, "
                "OGG). Leave it out to use a stored voice.",
            ),
        ),
        "voice": (
            Text | None,
            Field(None, max_length=64, description="A stored voice, by id or name; by default the server's own."),
        ),
        "num_inference_steps": (
            int,
            Field(defaults.nfe, ge=1, le=STEPS_MAX, description="Steps of the flow: more is slower and finer."),
        ),
        "guidance_scale": (
            float,
            Field(
                defaults.cfg_strength,
                ge=0,
                le=CFG_MAX,
                allow_inf_nan=False,
                description="How closely text and voice rule.",
            ),
        ),
        "speed_factor": (
            float,
            Field(
                defaults.speed, ge=SPEED_MIN, le=SPEED_MAX, allow_inf_nan=False, description="Above 1 speaks faster."
            ),
        ),
        "use_sway_sampling": (
            bool,
            Field(defaults.sway, description="Spend more of the steps at the beginning of the flow."),
        ),
        "seed": (
            int | None,
            Field(None, ge=0, le=SEED_MAX, description="Equal seeds give equal audio; by default a random one."),
        ),
        "duration": (
            float | None,
            Field(
                None,
                ge=MIN_DURATION,
                le=SECONDS_MAX,
                allow_inf_nan=False,
                description="Exact length of the clip in seconds.",
            ),
        ),
        "response_format": (formats, Field("wav", description="Format of the audio.")),
        "timeout_s": (
            float | None,
            Field(
                None,
                gt=0,
                le=settings.timeout_s,
                allow_inf_nan=False,
                description=f"Give up after so many seconds; by default {settings.timeout_s:g}.",
            ),
        ),
        "read_numbers": (
            bool,
            Field(True, description="Read numbers, times, money, units and abbreviations as English words."),
        ),
        "strip_markup": (bool, Field(False, description="Leave out Markdown and emoji.")),
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


@dataclass(frozen=True, slots=True)
class Translator:
    """Bodies to engine requests, once, at the door. Decodes and may transcribe: not for the event loop."""

    voices: VoiceStore
    transcriber: Transcriber
    settings: Settings

    def request(self, body: GenerateBody, request_id: str, *, format: str | None = None) -> GenerationRequest:
        """What the engine is asked; ``format`` overrides the body's.

        Raises:
            RequestError: the voice is unknown, the reference not base64 or without words that could be found out, or a
                mark in the text is wrong.
        """
        composer = Composer(
            find_voice=lambda name: self._stored(name, "gen_text"),
            clip=self._clip(body),
            speed=body.speed_factor,
            read_numbers=body.read_numbers,
            strip_markup=body.strip_markup,
        )
        try:
            parts = compose(body.gen_text, composer, seconds=body.duration)
        except ManuscriptError as error:
            raise RequestError(422, "invalid_request", f"gen_text: {error}", "gen_text") from error
        return GenerationRequest(
            parts=parts,
            request_id=request_id,
            seed=secrets.randbelow(SEED_MAX + 1) if body.seed is None else body.seed,
            nfe=body.num_inference_steps,
            cfg_strength=body.guidance_scale,
            sway=body.use_sway_sampling,
            format=format or body.response_format,
            timeout_s=self.settings.timeout_s if body.timeout_s is None else body.timeout_s,
        )

    def _clip(self, body: GenerateBody) -> VoiceClip:
        if body.ref_audio_base64 is None:
            if body.ref_text is not None:
                raise _refuse("ref_audio_base64", "ref_audio_base64 is missing: ref_text says what is spoken in it")
            return self._stored(body.voice, "voice")
        if body.voice is not None:
            raise _refuse("voice", "voice and ref_audio_base64 exclude each other: leave one of them out")
        encoded = body.ref_audio_base64
        if encoded.startswith("data:"):
            encoded = encoded.partition(",")[2]
        try:
            audio = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _refuse("ref_audio_base64", f"ref_audio_base64 is not base64: {error}") from error
        if not audio:
            raise _refuse("ref_audio_base64", "ref_audio_base64 is empty")
        if body.ref_text is not None and body.ref_text.strip():
            return VoiceClip(audio, body.ref_text)
        try:
            return VoiceClip(audio, self.transcriber.transcribe_clip(audio))
        except UnusableClip as error:
            raise _refuse("ref_audio_base64", f"ref_audio_base64: {error}") from error
        except TranscriptionUnavailable as error:
            raise RequestError(422, "transcription_unavailable", str(error), "ref_text") from error

    def _stored(self, name: str | None, field: str) -> VoiceClip:
        try:
            return (self.voices.default if name is None else self.voices.get(name)).clip
        except UnknownVoice as error:
            raise _refuse(field, f"{field}: {error}") from error


def _refuse(field: str, message: str) -> RequestError:
    return RequestError(422, "invalid_request", message, field)
