"""A real server with the toy model under thousands of requests, and what is left of them afterwards.

    python -m tests.soak                      # 10,000 requests over all protocols, then 300 streams at once, then SIGTERM
    python -m tests.soak --requests 500       # a short look

Of the requests (tests/soak_clients.py) one in four leaves at a random moment, one in twenty is malformed; the seed decides
which. The 300 come twice: to this server, which tells most of them to come back, and to one that works on all of them at a
time. Jobs and batches are last in line: those that nobody stopped must be done at the end. What clients upload and leave
behind is removed by an operator, who looks every second: stores are bounded and would be full of it. Everything happens on
the loopback address, ends by itself and is bounded in time. Prints what was seen as lines of a table and one JSON line; the
exit code says whether all of it is as it should be:

every request that was kept ended once and as it should, no reply was a 5xx, and afterwards no slot or place is held, voices,
files and jobs are those that were there before, as are threads and open files (two more may be), and memory grew by less
than 2 % over the second half.

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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.load import percentile
from benchmarks.report import environment, print_last_line
from tests.server import ServerProcess, free_port, running
from tests.soak_clients import ENDED, FULL, PROTOCOLS, REFUSED, WORDS, Known, events, malformed, stream

LIMIT_S = 120.0  # for one request
SETTLES_S = 40.0  # threads that have nothing to do end after ten
JOBS_S = 600.0  # for the jobs that are left
PROBE_EVERY_S = 0.25
TIDY_EVERY_S = 1.0
ABANDONED_S = 10.0  # after which a batch's output is nobody's, if no batch that is left has it


@dataclass
class Soak:
    """What was seen."""

    server: ServerProcess
    known: Known
    asked: Counter[str] = field(default_factory=Counter)  # by protocol
    outcomes: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)  # ends of jobs and batches that were left to be done
    tidied: Counter[str] = field(default_factory=Counter)  # what the operator has removed
    memory: list[tuple[int, int]] = field(default_factory=list)  # requests so far, bytes

    async def requests(self, count: int, at_once: int, seed: int) -> None:
        """So many requests, some at a time."""
        numbers = iter(range(count))
        async with self._client() as client:
            self.known.voice = (await client.get("/v1/audio/voices")).json()["voices"][0]["id"]
            tidying = asyncio.create_task(self._keep_tidy(client))

            async def work() -> None:
                for number in numbers:
                    await self._one(client, random.Random(f"{seed} {number}"))
                    if number % max(count // 40, 1) == 0:
                        self.memory.append((number, self._process.memory_info().rss))

            try:
                await asyncio.gather(*(work() for _ in range(at_once)))
            finally:
                tidying.cancel()
                with suppress(asyncio.CancelledError):
                    await tidying

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=24)
        return httpx.AsyncClient(base_url=self.server.url, limits=limits, timeout=LIMIT_S, trust_env=False)

    async def _one(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        fate = rng.random()
        ask = malformed if fate < 0.05 else rng.choice(list(PROTOCOLS))
        self.asked[ask.__name__] += 1
        asking = asyncio.ensure_future(ask(self.known, client, rng))
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
        async with self._client() as client:
            rngs = [random.Random(number) for number in range(count)]
            return Counter(await asyncio.gather(*(stream(self.known, client, rng) for rng in rngs)))

    async def _keep_tidy(self, client: httpx.AsyncClient) -> None:
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            await self._tidy(client)

    async def _tidy(self, client: httpx.AsyncClient) -> None:
        """Look at the batches that were left and have ended, and remove what clients that are gone had uploaded."""
        for one in (await client.get("/v1/audio/voices")).json()["voices"]:
            if one["name"].startswith("voice ") and one["name"] not in self.known.in_use:
                await self._remove(client, "voices", f"/v1/audio/voices/{one['id']}")
        for name, lines in list(self.known.batches.items()):
            reply = await client.get(f"/v1/batches/{name}")
            if reply.status_code == 404:  # it had ended, and made room for a new one
                self.left["ended and made room"] += 1
                del self.known.batches[name]
                continue
            reply.raise_for_status()
            found = reply.json()
            if found["status"] in ("validating", "in_progress", "finalizing"):
                continue
            self.left[await _end_of_batch(client, found, lines)] += 1
            del self.known.batches[name]
        for one in (await client.get("/v1/files")).json()["data"]:
            batch, _, kind = one["filename"].partition("_output.")
            abandoned = batch not in self.known.batches and one["created_at"] < time.time() - ABANDONED_S
            if abandoned if kind else one["filename"] not in self.known.in_use:
                await self._remove(client, "files", f"/v1/files/{one['id']}")

    async def _remove(self, client: httpx.AsyncClient, what: str, path: str) -> None:
        status = (await client.delete(path)).status_code
        if status == 200:
            self.tidied[what] += 1
        elif status != 404:  # its client has removed it meanwhile
            self.tidied[f"{what}: status {status}"] += 1

    async def rest(self) -> None:
        """Wait for the jobs and batches that are left, listen to each job and delete it, and tidy up."""
        end = time.monotonic() + JOBS_S
        async with self._client() as client:
            while True:
                await self._tidy(client)
                left = (await client.get("/v1/jobs")).json()["data"]
                for one in left:
                    if one["status"] in ("queued", "running"):
                        continue
                    path = f"/v1/jobs/{one['id']}"
                    reply = await client.get(f"{path}/audio")
                    well = reply.status_code == 200 and reply.content
                    self.left["job done" if well else f"job {one['status']}"] += 1
                    await self._remove(client, "jobs", path)
                batches = (await client.get("/v1/batches?limit=100")).json()["data"]
                running = [one for one in batches if one["status"] not in ("completed", "cancelled")]
                files = (await client.get("/v1/files")).json()["data"]
                if not (left or running or files):
                    return
                if time.monotonic() > end:
                    self.left["not done"] += len(left) + len(running) + len(files)
                    return
                await asyncio.sleep(0.5)

    @property
    def _process(self) -> psutil.Process:
        return psutil.Process(self.server.process.pid)

    def held(self) -> dict[str, int]:
        """What the server holds now."""
        with httpx.Client(base_url=self.server.url, trust_env=False) as client:
            engine = client.get("/v1/health").json()["engine"]
            voices = len(client.get("/v1/audio/voices").json()["voices"])
        return {
            "voices": voices,
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
    await seen.rest()
    await asyncio.sleep(2)
    for counted in (seen.outcomes, seen.asked, seen.left, seen.tidied, seen.memory):
        counted.clear()
    before = seen.held()
    began, used, clients = time.monotonic(), seen.processor(), time.process_time()
    with probed(seen.server.url) as probes:
        await seen.requests(options.requests, options.at_once, options.seed)
        seconds, used = time.monotonic() - began, seen.processor() - used
        clients = time.process_time() - clients
        crowd = await seen.crowd(options.crowd)
        await seen.rest()
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
        "jobs and batches that were left": dict(seen.left),
        "removed by the operator": dict(seen.tidied),
        "before": before,
        "after": after,
        "memory growth": round(seen.growth(), 4),
        "livez, ms": {"n": len(probes), **{f"p{p}": round(1e3 * percentile(probes, p), 1) for p in (50, 99, 100)}},
    }


async def _end_of_batch(client: httpx.AsyncClient, batch: dict[str, Any], lines: int) -> str:
    """What became of a batch of so many lines."""
    if batch["status"] != "completed" or not batch["output_file_id"]:
        return f"batch {batch['status']}"
    output = (await client.get(f"/v1/files/{batch['output_file_id']}/content")).text.splitlines()
    spoken = sum(json.loads(line)["response"]["status_code"] == 200 for line in output)
    return "batch done" if spoken == len(output) == lines else f"batch with {spoken} of {lines} lines"


def more(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Of what more is held than before."""
    return [
        f"{what}: {before[what]} before, {after[what]} after"
        for what in before
        if after[what] > before[what] + SPARE.get(what, 0)
    ]


def probe(url: str, told: Connection) -> None:
    """What `/livez` takes, every quarter of a second until told to stop; says when it begins, and in the end what it took."""
    seconds = []
    with httpx.Client(base_url=url, timeout=LIMIT_S, trust_env=False) as client:
        client.get("/livez").raise_for_status()  # opens the connection
        told.send(None)
        while not told.poll(PROBE_EVERY_S):
            began = time.monotonic()
            client.get("/livez").raise_for_status()
            seconds.append(time.monotonic() - began)
    told.send(seconds)


@contextmanager
def probed(url: str) -> Iterator[list[float]]:
    """Run `probe` in a process of its own; the list is filled when the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=probe, args=(url, theirs), daemon=True)
    process.start()
    seconds: list[float] = []
    try:
        if not ours.poll(LIMIT_S):
            raise TimeoutError("the probing process did not start")
        ours.recv()
        yield seconds
        ours.send(None)
        if ours.poll(LIMIT_S):
            seconds += ours.recv()
    finally:
        process.kill()
        process.join()


async def all_at_once(server: ServerProcess, count: int) -> dict[str, Any]:
    """So many streams at once that are all worked on at a time, and what `/livez` takes meanwhile."""
    seen = Soak(server, Known(wyoming_port=0))
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
    async with httpx.AsyncClient(base_url=server.url, timeout=LIMIT_S, trust_env=False) as client:
        body = {"gen_text": " ".join(WORDS * 4)}
        streams = [asyncio.ensure_future(events(client, "/v1/generate/stream", body)) for _ in range(16)]
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
            results = asyncio.run(soak(Soak(server, Known(port)), options))
            results["SIGTERM"] = asyncio.run(stop_in_the_middle(server))
            results["errors in the log"] = ERRORS.findall(server.log)
        with running("--max-concurrent-requests", str(options.crowd), toy=TOY) as server:
            results["all at once"] = asyncio.run(all_at_once(server, options.crowd))
            results["errors in the log"] += ERRORS.findall(server.log)
    faults = [
        *(f"an outcome: {outcome}" for outcome in results["outcomes"] if outcome not in ENDS),
        *(f"of the crowd: {outcome}" for outcome in results["crowd"] if outcome not in ENDS),
        *(f"of what was left: {end}" for end in results["jobs and batches that were left"] if end not in DONE),
        *(f"removing {what}" for what in results["removed by the operator"] if ":" in what),
        *(f"of all at once: {end}" for end in results["all at once"]["ends"] if end != ENDED),
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
ENDS = (ENDED, "left", REFUSED, FULL)
DONE = ("job done", "batch done")


if __name__ == "__main__":
    sys.exit(main())
