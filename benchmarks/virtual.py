"""The engine's order of work under load, in virtual time: the engine itself, a model that costs what the real one does.

`.venv/bin/python -m benchmarks.virtual` takes a minute or two and gives the same figures on every machine. Costs are those of the
embedded voice on two Zen 4 cores (benchmarks/README.md), where steps and vocoder share the processor; arrivals, texts
and figures are those of `benchmarks.serve`, over several seeds. Rows:

- `steps`: the engine as it ships, which does first what is due first;
- `slack`: what can least wait goes first: what is due less the work that is left of it;
- `in turn`: one request after the other (benchmarks/first_come.py), streaming; `in turn, whole`: for clients that are
  given the clip when it is complete.

Beside them, what an order that knows everything to come could do: the shortest delay, the same for all, with which every
clip of a load can begin and go on without a silence.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import io
import itertools
import random
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile

from benchmarks import load
from benchmarks.first_come import FirstComeEngine
from benchmarks.load import Ask, Chunk, Reply
from benchmarks.report import environment, print_last_line
from f5_tts_server.engine.cost import FRAMES_PER_SECOND
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.engine.scheduler import Scheduler, _Segment
from f5_tts_server.inference_types import (
    AudioChunk,
    Failed,
    GenerationRequest,
    Refused,
    RequestError,
    Speech,
    VoiceClip,
)
from f5_tts_server.joiner import FADE_SECONDS
from f5_tts_server.tts_engine import TTSEngine
from tests.engine.virtual_time import StageFiber, VirtualLoop
from tests.toy_programs import RATE, Plan, Prefilled, State, ToyPrograms

GOAL_S = 1.0
REFERENCE_S = 2.9
STEPS = 4
FRAME_STEP_S = 0.075e-3  # one padded frame, one step without guidance
VOCODE_S = 5e-3  # a block
PREFILL_S = 8e-3
GROWTH = 1.6  # of each early segment over the one before
CHARS_PER_SECOND = 16.5
PAD_S = 0.45  # of silence around each segment
_CLAUSE = re.compile(r"(?<=[.?!;:,])\s+")


class SlackScheduler(Scheduler):
    """By due time less the time that the segment's remaining steps take."""

    def _ordered(self, segments: list[_Segment]) -> list[_Segment]:
        return sorted(segments, key=lambda s: s.due() - (s.steps - s.index) * FRAME_STEP_S * s.bucket)


class SlackEngine(TTSEngine):
    scheduler_type = SlackScheduler


ENGINES: dict[str, type[TTSEngine]] = {"steps": TTSEngine, "slack": SlackEngine, "in turn": FirstComeEngine}


class Device:
    """Two cores that one call keeps busy: calls of several stages follow one another."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._free = 0.0

    def spend(self, seconds: float) -> None:
        now = self._loop.time()
        self._free = max(self._free, now) + seconds
        self._loop.spend(self._free - now)


@dataclass
class CpuPrograms(ToyPrograms):
    """Costs, lengths and cuts of the embedded voice on a CPU; segments grow as its front end's do."""

    buckets: tuple[int, ...] = (384, 608, 960, 1408)
    step_sizes: tuple[int, ...] = (1,)
    slots: int = 8
    frame_budget: int = 384
    vocode_block: int = 64
    vocode_s: float = VOCODE_S
    busy: float = field(default=0.0)

    def step(self, bucket: int, state: State, rows: Any) -> State:
        self.sleep(FRAME_STEP_S * bucket)
        return super().step(bucket, state, rows)

    def prefill(self, plan: Plan, reference: Any, *, seed: int, segment_index: int, guided: bool) -> Prefilled:
        self.sleep(PREFILL_S)
        return super().prefill(plan, reference, seed=seed, segment_index=segment_index, guided=guided)

    def split(self, text: str, reference: Any, *, speed: float, first_seconds: float | None) -> Iterator[str]:
        longest = (960 / 93.75 - REFERENCE_S - PAD_S) * CHARS_PER_SECOND
        limit = min(longest, (first_seconds or 1e9) * CHARS_PER_SECOND)
        growing = first_seconds is not None
        current = ""
        for clause in itertools.chain.from_iterable(
            _cut(c, longest if n else 2 * limit) for n, c in enumerate(_CLAUSE.split(text))
        ):
            room = limit if growing or current.endswith((".", "?", "!")) else longest
            if current and len(current) + len(clause) > room:
                yield current
                limit = min(longest, limit * GROWTH)
                growing = limit < longest
                current = clause
            else:
                current = f"{current} {clause}".strip()
        yield current

    def plan(self, text: str, reference: Any, *, speed: float, seconds: float | None) -> Plan:
        gen = round((len(text) / CHARS_PER_SECOND / speed + PAD_S) * 93.75)
        return Plan(text, reference.frames, reference.frames + gen)


def _cut(clause: str, longest: float) -> list[str]:
    pieces = [""]
    for word in clause.split():
        if pieces[-1] and len(pieces[-1]) + len(word) > longest:
            pieces.append("")
        pieces[-1] = f"{pieces[-1]} {word}".strip()
    return pieces


def _clip() -> VoiceClip:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(REFERENCE_S * RATE), np.float32), RATE, format="WAV")
    return VoiceClip(file.getvalue(), "some words")


CLIP = _clip()


def run(asks: Sequence[Ask], engine_type: type[TTSEngine], *, timeout_s: float = 30.0, seed: int = 0) -> list[Reply]:
    """Make requests when they are due; what each got and when, in virtual time."""
    loop = VirtualLoop()
    programs = CpuPrograms(sleep=Device(loop).spend)
    engine = engine_type(lambda: programs, EngineOptions(), clock=loop.time)
    rng = random.Random(seed)

    async def speak(ask: Ask, began: float) -> Reply:
        due = began + ask.due
        await asyncio.sleep(due - loop.time())
        request = GenerationRequest(
            parts=(Speech(ask.text, CLIP),), request_id=str(ask.seed), seed=ask.seed, nfe=STEPS, format="pcm",
            cfg_strength=0.0, timeout_s=timeout_s,
        )  # fmt: skip
        chunks: list[Chunk] = []
        try:
            async for event in engine.submit(request):
                if isinstance(event, AudioChunk):
                    chunks.append(Chunk(loop.time() - due, event.samples / RATE))
                elif isinstance(event, Failed):
                    return Reply(ask, 200, tuple(chunks), loop.time() - due, event.error.code)
        except Refused as refusal:
            return Reply(ask, refusal.status, (), loop.time() - due, refusal.code)
        except RequestError as error:
            raise AssertionError from error
        return Reply(ask, 200, tuple(chunks), loop.time() - due)

    async def everything() -> list[Reply]:
        engine.load()
        for name, stage in engine.stages.items():
            StageFiber(loop, name, stage, _died, lambda: rng.expovariate(1 / 0.0005))
        for kind, texts in load.TEXTS.items():  # so that the engine knows what things cost
            await speak(Ask(0.0, kind, texts[0], 0), loop.time())
        began = loop.time()
        return list(await asyncio.gather(*(speak(ask, began) for ask in asks)))

    try:
        return loop.run_until_complete(everything())
    finally:
        for fiber in list(loop.fibers):
            fiber.end()
        loop.close()


def clairvoyant(asks: Sequence[Ask]) -> float:
    """The shortest delay after which all can begin and none falls silent, in seconds.

    With a given delay every piece of work has a release (its request's arrival) and a deadline (when it is heard). On one
    device that may interrupt its work, doing what is due first keeps all deadlines if any order does.
    """
    low, high = 0.0, 60.0
    while high - low > 0.005:
        delay = (low + high) / 2
        low, high = (low, delay) if _in_time(asks, delay) else (delay, high)
    return high


def _in_time(asks: Sequence[Ask], delay: float) -> bool:
    work = sorted((ask.due, ask.due + delay + position, cost) for ask in asks for position, cost in _work(ask.text))
    now, coming, waiting = 0.0, iter(work), list[tuple[float, float]]()
    following = next(coming, None)
    while following or waiting:
        if not waiting and following:
            now = max(now, following[0])
        while following and following[0] <= now:
            heapq.heappush(waiting, following[1:])
            following = next(coming, None)
        due, cost = heapq.heappop(waiting)
        done = now + cost if following is None else min(now + cost, following[0])
        if done > due:
            return False
        if (left := now + cost - done) > 0:
            heapq.heappush(waiting, (due, left))
        now = done
    return True


def _work(text: str) -> Iterator[tuple[float, float]]:
    """Where in the clip each piece of work is heard, and what it costs, in seconds."""
    programs = CpuPrograms()
    reference = programs.prepare_reference(CLIP.audio, CLIP.text)
    position = 0.0
    for piece in programs.split(text, reference, speed=1.0, first_seconds=EngineOptions().first_segment_s):
        plan = programs.plan(piece, reference, speed=1.0, seconds=None)
        bucket = next(bucket for bucket in programs.buckets if bucket >= plan.frames)
        yield position, PREFILL_S + STEPS * FRAME_STEP_S * bucket
        gen = plan.frames - plan.ref_frames
        for start in range(0, gen, programs.vocode_block):
            yield position + start / FRAMES_PER_SECOND, VOCODE_S
        position += gen / FRAMES_PER_SECOND - FADE_SECONDS


def _died(name: str, error: BaseException) -> None:
    raise AssertionError(name) from error


HEADER = (
    f"{'load':>6} {'row':15} {'n':>4} {'first audio p50/p95/p99':>24} {'last audio p50/p95/p99':>24} {'audio s/s':>9} "
    f"{'underruns':>9} {'silent':>7} {'refused':>7} {'failed':>6} {'good':>5}"
)


def row(name: str, label: str, run: dict[str, Any]) -> str:
    first, last = ("/".join(f"{v:.2f}" for v in run[key].values()) for key in ("first audio, s", "last audio, s"))
    underruns = run["underruns"] / max(run["requests"] - run["refused"], 1)
    return (
        f"{name:>6} {label:15} {run['requests']:4} {first:>24} {last:>24} {run['audio seconds a second']:9.2f} {underruns:9.1%} "
        f"{run['silent, s']:7.1f} {run['refused']:7} {run['failed']:6} {run['goodput']:5.0%}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.3, 0.6, 0.9, 1.2])
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--burst", type=int, default=16)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    options = parser.parse_args()
    cards = itertools.islice(load.deal(random.Random(1)), 200)
    flood = [Ask(0.0, kind, text, number) for number, (kind, text) in enumerate(cards)][:60]
    replies = run(flood, FirstComeEngine, timeout_s=600.0)
    audio = sum(reply.duration for reply in replies)
    capacity = audio / max(reply.last for reply in replies)
    requests_a_second = capacity / (audio / len(replies))
    print(f"capacity {capacity:.2f} audio seconds a second, {requests_a_second:.2f} requests a second")
    loads = {
        f"{share:g}": [load.poisson(share * requests_a_second, options.seconds, seed) for seed in range(options.seeds)]
        for share in options.rates
    }
    loads["burst"] = [load.burst(options.burst, seed) for seed in range(options.seeds)]
    print(HEADER)
    results: dict[str, Any] = {"options": vars(options)}
    for name, many in loads.items():
        delays = [clairvoyant(asks) for asks in many]
        results[f"{name} clairvoyant"] = delays
        good = sum(delay <= GOAL_S for delay in delays)
        print(
            f"{name:>6} an order that knows what comes begins every clip within {max(delays):.2f} s, without a silence; "
            f"in {good} of {len(delays)} runs all within {GOAL_S:g} s"
        )
        for order in options.engines:
            rows = {order: [run(asks, ENGINES[order], seed=n) for n, asks in enumerate(many)]}
            if order == "in turn":
                rows["in turn, whole"] = [[reply.as_whole() for reply in some] for some in rows[order]]
            for label, runs in rows.items():
                figures = load.figures([reply for some in runs for reply in some], GOAL_S)
                rates = [load.figures(some, GOAL_S)["audio seconds a second"] for some in runs]
                figures["audio seconds a second"] = sum(rates) / len(rates)
                print(row(name, label, figures), flush=True)
                results[f"{name} {label}"] = figures
    print_last_line("virtual", environment(), results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
