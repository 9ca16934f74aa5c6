"""A model that can be computed by hand, with the interface of the real one.

Every frame of a segment has a target, a closed form of the text, the seed, the sampling parameters and the frame's
number (`target`). The velocity is that target, so Euler steps over a time of 1 end there exactly; the "vocoder" makes of
a frame's value 256 samples that fall off linearly (`wave`). Text carries the failures a test wants: a segment whose text
holds ``fail-STAGE`` makes that stage raise, ``die-STAGE`` kills the thread that runs it, for STAGE in prefill, insert,
step, take, vocode.
"""

from __future__ import annotations

import io
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soundfile

from f5_tts_server.inference_types import Part, Pause, Samples, Speech, SpokenWord, StepRow, TimedWord
from f5_tts_server.joiner import FADE_SECONDS

HOP = 256
RATE = 24_000
CHARS_PER_SECOND = 15.0


class Death(BaseException):
    """Kills a stage: no handler of ordinary exceptions stops it."""


@dataclass(frozen=True)
class Reference:
    nbytes: int
    gain: float
    frames: int


@dataclass(frozen=True)
class Plan:
    text: str
    ref_frames: int
    frames: int
    quiet_frames: int = 0
    words: tuple[TimedWord, ...] | None = None
    after_frames: int = 0


@dataclass(frozen=True)
class Prefilled:
    bucket: int
    plan: Plan
    seed: int
    segment_index: int


@dataclass
class State:
    """One bucket's slots; ``valid`` falls when it is donated."""

    x: np.ndarray
    held: dict[int, Prefilled]
    valid: bool = True
    failure: Exception | None = None

    def donate(self) -> State:
        assert self.valid, "a donated state was used again"
        self.valid = False
        return State(self.x.copy(), dict(self.held), failure=self.failure)


@dataclass(frozen=True)
class Schedule:
    nfe: int
    sway: bool


def target(text: str, seed: int, segment_index: int, nfe: int, cfg: float, sway: bool, frames: int) -> np.ndarray:
    """Values of a segment's generated frames when its flow is over."""
    phase = zlib.crc32(f"{text}|{seed}|{segment_index}|{nfe}|{cfg}|{sway}".encode()) / 2**32 * 2 * np.pi
    return (0.5 * np.sin(0.05 * np.arange(frames) + phase)).astype(np.float32)


def wave(values: np.ndarray) -> Samples:
    """All samples of frames with these values."""
    return np.outer(values, 1 - np.arange(HOP) / (2 * HOP)).astype(np.float32).ravel()


@dataclass
class ToyPrograms:
    """Implements `inference_types.Programs`. ``step_s`` and ``vocode_s`` are spent by ``sleep``, a call each."""

    step_s: float = 0.0
    vocode_s: float = 0.0
    load_s: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    slots: int = 4
    run_ahead: int = 0
    fail_late: bool = False  # a failing step raises when it is waited for, not when it is dispatched
    sample_rate: int = RATE
    hop: int = HOP
    buckets: tuple[int, ...] = (256, 512, 1024)
    step_sizes: tuple[int, ...] = (1, 2, 4)
    frame_budget: int = 1024
    max_steps: int = 64
    vocode_block: int = 32
    compile_count: int = 0
    nbytes: int = 0
    references: int = 0  # prepared so far
    steps: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)  # bucket and slots of each step call

    @property
    def frontend(self) -> ToyPrograms:
        return self

    def warm_up(self, progress: Callable[[int, int], None]) -> None:
        for done in range(1, 8):
            self.sleep(self.load_s / 7)
            progress(done, 7)
        self.compile_count = 7

    def prepare_reference(self, clip: bytes, text: str) -> Reference:
        self.references += 1
        try:
            samples, rate = soundfile.read(io.BytesIO(clip), dtype="float32")
        except soundfile.LibsndfileError as error:
            raise ValueError(f"reference audio is not an audio file that libsndfile reads: {error}") from error
        if len(samples) < 0.5 * rate:
            raise ValueError(f"reference audio lasts {len(samples) / rate:.2f} s; the least is 0.5 s")
        if not text.strip():
            raise ValueError("reference text is empty")
        return Reference(len(clip), 1.0, int(len(samples) / rate * RATE / HOP))

    def split(self, text: str, reference: Any, *, speed: float, first_seconds: float | None) -> Iterator[str]:
        words = re.findall(r"\S+", text)
        if not re.search(r"\w", text):
            return iter(())
        segments, budget = [""], (first_seconds or 6.0) * CHARS_PER_SECOND * speed
        for word in words:
            if segments[-1] and len(segments[-1]) + len(word) > budget:
                segments.append("")
                budget = 6.0 * CHARS_PER_SECOND * speed
            segments[-1] = f"{segments[-1]} {word}".strip()
        return iter(segments)

    def plan(self, text: str, reference: Any, *, speed: float, seconds: float | None) -> Plan:
        spoken = len(text) / CHARS_PER_SECOND / speed if seconds is None else seconds
        gen = max(8, int(spoken * RATE / HOP))
        frames = min(reference.frames, 100) + gen
        if frames > self.buckets[-1]:
            raise ValueError(f"a segment of {frames} frames does not fit; the limit is {self.buckets[-1]}")
        return Plan(text, frames - gen, frames)

    def plan_infill(
        self,
        samples: Samples,
        first: int,
        last: int,
        *,
        before: Sequence[SpokenWord],
        text: str,
        after: Sequence[SpokenWord],
    ) -> tuple[Plan, Reference]:
        """New words last as long as everywhere; what is around the gap is zeros to the vocoder."""
        ref, behind = first // HOP - 1, (len(samples) - last) // HOP - 1
        frames = ref + int(len(text) / CHARS_PER_SECOND * RATE / HOP) + 3 + behind
        if frames > self.buckets[-1]:
            raise ValueError(f"a segment of {frames} frames does not fit; the limit is {self.buckets[-1]}")
        return Plan(text, ref, frames, after_frames=behind), Reference(0, 1.0, ref)

    def schedule(self, nfe: int, sway: bool) -> Schedule:
        return Schedule(nfe, sway)

    def prefill(self, plan: Plan, reference: Any, *, seed: int, segment_index: int, guided: bool) -> Prefilled:
        self._maybe_fail(plan, "prefill")
        bucket = next(b for b in self.buckets if b >= plan.frames)
        return Prefilled(bucket, plan, seed, segment_index)

    def new_state(self, bucket: int) -> State:
        return State(np.zeros((self.slots, bucket), np.float32), {})

    def insert(self, state: State, prefilled: Prefilled, slot: int) -> State:
        state = state.donate()
        self._maybe_fail(prefilled.plan, "insert")
        state.x[slot] = 0
        state.held[slot] = prefilled
        return state

    def step(self, bucket: int, state: State, rows: Sequence[StepRow]) -> State:
        state = state.donate()
        assert state.x.shape[1] == bucket and len(rows) <= self.step_sizes[-1]
        self.steps.append((bucket, tuple(row.slot for row in rows)))
        if self.step_s:
            self.sleep(self.step_s)
        for row in rows:
            held = state.held[row.slot]
            try:
                self._maybe_fail(held.plan, "step")
            except RuntimeError as error:
                if not self.fail_late:
                    raise
                state.failure = error
            gen = held.plan.frames - held.plan.ref_frames - held.plan.after_frames
            schedule: Schedule = row.schedule
            velocity = target(
                held.plan.text, held.seed, held.segment_index, schedule.nfe, row.cfg_strength, schedule.sway, gen
            )
            assert 0 <= row.index < schedule.nfe
            state.x[row.slot, :gen] += velocity / schedule.nfe
        return state

    def fence(self, state: State) -> Callable[[], None]:
        def wait() -> None:
            if state.failure is not None:
                raise state.failure

        return wait

    def take(self, state: State, slot: int, plan: Plan) -> tuple[Plan, np.ndarray]:
        self._maybe_fail(plan, "take")
        assert state.valid
        made = state.x[slot, : plan.frames - plan.ref_frames - plan.after_frames].copy()
        return plan, np.pad(made, (plan.ref_frames, plan.after_frames)) if plan.after_frames else made

    def vocode(self, mel: tuple[Plan, np.ndarray], start: int, stop: int) -> Samples:
        plan, values = mel
        self._maybe_fail(plan, "vocode")
        if self.vocode_s:
            self.sleep(self.vocode_s)
        if "not-finite" in plan.text:
            values = values * np.nan
        return wave(values[start : min(stop, len(values) - 1)])

    def clip_samples(self, frames: int) -> int:
        return (frames - 1) * self.hop

    def _maybe_fail(self, plan: Plan, stage: str) -> None:
        if f"fail-{stage}" in plan.text:
            raise RuntimeError(f"told to fail in {stage}")
        if f"die-{stage}" in plan.text:
            raise Death(f"told to die in {stage}")


def expected(
    programs: ToyPrograms,
    *parts: Part,
    seed: int,
    nfe: int,
    cfg: float,
    sway: bool,
    first_seconds: float,
    ref_frames: int,
    seed_of: Callable[[str, int], int] | None = None,
) -> Samples:
    """A request's whole clip, computed by hand: finished waves, joined by the official formula, parts set end to end.

    ``seed_of`` a segment's text and index, where not all have the same.
    """
    reference = Reference(0, 1.0, ref_frames)
    clip, index, cut = [np.zeros(0)], 0, False
    for part in parts:
        if isinstance(part, Pause):
            clip.append(np.zeros(round(part.seconds * RATE)))
            continue
        assert isinstance(part, Speech)
        joined = np.zeros(0)
        first = None if cut else first_seconds
        for piece in programs.split(part.text, reference, speed=part.speed, first_seconds=first):
            plan = programs.plan(piece, reference, speed=part.speed, seconds=None)
            gen = plan.frames - plan.ref_frames
            own = seed if seed_of is None else seed_of(piece, index)
            segment = wave(target(piece, own, index, nfe, cfg, sway, gen)[:-1])
            n = min(int(FADE_SECONDS * RATE), len(joined), len(segment))
            mixed = joined[len(joined) - n :] * np.linspace(1, 0, n) + segment[:n] * np.linspace(0, 1, n)
            joined = np.concatenate([joined[: len(joined) - n], mixed, segment[n:]])
            index += 1
        clip.append(joined)
        cut = True
    return np.concatenate(clip).astype(np.float32)
