"""The engine's order of work under load, in virtual time: the engine itself, a model that costs what the real one does.

`.venv/bin/python -m benchmarks.virtual` takes some minutes and gives the same figures on every machine. Texts are cut and
timed by the embedded voice's own front end; calls cost what they cost on the AVX2 machine of benchmarks/README.md, or what
`benchmarks.calls` has measured (`--costs`). Steps and vocoder share the processor. Arrivals, texts and figures are those of
`benchmarks.serve`, over several seeds; with `--first-seed 1 --seeds 1` they are the very arrivals of `benchmarks.serve`, whose
result it predicts. Rows:

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
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.first_come import FirstComeEngine
from benchmarks.load import Ask, Chunk, Reply
from benchmarks.report import environment, print_last_line
from f5_tts_server.embedded.config import ASSETS, CONFIG
from f5_tts_server.embedded.phoneme_frontend import PhonemeFrontend
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
_LOOKS_BACK_S = 8.0  # about what a busy time lasts
STEPS = CONFIG.sampling.nfe
VOICE = "ada"


@dataclass(frozen=True)
class Costs:
    """Seconds of calls; by bucket, ascending, where they depend on it. Steps are of one row, as the voice recommends them."""

    buckets: tuple[int, ...]
    step: tuple[float, ...]
    prefill: tuple[float, ...]  # and as much again where a null pass is not known yet
    take: tuple[float, ...]
    vocode: float  # a block of 64 frames

    @classmethod
    def read(cls, file: Path) -> Costs:
        """From the last line of `benchmarks.calls`."""
        told = json.loads(file.read_text("utf-8").splitlines()[-1])["results"]["costs"]
        buckets, step, prefill, take = (tuple(told[name]) for name in ("buckets", "step", "prefill", "take"))
        return cls(buckets, step, prefill, take, told["vocode"])


# The AVX2 machine, idle, 2026-11-25, commit cfd87b5 (`benchmarks.calls`): one pass a step.
AVX2 = Costs(
    buckets=(384, 608, 960, 1408),
    step=(0.0466, 0.0846, 0.1479, 0.2755),
    prefill=(0.0119, 0.0158, 0.0234, 0.0308),
    take=(0.0054, 0.0135, 0.0138, 0.0142),
    vocode=0.0104,
)


class SlackScheduler(Scheduler):
    """By due time less the time that the segment's remaining steps take on the AVX2 machine."""

    def _ordered(self, segments: list[_Segment]) -> list[_Segment]:
        seconds = dict(zip(AVX2.buckets, AVX2.step, strict=True))
        return sorted(segments, key=lambda s: s.due() - (s.steps - s.index) * seconds[s.bucket])


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


class _Frontend:
    """The embedded voice's front end, with the toy model's plans."""

    def __init__(self) -> None:
        self._frontend = PhonemeFrontend.load(ASSETS, CONFIG.mel, max_frames=CONFIG.longest)
        self.prepare_reference = self._frontend.prepare_reference
        self.split = self._frontend.split

    def plan(self, text: str, reference: Any, *, speed: float, seconds: float | None) -> Plan:
        plan = self._frontend.plan(text, reference, speed=speed, seconds=seconds)
        return Plan(text, plan.ref_frames, plan.frames)


@cache
def frontend() -> _Frontend:
    return _Frontend()


@cache
def clip() -> VoiceClip:
    """The voice that speaks if no other is asked for."""
    voices = json.loads((ASSETS / "voices.json").read_text("utf-8"))["voices"]
    text = next(voice["text"] for voice in voices if voice["id"] == VOICE)
    return VoiceClip((ASSETS / f"{VOICE}.flac").read_bytes(), text)


@dataclass
class CpuPrograms(ToyPrograms):
    """Costs, lengths and cuts of the embedded voice on a CPU."""

    costs: Costs = AVX2
    step_sizes: tuple[int, ...] = (1,)
    slots: int = 8
    vocode_block: int = 64
    nulls: set[tuple[int, int]] = field(default_factory=set)  # null passes that are kept, by bucket and frames

    def __post_init__(self) -> None:
        self.buckets = self.costs.buckets
        self.frame_budget = self.buckets[0]
        self.vocode_s = self.costs.vocode

    @property
    def frontend(self) -> Any:
        return frontend()

    def step(self, bucket: int, state: State, rows: Any) -> State:
        self.sleep(self.costs.step[self.buckets.index(bucket)])
        return super().step(bucket, state, rows)

    def prefill(self, plan: Plan, reference: Any, *, seed: int, segment_index: int, guided: bool) -> Prefilled:
        bucket = next(bucket for bucket in self.buckets if bucket >= plan.frames)
        passes = 1 if (bucket, plan.frames) in self.nulls else 2
        self.nulls.add((bucket, plan.frames))
        self.sleep(passes * self.costs.prefill[self.buckets.index(bucket)])
        return super().prefill(plan, reference, seed=seed, segment_index=segment_index, guided=guided)

    def take(self, state: State, slot: int, plan: Plan) -> Any:
        self.sleep(self.costs.take[self.buckets.index(next(b for b in self.buckets if b >= plan.frames))])
        return super().take(state, slot, plan)


def run(
    asks: Sequence[Ask],
    engine_type: type[TTSEngine],
    *,
    costs: Costs = AVX2,
    timeout_s: float = 30.0,
    seed: int = 0,
) -> list[Reply]:
    """Make requests when they are due; what each got and when, in virtual time."""
    loop = VirtualLoop()
    programs = CpuPrograms(costs=costs, sleep=Device(loop).spend)
    engine = engine_type(lambda: programs, EngineOptions(), clock=loop.time)
    rng = random.Random(seed)

    async def speak(ask: Ask, began: float) -> Reply:
        due = began + ask.due
        await asyncio.sleep(due - loop.time())
        request = GenerationRequest(
            parts=(Speech(ask.text, clip()),), request_id=str(ask.seed), seed=ask.seed, nfe=STEPS, format="pcm",
            cfg_strength=CONFIG.sampling.cfg_strength, timeout_s=timeout_s,
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
            for text in texts:
                await speak(Ask(0.0, kind, text, 0), loop.time())
        began = loop.time()
        return list(await asyncio.gather(*(speak(ask, began) for ask in asks)))

    try:
        return loop.run_until_complete(everything())
    finally:
        for fiber in list(loop.fibers):
            fiber.end()
        loop.close()


def clairvoyant(asks: Sequence[Ask], costs: Costs) -> float:
    """The shortest delay after which all can begin and none falls silent, in seconds.

    With a given delay every piece of work has a release (its request's arrival) and a deadline (when it is heard). On one
    device that may interrupt its work, doing what is due first keeps all deadlines if any order does.
    """
    low, high = 0.0, 60.0
    while high - low > 0.005:
        delay = (low + high) / 2
        low, high = (low, delay) if _first_late(asks, delay, costs) is None else (delay, high)
    return high


def clairvoyant_good(asks: Sequence[Ask], costs: Costs) -> int:
    """How many requests an order that knows what comes can make good, at the least, if it lets the others wait for ever.

    As long as somebody is late, the one with the most work among those who came in the seconds before is left out.
    """
    kept = list(asks)
    while (late := _first_late(kept, GOAL_S, costs)) is not None:
        seconds, index = late
        before = [ask for ask in kept if seconds - _LOOKS_BACK_S < ask.due <= seconds] or [kept[index]]
        kept.remove(max(before, key=lambda ask: sum(cost for _, cost in _work(ask.text, costs))))
    return len(kept)


def _first_late(asks: Sequence[Ask], delay: float, costs: Costs) -> tuple[float, int] | None:
    """When the first deadline is missed and by which request, if one is."""
    work = sorted(
        (ask.due, ask.due + delay + position, cost, index)
        for index, ask in enumerate(asks)
        for position, cost in _work(ask.text, costs)
    )
    now, coming, waiting = 0.0, iter(work), list[tuple[float, float, int]]()
    following = next(coming, None)
    while following or waiting:
        if not waiting and following:
            now = max(now, following[0])
        while following and following[0] <= now:
            heapq.heappush(waiting, following[1:])
            following = next(coming, None)
        due, cost, index = heapq.heappop(waiting)
        done = now + cost if following is None else min(now + cost, following[0])
        if done > due:
            return done, index
        if (left := now + cost - done) > 0:
            heapq.heappush(waiting, (due, left, index))
        now = done
    return None


@cache
def _work(text: str, costs: Costs) -> tuple[tuple[float, float], ...]:
    """Where in the clip each piece of work is heard, and what it costs, in seconds."""
    front, pieces = frontend(), list[tuple[float, float]]()
    reference = front.prepare_reference(clip().audio, clip().text)
    position = 0.0
    for piece in front.split(text, reference, speed=1.0, first_seconds=EngineOptions().first_segment_s):
        plan = front.plan(piece, reference, speed=1.0, seconds=None)
        size = next(index for index, bucket in enumerate(costs.buckets) if bucket >= plan.frames)
        pieces.append((position, costs.prefill[size] + STEPS * costs.step[size] + costs.take[size]))
        gen = plan.frames - plan.ref_frames
        pieces += [(position + start / FRAMES_PER_SECOND, costs.vocode) for start in range(0, gen, 64)]
        position += gen / FRAMES_PER_SECOND - FADE_SECONDS
    return tuple(pieces)


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
    parser.add_argument("--rates", type=float, nargs="+", default=[0.6, 0.9, 1.2])
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--burst", type=int, default=16)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--costs", type=Path, help="what `benchmarks.calls` has printed")
    options = parser.parse_args()
    costs = Costs.read(options.costs) if options.costs else AVX2
    replies = run(load.burst(60, 1), FirstComeEngine, costs=costs, timeout_s=600.0)
    audio = sum(reply.duration for reply in replies)
    capacity = audio / max(reply.last for reply in replies)
    requests_a_second = capacity / (audio / len(replies))
    print(f"capacity {capacity:.2f} audio seconds a second, {requests_a_second:.2f} requests a second")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    loads = {
        f"{share:g}": [load.poisson(share * requests_a_second, options.seconds, seed) for seed in seeds]
        for share in options.rates
    }
    loads["burst"] = [load.burst(options.burst, seed) for seed in seeds]
    print(HEADER)
    results: dict[str, Any] = {"options": vars(options) | {"costs": str(options.costs)}, "capacity": capacity}
    for name, many in loads.items():
        delays = [clairvoyant(asks, costs) for asks in many]
        good = sum(clairvoyant_good(asks, costs) for asks in many) / sum(map(len, many))
        results[f"{name} clairvoyant"] = {"delays": delays, "good": good}
        print(
            f"{name:>6} an order that knows what comes begins every clip within {load.percentile(delays, 50):.2f} s (half of "
            f"the seeds) or {max(delays):.2f} s (all), without a silence, or makes at least {good:.0%} good"
        )
        for order in options.engines:
            rows = {order: [run(asks, ENGINES[order], costs=costs, seed=n) for n, asks in enumerate(many)]}
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
