"""Speech of a text that is still being written: what both of ElevenLabs' WebSockets do with it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread

from f5_tts_server.api.elevenlabs.body import ElevenLabsOptions, OutputFormat, alignment_after, said
from f5_tts_server.api.elevenlabs.dictionaries import lexicons
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import NoSsml, Text
from f5_tts_server.inference_types import AudioChunk, Failed, GenerationRequest, Part, Ticket
from f5_tts_server.text import Composer, SentenceCutter, TagReader


class Opening(ElevenLabsOptions):
    """The first message of a text."""

    text: Text = ""
    xi_api_key: str | None = None
    authorization: str | None = None
    duration: None = None
    ssml: NoSsml = False

    @property
    def key(self) -> str | None:
        """The API key, where the message brings it."""
        return self.xi_api_key or (self.authorization or "").removeprefix("Bearer ") or None


def opening_of(message: dict[str, Any]) -> Opening:
    """A message as the first of a text. Raises ValidationError."""
    return Opening.model_validate({name.replace("-", "_"): value for name, value in message.items()})


class WrittenSpeech:
    """A request that begins with the first sentence that can be heard, and is open until its text is finished."""

    def __init__(self, services: Services, composer: Composer, request: GenerationRequest) -> None:
        self._services = services
        self._composer = composer
        self._request = request
        self._tags = TagReader()
        self._cutter = SentenceCutter()
        self._ticket: asyncio.Future[Ticket | None] = asyncio.get_running_loop().create_future()
        self.finished = False

    @classmethod
    async def begin(
        cls,
        services: Services,
        voice: str,
        opening: Opening,
        *,
        format: OutputFormat,
        language: str | None,
        model: str | None,
        request_id: str,
    ) -> WrittenSpeech:
        """The speech that a first message asks for; ``language`` and ``model`` are the address's, which a message may overrule.

        Raises what `RequestBuilder` raises.
        """
        if opening.language is None:
            opening = opening.model_copy(update={"language": language})
        if opening.model is None:
            opening = opening.model_copy(update={"model": model})
        builder = services.builder
        clip = await to_thread.run_sync(builder.stored, voice, opening)
        speed = await to_thread.run_sync(opening.speed, services, clip)
        words = await to_thread.run_sync(lexicons, services, opening.pronunciation_dictionary_locators or ())
        opening = format.on(opening).model_copy(update={"timestamps": opening.timestamps or "character"})
        request = builder.request((), opening, format=format.format, request_id=request_id, open=True)
        return cls(services, builder.composer(clip, opening, speed=speed, lexicons=words), request)

    async def write(self, text: str, *, flush: bool = False) -> None:
        """Add text; its sentences are spoken as they complete, with ``flush`` all of it at once.

        Raises RequestError or TextError.
        """
        for part in await to_thread.run_sync(self._parts, text, flush):
            if not self._ticket.done():
                self._ticket.set_result(self._services.engine.submit(self._request))
            ticket = self._ticket.result()
            assert ticket is not None  # it is None only when the text is finished
            ticket.append(part)

    async def finish(self) -> None:
        """Say that no text follows. Raises what `write` raises."""
        if self.finished:
            return
        await self.write("", flush=True)
        self.finished = True
        if self._ticket.done():
            ticket = self._ticket.result()
            assert ticket is not None  # nothing but the next line makes it so
            ticket.finish()
        else:
            self._ticket.set_result(None)

    def cancel(self) -> None:
        """Give up what is not spoken yet. Harmless when all is."""
        self.finished = True
        if not self._ticket.done():
            self._ticket.set_result(None)
        elif not self._ticket.cancelled() and (ticket := self._ticket.result()) is not None:
            ticket.cancel()

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the client is told: the audio as it is made, then that it was all. Raises RequestError."""
        ticket = await self._ticket
        if ticket is not None:
            told = 0.0  # seconds of the clip whose characters are told
            async for event in ticket:
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, AudioChunk) and (event.data or event.segments):
                    audio = base64.b64encode(event.data).decode()
                    found = said(event.segments, after=told or None)
                    times = alignment_after(found, told)
                    if found:
                        told = found[-1].end
                    yield {"audio": audio, "isFinal": None, "alignment": times, "normalizedAlignment": times}
        yield {"audio": None, "isFinal": True}

    def _parts(self, text: str, flush: bool) -> list[Part]:
        pieces = self._cutter.feed(self._tags.feed(text))
        if flush:
            pieces += self._cutter.feed(self._tags.flush())
            pieces += self._cutter.flush()
        return [part for piece in pieces for part in self._composer.parts(piece)]
