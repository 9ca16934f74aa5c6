"""OpenAI's speech API: `POST /v1/audio/speech`, and the lists of models that clients ask for.

After the published specification (https://platform.openai.com/docs/api-reference/audio/createSpeech). `model` may be
any name, as clients send OpenAI's; there is one model here. `instructions` are accepted and have no effect: F5-TTS takes
its style from the voice's clip.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from f5_tts_server.api.errors import ERROR_RESPONSES, error_body, rename_field
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_request import SpeechDesk, SpeechOptions, Text
from f5_tts_server.api.streaming import Interrupted, TicketStream, admit, sse_event
from f5_tts_server.api.translation import TranslatingRoute, as_request_error
from f5_tts_server.formats import FORMATS
from f5_tts_server.inference_types import AudioChunk, Failed, RequestError, Ticket
from f5_tts_server.settings import Settings
from f5_tts_server.text import compose

MAX_INPUT = 4096
FRAMES_PER_SECOND = 93.75
FIELD_NAMES = {
    "text": "input",
    "pause": "input",
    "nfe": "num_inference_steps",
    "cfg_strength": "guidance_scale",
    "seconds": "duration",
    "format": "response_format",
    "reference": "voice",
}
PING = b": ping\n\n"

Name = Annotated[Text, StringConstraints(min_length=1, max_length=100)]


class VoiceId(BaseModel):
    """A custom voice, as the specification names one."""

    id: Name


class SpeechBody(SpeechOptions):
    """Fields and defaults of the specification, and our own."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"model": "tts-1", "input": "Hello from the server.", "voice": "alloy"}]},
    )

    model: Name = Field(description="Any name; this server has one model.")
    input: Text = Field(min_length=1, max_length=MAX_INPUT, description="The text to speak.")
    voice: Name | VoiceId | None = Field(None, description="Id or name of a stored voice, or one of OpenAI's names.")
    instructions: str | None = Field(None, max_length=4096, description="Accepted, without effect.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"


class _Route(TranslatingRoute):
    """OpenAI answers 400 where a value is wrong; its SDK has an exception of its own for that status."""

    def answer(self, error: Exception) -> Response:
        fault = as_request_error(error, FIELD_NAMES)
        if fault.status == 422:
            fault = RequestError(400, fault.code, fault.message, fault.field)
        raise fault from error


def router(settings: Settings, services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1", route_class=_Route, tags=["OpenAI"])
    desk = SpeechDesk(services)
    names = list(dict.fromkeys((services.model_name, "tts-1", "tts-1-hd")))
    replies: dict[int | str, dict[str, Any]] = {
        **{status: reply for status, reply in ERROR_RESPONSES.items() if status != 422},
        200: {"content": {"text/event-stream": {}, **{info.media_type: {} for info in FORMATS.values()}}},
        404: {**ERROR_RESPONSES[422], "description": "the voice is unknown"},
    }

    @routes.post("/audio/speech", response_class=Response, responses=replies)
    async def speech(body: SpeechBody, request: Request) -> Response:
        """Speech as an audio file, or as events, that begins before it is finished."""
        voice = body.voice.id if isinstance(body.voice, VoiceId) else body.voice
        parts = compose(body.input, desk.composer(voice, body.speed, body), seconds=body.duration)
        asked = desk.request(parts, body, format=body.response_format, request_id=current_request_id())
        ticket = services.engine.submit(asked)
        await admit(ticket, request.receive)
        events = body.stream_format == "sse"
        return TicketStream(
            ticket,
            _events(ticket, len(body.input)) if events else audio(ticket),
            media_type="text/event-stream" if events else FORMATS[body.response_format].media_type,
            ping=PING if events else None,
            ping_s=settings.ping_s,
            stall_timeout_s=settings.stall_timeout_s,
            headers={"X-Seed": str(asked.seed)},
        )

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The model, also under the names that clients of OpenAI's API ask for."""
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "f5-tts"} for name in names]
        return {"object": "list", "data": data}

    @routes.get("/audio/models")
    async def audio_models() -> dict[str, Any]:
        """The same list, as Open WebUI asks for it."""
        return {"models": [{"id": name, "name": name} for name in names]}

    return routes


async def audio(ticket: Ticket) -> AsyncIterator[bytes]:
    """The encoded file. A failure cuts the reply off, for a file has no place to tell it."""
    async for event in ticket:
        if isinstance(event, AudioChunk):
            yield event.data
        elif isinstance(event, Failed):
            raise Interrupted(event.error.message)


async def _events(ticket: Ticket, characters: int) -> AsyncIterator[bytes]:
    async for event in ticket:
        if isinstance(event, AudioChunk):
            yield sse_event({"type": "speech.audio.delta", "audio": base64.b64encode(event.data).decode()})
        elif isinstance(event, Failed):
            error = rename_field(event.error, FIELD_NAMES)
            body = error_body(error.status, error.code, error.message, error.field)
            yield sse_event({"type": "speech.audio.error", **body})
        else:
            # There are no tokens here; characters and mel frames are what costs.
            frames = round(event.metadata.duration * FRAMES_PER_SECOND)
            usage = {"input_tokens": characters, "output_tokens": frames, "total_tokens": characters + frames}
            yield sse_event({"type": "speech.audio.done", "usage": usage})
