"""Clients over HTTP: one request, arrivals at given times, clients that always have one under way, probes of /livez."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import httpx

from benchmarks.load import Ask, Chunk, Reply

BYTES_A_SECOND = 2 * 24_000  # of pcm: s16le, mono
PROBE_EVERY_S = 0.2


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client without limits of its own on connections and time: it must not hold back what is due."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=None, trust_env=False) as client:
        yield client


async def speak(
    client: httpx.AsyncClient,
    ask: Ask,
    began: float,
    timeout_s: float,
    heard: Callable[[float], None] = lambda _: None,
) -> Reply:
    """Make one request at its time and read its stream.

    Args:
        began: the run's beginning on the monotonic clock.
        timeout_s: what the server is told to give up after.
        heard: called with the seconds of audio of every chunk when it comes.
    """
    due = began + ask.due
    await asyncio.sleep(due - time.monotonic())
    body = {"gen_text": ask.text, "seed": ask.seed, "response_format": "pcm", "timeout_s": timeout_s}
    chunks: list[Chunk] = []
    final, error = False, None
    async with client.stream("POST", "/v1/generate/stream", json=body) as response:
        if response.status_code != 200:
            refusal = json.loads(await response.aread())
            return Reply(ask, response.status_code, (), time.monotonic() - due, refusal["error"]["code"])
        waiting = b""
        async for piece in response.aiter_raw():
            now = time.monotonic() - due
            *events, waiting = (waiting + piece).split(b"\n\n")
            for event in events:
                lines = event.split(b"\n")
                data = [line for line in lines if line.startswith(b"data: ")]
                if not data:
                    continue  # a ping
                message = json.loads(data[0].removeprefix(b"data: "))
                if b"event: error" in lines:
                    error = message["error"]["code"]
                    continue
                final = final or message["is_final"]
                audio = message["audio_chunk"]
                size = len(audio) // 4 * 3 - audio[-2:].count("=")
                if size:
                    chunks.append(Chunk(now, size / BYTES_A_SECOND))
                    heard(chunks[-1].seconds)
    if not final and error is None:
        error = "cut_off"
    return Reply(ask, 200, tuple(chunks), time.monotonic() - due, error)


async def one_by_one(url: str, cards: Sequence[tuple[str, str]], timeout_s: float = 300.0) -> list[Reply]:
    """Make requests of these kinds and texts one after the other; every one must end well."""
    replies: list[Reply] = []
    async with connected(url) as client:
        for kind, text in cards:
            reply = await speak(client, Ask(0.0, kind, text, len(replies)), time.monotonic(), timeout_s)
            if not reply.ok:
                raise SystemExit(f"a request to the idle server failed: {reply.status} {reply.error}")
            replies.append(reply)
    return replies


async def open_loop(url: str, asks: Sequence[Ask], timeout_s: float) -> tuple[list[Reply], list[float]]:
    """Make requests when they are due, whatever has become of the others; replies, and what /livez took meanwhile."""
    probes: list[float] = []
    async with connected(url) as client, connected(url) as prober:
        probing = asyncio.create_task(_probe(prober, probes))
        began = time.monotonic()
        try:
            replies = await asyncio.gather(*(speak(client, ask, began, timeout_s) for ask in asks))
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
    return replies, probes


async def closed_loop(
    url: str, cards: Iterator[tuple[str, str]], *, clients: int, seconds: float, timeout_s: float
) -> float:
    """Audio seconds a second while each of some clients always has a request under way.

    Counted chunk by chunk over ``seconds``, which begin when every client has ended its first request.
    """
    begin = end = math.inf
    total = 0.0
    ended: set[int] = set()

    def heard(chunk_seconds: float) -> None:
        nonlocal total
        if begin <= time.monotonic() < end:
            total += chunk_seconds

    async def loop(number: int, client: httpx.AsyncClient) -> None:
        nonlocal begin, end
        while True:
            kind, text = next(cards)
            reply = await speak(client, Ask(0.0, kind, text, number), time.monotonic(), timeout_s, heard)
            if not reply.ok:
                raise SystemExit(f"a request of the closed loop failed: {reply.status} {reply.error}")
            ended.add(number)
            if len(ended) == clients and begin == math.inf:
                begin = time.monotonic()
                end = begin + seconds

    async with connected(url) as client:
        loops = [asyncio.create_task(loop(number, client)) for number in range(clients)]
        while time.monotonic() < end and not any(task.done() for task in loops):  # noqa: ASYNC110 - a clock's time
            await asyncio.sleep(0.05)
        for task in loops:
            if not task.cancel():
                task.result()  # it failed: raises
        await asyncio.gather(*loops, return_exceptions=True)
    return total / seconds


async def _probe(client: httpx.AsyncClient, probes: list[float]) -> None:
    while True:
        began = time.monotonic()
        (await client.get("/livez")).raise_for_status()
        probes.append(time.monotonic() - began)
        await asyncio.sleep(PROBE_EVERY_S)
