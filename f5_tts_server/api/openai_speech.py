"""OpenAI's speech API: `POST /v1/audio/speech`.

After the published specification (https://platform.openai.com/docs/api-reference/audio/createSpeech). `model` is one of
the models here; where there is only one it may be any name, as clients send OpenAI's. `instructions` are accepted and
have no effect: F5-TTS takes its style from the voice's clip.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from f5_tts_server.api.clip_replies import verification
from f5_tts_server.api.errors import ERROR_RESPONSES, OPENAI
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_body import SpeechBody, usage
from f5_tts_server.api.streaming import PING, TicketStream, admit, audio_file, sse_event
from f5_tts_server.api.timestamps import Detail, segment_times
from f5_tts_server.formats import FORMATS
from f5_tts_server.inference_types import AudioChunk, Failed, Ticket


def router(services: Services) -> APIRouter:
    """The route of this protocol."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    settings, engine, builder = services.settings, services.engine, services.builder
    replies: dict[int | str, dict[str, Any]] = {
        **{status: reply for status, reply in ERROR_RESPONSES.items() if status != 422},
        200: {"content": {"text/event-stream": {}, **{info.media_type: {} for info in FORMATS.values()}}},
    }

    @routes.post("/audio/speech", response_class=Response, responses=replies)
    async def speech(body: SpeechBody, request: Request) -> Response:
        """Speech as an audio file, or as events, that begins before it is finished."""
        asked = await to_thread.run_sync(body.request, builder, current_request_id())
        ticket = engine.submit(asked)
        await admit(ticket, request.receive)
        events = body.stream_format == "sse"
        return TicketStream(
            ticket,
            _events(ticket, len(body.input), body.timestamps) if events else audio_file(ticket),
            media_type="text/event-stream" if events else FORMATS[body.response_format].media_type,
            ping=PING if events else None,
            ping_s=settings.ping_s,
            stall_timeout_s=settings.stall_timeout_s,
            headers={"X-Seed": str(asked.seed), "X-Usage-Input-Tokens": str(len(body.input))},
        )

    return routes


async def _events(ticket: Ticket, characters: int, detail: Detail | None) -> AsyncIterator[bytes]:
    async for event in ticket:
        if isinstance(event, AudioChunk):
            delta: dict[str, Any] = {"type": "speech.audio.delta", "audio": base64.b64encode(event.data).decode()}
            if detail and event.segments:
                times = (segment_times(segment, detail) for segment in event.segments)
                delta["timestamps"] = [one.model_dump(exclude_none=True) for one in times]
            yield sse_event(delta)
        elif isinstance(event, Failed):
            yield sse_event({"type": "speech.audio.error", **OPENAI.body(OPENAI.translate(event.error))})
        else:
            done: dict[str, Any] = {"type": "speech.audio.done", "usage": usage(characters, event.metadata.duration)}
            if heard := verification(event.metadata):
                done["verification"] = [one.model_dump(exclude_none=True) for one in heard]
            yield sse_event(done)
