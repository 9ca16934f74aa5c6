"""``POST /v1/generate/stream`` (server-sent events) and ``POST /v1/generate`` (one JSON reply)."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Body, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from f5_tts_server.api.errors import ERROR_RESPONSES, error_body, rename_field
from f5_tts_server.api.generate_body import EXAMPLES, FIELD_NAMES, GenerateBody, Translator, generate_body
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.streaming import TicketStream, admit, sse_event, whole_clip
from f5_tts_server.formats.wav import with_known_length
from f5_tts_server.inference_types import (
    AudioChunk,
    Failed,
    GenerationRequest,
    Metadata,
    RequestError,
    SamplingDefaults,
    Ticket,
)
from f5_tts_server.settings import Settings

PING = b": ping\n\n"

SAMPLE_RATE = 24_000


class StreamMetadata(BaseModel):
    """What is known when a clip is complete. Times in seconds."""

    request_id: str
    generation_time: float = Field(description="from the request's arrival to its last audio")
    time_to_first_audio: float
    real_time_factor: float = Field(description="generation_time / duration")
    duration: float = Field(description="length of the audio")
    total_chunks: int
    segments: int = Field(description="pieces the text was spoken in")
    seed: int


class StreamEvent(BaseModel):
    """The data of one event. The decoded chunks joined in order are one valid file."""

    audio_chunk: str = Field(description="base64")
    chunk_index: int = Field(description="from 0")
    is_final: bool
    sample_rate: int
    metadata: StreamMetadata | None = Field(None, description="in the final event only")


class GenerateReply(BaseModel):
    """A whole clip."""

    audio_base64: str
    generation_time: float
    duration: float
    sample_rate: int
    seed: int
    metadata: StreamMetadata


def router(settings: Settings, defaults: SamplingDefaults) -> APIRouter:
    """The two endpoints, with this server's limits and this model's defaults in their schema."""
    routes = APIRouter(prefix="/v1", tags=["speech"])
    body_type = generate_body(settings, defaults)
    body_field = Body(openapi_examples=EXAMPLES)

    async def stream(request: Request, body: GenerateBody) -> Response:
        """Speech as server-sent events, while it is being made."""
        ticket = await _submit(request, await _translate(request, body))
        return TicketStream(
            ticket,
            events(ticket),
            media_type="text/event-stream",
            ping=PING,
            ping_s=settings.ping_s,
            stall_timeout_s=settings.stall_timeout_s,
        )

    async def generate(request: Request, body: GenerateBody) -> Response:
        """Speech as one reply: the very samples that the stream sends."""
        ticket = await _submit(request, await _translate(request, body))
        try:
            clip = await whole_clip(ticket, request.receive)
        except RequestError as error:
            raise rename_field(error, FIELD_NAMES) from error
        if clip is None:
            return Response(status_code=499)  # nobody reads it
        data, metadata = clip
        if body.response_format == "wav":
            data = with_known_length(data)
        reply = GenerateReply(
            audio_base64=base64.b64encode(data).decode(),
            generation_time=metadata.generation_time,
            duration=metadata.duration,
            sample_rate=metadata.sample_rate,
            seed=metadata.seed,
            metadata=_describe(metadata),
        )
        # A long clip is tens of megabytes: written once, by compiled code, it does not hold up the event loop.
        return Response(reply.model_dump_json(), media_type="application/json")

    # The body's type exists only now, when the model's defaults are known.
    for endpoint in (stream, generate):
        endpoint.__annotations__["body"] = Annotated[body_type, body_field]
        endpoint.__annotations__["request"] = Request
        endpoint.__annotations__["return"] = Response
    stream_reply: dict[str, Any] = {
        "description": "Events: `data:` lines with the object below; `event: error` with an error body if it fails midway.",
        "content": {"text/event-stream": {"schema": StreamEvent.model_json_schema()}},
    }
    routes.post("/generate/stream", responses={**ERROR_RESPONSES, 200: stream_reply}, response_class=Response)(stream)
    routes.post("/generate", responses={**ERROR_RESPONSES, 200: {"model": GenerateReply}})(generate)
    return routes


async def _translate(request: Request, body: GenerateBody) -> GenerationRequest:
    state = request.app.state
    translator = Translator(state.voices, state.services.transcriber, state.settings)
    return await to_thread.run_sync(translator.request, body, current_request_id())


async def _submit(request: Request, asked: GenerationRequest) -> Ticket:
    """A ticket whose input is known to be good, so that what is wrong can still be said with a status."""
    try:
        ticket: Ticket = request.app.state.engine.submit(asked)
        await admit(ticket, request.receive)
    except RequestError as error:
        raise rename_field(error, FIELD_NAMES) from error
    return ticket


async def events(ticket: Ticket) -> AsyncIterator[bytes]:
    """Server-sent events of a ticket: one for each chunk, the last one with the metadata, or an ``error`` event."""
    last: AudioChunk | None = None
    async for event in ticket:
        if isinstance(event, AudioChunk):
            if event.last:
                last = event  # the metadata follows at once and goes into the same event
            else:
                yield sse_event(_chunk(event))
        elif isinstance(event, Failed):
            error = rename_field(event.error, FIELD_NAMES)
            yield sse_event(error_body(error.status, error.code, error.message, error.field), name="error")
        else:
            assert last is not None  # `Done` follows the chunk that is marked as the last
            yield sse_event({**_chunk(last), "is_final": True, "metadata": _describe(event.metadata).model_dump()})


def _chunk(chunk: AudioChunk) -> dict[str, Any]:
    return {
        "audio_chunk": base64.b64encode(chunk.data).decode(),
        "chunk_index": chunk.index,
        "is_final": False,
        "sample_rate": SAMPLE_RATE,
    }


def _describe(metadata: Metadata) -> StreamMetadata:
    return StreamMetadata(
        request_id=metadata.request_id,
        generation_time=round(metadata.generation_time, 4),
        time_to_first_audio=round(metadata.time_to_first_audio, 4),
        real_time_factor=round(metadata.generation_time / metadata.duration, 4) if metadata.duration else 0.0,
        duration=metadata.duration,
        total_chunks=metadata.total_chunks,
        segments=metadata.segments,
        seed=metadata.seed,
    )
