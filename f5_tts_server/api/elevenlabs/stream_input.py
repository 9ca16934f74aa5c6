"""`stream-input`: one text that is still being written, over a WebSocket.

The messages are those of ElevenLabs' Python SDK (`elevenlabs` 2.78, `realtime_tts.py`): texts, the first with the options,
an empty one at the end; back come `audio` and at last `isFinal`.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.websockets import WebSocket

from f5_tts_server.api.elevenlabs.body import DEFAULT_FORMAT, format_named
from f5_tts_server.api.elevenlabs.socket import DEFAULT_IDLE_S, Connection, serve
from f5_tts_server.api.elevenlabs.written import WrittenSpeech
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services


def add(routes: APIRouter, services: Services) -> None:
    """Add the route."""

    @routes.websocket("/v1/text-to-speech/{voice_id}/stream-input")
    async def stream_input(
        socket: WebSocket,
        voice_id: str,
        output_format: str = DEFAULT_FORMAT,
        language_code: str | None = None,
        model_id: str | None = None,
        inactivity_timeout: str = DEFAULT_IDLE_S,
    ) -> None:
        async def run(connection: Connection) -> None:
            format = format_named(output_format, services.sample_rate)
            _, opening = await connection.opening()
            speech = await WrittenSpeech.begin(
                services,
                voice_id,
                opening,
                format=format,
                language=language_code,
                model=model_id,
                request_id=current_request_id(),
            )
            try:
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(_listen(connection, speech, opening.text))
                    async for message in speech.messages():
                        await connection.tell(message)
                    listening.cancel()
            finally:
                speech.cancel()

        await serve(socket, services, inactivity_timeout, run)


async def _listen(connection: Connection, speech: WrittenSpeech, text: str) -> None:
    """Pass the text on as it is written; an empty one ends it."""
    await speech.write(text)
    while True:
        message = await connection.receive()
        text = connection.text_of(message)
        if text == "":
            break
        await speech.write(text, flush=bool(message.get("flush")))
    await speech.finish()
    await connection.receive(forever=True)  # only to notice a client that goes away
