"""Home Assistant's protocol, spoken by the official package's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from f5_tts_server.api.wyoming import EVENT_MAX, _Connection
from tests.server import ServerThread, free_port

Serve = Callable[..., ServerThread]


async def until(client: AsyncTcpClient, last: str) -> list[Event]:
    """Events up to the one of that type, or to the connection's end."""
    events: list[Event] = []
    async with asyncio.timeout(60):
        while (event := await client.read_event()) is not None:
            events.append(event)
            if event.type == last:
                break
    return events


def audio(events: list[Event]) -> bytes:
    return b"".join(AudioChunk.from_event(event).audio for event in events if AudioChunk.is_type(event.type))


@pytest.mark.anyio
async def test_whole_and_written_texts_voices_and_faults(serve: Serve) -> None:
    port = free_port()
    server = serve(wyoming_port=port)
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Describe().event())
        (event,) = await until(client, "info")
        (program,) = Info.from_event(event).tts
        assert program.supports_synthesize_streaming
        assert {voice.name for voice in program.voices} == {voice.name for voice in server.voices.list()}
        name = program.voices[-1].name

        await client.write_event(Synthesize("A sentence to say.", voice=SynthesizeVoice(name=name)).event())
        whole = await until(client, "audio-stop")
        assert [event.type for event in whole][:2] == ["audio-start", "audio-chunk"]
        assert (whole[0].data["rate"], whole[0].data["width"], whole[0].data["channels"]) == (24000, 2, 1)
        assert len(audio(whole)) > 4800

        # As Home Assistant sends it: the whole text comes again before the end, for servers that cannot stream.
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name=name)).event())
        for chunk in ("The first sentence ", "is here. And the ", "second one follows."):
            await client.write_event(SynthesizeChunk(chunk).event())
        await client.write_event(Synthesize("The first sentence is here. And the second one follows.").event())
        await client.write_event(SynthesizeStop().event())
        written = await until(client, "synthesize-stopped")
        assert [event.type for event in written][-2:] == ["audio-stop", "synthesize-stopped"]
        assert len(audio(written)) > 4800

        await client.write_event(Synthesize("Hello.", voice=SynthesizeVoice(name="nobody")).event())
        (event,) = await until(client, "error")
        assert Error.from_event(event).code == "voice_not_found"

        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeStop().event())
        assert [event.type for event in await until(client, "synthesize-stopped")] == ["synthesize-stopped"]


@pytest.mark.anyio
async def test_leaving_stops_the_work(serve: Serve) -> None:
    port = free_port()
    server = serve(wyoming_port=port)
    server.programs.step_s = 0.02
    client = AsyncTcpClient("127.0.0.1", port)
    await client.connect()
    await client.write_event(Synthesize("A long sentence to say. " * 200).event())
    await until(client, "audio-chunk")
    await client.disconnect()
    async with asyncio.timeout(30):
        while await asyncio.to_thread(server.metric, 'f5_requests_total{outcome="cancelled"}') < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b"[1]\n",
        json.dumps({"type": "describe", "payload_length": EVENT_MAX + 1}).encode() + b"\n",
        json.dumps({"type": "describe", "data_length": 10**12}).encode() + b"\n",
        b"x" * (EVENT_MAX + 100) + b"\n",
    ],
)
async def test_what_is_no_event_or_too_large_ends_the_connection(serve: Serve, line: bytes) -> None:
    """The package's reader would take a terabyte when told that it comes."""
    port = free_port()
    serve(wyoming_port=port)
    client = AsyncTcpClient("127.0.0.1", port)
    await client.connect()
    assert client._writer is not None
    client._writer.write(line)
    events = await until(client, "never")
    assert [event.type for event in events] == ["error"]
    await client.disconnect()


@pytest.mark.anyio
async def test_what_is_told_to_a_client_that_has_left_is_an_oserror(serve: Serve) -> None:
    """The answer to a text whose client had just left wrote to a closed transport, which is a RuntimeError in uvloop:
    a traceback in the log."""
    services = serve().app.state.services
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        try:
            await _Connection(services, reader, writer).tell(Error("late", "late").event())
            told.set_result(None)
        except OSError as error:
            told.set_result(error)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listening:
        client = AsyncTcpClient(*listening.sockets[0].getsockname())
        await client.connect()
        assert isinstance(await asyncio.wait_for(told, 30), OSError)
        await client.disconnect()
