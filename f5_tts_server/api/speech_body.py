"""The body of ``/v1/audio/speech``, and of a line of a batch that calls it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.api.speech_options import Format, Name, SpeechOptions, Speed, Text
from f5_tts_server.inference_types import GenerationRequest

_MAX_INPUT = 4096
_FRAMES_PER_SECOND = 93.75


class VoiceId(BaseModel):
    """A custom voice, as the specification names one."""

    id: Name


class SpeechBody(SpeechOptions):
    """Fields and defaults of the specification, and our own."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"model": "tts-1", "input": "Hello from the server.", "voice": "alloy"}]},
    )

    input: Text = Field(min_length=1, max_length=_MAX_INPUT, description="The text to speak.")
    voice: Name | VoiceId | None = Field(None, description="Id or name of a stored voice, or one of OpenAI's names.")
    instructions: str | None = Field(None, max_length=4096, description="Accepted, without effect.")
    response_format: Format = "mp3"
    speed: Speed = 1.0
    stream_format: Literal["audio", "sse"] = "audio"

    def request(self, builder: RequestBuilder, request_id: str) -> GenerationRequest:
        """What the engine is asked. Blocks; raises what `RequestBuilder` raises."""
        voice = self.voice.id if isinstance(self.voice, VoiceId) else self.voice
        composer = builder.composer(builder.stored(voice, self), self, speed=self.speed)
        return builder.whole(self.input, composer, self, format=self.response_format, request_id=request_id)


def usage(characters: int, duration: float) -> dict[str, int]:
    """What a clip of so many seconds cost. There are no tokens here; characters and mel frames are what costs."""
    frames = round(duration * _FRAMES_PER_SECOND)
    return {"input_tokens": characters, "output_tokens": frames, "total_tokens": characters + frames}
