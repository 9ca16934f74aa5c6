"""`multi-stream-input`: several texts, called contexts, over one WebSocket, each an audio file of its own.

The messages are those of https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-multi-stream-input
as the plugins of LiveKit and Pipecat send them: every message names its ``context_id``; the first of a context has its
options; ``flush`` speaks what is there, ``close_context`` ends the text, and what is written of it is still spoken;
``close_socket`` ends them all; an empty text only keeps the connection. Back come ``audio`` and ``isFinal`` with the
context's ``contextId``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket

from f5_tts_server.api.elevenlabs.body import DEFAULT_FORMAT, OutputFormat, format_named
from f5_tts_server.api.elevenlabs.socket import DEFAULT_IDLE_S, Connection, serve
from f5_tts_server.api.elevenlabs.written import Opening, WrittenSpeech, opening_of
from f5_tts_server.api.faults import FAULTS
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.inference_types import RequestError, invalid_field

MOST_CONTEXTS = 8  # at a time; a closed one counts until it is spoken
DEFAULT_CONTEXT = "default"
MAX_CONTEXT_ID = 128  # characters


def add(routes: APIRouter, services: Services) -> None:
    """Add the route."""

    @routes.websocket("/v1/text-to-speech/{voice_id}/multi-stream-input")
    async def multi_stream_input(
        socket: WebSocket,
        voice_id: str,
        output_format: str = DEFAULT_FORMAT,
        language_code: str | None = None,
        model_id: str | None = None,
        inactivity_timeout: str = DEFAULT_IDLE_S,
    ) -> None:
        async def run(connection: Connection) -> None:
            format = format_named(output_format, services.sample_rate)
            message, _ = await connection.opening()
            contexts = _Contexts(services, connection, voice_id, format, language_code, model_id)
            try:
                async with asyncio.TaskGroup() as tasks:
                    await contexts.serve(message, tasks)
            finally:
                contexts.cancel()

        await serve(socket, services, inactivity_timeout, run)


class _Contexts:
    """The open texts of a connection."""

    def __init__(
        self,
        services: Services,
        connection: Connection,
        voice: str,
        format: OutputFormat,
        language: str | None,
        model: str | None,
    ) -> None:
        self._services = services
        self._connection = connection
        self._voice = voice
        self._format = format
        self._language = language
        self._model = model
        self._open: dict[str, WrittenSpeech] = {}
        self._begun = 0

    async def serve(self, message: dict[str, Any], tasks: asyncio.TaskGroup) -> None:
        """Take in messages until the client ends them or writes nothing any more; ``tasks`` speak."""
        while True:
            name = _context_id(message)
            try:
                await self._take(name, message, tasks)
            except FAULTS as error:
                self._drop(name)
                await self._connection.tell_fault(error, contextId=name)
            if message.get("close_socket"):
                break
            try:
                message = await self._connection.receive()
            except RequestError as error:
                if error.status != 408:
                    raise
                break  # what is written is spoken, and then the connection closes
        for name, speech in list(self._open.items()):
            try:
                await speech.finish()
            except FAULTS as error:
                self._drop(name)
                await self._connection.tell_fault(error, contextId=name)

    def cancel(self) -> None:
        """Give up what is not spoken yet."""
        for speech in self._open.values():
            speech.cancel()

    async def _take(self, name: str, message: dict[str, Any], tasks: asyncio.TaskGroup) -> None:
        """Do what a message says. Raises any of `FAULTS`."""
        text = self._connection.text_of({"text": "", **{k: v for k, v in message.items() if v is not None}})
        speech = self._open.get(name)
        if speech is None:
            if not (text or message.get("voice_settings")):
                return  # it keeps the connection, or closes what has ended already
            speech = await self._begin(name, opening_of(message), tasks)
        elif speech.finished:
            if text:
                closed = RequestError(409, "context_closed", f"context_id {name!r} is closed and takes no more text")
                await self._connection.tell_fault(closed, contextId=name)
            return
        await speech.write(text, flush=bool(message.get("flush")))
        if message.get("close_context"):
            await speech.finish()

    async def _begin(self, name: str, opening: Opening, tasks: asyncio.TaskGroup) -> WrittenSpeech:
        if len(self._open) >= MOST_CONTEXTS:
            raise RequestError(429, "too_many_contexts", f"{MOST_CONTEXTS} contexts are open, which is the limit")
        request_id = f"{current_request_id()}-{self._begun}"
        speech = await WrittenSpeech.begin(
            self._services,
            self._voice,
            opening,
            format=self._format,
            language=self._language,
            model=self._model,
            request_id=request_id,
        )
        self._begun += 1
        self._open[name] = speech
        tasks.create_task(self._speak(name, speech))
        return speech

    async def _speak(self, name: str, speech: WrittenSpeech) -> None:
        try:
            async for message in speech.messages():
                if self._open.get(name) is not speech:
                    return  # dropped, and the client knows why
                if message["isFinal"]:
                    del self._open[name]  # first, so that the name is free when the client hears of it
                await self._connection.tell({**message, "contextId": name})
        except FAULTS as error:
            if self._open.get(name) is speech:
                del self._open[name]
                await self._connection.tell_fault(error, contextId=name)

    def _drop(self, name: str) -> None:
        if (speech := self._open.pop(name, None)) is not None:
            speech.cancel()


def _context_id(message: dict[str, Any]) -> str:
    """The context that a message is about. Raises RequestError."""
    name = message.get("context_id", message.get("contextId"))
    if name is None:
        return DEFAULT_CONTEXT
    if not isinstance(name, str) or len(name) > MAX_CONTEXT_ID:
        message_text = f"context_id must be a string of at most {MAX_CONTEXT_ID} characters"
        raise invalid_field("context_id", message_text)
    return name
