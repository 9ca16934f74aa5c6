"""ElevenLabs' text to speech: whole texts over HTTP, and text that is still being written over a WebSocket.

After https://elevenlabs.io/docs/api-reference/text-to-speech and the messages that its Python SDK (`elevenlabs` 2.78,
`realtime_tts.py`) sends and reads. Of `output_format` the codec counts: MP3, Opus and WAV files say their own rate, which
is the model's; raw PCM exists in that rate only. Settings that describe another model (stability, style, ...) have no
effect.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from f5_tts_server.api.access import Access, given_key, unauthorized
from f5_tts_server.api.messages import invalid, receive_object, send_within
from f5_tts_server.api.openai_speech import audio
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_request import SpeechDesk, SpeechOptions, Text
from f5_tts_server.api.streaming import TicketStream, admit
from f5_tts_server.api.translation import FAULTS, TranslatingRoute, as_request_error
from f5_tts_server.formats import FORMATS
from f5_tts_server.inference_types import AudioChunk, Failed, Refused, RequestError, Ticket
from f5_tts_server.settings import Settings
from f5_tts_server.text import SentenceCutter, compose

log = logging.getLogger("f5.http")

MAX_TEXT = 10_000
MAX_MESSAGE = 64 * 1024  # characters
DEFAULT_FORMAT = "mp3_44100_128"
IDLE_S = (20.0, 180.0)  # by default, and at most
FIELD_NAMES = {
    "nfe": "num_inference_steps",
    "cfg_strength": "guidance_scale",
    "format": "output_format",
    "pause": "text",
    "speed": "voice_settings.speed",
    "reference": "voice_id",
}
_POLICY_VIOLATION, _INTERNAL = 1008, 1011


class VoiceSettings(BaseModel):
    """Only the speed is of use here."""

    model_config = ConfigDict(extra="ignore")

    speed: float | None = Field(None, ge=0.25, le=4.0)


class ConvertBody(SpeechOptions):
    """A whole text."""

    text: Text = Field(min_length=1, max_length=MAX_TEXT)
    model_id: str | None = None
    voice_settings: VoiceSettings | None = None


class Opening(SpeechOptions):
    """The first message of a WebSocket."""

    text: Text = ""
    voice_settings: VoiceSettings | None = None
    xi_api_key: str | None = None
    authorization: str | None = None
    duration: None = None

    @property
    def key(self) -> str | None:
        return self.xi_api_key or (self.authorization or "").removeprefix("Bearer ") or None


class _Route(TranslatingRoute):
    """ElevenLabs' shape of errors: `{"detail": {"status", "message"}}`."""

    def answer(self, error: Exception) -> Response:
        fault = as_request_error(error, FIELD_NAMES)
        headers = {}
        if isinstance(fault, Refused) and fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        detail = {"status": fault.code, "message": fault.message, "param": fault.field}
        return JSONResponse({"detail": detail}, fault.status, headers)


def router(settings: Settings, services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1", route_class=_Route, tags=["ElevenLabs"])
    desk = SpeechDesk(services)

    # Their `stream` differs only in when their server begins to answer; here both begin with the first audio.
    @routes.post("/text-to-speech/{voice_id}", response_class=Response)
    @routes.post("/text-to-speech/{voice_id}/stream", response_class=Response)
    async def convert(
        voice_id: str, body: ConvertBody, request: Request, output_format: str = DEFAULT_FORMAT
    ) -> Response:
        """Speech as an audio file that begins before it is finished."""
        format = codec(output_format, services.sample_rate)
        composer = desk.composer(voice_id, body.voice_settings.speed if body.voice_settings else None, body)
        parts = compose(body.text, composer, seconds=body.duration)
        ticket = services.engine.submit(desk.request(parts, body, format=format, request_id=current_request_id()))
        await admit(ticket, request.receive)
        return TicketStream(
            ticket,
            audio(ticket),
            media_type=FORMATS[format].media_type,
            ping=None,
            ping_s=settings.ping_s,
            stall_timeout_s=settings.stall_timeout_s,
        )

    @routes.get("/voices")
    async def voices() -> dict[str, Any]:
        """The stored voices as ElevenLabs lists its own."""
        return {
            "voices": [
                {
                    "voice_id": voice.id,
                    "name": voice.name,
                    "category": "premade" if voice.embedded else "cloned",
                    "description": voice.description,
                    "labels": {},
                }
                for voice in services.voices.list()
            ]
        }

    @routes.websocket("/text-to-speech/{voice_id}/stream-input")
    async def stream_input(
        socket: WebSocket, voice_id: str, output_format: str = DEFAULT_FORMAT, inactivity_timeout: float = IDLE_S[0]
    ) -> None:
        await socket.accept()
        access: Access = socket.app.state.access
        live = _LiveText(services, socket, min(max(inactivity_timeout, 1.0), IDLE_S[1]))
        try:
            await live.run(voice_id, output_format, access)
        except WebSocketDisconnect:
            log.info("the client of a text stream went away")
        except TimeoutError:
            log.warning("the client took nothing for %g s; its text stream is cut off", services.send_timeout_s)
            await _close(socket, _INTERNAL, "the client takes nothing")
        except FAULTS as error:
            fault = as_request_error(error, FIELD_NAMES)
            await send_within(
                socket,
                {"message": fault.message, "error": fault.code, "code": _POLICY_VIOLATION},
                services.send_timeout_s,
            )
            await _close(socket, _POLICY_VIOLATION, fault.message)
        else:
            await _close(socket, 1000, "")

    return routes


def codec(output_format: str, sample_rate: int) -> str:
    """The format here for one of ElevenLabs', such as `mp3_44100_128`. Raises RequestError."""
    name, _, details = output_format.partition("_")
    if name == "pcm" and details.split("_")[0] != str(sample_rate):
        raise RequestError(
            422,
            "invalid_request",
            f"output_format {output_format[:40]!r} is not made here; pcm_{sample_rate} is",
            "format",
        )
    if name not in ("mp3", "opus", "wav", "pcm"):
        message = (
            f"output_format {output_format[:40]!r} is not made here; mp3_*, opus_*, wav_* and pcm_{sample_rate} are"
        )
        raise RequestError(422, "invalid_request", message, "format")
    return name


class _LiveText:
    """One connection: a request that is open while its text is being written."""

    def __init__(self, services: Services, socket: WebSocket, idle_s: float) -> None:
        self._services = services
        self._socket = socket
        self._idle_s = idle_s
        self._cutter = SentenceCutter()
        self._ticket: asyncio.Future[Ticket | None] = asyncio.get_running_loop().create_future()

    async def run(self, voice_id: str, output_format: str, access: Access) -> None:
        """Serve the connection to its end. Raises any of `FAULTS`, WebSocketDisconnect or TimeoutError."""
        format = codec(output_format, self._services.sample_rate)
        message = await self._receive()
        try:
            opening = Opening.model_validate({name.replace("-", "_"): value for name, value in message.items()})
        except ValidationError as error:
            raise invalid(error) from error
        if not (access.knows(opening.key) or access.knows(given_key(self._socket))):
            raise unauthorized()
        desk = SpeechDesk(self._services)
        speed = opening.voice_settings.speed if opening.voice_settings else None
        self._composer = desk.composer(voice_id, speed, opening)
        self._request = desk.request((), opening, format=format, request_id=current_request_id(), open=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(opening.text))
                await self._speak()
                listening.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            if self._ticket.done() and not self._ticket.cancelled() and (ticket := self._ticket.result()):
                ticket.cancel()

    async def _listen(self, first: str) -> None:
        """Pass sentences on as they complete; an empty text ends the stream, `flush` a sentence."""
        self._say(self._cutter.feed(first))
        while True:
            message = await self._receive()
            text = message.get("text")
            if not isinstance(text, str):
                raise RequestError(422, "invalid_request", "text must be a string", "text")
            if text == "":
                break
            self._say(self._cutter.feed(text))
            if message.get("flush"):
                self._say(self._cutter.flush())
        self._say(self._cutter.flush())
        if self._ticket.done():
            ticket = self._ticket.result()
            assert ticket is not None  # it is None only from the next line on
            ticket.finish()
        else:
            self._ticket.set_result(None)
        await self._receive(forever=True)  # only to notice a client that goes away

    def _say(self, pieces: list[str]) -> None:
        """Put sentences into the request, which begins with the first of them."""
        for piece in pieces:
            parts = self._composer.parts(piece)
            if not parts:
                continue  # an emoji, a dash: nothing to hear
            if not self._ticket.done():
                self._ticket.set_result(self._services.engine.submit(self._request))
            ticket = self._ticket.result()
            assert ticket is not None
            for part in parts:
                ticket.append(part)

    async def _speak(self) -> None:
        ticket = await self._ticket
        if ticket is not None:
            async for event in ticket:
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, AudioChunk) and event.data:
                    await self._tell(
                        {"audio": base64.b64encode(event.data).decode(), "isFinal": None, "alignment": None}
                    )
        await self._tell({"audio": None, "isFinal": True})

    async def _receive(self, *, forever: bool = False) -> dict[str, Any]:
        return await receive_object(self._socket, longest=MAX_MESSAGE, within_s=None if forever else self._idle_s)

    async def _tell(self, message: dict[str, Any]) -> None:
        await send_within(self._socket, message, self._services.send_timeout_s)


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    try:
        # A close frame holds 123 bytes of reason.
        await socket.close(code, reason.encode()[:120].decode(errors="ignore"))
    except (RuntimeError, WebSocketDisconnect):
        log.debug("the connection was closed by the client first")
