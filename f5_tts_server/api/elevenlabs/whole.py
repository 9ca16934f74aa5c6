"""Whole texts over HTTP."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import Field

from f5_tts_server.api.elevenlabs.body import DEFAULT_FORMAT, ElevenLabsOptions, OutputFormat, format_named
from f5_tts_server.api.elevenlabs.dictionaries import lexicons
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Text
from f5_tts_server.api.streaming import TicketStream, admit, audio_file
from f5_tts_server.formats import FORMATS
from f5_tts_server.inference_types import GenerationRequest, RequestError
from f5_tts_server.text import without_tags

MAX_TEXT = 10_000  # characters


class ConvertBody(ElevenLabsOptions):
    """A whole text."""

    text: Text = Field(min_length=1, max_length=MAX_TEXT)

    def request(self, services: Services, voice: str, format: OutputFormat, request_id: str) -> GenerationRequest:
        """What the engine is asked. Blocks; raises what `RequestBuilder` raises."""
        speed = self.voice_settings.speed if self.voice_settings else None
        builder = services.builder
        words = lexicons(services, self.pronunciation_dictionary_locators or ())
        composer = builder.composer(builder.stored(voice), self, speed=speed, lexicons=words)
        return builder.whole(
            self.text if self.ssml else without_tags(self.text),
            composer,
            format.on(self),
            format=format.format,
            request_id=request_id,
        )


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

    @routes.post("/v1/text-to-speech/{voice_id}/with-timestamps", include_in_schema=False)
    @routes.post("/v1/text-to-speech/{voice_id}/stream/with-timestamps", include_in_schema=False)
    async def with_timestamps(voice_id: str) -> None:
        message = f"times of words are not made here: /v1/text-to-speech/{voice_id[:64]} speaks without them"
        raise RequestError(501, "not_implemented", message)
