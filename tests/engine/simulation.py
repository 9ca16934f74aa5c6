"""The whole engine under random load and random misfortune, in virtual time; a seed decides everything.

    python -m tests.engine.simulation --seeds 0 3000     # what holds of every seed, see `Run.check`
    python -m tests.engine.simulation --seed 123         # one of them again, telling what happens

Clients read at once, at the speed of playing, slowly or not at all; they leave, write their text while it is spoken, ask
for more than is allowed or for less time than it takes. The model's calls fail now and then, in some seeds one of them
kills its stage. Stages are held up for random times. The server may be drained in the middle.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
import soundfile

from benchmarks.load import Chunk, stalls
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.inference_types import (
    AudioChunk,
    Done,
    Event,
    Failed,
    GenerationRequest,
    Part,
    Pause,
    Refused,
    RequestError,
    Speech,
    VoiceClip,
)
from f5_tts_server.tts_engine import RequestTicket, TTSEngine
from tests.engine.virtual_time import StageFiber, VirtualLoop
from tests.toy_programs import RATE, Death, Plan, Prefilled, ToyPrograms, expected

Reads = Literal["at once", "as it plays", "slowly", "nothing"]

TIMEOUT_S = 600.0  # of requests that are meant to end well; all work of a seed is far less
LIMIT_S = 4000.0  # of virtual time, by which everything must have ended
SETTLES_S = 30.0  # by then nothing is left of requests that ended


@cache
def clip(seconds: float) -> VoiceClip:
    file = io.BytesIO()
    samples = 0.3 * np.sin(np.arange(int(seconds * RATE)) * 0.05)
    soundfile.write(file, samples.astype(np.float32), RATE, format="WAV")
    return VoiceClip(file.getvalue(), "some words")


CLIP = clip(1.0)
REF_FRAMES = 93


@dataclass
class FaultyPrograms(ToyPrograms):
    """Toy programs whose calls fail at random, and remember what they did to whom."""

    rng: random.Random = field(default_factory=random.Random)
    fault: float = 0.0  # how likely each call fails
    death: float = 0.0  # how likely it kills its stage
    failed: Counter[str] = field(default_factory=Counter)  # calls, by stage
    failed_for: set[str] = field(default_factory=set)  # text of segments whose call fails its request for certain

    def prefill(self, plan: Plan, reference: Any, *, seed: int, segment_index: int, guided: bool) -> Prefilled:
        self.sleep(self.rng.choice([0.0, 0.003]))
        return super().prefill(plan, reference, seed=seed, segment_index=segment_index, guided=guided)

    def _maybe_fail(self, plan: Plan, stage: str) -> None:
        super()._maybe_fail(plan, stage)
        if self.rng.random() < self.death:
            self.failed["death"] += 1
            raise Death(f"in {stage}")
        if self.rng.random() < self.fault:
            self.failed[stage] += 1
            if stage in ("prefill", "take", "vocode"):
                self.failed_for.add(plan.text)
            raise RuntimeError(f"a fault in {stage}")


@dataclass(frozen=True)
class Client:
    """One request and what its client does."""

    arrives: float
    request: GenerationRequest
    reads: Reads
    leaves: float | None = None  # seconds after it was taken in
    appends: tuple[tuple[float, Part], ...] = ()  # seconds after the part before
    finishes: bool = True
    fault: bool = False  # asks for what is refused

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.request.parts, *(part for _, part in self.appends))


@dataclass
class Heard:
    """What a client got."""

    client: Client
    ticket: RequestTicket | None = None
    refused: RequestError | None = None
    events: list[Event] = field(default_factory=list)
    left: bool = False
    appended: int = 0
    at: list[float] = field(default_factory=list)  # of each event

    @property
    def end(self) -> Done | Failed:
        last = self.events[-1]
        assert not isinstance(last, AudioChunk)
        return last


@dataclass(frozen=True)
class Scenario:
    """Everything that a seed decides but the order of what happens at the same time, and faults."""

    options: EngineOptions
    clients: tuple[Client, ...]
    programs: dict[str, Any]
    stall: float  # how likely a turn begins late
    stall_s: float  # by how much at most
    drain_at: float | None
    grace_s: float


def scenario(seed: int) -> Scenario:
    rng = random.Random(seed)
    calm = rng.random() < 0.3  # without faults and stalls: then nobody may fail who did nothing wrong
    slots = rng.choice([2, 3, 4, 8])
    programs = {
        "step_s": rng.choice([0.0, 0.001, 0.02, 0.1]),
        "vocode_s": rng.choice([0.0, 0.002, 0.05]),
        "slots": slots,
        "step_sizes": rng.choice([(1,), tuple(size for size in (1, 2, 4) if size <= slots)]),
        "frame_budget": rng.choice([256, 1024]),
        "run_ahead": rng.choice([0, 1]),
        "fail_late": rng.random() < 0.5,
        "fault": 0.0 if calm else rng.choice([0.0, 0.001, 0.01, 0.05]),
        "death": 0.0 if calm or rng.random() < 0.85 else 0.003,
    }
    options = EngineOptions(
        max_concurrent_requests=rng.choice([1, 2, 4, 16]),
        queue_limit=rng.choice([0, 2, 30, 30]),
        send_buffer_s=rng.choice([1.0, 5.0, 120.0]),
        stall_timeout_s=rng.choice([3.0, 30.0]),
        chunk_s=rng.choice([0.05, 0.25, 1.0]),
        reference_cache_bytes=rng.choice([0, 60_000, 2**26]),
        first_audio_s=rng.choice([0.0, 0.3]),
        whole_clip_s=rng.choice([0.0, 10.0]),
    )
    spread = rng.choice([0.0, 1.0, 10.0])
    clients = tuple(_client(rng, number, spread) for number in range(rng.randint(1, 12)))
    return Scenario(
        options,
        clients,
        programs,
        stall=0.0 if calm else rng.choice([0.0, 0.02, 0.2]),
        stall_s=rng.choice([0.05, 1.0, 4.0]),
        drain_at=rng.uniform(0, 10) if rng.random() < 0.1 else None,
        grace_s=rng.choice([0.0, 2.0, 600.0]),
    )


def _client(rng: random.Random, number: int, spread: float) -> Client:
    def text(words: int) -> str:
        return " ".join(f"{rng.choice(['so', 'many', 'different', 'words'])}{number}x{n}" for n in range(words))

    def part() -> Part:
        if rng.random() < 0.2:
            return Pause(rng.choice([0.0, 0.1, 0.5]))
        words = rng.choice([1, 2, 5, 12, 40])
        return Speech(text(words), CLIP, speed=rng.choice([0.5, 1.0, 1.0, 2.0]))

    kind = rng.choice(["plain", "plain", "plain", "parts", "open", "open", "short of time", "at fault"])
    parts: tuple[Part, ...] = (Speech(text(rng.choice([1, 3, 10, 40])), CLIP),)
    if kind == "parts":
        parts = tuple(part() for _ in range(rng.randint(1, 4)))
    elif kind == "open":
        parts = tuple(part() for _ in range(rng.randint(0, 2)))
    elif kind == "at fault":
        faults: list[Part] = [
            Speech("...", CLIP),
            Speech("word", VoiceClip(b"no audio", "x")),
            Speech("word", CLIP, seconds=60.0),
        ]
        parts = (*parts[: rng.randint(0, 1)], rng.choice(faults))
    finishes = kind != "open" or rng.random() < 0.9
    request = GenerationRequest(
        parts=parts,
        request_id=f"r{number}",
        seed=rng.randrange(100),
        nfe=rng.choice([1, 2, 4, 8]),
        cfg_strength=rng.choice([0.0, 2.0]),
        format="pcm",
        timeout_s=rng.choice([0.05, 0.5, 2.0]) if kind == "short of time" else TIMEOUT_S if finishes else 20.0,
        open=kind == "open",
        live=kind == "open" or rng.random() < 0.7,
    )
    return Client(
        arrives=rng.uniform(0, spread),
        request=request,
        reads=rng.choice(["at once", "at once", "as it plays", "slowly", "nothing"]),
        leaves=rng.choice([0.0, rng.uniform(0, 3)]) if rng.random() < 0.2 else None,
        appends=tuple((rng.choice([0.0, rng.uniform(0, 4)]), part()) for _ in range(rng.randint(0, 4) if request.open else 0)),
        finishes=finishes,
        fault=kind == "at fault",
    )  # fmt: skip


class Run:
    """One seed's run."""

    def __init__(self, seed: int, *, tell: bool = False) -> None:
        self.seed = seed
        self.scenario = scenario(seed)
        self.trace: list[str] = []
        self._tell = tell
        self._loop = VirtualLoop()
        self._rng = random.Random(f"order of {seed}")
        self.programs = FaultyPrograms(
            **self.scenario.programs, sleep=self._loop.spend, rng=random.Random(f"faults of {seed}")
        )
        self.engine = TTSEngine(lambda: self.programs, self.scenario.options, clock=self._loop.time)
        self.heard = [Heard(client) for client in self.scenario.clients]

    def go(self) -> None:
        """Run to the end and check what must hold."""
        try:
            self._loop.run_until_complete(asyncio.wait_for(self._main(), LIMIT_S))
            self.check()
        finally:
            for fiber in list(self._loop.fibers):
                fiber.end()
            self._loop.close()

    async def _main(self) -> None:
        self.engine.load()
        for name, stage in self.engine.stages.items():
            StageFiber(self._loop, name, stage, self._died, self._delay)
        draining = asyncio.create_task(self._drain())
        await asyncio.gather(*(self._serve(heard) for heard in self.heard))
        draining.cancel()
        await asyncio.sleep(SETTLES_S)

    def _delay(self) -> float:
        if self._rng.random() < self.scenario.stall:
            return self._rng.uniform(0, self.scenario.stall_s)
        return self._rng.choice([0.0, self._rng.expovariate(1000)])

    def _died(self, name: str, error: BaseException) -> None:
        self._note(f"the {name} stage died: {error!r}")
        self.engine.stage_died(name, error)

    def _note(self, what: str) -> None:
        line = f"{self._loop.time():10.4f} {what}"
        self.trace.append(line)
        if self._tell:
            print(line)

    async def _drain(self) -> None:
        if self.scenario.drain_at is not None:
            await asyncio.sleep(self.scenario.drain_at)
            self._note("draining")
            await self.engine.drain(self.scenario.grace_s)
            self._note("drained")

    async def _serve(self, heard: Heard) -> None:
        client = heard.client
        await asyncio.sleep(client.arrives)
        try:
            heard.ticket = self.engine.submit(client.request)
        except RequestError as error:
            heard.refused = error
            self._note(f"{client.request.request_id} refused: {error.code}")
            return
        self._note(f"{client.request.request_id} taken in; reads {client.reads}")
        others = [asyncio.create_task(self._write(heard)), asyncio.create_task(self._leave(heard))]
        await self._read(heard, heard.ticket)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _read(self, heard: Heard, ticket: RequestTicket) -> None:
        pace = {"at once": 0.0, "as it plays": 1.0, "slowly": 3.0, "nothing": 0.0}[heard.client.reads]
        if heard.client.reads == "nothing":
            while ticket._job.alive:  # noqa: ASYNC110 - no event tells, for the engine's threads do not know of any
                await asyncio.sleep(1.0)
        async for event in ticket:
            heard.events.append(event)
            heard.at.append(self._loop.time())
            if isinstance(event, AudioChunk):
                self._note(f"{ticket.request_id} got chunk {event.index}, {event.samples} samples")
                await asyncio.sleep(pace * event.samples / RATE)
            else:
                self._note(f"{ticket.request_id} ended: {'done' if isinstance(event, Done) else event.error.code}")

    async def _leave(self, heard: Heard) -> None:
        if heard.client.leaves is not None and heard.ticket is not None:
            await asyncio.sleep(heard.client.leaves)
            heard.left = True
            self._note(f"{heard.ticket.request_id} leaves")
            heard.ticket.cancel()

    async def _write(self, heard: Heard) -> None:
        assert heard.ticket is not None
        for after, part in heard.client.appends:
            await asyncio.sleep(after)
            try:
                heard.ticket.append(part)
            except RequestError as error:
                self._note(f"{heard.ticket.request_id} may not append: {error.code}")
                return
            heard.appended += 1
        if heard.client.finishes:
            heard.ticket.finish()

    def check(self) -> None:
        """What holds of every run."""
        outcomes: Counter[str] = Counter()
        for heard in self.heard:
            if heard.refused is not None:
                outcomes["refused"] += isinstance(heard.refused, Refused)
                continue
            outcomes["ended"] += 1
            self._check_events(heard)
            self._check_end(heard)
        self._check_nothing_is_left(outcomes)

    def _check_events(self, heard: Heard) -> None:
        """Chunks in order, then exactly one end."""
        *chunks, end = heard.events
        assert not isinstance(end, AudioChunk), "no terminal event"
        assert all(isinstance(chunk, AudioChunk) for chunk in chunks), "something after, or instead of, the end"
        indices = [chunk.index for chunk in chunks if isinstance(chunk, AudioChunk)]
        assert indices == list(range(len(indices))), f"chunks {indices}"
        if isinstance(end, Done):
            lasts = [chunk.last for chunk in chunks if isinstance(chunk, AudioChunk)]
            assert lasts == [False] * (len(lasts) - 1) + [True]
            self._check_samples(heard, [chunk for chunk in chunks if isinstance(chunk, AudioChunk)])
            self._check_underruns(heard, end)

    def _check_samples(self, heard: Heard, chunks: list[AudioChunk]) -> None:
        """Those that the request has when it is computed by hand, whatever else went on."""
        request = heard.client.request
        assert heard.appended == len(heard.client.appends), "ended well although its text was not complete"
        samples = np.frombuffer(b"".join(chunk.data for chunk in chunks), "<i2") / 32767
        by_hand = expected(
            self.programs,
            *heard.client.parts,
            seed=request.seed,
            nfe=request.nfe,
            cfg=request.cfg_strength,
            sway=request.sway,
            first_seconds=self.scenario.options.first_segment_s,
            ref_frames=REF_FRAMES,
        )
        np.testing.assert_allclose(samples, by_hand, atol=1e-4, err_msg=f"samples of {request.request_id}")

    def _check_underruns(self, heard: Heard, end: Done) -> None:
        """What the engine says of a listener's silences is what that listener hears."""
        if heard.client.request.live and heard.client.reads == "at once" and not heard.client.request.open:
            chunks = zip(heard.at, heard.events, strict=True)
            silences = stalls([Chunk(at, e.samples / RATE) for at, e in chunks if isinstance(e, AudioChunk)])
            assert abs(sum(silences) - end.metadata.underrun_time) < 1e-6, "silences were not told as they were"
            assert sum(silence > 1e-9 for silence in silences) <= end.metadata.underruns <= len(silences) + 1
        if not heard.client.request.live:
            assert not end.metadata.underruns, "a clip that nobody hears while it is made cannot fall silent"

    def _check_end(self, heard: Heard) -> None:
        """Every end has a cause in what the client, the programs or the operator did."""
        end, client, faults = heard.end, heard.client, self.programs.failed
        code = "done" if isinstance(end, Done) else end.error.code
        hurt = any(
            text in part.text for text in self.programs.failed_for for part in client.parts if isinstance(part, Speech)
        )
        causes = {
            "done": not client.fault and client.finishes and not hurt,
            "cancelled": heard.left,
            "deadline_exceeded": client.request.timeout_s < TIMEOUT_S or not client.finishes,
            "reader_stalled": client.reads in ("nothing", "slowly"),
            "internal_error": hurt or bool(faults["step"] or faults["insert"]),
            "stage_died": self.engine.broken,
            "shutting_down": self.scenario.drain_at is not None,
            "invalid_request": client.fault,
            "invalid_reference": client.fault,
        }
        assert causes[code], f"{client.request.request_id} ended with {code} without a cause"
        broken = faults["death"] or faults["step"] + faults["insert"] >= 5
        assert not self.engine.broken or broken, self.engine.failure

    def _check_nothing_is_left(self, outcomes: Counter[str]) -> None:
        engine = self.engine
        health = engine.health()
        assert not any(queue["depth"] for name, queue in health["queues"].items() if name in ("active", "waiting"))
        assert not engine._ledger._accounts, "costs of requests that ended are still open"
        counted = Counter({
            sample.labels["outcome"]: int(sample.value)
            for metric in engine.metrics.requests.collect()
            for sample in metric.samples
        })  # fmt: skip
        assert counted["refused"] == outcomes["refused"]
        assert counted.total() - counted["refused"] == outcomes["ended"], "ends were counted twice or not at all"
        if engine.broken:
            return  # its stages stand still
        assert not any(queue["depth"] for queue in health["queues"].values()), health["queues"]
        assert not any(slot["in_use"] for slot in health["slots"].values()), health["slots"]
        stages: dict[str, Any] = dict(engine.stages)
        assert not stages["preprocess"]._under_way
        assert not stages["inference"]._segments and not stages["inference"]._finished
        assert not stages["postprocess"]._clips
        for heard in self.heard:
            if heard.ticket is not None and isinstance(heard.end, Done):
                job = heard.ticket._job
                assert (job.in_flight, job.later_in_flight) == (0, 0), "segments are counted that are nowhere"


def run(seed: int, *, tell: bool = False) -> Run:
    """One seed; an error names the seed and how to repeat it."""
    simulated = Run(seed, tell=tell)
    try:
        simulated.go()
    except BaseException as error:
        error.add_note(f"seed {seed}; again: python -m tests.engine.simulation --seed {seed}")
        raise
    return simulated


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--seeds", type=int, nargs=2, metavar=("FROM", "TO"))
    group.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.seed is not None:
        run(options.seed, tell=True)
        return 0
    logging.disable(logging.CRITICAL)
    began, ends, virtual = time.monotonic(), Counter[str](), 0.0
    for seed in range(*options.seeds):
        simulated = run(seed)
        virtual += simulated._loop.now
        for heard in simulated.heard:
            end = heard.refused or (heard.end.error if isinstance(heard.end, Failed) else None)
            ends[end.code if end else "done"] += 1
    count = options.seeds[1] - options.seeds[0]
    print(f"{count} seeds, {virtual / 3600:.1f} h of virtual time in {time.monotonic() - began:.1f} s; ", dict(ends))
    return 0


if __name__ == "__main__":
    sys.exit(main())
