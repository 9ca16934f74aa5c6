"""What the clients of `tests.soak` ask for, over every route and socket that speaks, and what each saw in the end.

The MCP server is left out: it is a client of `/v1/generate` itself.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import connect
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from f5_tts_server.embedded.config import ASSETS
from tests.clips import TEXT, file, speech

WORDS = "when the old man came down to the harbor in the morning the boats were already far out on the water".split()
ENDED, FULL, REFUSED = "ended", "refused: full", "refused"
KEPT_SHARE = 0.2  # of jobs and batches, which are left to be done; the others are stopped by their client

Ask = Callable[["Known", httpx.AsyncClient, random.Random], Awaitable[str]]


@dataclass
class Known:
    """What clients know of the server and of one another."""

    wyoming_port: int
    voice: str = ""
    clip: bytes = field(default_factory=lambda: file(speech(3)))
    recording: str = field(default_factory=lambda: base64.b64encode((ASSETS / "ada.flac").read_bytes()).decode())
    clip_of_seven: str = ""  # base64, the first that came
    in_use: set[str] = field(default_factory=set)  # names of voices and files whose client is there
    batches: dict[str, int] = field(default_factory=dict)  # that are left to be done, and their lines

    @contextmanager
    def using(self, name: str) -> Iterator[str]:
        """A name of something uploaded, of which nothing may be deleted until its client goes."""
        self.in_use.add(name)
        try:
            yield name
        finally:
            self.in_use.remove(name)


def text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.choice([2, 6, 15, 40]))) + "."


def refused(reply: httpx.Response | int) -> str:
    status = reply if isinstance(reply, int) else reply.status_code
    return FULL if status == 429 else f"status {status}"


async def events(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> str:
    """Server-sent events: exactly one final event."""
    finals = errors = 0
    async with client.stream("POST", path, json=body) as reply:
        if reply.status_code != 200:
            return refused(reply)
        async for line in reply.aiter_lines():
            errors += line == "event: error"
            finals += line.startswith("data:") and '"is_final": true' in line
    return ENDED if (finals, errors) == (1, 0) else f"{path}: {finals} final events, {errors} errors"


async def clip(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> str:
    """One reply with all of the audio."""
    reply = await client.post(path, json=body)
    return ENDED if reply.status_code == 200 and reply.json()["audio_base64"] else refused(reply)


async def stream(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    return await events(client, "/v1/generate/stream", {"gen_text": text(rng), "seed": 1})


async def whole(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    return await clip(client, "/v1/generate", {"gen_text": text(rng), "response_format": rng.choice(["wav", "flac"])})


async def same(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """One seed, one clip, whatever else is going on."""
    body = {"gen_text": " ".join(WORDS) + ".", "seed": 7, "response_format": "pcm"}
    reply = await client.post("/v1/generate", json=body)
    if reply.status_code != 200:
        return refused(reply)
    audio = reply.json()["audio_base64"]
    known.clip_of_seven = known.clip_of_seven or audio
    return ENDED if audio == known.clip_of_seven else "other samples of the same seed"


async def openai(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """A file, or events whose last one says that it is the last."""
    format, kind = rng.choice(["mp3", "pcm", "opus"]), rng.choice(["audio", "sse"])
    body = {"model": "tts-1", "voice": "alloy", "input": text(rng), "response_format": format, "stream_format": kind}
    reply = await client.post("/v1/audio/speech", json=body)
    if reply.status_code != 200 or not reply.content:
        return refused(reply)
    told = reply.text.count("speech.audio.done") if kind == "sse" else 1
    return ENDED if told == 1 else f"{told} events speech.audio.done"


async def elevenlabs(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    path = f"/v1/text-to-speech/{known.voice}{rng.choice(['', '/stream'])}"
    reply = await client.post(path, json={"text": text(rng)})
    return ENDED if reply.status_code == 200 and reply.content else refused(reply)


async def elevenlabs_timed(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    path = f"/v1/text-to-speech/{known.voice}{rng.choice(['', '/stream'])}/with-timestamps"
    reply = await client.post(path, json={"text": text(rng)})
    if reply.status_code != 200:
        return refused(reply)
    audio = [base64.b64decode(json.loads(line)["audio_base64"]) for line in reply.text.splitlines()]
    return ENDED if any(audio) else f"{path}: no audio"


def socket_url(client: httpx.AsyncClient, path: str) -> str:
    return str(client.base_url).replace("http", "ws", 1).rstrip("/") + path


async def socket(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """Text that is written while it is spoken."""
    async with connect(socket_url(client, "/v1/audio/speech/stream"), max_size=None, proxy=None) as connection:
        await connection.send(json.dumps({"type": "session.config", "response_format": "pcm"}))
        for _ in range(rng.randint(1, 3)):
            await connection.send(json.dumps({"type": "input.text", "text": text(rng) + " "}))
            await asyncio.sleep(rng.uniform(0, 0.05))
        await connection.send(json.dumps({"type": "input.done"}))
        async for message in connection:
            if isinstance(message, str):
                told = json.loads(message)
                if told["type"] in ("session.done", "error"):
                    return ENDED if told["type"] == "session.done" else str(told)
    return "closed before its end"


async def elevenlabs_socket(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """ElevenLabs' way to write text while it is spoken."""
    url = socket_url(client, f"/v1/text-to-speech/{known.voice}/stream-input")
    async with connect(url, max_size=None, proxy=None) as connection:
        for written in (" ", text(rng) + " ", ""):
            await connection.send(json.dumps({"text": written}))
        async for message in connection:
            told = json.loads(message)
            if "error" in told:
                return FULL if told["error"] == "too_many_requests" else str(told)
            if told.get("isFinal"):
                return ENDED
    return "closed before its end"


async def elevenlabs_contexts(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """Several texts over one socket: each ends once, or is refused."""
    url = socket_url(client, f"/v1/text-to-speech/{known.voice}/multi-stream-input")
    open_texts = {f"text {number}" for number in range(rng.randint(1, 3))}
    full = False
    async with connect(url, max_size=None, proxy=None) as connection:
        for name in sorted(open_texts):
            await connection.send(json.dumps({"text": text(rng) + " ", "context_id": name}))
            await connection.send(json.dumps({"context_id": name, "close_context": True}))
        await connection.send(json.dumps({"close_socket": True}))
        async for message in connection:
            told = json.loads(message)
            if "error" in told and told["error"] != "too_many_requests":
                return str(told)
            full = full or "error" in told
            if "error" in told or told.get("isFinal"):
                open_texts.remove(told["contextId"])
    return f"{len(open_texts)} texts without an end" if open_texts else FULL if full else ENDED


async def home_assistant(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """Wyoming: a whole text, or one that is written while it is spoken."""
    async with AsyncTcpClient("127.0.0.1", known.wyoming_port) as connection:
        if rng.random() < 0.5:
            asked, last = [Synthesize(text(rng)).event()], "audio-stop"
        else:
            chunks = [SynthesizeChunk(text(rng) + " ").event() for _ in range(2)]
            asked, last = [SynthesizeStart().event(), *chunks, SynthesizeStop().event()], "synthesize-stopped"
        for event in asked:
            await connection.write_event(event)
        audio = 0
        while (told := await connection.read_event()) is not None:
            audio += told.type == "audio-chunk"
            if Error.is_type(told.type):
                error = Error.from_event(told)
                full = error.code in ("too_many_requests", "too_many_connections")
                return FULL if full else f"Wyoming: {error.code}"
            if told.type == last:
                return ENDED if audio else "Wyoming: no audio"
    return "closed before its end"


async def voices(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """A voice is uploaded, speaks and is deleted; one whose client leaves in the middle stays."""
    with known.using(f"voice {rng.randrange(10**12)}") as name:
        files = {"audio_sample": ("clip.wav", known.clip, "audio/wav")}
        reply = await client.post("/v1/audio/voices", data={"name": name, "ref_text": TEXT}, files=files)
        if reply.status_code != 201:
            return refused(reply)
        said = await clip(client, "/v1/generate", {"gen_text": text(rng), "voice": name})
        (await client.delete(f"/v1/audio/voices/{reply.json()['id']}")).raise_for_status()
    return said


async def dub(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    cues = "".join(f"{n + 1}\n00:00:{4 * n:02},000 --> 00:00:{4 * n + 3:02},000\n{text(rng)}\n\n" for n in range(2))
    body = {"subtitles": cues, "overrun": "speak"}
    if rng.random() < 0.5:
        return await events(client, "/v1/audio/dubs/stream", body)
    return await clip(client, "/v1/audio/dubs", body)


async def edit(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    now = f"Soft {rng.choice(WORDS)} fell on the water."
    body = {"ref_audio_base64": known.recording, "ref_text": "Soft light fell on the water.", "gen_text": now}
    if rng.random() < 0.5:
        return await events(client, "/v1/audio/edits/stream", body)
    return await clip(client, "/v1/audio/edits", body)


async def job(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """A short book, most of them deleted in the middle; what is left is looked at when all else is done."""
    document = "\n\n".join(text(rng) for _ in range(rng.randint(1, 3)))
    reply = await client.post("/v1/jobs?format=mp3", content=document, headers={"Content-Type": "text/plain"})
    if reply.status_code != 201:
        return refused(reply)
    path = f"/v1/jobs/{reply.json()['id']}"
    async with client.stream("GET", f"{path}/events") as told:
        async for line in told.aiter_lines():
            if line.startswith("data:"):
                break
    if rng.random() >= KEPT_SHARE:
        (await client.delete(path)).raise_for_status()
    return ENDED


async def batch(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """A file of requests, most of them cancelled; what is left is looked at when it has ended."""
    count = rng.randint(1, 3)
    lines = [
        {"custom_id": str(n), "method": "POST", "url": "/v1/generate", "body": {"gen_text": text(rng)}}
        for n in range(count)
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with known.using(f"requests {rng.randrange(10**12)}.jsonl") as name:
        reply = await client.post("/v1/files", data={"purpose": "batch"}, files={"file": (name, data)})
        if reply.status_code != 200:
            return refused(reply)
        path = f"/v1/files/{reply.json()['id']}"
        body = {"input_file_id": reply.json()["id"], "endpoint": "/v1/generate", "completion_window": "24h"}
        made = await client.post("/v1/batches", json=body)
        (await client.delete(path)).raise_for_status()
    if made.status_code != 200:
        return refused(made)
    if rng.random() < KEPT_SHARE:
        known.batches[made.json()["id"]] = count
        return ENDED
    stopped = await client.post(f"/v1/batches/{made.json()['id']}/cancel")
    return ENDED if stopped.status_code in (200, 409) else f"cancelling a batch: {stopped.status_code}"  # 409: ended


async def malformed(known: Known, client: httpx.AsyncClient, rng: random.Random) -> str:
    """Must be refused as the client's fault."""
    content = rng.choice([
        b"", b"{", b"[" * 5000, b'{"gen_text": 1}', b'{"gen_text": ""}', b'{"gen_text": "\\ud800"}', b"\xff\xfe",
        b'{"gen_text": "x", "num_inference_steps": 1e999}', b'{"gen_text": "x", "seed": ' + b"9" * 10_000 + b"}",
        b'{"gen_text": "...", "nothing": 1}', b'{"gen_text": "x", "ref_audio_base64": "AAAA", "ref_text": "x"}',
    ])  # fmt: skip
    path = rng.choice([
        "/v1/generate", "/v1/generate/stream", "/v1/audio/speech", "/v1/audio/dubs", "/v1/audio/edits", "/v1/batches",
        "/v1/files", "/v1/audio/voices", f"/v1/text-to-speech/{known.voice}",
    ])  # fmt: skip
    reply = await client.post(path, content=content, headers={"Content-Type": "application/json"})
    return REFUSED if 400 <= reply.status_code < 500 else f"malformed, but {reply.status_code}: {path} {content[:80]!r}"


PROTOCOLS: dict[Ask, tuple[str, ...]] = {
    stream: ("/v1/generate/stream",),
    whole: ("/v1/generate",),
    same: ("/v1/generate",),
    openai: ("/v1/audio/speech",),
    elevenlabs: ("/v1/text-to-speech/{voice_id}", "/v1/text-to-speech/{voice_id}/stream"),
    elevenlabs_timed: (
        "/v1/text-to-speech/{voice_id}/with-timestamps",
        "/v1/text-to-speech/{voice_id}/stream/with-timestamps",
    ),
    socket: ("/v1/audio/speech/stream",),
    elevenlabs_socket: ("/v1/text-to-speech/{voice_id}/stream-input",),
    elevenlabs_contexts: ("/v1/text-to-speech/{voice_id}/multi-stream-input",),
    home_assistant: (),  # no HTTP
    voices: ("/v1/audio/voices",),
    dub: ("/v1/audio/dubs", "/v1/audio/dubs/stream"),
    edit: ("/v1/audio/edits", "/v1/audio/edits/stream"),
    job: ("/v1/jobs",),
    batch: ("/v1/files", "/v1/batches"),
}
"""What is asked, each as often as the others, and the routes that it asks."""
