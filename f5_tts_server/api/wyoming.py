"""The Wyoming protocol of Home Assistant (https://github.com/OHF-Voice/wyoming): text to speech over a TCP port of its own.

Whole texts (`synthesize`) and texts that are still being written (`synthesize-start`, `-chunk`, `-stop`); audio goes out while
it is made. A connection speaks one text at a time, and whoever disconnects stops the work. The protocol has no keys: the
listener belongs on the loopback device or in a network of one's own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from contextlib import suppress

from anyio import to_thread
from wyoming.audio import AudioChunk as WyomingChunk
from wyoming.audio import AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeTextFormat,
    SynthesizeVoice,
)

from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import SpeechOptions
from f5_tts_server.inference_types import (
    AudioChunk,
    Failed,
    GenerationRequest,
    Part,
    RequestError,
    Ticket,
    invalid_field,
)
from f5_tts_server.text import Composer, SentenceCutter, compose

log = logging.getLogger("f5.http")

EVENT_MAX = 256 * 1024  # bytes of one line, of its data, and of its payload
CONNECTIONS_MAX = 32
IDLE_S = 300.0  # Home Assistant keeps connections for its next text

_BY = Attribution("F5-TTS server", "https://github.com/SWivid/F5-TTS")


async def listen(services: Services, host: str, port: int) -> asyncio.Server:
    """Begin to listen; connections end when the server is closed. Raises OSError where the port is taken."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            connection = _Connection(services, reader, writer)
            if len(connections) > CONNECTIONS_MAX:
                await connection.tell(Error(f"{CONNECTIONS_MAX} connections are open", "too_many_connections").event())
            else:
                await connection.run()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.info("Wyoming connection ended: %s", error or type(error).__name__)
        finally:
            connections.discard(task)
            writer.close()

    return await asyncio.start_server(connected, host, port, limit=EVENT_MAX)


class _Connection:
    def __init__(self, services: Services, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._services = services
        self._reader = reader
        self._writer = writer
        self._speech: _Written | None = None  # the text that is being written
        self._speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer events until the client leaves, sends nothing for long, or what is no event."""
        try:
            while (event := await self._event()) is not None:
                try:
                    await self._handle(event)
                except FAULTS as fault:
                    self._speech = None
                    await self._fail(as_request_error(fault))
                except (KeyError, TypeError, AttributeError) as fault:
                    await self._fail(RequestError(422, "invalid_event", f"{event.type}: {fault!r} is missing or wrong"))
        finally:
            if self._speaking is not None:
                self._speaking.cancel()
                with suppress(asyncio.CancelledError):
                    await self._speaking

    async def tell(self, event: Event) -> None:
        """Send an event; a client that takes nothing for long raises TimeoutError, one that has left an OSError."""
        if self._writer.is_closing():  # uvloop's closed transports raise RuntimeError
            raise ConnectionResetError("the client has left")
        async with asyncio.timeout(self._services.settings.stall_timeout_s):
            await async_write_event(event, self._writer)

    async def _event(self) -> Event | None:
        """The package's own reader has no bounds. Raises ValueError for no event, and TimeoutError."""
        busy = self._speaking is not None and not self._speaking.done()
        try:
            async with asyncio.timeout(None if busy else IDLE_S):
                line = await self._reader.readline()
            async with asyncio.timeout(self._services.settings.receive_timeout_s):
                if not line:
                    return None
                facts = json.loads(line)
                sizes = [int(facts.get(name) or 0) for name in ("data_length", "payload_length")]
                if not all(0 <= size <= EVENT_MAX for size in sizes):
                    raise ValueError(f"an event may have {EVENT_MAX} bytes")
                data = dict(facts.get("data") or {})
                if sizes[0]:
                    data |= json.loads(await self._reader.readexactly(sizes[0]))
                await self._reader.readexactly(sizes[1])
                return Event(str(facts["type"]), data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            await self._fail(RequestError(400, "invalid_event", f"this is no event: {error}"))
            return None

    async def _handle(self, event: Event) -> None:
        if Describe.is_type(event.type):
            await self.tell(await to_thread.run_sync(self._info))
        elif Ping.is_type(event.type):
            await self.tell(Pong(text=Ping.from_event(event).text).event())
        elif Synthesize.is_type(event.type):
            if self._speech is None:  # else a text that is written comes once more as a whole, for older servers
                whole = Synthesize.from_event(event)
                request = await to_thread.run_sync(self._whole, whole)
                self._begin(self._services.engine.submit(request))
        elif SynthesizeStart.is_type(event.type):
            start = SynthesizeStart.from_event(event)
            self._refuse_a_second()
            if start.text_format == SynthesizeTextFormat.SSML:
                raise invalid_field("text_format", "text_format is SSML, which a text that is being written cannot be")
            self._speech = await to_thread.run_sync(_Written, self._services, start.voice)
        elif SynthesizeChunk.is_type(event.type):
            await self._write(SynthesizeChunk.from_event(event).text)
        elif SynthesizeStop.is_type(event.type) and self._speech is not None:
            speech = self._speech
            await self._write("", flush=True)
            self._speech = None
            if speech.ticket is None:
                await self.tell(SynthesizeStopped().event())
            else:
                speech.ticket.finish()

    async def _write(self, text: str, *, flush: bool = False) -> None:
        speech = self._speech
        if speech is None:
            return  # of a text that has failed
        for part in await to_thread.run_sync(speech.parts, text, flush):
            if speech.ticket is None:
                speech.ticket = self._services.engine.submit(speech.request)
                self._begin(speech.ticket, then=SynthesizeStopped().event())
            speech.ticket.append(part)

    def _whole(self, event: Synthesize) -> GenerationRequest:
        self._refuse_a_second()
        speech = _Written(self._services, event.voice, ssml=event.text_format == SynthesizeTextFormat.SSML)
        parts = compose(event.text, speech.composer)
        return self._services.builder.request(parts, speech.options, format="pcm", request_id=speech.request.request_id)

    def _refuse_a_second(self) -> None:
        if self._speech is not None or (self._speaking is not None and not self._speaking.done()):
            raise RequestError(409, "busy", "this connection speaks already: wait for audio-stop, or open another")

    def _begin(self, ticket: Ticket, then: Event | None = None) -> None:
        self._speaking = asyncio.create_task(self._send(ticket, then))

    async def _send(self, ticket: Ticket, then: Event | None) -> None:
        """The audio of a ticket as it is made; the ticket ends with this task."""
        rate = self._services.sample_rate
        try:
            await self.tell(AudioStart(rate, 2, 1).event())
            async for event in ticket:
                if isinstance(event, AudioChunk) and event.data:
                    await self.tell(WyomingChunk(rate, 2, 1, event.data).event())
                elif isinstance(event, Failed):
                    await self._fail(event.error)
            await self.tell(AudioStop().event())
            if then is not None:
                await self.tell(then)
        except (OSError, TimeoutError) as error:
            log.info("Wyoming client takes no audio: %s", error or type(error).__name__)
            self._writer.close()
        finally:
            ticket.cancel()

    async def _fail(self, error: RequestError) -> None:
        await self.tell(Error(error.message, error.code).event())

    def _info(self) -> Event:
        voices = [
            TtsVoice(
                name=voice.name,
                attribution=_BY,
                installed=True,
                description=voice.description or voice.name,
                version=None,
                languages=["en"],
            )
            for voice in self._services.voices.list()
        ]
        program = TtsProgram(
            name="f5-tts",
            attribution=_BY,
            installed=True,
            description="F5-TTS on JAX",
            version=None,
            voices=voices,
            supports_synthesize_streaming=True,
        )
        return Info(tts=[program]).event()


class _Written:
    """A text in one voice, and the request that speaks it; made on a worker thread."""

    def __init__(self, services: Services, voice: SynthesizeVoice | None, *, ssml: bool = False) -> None:
        builder = services.builder
        name = voice.name if voice else None
        language = voice.language if voice and not name else None
        self.options = SpeechOptions.model_validate({"language": language, "ssml": ssml})
        self.composer: Composer = builder.composer(builder.stored(name, self.options), self.options, speed=None)
        self.request = builder.request(
            (), self.options, format="pcm", request_id=f"wyoming-{secrets.token_hex(8)}", open=True
        )
        self.ticket: Ticket | None = None
        self._cutter = SentenceCutter()

    def parts(self, text: str, flush: bool) -> list[Part]:
        """What a piece of text completes. Raises TextError and RequestError."""
        pieces = self._cutter.feed(text)
        if flush:
            pieces += self._cutter.flush()
        return [part for piece in pieces for part in self.composer.parts(piece)]
