"""Whole texts over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from f5_tts_server.api.elevenlabs.body import (
    DEFAULT_FORMAT,
    ElevenLabsOptions,
    OutputFormat,
    alignment,
    format_named,
    said,
)
from f5_tts_server.api.elevenlabs.dictionaries import lexicons
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Text
from f5_tts_server.api.streaming import Interrupted, TicketStream, admit, audio_file, whole_clip
from f5_tts_server.api.timestamps import Character
from f5_tts_server.formats import FORMATS, whole_file
from f5_tts_server.inference_types import AudioChunk, Failed, GenerationRequest, Ticket
from f5_tts_server.text import without_tags

MAX_TEXT = 10_000  # characters


class ConvertBody(ElevenLabsOptions):
    """A whole text."""

    text: Text = Field(min_length=1, max_length=MAX_TEXT)

    def request(self, services: Services, voice: str, format: OutputFormat, request_id: str) -> GenerationRequest:
        """What the engine is asked. Blocks; raises what `RequestBuilder` raises."""
        builder = services.builder
        clip = builder.stored(voice, self)
        words = lexicons(services, self.pronunciation_dictionary_locators or ())
        composer = builder.composer(clip, self, speed=self.speed(services, clip), lexicons=words)
        return builder.whole(
            self.text if self.ssml else without_tags(self.text),
            composer,
            format.on(self),
            format=format.format,
            request_id=request_id,
        )


class CharacterTimes(BaseModel):
    """Lists of one length."""

    characters: list[str]
    character_start_times_seconds: list[float]
    character_end_times_seconds: list[float]


class AudioWithTimes(BaseModel):
    """Both alignments are the same: that of the text as it is spoken. None where its language is not English."""

    audio_base64: str
    alignment: CharacterTimes | None
    normalized_alignment: CharacterTimes | None


def add(routes: APIRouter, services: Services) -> None:
    """Add the routes."""
    settings, engine = services.settings, services.engine

    # Their `stream` differs only in when their server begins to answer; here both begin with the first audio.
    @routes.post("/v1/text-to-speech/{voice_id}", response_class=Response)
    @routes.post("/v1/text-to-speech/{voice_id}/stream", response_class=Response)
    async def convert(
        voice_id: str, body: ConvertBody, request: Request, output_format: str = DEFAULT_FORMAT
    ) -> Response:
        """Speech as an audio file that begins before it is finished."""
        format = format_named(output_format, services.sample_rate)
        asked = await to_thread.run_sync(body.request, services, voice_id, format, current_request_id())
        ticket = engine.submit(asked)
        await admit(ticket, request.receive)
        return TicketStream(
            ticket,
            audio_file(ticket),
            media_type=FORMATS[format.format].media_type,
            ping=None,
            ping_s=settings.ping_s,
            stall_timeout_s=settings.stall_timeout_s,
            headers={"request-id": asked.request_id, "character-cost": str(len(body.text)), "X-Seed": str(asked.seed)},
        )

    async def timed(voice_id: str, body: ConvertBody, request: Request, output_format: str, *, live: bool) -> Ticket:
        format = format_named(output_format, services.sample_rate)
        asked = await to_thread.run_sync(body.request, services, voice_id, format, current_request_id())
        ticket = engine.submit(replace(asked, timestamps=True, live=live))
        await admit(ticket, request.receive)
        return ticket

    @routes.post("/v1/text-to-speech/{voice_id}/with-timestamps", responses={200: {"model": AudioWithTimes}})
    async def with_timestamps(
        voice_id: str, body: ConvertBody, request: Request, output_format: str = DEFAULT_FORMAT
    ) -> Response:
        """Speech as one reply, and when each character is said. The text is the one that is spoken: its numbers are words."""
        format = format_named(output_format, services.sample_rate)
        ticket = await timed(voice_id, body, request, output_format, live=False)
        clip = await whole_clip(ticket, request.receive)
        if clip is None:
            return Response(status_code=499)  # nobody reads it
        data, metadata = clip
        data = whole_file(format.format, data, metadata.samples)
        reply = _with_times(data, said(metadata.spoken, after=None))
        return Response(json.dumps(reply), media_type="application/json")

    @routes.post("/v1/text-to-speech/{voice_id}/stream/with-timestamps", response_class=Response)
    async def stream_with_timestamps(
        voice_id: str, body: ConvertBody, request: Request, output_format: str = DEFAULT_FORMAT
    ) -> Response:
        """Lines of JSON while the speech is made; characters come no later than their audio, in seconds of the whole."""
        ticket = await timed(voice_id, body, request, output_format, live=True)
        return TicketStream(
            ticket,
            _lines(ticket),
            media_type="application/x-ndjson",
            ping=None,
            ping_s=settings.ping_s,
            stall_timeout_s=settings.stall_timeout_s,
        )


async def _lines(ticket: Ticket) -> AsyncIterator[bytes]:
    after: float | None = None  # the end of the character told last
    async for event in ticket:
        if isinstance(event, AudioChunk):
            found = said(event.segments, after=after)
            after = found[-1].end if found else after
            yield json.dumps(_with_times(event.data, found)).encode() + b"\n"
        elif isinstance(event, Failed):
            raise Interrupted(event.error.message)


def _with_times(data: bytes, found: list[Character]) -> dict[str, Any]:
    times = alignment(found)
    return {"audio_base64": base64.b64encode(data).decode(), "alignment": times, "normalized_alignment": times}
