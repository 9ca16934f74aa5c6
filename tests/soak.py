"""A real server with the toy model under thousands of requests, and what is left of them afterwards.

    python -m tests.soak                      # 10,000 requests over all protocols, then 300 streams at once, then SIGTERM
    python -m tests.soak --requests 500       # a short look

Of the requests one in four leaves at a random moment, one in twenty is malformed; the seed decides which. The 300 come
twice: to this server, which tells most of them to come back, and to one that works on all of them at a time. Jobs are
last in line: those that nobody deleted must be done at the end. Everything happens on the loopback address, ends by itself
and is bounded in time. Prints what was seen as lines of a table and one JSON line; the exit code says whether all of it is
as it should be:

every request that was kept ended once and as it should, no reply was a 5xx, and afterwards no slot or place is held, there
are as many threads and open files as before (two more may be), and memory grew by less than 2 % over the second half.

What `/livez` takes is measured all the while, by a process of its own: the clients' would say how busy the clients are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import psutil
from websockets.asyncio.client import connect
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop

from benchmarks.load import percentile
from benchmarks.report import environment, print_last_line
from tests.clips import TEXT, file, speech
from tests.server import ServerProcess, free_port, running

LIMIT_S = 120.0  # for one request
SETTLES_S = 40.0  # threads that have nothing to do end after ten
JOBS_S = 600.0  # for the jobs that are left
PROBE_EVERY_S = 0.25
WORDS = "when the old man came down to the harbor in the morning the boats were already far out on the water".split()

Ask = Callable[["Soak", httpx.AsyncClient, random.Random], Awaitable[str]]


def text(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.choice([2, 6, 15, 40]))) + "."


async def stream(soak: Soak, client: httpx.AsyncClient, rng: random.Random, words: str | None = None) -> str:
    """Server-sent events: exactly one final event."""
    finals = errors = 0
    body = {"gen_text": words or text(rng), "seed": 1}
    async with client.stream("POST", "/v1/generate/stream", json=body) as reply:
        if reply.status_code != 200:
            return soak.refused(reply.status_code)
        async for line in reply.aiter_lines():
            errors += line == "event: error"
            finals += line.startswith("data:") and '"is_final": true' in line
    return "ended" if (finals, errors) == (1, 0) else f"{finals} final events, {errors} errors"


async def whole(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    reply = await client.post(
        "/v1/generate", json={"gen_text": text(rng), "response_format": rng.choice(["wav", "flac"])}
    )
    return "ended" if reply.status_code == 200 and reply.json()["audio_base64"] else soak.refused(reply.status_code)


async def same(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    """One seed, one clip, whatever else is going on."""
    body = {"gen_text": " ".join(WORDS) + ".", "seed": 7, "response_format": "pcm"}
    reply = await client.post("/v1/generate", json=body)
    if reply.status_code != 200:
        return soak.refused(reply.status_code)
    audio = reply.json()["audio_base64"]
    soak.clip_of_seven = soak.clip_of_seven or audio
    return "ended" if audio == soak.clip_of_seven else "other samples of the same seed"


async def openai(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    body = {
        "model": "tts-1",
        "voice": "alloy",
        "input": text(rng),
        "response_format": rng.choice(["mp3", "pcm", "opus"]),
    }
    reply = await client.post("/v1/audio/speech", json=body)
    return "ended" if reply.status_code == 200 and reply.content else soak.refused(reply.status_code)


async def elevenlabs(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    reply = await client.post(f"/v1/text-to-speech/{soak.voice}/stream", json={"text": text(rng)})
    return "ended" if reply.status_code == 200 and reply.content else soak.refused(reply.status_code)


async def socket(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    """Text that is written while it is spoken."""
    url = str(client.base_url).replace("http", "ws", 1).rstrip("/")
    async with connect(f"{url}/v1/audio/speech/stream", max_size=None, proxy=None) as connection:
        await connection.send(json.dumps({"type": "session.config", "response_format": "pcm"}))
        for _ in range(rng.randint(1, 3)):
            await connection.send(json.dumps({"type": "input.text", "text": text(rng) + " "}))
            await asyncio.sleep(rng.uniform(0, 0.05))
        await connection.send(json.dumps({"type": "input.done"}))
        async for message in connection:
            if isinstance(message, str):
                told = json.loads(message)
                if told["type"] in ("session.done", "error"):
                    return "ended" if told["type"] == "session.done" else str(told)
    return "closed before its end"


async def elevenlabs_socket(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    """ElevenLabs' way to write text while it is spoken."""
    url = str(client.base_url).replace("http", "ws", 1).rstrip("/")
    async with connect(f"{url}/v1/text-to-speech/{soak.voice}/stream-input", max_size=None, proxy=None) as connection:
        for written in (" ", text(rng) + " ", ""):
            await connection.send(json.dumps({"text": written}))
        async for message in connection:
            told = json.loads(message)
            if "error" in told:
                return soak.refused(429) if told["error"] == "too_many_requests" else str(told)
            if told.get("isFinal"):
                return "ended"
    return "closed before its end"


async def voices(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    """A voice is uploaded, speaks and is deleted, also when its client leaves in the middle."""
    name = f"voice {rng.randrange(10**12)}"
    files = {"audio_sample": ("clip.wav", soak.clip, "audio/wav")}
    try:
        reply = await client.post("/v1/audio/voices", data={"name": name, "ref_text": TEXT}, files=files)
        if reply.status_code != 201:
            return soak.refused(reply.status_code)
        said = await client.post("/v1/generate", json={"gen_text": text(rng), "voice": name})
    finally:
        for voice in (await client.get("/v1/audio/voices")).json()["voices"]:
            if voice["name"] == name:
                (await client.delete(f"/v1/audio/voices/{voice['id']}")).raise_for_status()
    return "ended" if said.status_code == 200 else soak.refused(said.status_code)


async def dub(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    cues = "".join(f"{n + 1}\n00:00:{4 * n:02},000 --> 00:00:{4 * n + 3:02},000\n{text(rng)}\n\n" for n in range(2))
    reply = await client.post("/v1/audio/dubs", json={"subtitles": cues, "overrun": "speak"})
    return "ended" if reply.status_code == 200 and reply.json()["audio_base64"] else soak.refused(reply.status_code)


async def job(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    """A short book, most of them deleted in the middle; what is left is looked at when all else is done."""
    document = "\n\n".join(text(rng) for _ in range(rng.randint(1, 3)))
    reply = await client.post("/v1/jobs?format=mp3", content=document, headers={"Content-Type": "text/plain"})
    if reply.status_code != 201:
        return soak.refused(reply.status_code)
    path = f"/v1/jobs/{reply.json()['id']}"
    async with client.stream("GET", f"{path}/events") as events:
        async for line in events.aiter_lines():
            if line.startswith("data:"):
                break
    if rng.random() < 0.8:
        (await client.delete(path)).raise_for_status()
    return "ended"


async def home_assistant(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    """Wyoming: a whole text, or one that is written while it is spoken."""
    async with AsyncTcpClient("127.0.0.1", soak.wyoming_port) as connection:
        if rng.random() < 0.5:
            events, last = [Synthesize(text(rng)).event()], "audio-stop"
        else:
            chunks = [SynthesizeChunk(text(rng) + " ").event() for _ in range(2)]
            events, last = [SynthesizeStart().event(), *chunks, SynthesizeStop().event()], "synthesize-stopped"
        for event in events:
            await connection.write_event(event)
        audio = 0
        while (told := await connection.read_event()) is not None:
            audio += told.type == "audio-chunk"
            if Error.is_type(told.type):
                error = Error.from_event(told)
                full = error.code in ("too_many_requests", "too_many_connections")
                return soak.refused(429) if full else f"Wyoming: {error.code}"
            if told.type == last:
                return "ended" if audio else "Wyoming: no audio"
    return "closed before its end"


async def malformed(soak: Soak, client: httpx.AsyncClient, rng: random.Random) -> str:
    """Must be refused as the client's fault."""
    content = rng.choice([
        b"", b"{", b"[" * 5000, b'{"gen_text": 1}', b'{"gen_text": ""}', b'{"gen_text": "\\ud800"}', b"\xff\xfe",
        b'{"gen_text": "x", "num_inference_steps": 1e999}', b'{"gen_text": "x", "seed": ' + b"9" * 10_000 + b"}",
        b'{"gen_text": "...", "nothing": 1}', b'{"gen_text": "x", "ref_audio_base64": "AAAA", "ref_text": "x"}',
    ])  # fmt: skip
    path = rng.choice(["/v1/generate", "/v1/generate/stream", "/v1/audio/speech"])
    reply = await client.post(path, content=content, headers={"Content-Type": "application/json"})
    return "refused" if 400 <= reply.status_code < 500 else f"malformed, but {reply.status_code}: {content[:80]!r}"


PROTOCOLS: list[Ask] = [
    stream, stream, whole, same, openai, elevenlabs, socket, elevenlabs_socket, home_assistant, voices, dub, job,
]  # fmt: skip


@dataclass
class Soak:
    """What was seen."""

    server: ServerProcess
    wyoming_port: int = 0
    voice: str = ""
    clip_of_seven: str = ""  # base64, the first that came
    clip: bytes = field(default_factory=lambda: file(speech(3)))
    asked: Counter[str] = field(default_factory=Counter)  # by protocol
    outcomes: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[int, int]] = field(default_factory=list)  # requests so far, bytes

    def refused(self, status: int) -> str:
        return "refused: full" if status == 429 else f"status {status}"

    async def requests(self, count: int, at_once: int, seed: int) -> None:
        """So many requests, some at a time."""
        numbers = iter(range(count))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=at_once)
        async with httpx.AsyncClient(
            base_url=self.server.url, limits=limits, timeout=LIMIT_S, trust_env=False
        ) as client:
            self.voice = (await client.get("/v1/audio/voices")).json()["voices"][0]["id"]

            async def work() -> None:
                for number in numbers:
                    await self._one(client, random.Random(f"{seed} {number}"))
                    if number % max(count // 40, 1) == 0:
                        self.memory.append((number, self._process.memory_info().rss))

            await asyncio.gather(*(work() for _ in range(at_once)))

    async def _one(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        fate = rng.random()
        ask = malformed if fate < 0.05 else rng.choice(PROTOCOLS)
        self.asked[ask.__name__] += 1
        asking = asyncio.ensure_future(ask(self, client, rng))
        if 0.05 <= fate < 0.30:
            await asyncio.wait({asking}, timeout=rng.choice([0.0, 0.01, 0.1, 0.5]))
            if not asking.done():
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                self.outcomes["left"] += 1
                return
        try:
            outcome = await asyncio.wait_for(asking, LIMIT_S)
        except (httpx.HTTPError, OSError, TimeoutError) as error:
            outcome = f"{ask.__name__}: {type(error).__name__}"
        self.outcomes[outcome] += 1

    async def crowd(self, count: int) -> Counter[str]:
        """So many streams at once: those for whom there is room end well, the others are told to come back."""
        before = self.outcomes
        self.outcomes = Counter()
        async with httpx.AsyncClient(
            base_url=self.server.url, limits=httpx.Limits(max_connections=None), timeout=LIMIT_S, trust_env=False
        ) as client:
            rngs = [random.Random(number) for number in range(count)]
            for outcome in await asyncio.gather(*(stream(self, client, rng) for rng in rngs)):
                self.outcomes[outcome] += 1
        crowd, self.outcomes = self.outcomes, before
        return crowd

    async def jobs(self) -> Counter[str]:
        """Wait for the jobs that are left, listen to each and delete it."""
        ends: Counter[str] = Counter()
        end = time.monotonic() + JOBS_S
        async with httpx.AsyncClient(base_url=self.server.url, timeout=LIMIT_S, trust_env=False) as client:
            while left := (await client.get("/v1/jobs")).json()["data"]:
                for one in left:
                    if one["status"] in ("queued", "running"):
                        continue
                    path = f"/v1/jobs/{one['id']}"
                    reply = await client.get(f"{path}/audio")
                    ends["done" if reply.status_code == 200 and reply.content else f"job {one['status']}"] += 1
                    (await client.delete(path)).raise_for_status()
                if time.monotonic() > end:
                    ends["not done"] += len(left)
                    break
                await asyncio.sleep(0.5)
        return ends

    @property
    def _process(self) -> psutil.Process:
        return psutil.Process(self.server.process.pid)

    def held(self) -> dict[str, int]:
        """What the server holds now."""
        engine = httpx.get(f"{self.server.url}/v1/health").json()["engine"]
        return {
            "slots": sum(slot["in_use"] for slot in engine["slots"].values()),
            "queued": sum(queue["depth"] for queue in engine["queues"].values()),
            "threads": self._process.num_threads(),
            "open files": self._process.num_fds(),
        }

    def processor(self) -> float:
        """Seconds that the server has used."""
        times = self._process.cpu_times()
        return times.user + times.system

    def growth(self) -> float:
        """Of memory over the second half of the requests, as a share: medians of its two quarters."""
        half = [size for _, size in sorted(self.memory)][len(self.memory) // 2 :]
        middle = len(half) // 2
        return percentile(half[middle:], 50) / percentile(half[:middle], 50) - 1


async def soak(seen: Soak, options: argparse.Namespace) -> dict[str, Any]:
    await seen.requests(60, options.at_once, seed=-1)
    await seen.crowd(options.crowd)  # threads that stay are there from now on
    await seen.jobs()
    await asyncio.sleep(2)
    seen.outcomes.clear()
    seen.asked.clear()
    seen.memory.clear()
    before = seen.held()
    began, used, clients = time.monotonic(), seen.processor(), time.process_time()
    with probed(seen.server.url) as probes:
        await seen.requests(options.requests, options.at_once, options.seed)
        seconds, used = time.monotonic() - began, seen.processor() - used
        clients = time.process_time() - clients
        crowd = await seen.crowd(options.crowd)
        jobs = await seen.jobs()
    end = time.monotonic() + SETTLES_S
    while more(before, after := seen.held()) and time.monotonic() < end:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.5)
    return {
        "requests": options.requests,
        "seconds": round(seconds, 1),
        "processor, s": {"server": round(used, 1), "clients": round(clients, 1)},
        "asked": dict(seen.asked),
        "outcomes": dict(seen.outcomes),
        "crowd": dict(crowd),
        "jobs that were left": dict(jobs),
        "before": before,
        "after": after,
        "memory growth": round(seen.growth(), 4),
        "livez, ms": {"n": len(probes), **{f"p{p}": round(1e3 * percentile(probes, p), 1) for p in (50, 99, 100)}},
    }


def more(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Of what more is held than before."""
    return [
        f"{what}: {before[what]} before, {after[what]} after"
        for what in before
        if after[what] > before[what] + SPARE.get(what, 0)
    ]


def probe(url: str, stop: Connection) -> None:
    """What `/livez` takes, every quarter of a second until told to stop; then tells it."""
    seconds = []
    with httpx.Client(base_url=url, timeout=LIMIT_S, trust_env=False) as client:
        client.get("/livez").raise_for_status()  # opens the connection
        while not stop.poll(PROBE_EVERY_S):
            began = time.monotonic()
            client.get("/livez").raise_for_status()
            seconds.append(time.monotonic() - began)
    stop.send(seconds)


@contextmanager
def probed(url: str) -> Iterator[list[float]]:
    """Run `probe` in a process of its own; the list is filled when the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=probe, args=(url, theirs), daemon=True)
    process.start()
    seconds: list[float] = []
    try:
        yield seconds
        ours.send(None)
        if ours.poll(LIMIT_S):
            seconds += ours.recv()
    finally:
        process.kill()
        process.join()


async def all_at_once(server: ServerProcess, count: int) -> dict[str, Any]:
    """So many streams at once that are all worked on at a time, and what `/livez` takes meanwhile."""
    seen = Soak(server)
    await seen.crowd(4)
    before, began = seen.held(), time.monotonic()
    with probed(server.url) as probes:
        ends = await seen.crowd(count)
        seconds = time.monotonic() - began
    await asyncio.sleep(2)
    after = seen.held()
    return {
        "ends": dict(ends),
        "seconds": round(seconds, 1),
        "livez, ms": {f"p{p}": round(1e3 * percentile(probes, p), 1) for p in (50, 99)},
        "held": {what: after[what] for what in ("slots", "queued")},
        "threads, open files": [[held["threads"], held["open files"]] for held in (before, after)],
    }


async def stop_in_the_middle(server: ServerProcess) -> dict[str, Any]:
    """SIGTERM while streams run: all of them end well within the grace period, and so does the process."""
    seen = Soak(server)
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S, trust_env=False) as client:
        words = " ".join(WORDS * 4)
        streams = [asyncio.ensure_future(stream(seen, client, random.Random(number), words)) for number in range(16)]
        while await asyncio.to_thread(server.active) < 16 and not any(one.done() for one in streams):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        server.signal(signal.SIGTERM)
        ends = Counter(await asyncio.gather(*streams))
    return {"ends": dict(ends), "exit code": await asyncio.to_thread(server.wait, 60)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=24, help="clients")
    parser.add_argument("--crowd", type=int, default=300, help="streams at once, after the requests")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        flags = {
            "stall-timeout-s": 20,
            "voices-folder": Path(folder) / "voices",
            "jobs-folder": Path(folder) / "jobs",
            "wyoming-port": port,
        }
        with running(*(str(one) for name, value in flags.items() for one in (f"--{name}", value)), toy=TOY) as server:
            results = asyncio.run(soak(Soak(server, wyoming_port=port), options))
            results["SIGTERM"] = asyncio.run(stop_in_the_middle(server))
            results["errors in the log"] = ERRORS.findall(server.log)
        with running("--max-concurrent-requests", str(options.crowd), toy=TOY) as server:
            results["all at once"] = asyncio.run(all_at_once(server, options.crowd))
            results["errors in the log"] += ERRORS.findall(server.log)
    faults = [
        *(f"an outcome: {outcome}" for outcome in results["outcomes"] if outcome not in ENDS),
        *(f"of the crowd: {outcome}" for outcome in results["crowd"] if outcome not in ENDS),
        *(f"of jobs: {end}" for end in results["jobs that were left"] if end != "done"),
        *(f"of all at once: {end}" for end in results["all at once"]["ends"] if end != "ended"),
        *(["something is held after all at once"] if any(results["all at once"]["held"].values()) else []),
        *more(results["before"], results["after"]),
        *(["memory grew"] if results["memory growth"] > 0.02 else []),
        *(["SIGTERM"] if results["SIGTERM"] != {"ends": {"ended": 16}, "exit code": 0} else []),
        *(["the log has errors"] if results["errors in the log"] else []),
    ]  # fmt: skip
    for name, value in {**results, "not as it should be": faults or "nothing"}.items():
        print(f"{name:22} {value}")
    print_last_line("soak", environment("uvicorn", "fastapi"), {**results, "faults": faults})
    return 1 if faults else 0


TOY = {"step_s": 0.0005}
ERRORS = re.compile(
    r"^\S+ \S+ (?:ERROR|CRITICAL) .*(?:\n[ \t].*)*", re.MULTILINE
)  # further lines of a record are indented
SPARE = {"threads": 2, "open files": 2}  # opened once, whatever the number of requests
ENDS = ("ended", "left", "refused", "refused: full")


if __name__ == "__main__":
    sys.exit(main())
