"""Speaks the lines of batches, in the time that other requests leave over."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any, Literal

from anyio import to_thread

from f5_tts_server.api.background import AT_ONCE, Background, in_order, sentence, speak_last
from f5_tts_server.api.clip_replies import Wanted, clip_json
from f5_tts_server.api.errors import GENERATE, OPENAI
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.generate_body import GenerateBody, generate_body
from f5_tts_server.api.request_id import serve_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_body import SpeechBody, usage
from f5_tts_server.api.timestamps import segment_times
from f5_tts_server.formats import FORMATS, whole_file
from f5_tts_server.inference_types import Metadata, invalid_field
from f5_tts_server.jobs.batches import OPEN, OUTPUT_MAX, BadLine, Batch, BatchStore, Line, answered, refused

log = logging.getLogger("f5.jobs")

Endpoint = Literal["/v1/audio/speech", "/v1/generate"]

KEPT_S_MIN = 3600
KEPT_S_MAX = 30 * 24 * 3600


class BatchRunner:
    """Works batches off, one at a time, for `Background`, and ends those that are out of time.

    Everything is called on the event loop.
    """

    def __init__(self, services: Services, store: BatchStore, background: Background) -> None:
        self._services = services
        self._generate_body = generate_body(services.settings, services.models.default.sampling())
        self.store = store
        self._background = background
        self._added = asyncio.Event()
        background.sources.append(self)

    def added(self) -> None:
        """A batch has come."""
        self._added.set()
        self._background.added()

    def open_work(self) -> Batch | None:
        """The oldest batch that is not finished."""
        return next((batch for batch in self.store.batches.values() if batch.status in OPEN), None)

    async def expire(self) -> None:
        """End batches whose time is over, until cancelled."""
        while True:
            self._added.clear()
            waiting = [batch for batch in self.store.batches.values() if batch.status in OPEN]
            for batch in waiting:
                if batch.expires <= time.time():
                    await self.stop(batch, "expired")
            left = [batch.expires - time.time() for batch in waiting if batch.status in OPEN]
            try:
                async with asyncio.timeout(max(min(left), 0.0) if left else None):
                    await self._added.wait()
            except TimeoutError:
                continue

    async def stop(self, batch: Batch, status: Literal["cancelled", "expired"]) -> None:
        """End a batch that is open before all of it is spoken."""
        if batch.status not in OPEN:
            return
        batch.enter("cancelling" if status == "cancelled" else "finalizing")
        await self._background.stop(batch.id)
        await self._end(batch, status)

    async def work(self, batch: Batch) -> None:
        """Speak the lines that are not spoken yet."""
        done = await to_thread.run_sync(self.store.recorded, batch)
        if batch.status == "validating":
            batch.enter("in_progress")
            await to_thread.run_sync(self.store.save, batch)
        await in_order(self._lines(batch, done), AT_ONCE)
        batch.enter("finalizing")
        await self._end(batch, "completed")

    async def failed(self, batch: Batch, error: BaseException) -> None:
        """It cannot be gone on with."""
        batch.faults.append({"code": "failed", "line": None, "message": sentence(error), "param": None})
        await self._end(batch, "failed")

    async def _end(self, batch: Batch, status: Any) -> None:
        try:
            await to_thread.run_sync(self.store.end, batch, status)
        except (OSError, BadLine):
            batch.enter(status)
            log.exception("%s: the disk does not take that it is %s; it goes on at the next start", batch.id, status)
        log.info("%s: %s, %d of %d lines spoken", batch.id, status, batch.completed, batch.lines)

    async def _lines(self, batch: Batch, done: set[int]) -> AsyncIterator[Coroutine[Any, Any, None]]:
        for line in await to_thread.run_sync(lambda: list(self.store.lines(batch))):
            if line.number not in done:
                yield self._line(batch, line)

    async def _line(self, batch: Batch, line: Line) -> None:
        """A line's reply onto the disk."""
        request_id = f"{batch.id}-{line.number}"
        serve_request_id(request_id)
        failed = True
        if not await to_thread.run_sync(self.store.has_room, batch):
            record = refused(batch, line, "output_full", f"the batch's output has reached {OUTPUT_MAX} bytes")
        else:
            dialect = OPENAI if batch.endpoint == "/v1/audio/speech" else GENERATE
            try:
                record = answered(batch, line, 200, request_id, await self._reply(batch, line.body, request_id))
                failed = False
            except FAULTS as error:
                told = dialect.translate(as_request_error(error))
                body = json.dumps(dialect.body(told)).encode()
                record = answered(batch, line, told.status, request_id, body)
        await to_thread.run_sync(lambda: self.store.record(batch, record, failed=failed))

    async def _reply(self, batch: Batch, fields: dict[str, Any], request_id: str) -> bytes:
        """The JSON that answers a request. Raises any of `FAULTS`."""
        services = self._services
        body: SpeechBody | GenerateBody
        if batch.endpoint == "/v1/audio/speech":
            body = SpeechBody.model_validate(fields)
            if body.stream_format != "audio":
                raise invalid_field("stream_format", "stream_format is 'sse', and a batch has no events: leave it out")
        else:
            body = self._generate_body.model_validate(fields)
        request = replace(await to_thread.run_sync(body.request, services.builder, request_id), caller=batch.caller)
        data, metadata = await speak_last(services.engine, request)
        if isinstance(body, SpeechBody):
            return await to_thread.run_sync(_speech_reply, body, data, metadata)
        wanted = Wanted(body.timestamps, body.subtitles)
        reply = await to_thread.run_sync(clip_json, data, metadata, body.response_format, wanted)
        return reply.encode()


def _speech_reply(body: SpeechBody, data: bytes, metadata: Metadata) -> bytes:
    audio = whole_file(body.response_format, data, metadata.samples)
    reply: dict[str, Any] = {
        "audio": base64.b64encode(audio).decode(),
        "content_type": FORMATS[body.response_format].media_type,
        "duration": metadata.duration,
        "seed": metadata.seed,
        "usage": usage(len(body.input), metadata.duration),
    }
    if body.timestamps is not None:
        times = (segment_times(segment, body.timestamps) for segment in metadata.spoken)
        reply["timestamps"] = [one.model_dump(exclude_none=True) for one in times]
    return json.dumps(reply).encode()
