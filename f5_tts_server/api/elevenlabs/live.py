"""Text that is still being written, over a WebSocket: `stream-input`.

The messages are those of ElevenLabs' Python SDK (`elevenlabs` 2.78, `realtime_tts.py`).
"""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from f5_tts_server.api.access import given_key, unauthorized
from f5_tts_server.api.elevenlabs.body import DEFAULT_FORMAT, VoiceSettings, codec
from f5_tts_server.api.errors import ELEVENLABS
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.messages import close, receive_object, send_within
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import SpeechOptions, Text
from f5_tts_server.inference_types import AudioChunk, Failed, Part, RequestError, Ticket
from f5_tts_server.text import SentenceCutter

log = logging.getLogger("f5.http")

MAX_MESSAGE = 64 * 1024  # characters
IDLE_S = (20.0, 180.0)  # by default, and at most
_POLICY_VIOLATION, _INTERNAL = 1008, 1011


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


def add(routes: APIRouter, services: Services) -> None:
    """Add the route."""
    stall_s = services.settings.stall_timeout_s

    @routes.websocket("/text-to-speech/{voice_id}/stream-input")
    async def stream_input(
        socket: WebSocket, voice_id: str, output_format: str = DEFAULT_FORMAT, inactivity_timeout: float = IDLE_S[0]
    ) -> None:
        await socket.accept()
        live = _LiveText(services, socket, min(max(inactivity_timeout, 1.0), IDLE_S[1]))
        try:
            await live.run(voice_id, output_format)
        except WebSocketDisconnect:
            log.info("the client of a text stream went away")
        except TimeoutError:
            log.warning("the client took nothing for %g s; its text stream is cut off", stall_s)
            await close(socket, _INTERNAL, "the client takes nothing")
        except FAULTS as error:
            fault = ELEVENLABS.translate(as_request_error(error))
            told = {"message": fault.message, "error": fault.code, "code": _POLICY_VIOLATION}
            await send_within(socket, told, stall_s)
            await close(socket, _POLICY_VIOLATION, fault.message)
        else:
            await close(socket)


class _LiveText:
    """One connection: a request that is open while its text is being written."""

    def __init__(self, services: Services, socket: WebSocket, idle_s: float) -> None:
        self._services = services
        self._stall_s = services.settings.stall_timeout_s
        self._socket = socket
        self._idle_s = idle_s
        self._cutter = SentenceCutter()
        self._ticket: asyncio.Future[Ticket | None] = asyncio.get_running_loop().create_future()

    async def run(self, voice_id: str, output_format: str) -> None:
        """Serve the connection to its end. Raises any of `FAULTS`, WebSocketDisconnect or TimeoutError."""
        access, builder = self._services.access, self._services.builder
        format = codec(output_format, self._services.sample_rate)
        message = await self._receive()
        opening = Opening.model_validate({name.replace("-", "_"): value for name, value in message.items()})
        if not (access.knows(opening.key) or access.knows(given_key(self._socket))):
            raise unauthorized()
        speed = opening.voice_settings.speed if opening.voice_settings else None
        clip = await to_thread.run_sync(builder.stored, voice_id)
        self._composer = builder.composer(clip, opening, speed=speed)
        self._request = builder.request((), opening, format=format, request_id=current_request_id(), open=True)
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
        await self._say(first)
        while True:
            message = await self._receive()
            text = message.get("text")
            if not isinstance(text, str):
                raise RequestError(422, "invalid_request", "text must be a string", "text")
            if text == "":
                break
            await self._say(text, flush=bool(message.get("flush")))
        await self._say("", flush=True)
        if self._ticket.done():
            ticket = self._ticket.result()
            assert ticket is not None  # it is None only from the next line on
            ticket.finish()
        else:
            self._ticket.set_result(None)
        await self._receive(forever=True)  # only to notice a client that goes away

    async def _say(self, text: str, *, flush: bool = False) -> None:
        """Put complete sentences into the request, which begins with the first that can be heard."""
        for part in await to_thread.run_sync(self._parts, text, flush):
            if not self._ticket.done():
                self._ticket.set_result(self._services.engine.submit(self._request))
            ticket = self._ticket.result()
            assert ticket is not None
            ticket.append(part)

    def _parts(self, text: str, flush: bool) -> list[Part]:
        pieces = self._cutter.feed(text)
        if flush:
            pieces += self._cutter.flush()
        return [part for piece in pieces for part in self._composer.parts(piece)]

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
        await send_within(self._socket, message, self._stall_s)
