"""Text that is still being written, spoken: WebSocket `/v1/audio/speech/stream`.

The messages are those that vllm-omni and sglang-omni share:

    from the client: {"type": "session.config", "voice", "response_format", ...}, {"type": "input.text", "text"},
        {"type": "input.flush"}, {"type": "input.done"}, {"type": "session.close"}
    from the server: {"type": "audio.start", "sentence_index", "sentence_text", "format", "sample_rate"}, then binary
        frames or {"type": "audio.chunk", "sentence_index", "audio_b64"}, then {"type": "audio.done", "sentence_index",
        "total_bytes", "error"}; at the end {"type": "session.done", "total_sentences"}, or {"type": "error", "message",
        "code", "param"}

With our own `timestamps` in the configuration {"type": "audio.timestamps", "sentence_index", "segments"} comes before the
audio that it is about, in seconds of its sentence's file.

Sentences are spoken as they complete, and a long first clause before its sentence is; the audio of each is one file of
its own. `input.commit` (vllm-omni's word) is the same as `input.flush`. After `session.done` the connection takes another
`session.config`.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import dataclass, field
from typing import Any, Literal

from anyio import to_thread
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from f5_tts_server.api.clip_replies import verification
from f5_tts_server.api.errors import SPEECH_SOCKET
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.messages import INTERNAL, close, close_at_fault, receive_object, send_within
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Format, Name, NoSsml, SpeechOptions, Speed
from f5_tts_server.api.timestamps import segment_times
from f5_tts_server.inference_types import (
    AudioChunk,
    Done,
    Event,
    Failed,
    GenerationRequest,
    Part,
    Refused,
    RequestError,
    Speech,
    Ticket,
    invalid_field,
)
from f5_tts_server.text import Composer, SentenceCutter

log = logging.getLogger("f5.http")

IDLE_S = 120.0
MAX_MESSAGE = 128 * 1024  # characters
SENTENCES_AHEAD = 2  # that are made while one is being sent


class SessionConfig(SpeechOptions):
    """How a session's text is spoken."""

    voice: Name | None = None
    response_format: Format = "wav"
    speed: Speed = 1.0
    audio_encoding: Literal["binary", "base64"] = "binary"
    duration: None = None
    ssml: NoSsml = False


@dataclass
class _Sentence:
    """A sentence on its way: its events are collected as they come, so that the engine never waits for its turn."""

    index: int
    text: str
    ticket: Ticket
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    async def collect(self) -> None:
        async for event in self.ticket:
            self.events.put_nowait(event)


class _Closed(Exception):
    """The client ends the session without waiting for what is left."""


def router(services: Services) -> APIRouter:
    """The route of this protocol."""
    routes = APIRouter()

    @routes.websocket("/v1/audio/speech/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        try:
            following = await _session(socket, services, None, services.settings.receive_timeout_s)
            while True:
                following = await _session(socket, services, following, IDLE_S)
        except _Closed:
            await close(socket)
        except WebSocketDisconnect:
            log.info("the client of a speech session went away")
        except TimeoutError:
            log.warning("the client took nothing for %g s; its session is cut off", services.settings.stall_timeout_s)
            await close(socket, INTERNAL)
        except Exception:
            await close_at_fault(socket)
            raise

    return routes


async def _session(
    socket: WebSocket, services: Services, given: dict[str, Any] | None, within_s: float
) -> dict[str, Any] | None:
    """Serve one session, whose configuration may have come already, or comes within ``within_s`` seconds.

    Gives the configuration of the next session if that has come.

    Raises:
        _Closed: the connection is to be closed.
    """

    async def tell(message: dict[str, Any] | bytes) -> None:
        await send_within(socket, message, services.settings.stall_timeout_s)

    try:
        config = _config(given or await receive_object(socket, longest=MAX_MESSAGE, within_s=within_s))
        builder = services.builder
        clip = await to_thread.run_sync(builder.stored, config.voice, config)
        session = _Session(services, config, builder.composer(clip, config, speed=config.speed))
    except FAULTS as error:
        await tell(_error(as_request_error(error)))
        raise _Closed from error
    try:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(session.listen(socket))
            tasks.create_task(session.make())
            await session.send(tell)
            listening.cancel()
    except ExceptionGroup as group:
        first = _first(group)
        if isinstance(first, FAULTS):
            await tell(_error(as_request_error(first)))
            raise _Closed from first
        raise first from None
    finally:
        session.cancel()
    return session.next


class _Session:
    """Three tasks joined by queues: listening to the client, making sentences, sending their audio in order."""

    def __init__(self, services: Services, config: SessionConfig, composer: Composer) -> None:
        self.next: dict[str, Any] | None = None
        self._services = services
        self._config = config
        self._composer = composer
        self._cutter = SentenceCutter()
        # What the client writes beyond this waits in its own connection.
        self._texts: asyncio.Queue[str | None] = asyncio.Queue(64)
        self._sentences: asyncio.Queue[_Sentence | None] = asyncio.Queue(SENTENCES_AHEAD - 1)
        self._open: set[Ticket] = set()
        self._collecting: set[asyncio.Task[None]] = set()

    async def listen(self, socket: WebSocket) -> None:
        """Take in the client's messages; after its text is done, see whether it goes away or begins anew."""
        done = False
        while not done:
            message = await receive_object(socket, longest=MAX_MESSAGE, within_s=IDLE_S)
            match message.get("type"):
                case "input.text":
                    text = message.get("text")
                    if not isinstance(text, str):
                        raise invalid_field("text", "text of input.text must be a string")
                    await self._put(await to_thread.run_sync(self._cutter.feed, text))
                case "input.flush" | "input.commit":
                    await self._put(self._cutter.flush())
                case "input.done":
                    await self._put(self._cutter.flush())
                    await self._texts.put(None)
                    done = True
                case "session.close":
                    raise _Closed
                case kind:
                    raise invalid_field("type", f"type {_shown(kind)} is no message of a session")

        message = await receive_object(socket, longest=MAX_MESSAGE, within_s=None)
        if message.get("type") == "session.close":
            raise _Closed
        self.next = message

    async def make(self) -> None:
        """Hand sentences to the engine, a few ahead of what is being sent."""
        index = 0
        held: tuple[Part, ...] = ()
        while (text := await self._texts.get()) is not None:
            parts = held + await to_thread.run_sync(self._composer.parts, text)
            if not any(isinstance(part, Speech) for part in parts):
                held = parts  # nothing to hear, or pauses, which go before the next sentence
                continue
            held = ()
            request = self._services.builder.request(
                parts, self._config, format=self._config.response_format, request_id=f"{current_request_id()}-{index}"
            )
            sentence = _Sentence(index, text, await self._submit(request))
            self._open.add(sentence.ticket)
            self._collecting.add(asyncio.create_task(sentence.collect()))
            await self._sentences.put(sentence)
            index += 1
        await self._sentences.put(None)

    async def send(self, tell: Any) -> None:
        """Send sentences in order."""
        total = 0
        while (sentence := await self._sentences.get()) is not None:
            await self._speak(sentence, tell)
            total += 1
        await tell({"type": "session.done", "total_sentences": total})

    def cancel(self) -> None:
        """Give up what is still being made."""
        for ticket in self._open:
            ticket.cancel()
        for task in self._collecting:
            task.cancel()

    async def _put(self, pieces: list[str]) -> None:
        for piece in pieces:
            await self._texts.put(piece)

    async def _submit(self, request: GenerationRequest) -> Ticket:
        """A ticket; a full engine is asked again when it said to, for a session must not break off in mid-text."""
        try:
            async with asyncio.timeout(request.timeout_s):
                while True:
                    try:
                        return self._services.engine.submit(request)
                    except Refused as refusal:
                        if refusal.status != 429:
                            raise
                        await asyncio.sleep(min(refusal.retry_after or 1, 5))
        except TimeoutError as error:
            message = f"the server was full for {request.timeout_s:g} s"
            raise RequestError(504, "deadline_exceeded", message) from error

    async def _speak(self, sentence: _Sentence, tell: Any) -> None:
        started, total = False, 0
        while True:
            event = await sentence.events.get()
            if not started and isinstance(event, AudioChunk):
                started = True
                await tell(
                    {
                        "type": "audio.start",
                        "sentence_index": sentence.index,
                        "sentence_text": sentence.text,
                        "format": self._config.response_format,
                        "sample_rate": event.sample_rate,
                    }
                )
            if isinstance(event, AudioChunk):
                total += len(event.data)
                if (detail := self._config.timestamps) and event.segments:
                    times = (segment_times(segment, detail) for segment in event.segments)
                    await tell(
                        {
                            "type": "audio.timestamps",
                            "sentence_index": sentence.index,
                            "segments": [one.model_dump(exclude_none=True) for one in times],
                        }
                    )
                await tell(self._audio(sentence.index, event.data))
                continue
            self._open.discard(sentence.ticket)
            failed = isinstance(event, Failed)
            done = {"type": "audio.done", "sentence_index": sentence.index, "total_bytes": total, "error": failed}
            if isinstance(event, Done) and (heard := verification(event.metadata)):
                done["verification"] = [one.model_dump(exclude_none=True) for one in heard]
            await tell(done)
            if isinstance(event, Failed):
                raise event.error
            return

    def _audio(self, index: int, data: bytes) -> dict[str, Any] | bytes:
        if self._config.audio_encoding == "binary":
            return data
        return {"type": "audio.chunk", "sentence_index": index, "audio_b64": base64.b64encode(data).decode()}


def _config(message: dict[str, Any]) -> SessionConfig:
    fields = dict(message)
    match fields.pop("type", None):
        case "session.close":
            raise _Closed
        case "session.config":
            pass
        case kind:
            message_type = f"type is {_shown(kind)}; a session begins with session.config"
            raise invalid_field("type", message_type)
    return SessionConfig.model_validate(fields.get("session", fields))


def _shown(kind: Any) -> str:
    return repr(kind[:40]) if isinstance(kind, str) else "no string"


def _error(error: RequestError) -> dict[str, Any]:
    return {**SPEECH_SOCKET.body(SPEECH_SOCKET.translate(error))["error"], "type": "error"}


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
