"""How a clip is answered by our own endpoints: as server-sent events with its audio, or as one JSON reply."""

# Annotations are not deferred here: FastAPI reads the models' types.
import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.types import Receive

from f5_tts_server.api.errors import Dialect
from f5_tts_server.api.streaming import PING, TicketStream, sse_event, whole_clip
from f5_tts_server.api.timestamps import Detail, SegmentTimes, SubtitleFormat, segment_times, subtitles
from f5_tts_server.formats import whole_file
from f5_tts_server.given_sounds import written
from f5_tts_server.inference_types import AudioChunk, Failed, Metadata, SpokenSegment, Ticket
from f5_tts_server.settings import Settings


class CueOverrun(BaseModel):
    """A cue of a dub that is spoken beyond its end. Times in seconds."""

    cue: int = Field(description="its number from 1")
    needed: float = Field(description="at the fastest that was allowed")
    available: float


class EditChange(BaseModel):
    """Words of a recording that were changed. All samples outside of its times, in seconds, are the recording's own."""

    was: str
    now: str
    start: float
    end: float


class SegmentVerification(BaseModel):
    """A piece of the text that was heard before it was sent."""

    text: str
    start: float = Field(description="in seconds of the joined file")
    score: float | None = Field(None, description="0 to 1; below 0.5 it is doubtful; left out where it is not English")
    takes: int = Field(description="times that it was made; the best one was sent")


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
    underruns: int = Field(description="times that a listener who plays from the first chunk on was left without audio")
    underrun_time: float = Field(description="seconds for which that listener had no audio")
    overruns: list[CueOverrun] | None = Field(None, description="of a dub, where there are any")
    changes: list[EditChange] | None = Field(None, description="of an edit, in order")
    verification: list[SegmentVerification] | None = Field(None, description="with `verify`: all segments in order")


class StreamEvent(BaseModel):
    """The data of one event. The decoded chunks joined in order are one valid file."""

    audio_chunk: str = Field(description="base64")
    chunk_index: int = Field(description="from 0")
    is_final: bool
    sample_rate: int
    timestamps: list[SegmentTimes] | None = Field(
        None, description="where asked for: the segments that begin in this chunk or in the next ones"
    )
    metadata: StreamMetadata | None = Field(None, description="in the final event only")
    subtitles: str | None = Field(None, description="where asked for: the whole file, in the final event only")


class GenerateReply(BaseModel):
    """A whole clip."""

    audio_base64: str
    generation_time: float
    duration: float
    sample_rate: int
    seed: int
    timestamps: list[SegmentTimes] | None = Field(None, description="where asked for: all segments in order")
    subtitles: str | None = Field(None, description="where asked for: the whole file")
    metadata: StreamMetadata


# `GenerateReply`, which some route answers with in JSON, brings the parts into the document.
_EVENT = StreamEvent.model_json_schema(ref_template="#/components/schemas/{model}")
del _EVENT["$defs"]

EVENTS_REPLY: dict[str, Any] = {
    "description": "Events: `data:` lines with the JSON object below; `event: error` with an error body if it fails midway.",
    "content": {
        "text/event-stream": {
            "schema": {  # of one event, as OpenAPI 3.2 describes server-sent events
                "type": "object",
                "required": ["data"],
                "properties": {
                    "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": _EVENT},
                    "event": {"type": "string"},
                },
            }
        }
    },
}
"""For the OpenAPI document of a route that answers with `clip_events`."""


class Wanted(NamedTuple):
    """What is told beside the audio."""

    timestamps: Detail | None = None
    subtitles: SubtitleFormat | None = None
    changes: Sequence[EditChange] | None = None


def clip_events(ticket: Ticket, settings: Settings, dialect: Dialect, wanted: Wanted = Wanted()) -> TicketStream:  # noqa: B008 - immutable
    """Speech as server-sent events, while it is being made. The ticket is accepted already."""
    return TicketStream(
        ticket,
        _events(ticket, dialect, wanted),
        media_type="text/event-stream",
        ping=PING,
        ping_s=settings.ping_s,
        stall_timeout_s=settings.stall_timeout_s,
    )


async def clip_reply(ticket: Ticket, format: str, receive: Receive, wanted: Wanted = Wanted()) -> Response:  # noqa: B008
    """Speech as one reply: the very samples that the events carry. Raises RequestError when the request fails."""
    clip = await whole_clip(ticket, receive)
    if clip is None:
        return Response(status_code=499)  # nobody reads it
    # A long clip is tens of megabytes: written once, by compiled code, it does not hold up the event loop.
    return Response(clip_json(*clip, format, wanted), media_type="application/json")


def clip_json(data: bytes, metadata: Metadata, format: str, wanted: Wanted = Wanted()) -> str:  # noqa: B008
    """The reply's body; ``data`` is what the events carry, joined."""
    data = whole_file(format, data, metadata.samples)
    reply = GenerateReply(
        audio_base64=base64.b64encode(data).decode(),
        generation_time=metadata.generation_time,
        duration=metadata.duration,
        sample_rate=metadata.sample_rate,
        seed=metadata.seed,
        timestamps=_times(metadata.spoken, wanted),
        subtitles=subtitles(metadata.spoken, wanted.subtitles) if wanted.subtitles else None,
        metadata=_describe(metadata, wanted.changes),
    )
    return reply.model_dump_json(exclude_none=True)


async def _events(ticket: Ticket, dialect: Dialect, wanted: Wanted) -> AsyncIterator[bytes]:
    """One event for each chunk, the last one with the metadata, or an ``error`` event."""
    last: AudioChunk | None = None
    async for event in ticket:
        if isinstance(event, AudioChunk):
            if event.last:
                last = event  # the metadata follows at once and goes into the same event
            else:
                yield sse_event(_chunk(event, wanted))
        elif isinstance(event, Failed):
            yield sse_event(dialect.body(dialect.translate(event.error)), name="error")
        else:
            assert last is not None  # `Done` follows the chunk that is marked as the last
            final = {
                "is_final": True,
                "metadata": _describe(event.metadata, wanted.changes).model_dump(exclude_none=True),
            }
            if wanted.subtitles:
                final["subtitles"] = subtitles(event.metadata.spoken, wanted.subtitles)
            yield sse_event({**_chunk(last, wanted), **final})


def _chunk(chunk: AudioChunk, wanted: Wanted) -> dict[str, Any]:
    event: dict[str, Any] = {
        "audio_chunk": base64.b64encode(chunk.data).decode(),
        "chunk_index": chunk.index,
        "is_final": False,
        "sample_rate": chunk.sample_rate,
    }
    if chunk.segments and (times := _times(chunk.segments, wanted)):
        event["timestamps"] = [one.model_dump(exclude_none=True) for one in times]
    return event


def _times(segments: Sequence[SpokenSegment], wanted: Wanted) -> list[SegmentTimes] | None:
    if wanted.timestamps is None:
        return None
    return [segment_times(segment, wanted.timestamps) for segment in segments]


def verification(metadata: Metadata) -> list[SegmentVerification]:
    """What was heard of a request with `verify`."""
    return [
        SegmentVerification(
            text=written(one.text),
            start=round(one.start, 3),
            score=None if one.score is None else round(one.score, 3),
            takes=one.takes,
        )
        for one in metadata.verified
    ]


def _describe(metadata: Metadata, changes: Sequence[EditChange] | None) -> StreamMetadata:
    return StreamMetadata(
        request_id=metadata.request_id,
        generation_time=round(metadata.generation_time, 4),
        time_to_first_audio=round(metadata.time_to_first_audio, 4),
        real_time_factor=round(metadata.generation_time / metadata.duration, 4) if metadata.duration else 0.0,
        duration=metadata.duration,
        total_chunks=metadata.total_chunks,
        segments=metadata.segments,
        seed=metadata.seed,
        underruns=metadata.underruns,
        underrun_time=round(metadata.underrun_time, 4),
        overruns=[CueOverrun(**asdict(overrun)) for overrun in metadata.overruns] or None,
        changes=None if changes is None else list(changes),
        verification=verification(metadata) or None,
    )
