"""One accelerator: time and share of peak of the guided step in bfloat16, and requests a second at saturation.

`.venv/bin/python -m benchmarks.gpu`, with random weights. Without a GPU it refuses, but for `--tiny`: a rehearsal on
whatever there is, whose numbers mean nothing.

Two tables. The step in bfloat16, first compared with float32 on rows shorter than their padding (a wrong mask would
show there), then timed as a chain of Euler steps that is waited for once; beside it the time that attention and the
position convolutions take alone. The share is of this device's own rate for large bfloat16 products. Then whole
requests through `f5.programs.Programs`, as the server makes them, but without HTTP: one thread prefills, one steps
with every slot taken, one vocodes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from benchmarks.arithmetic import matmul_rate, step_flops
from benchmarks.random_model import random_model
from benchmarks.report import environment, print_last_line
from f5_tts_server.f5 import audio, sampler
from f5_tts_server.f5.attention import attention
from f5_tts_server.f5.config import ModelConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.frontend import Reference, SegmentPlan
from f5_tts_server.f5.placement import make_mesh
from f5_tts_server.f5.platform import Platform
from f5_tts_server.f5.programs import Programs
from f5_tts_server.inference_types import StepRow
from f5_tts_server.models import CONFIGS

CFG, DT = 2.0, 1e-3
TOLERANCE = 0.05  # relative, of a guided velocity in bfloat16
TEXT = "Nobody had opened the door of the old mill since the river changed its course. "
CHARACTERS_A_SECOND = 14


def seconds_a_call(call: Callable[[Any], Any], x: Any, chain: int, repeats: int) -> float:
    """Median time of x ← call(x), in chains of `chain` that are waited for at the end."""
    x = jax.block_until_ready(call(x))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(chain):
            x = call(x)
        jax.block_until_ready(x)
        times.append((time.perf_counter() - start) / chain)
    return statistics.median(times)


class Step:
    """A guided Euler step of `batch` segments of `frames` frames, all but `short` of them real."""

    def __init__(self, model: DiT, batch: int, frames: int, short: int = 0) -> None:
        config, self.dtype = model.config, model.proj_out.w[...].dtype
        self.config, self.batch, self.frames = config, batch, frames
        self.graph, self.parameters = nnx.split(model)
        keys = jax.random.split(jax.random.key(0), 2)
        self.x = jax.random.normal(keys[0], (batch, frames, config.mel_dim))
        self.fixed = jax.random.normal(
            keys[1], (batch, 2, frames, config.dim), Platform.here().activation_dtype(self.dtype)
        )
        self.lengths = jnp.full((batch,), frames - short, jnp.int32)
        self.modulation = jnp.repeat(model.modulations(jnp.array([0.4], jnp.float32)), batch, axis=0)
        self.cfg = jnp.full((batch,), CFG)

    def velocity(self) -> jax.Array:
        """float32 [batch, frames − short, mel]."""
        made = jax.jit(self._velocity)(self.parameters, self.x, self.fixed)
        return made[:, : int(self.lengths[0])]

    def _velocity(self, p: nnx.State, x: jax.Array, fixed: jax.Array) -> jax.Array:
        model = nnx.merge(self.graph, p)
        return sampler.guided_velocity(model, x, fixed, self.modulation, self.lengths, self.cfg)

    def times(self, chain: int, repeats: int) -> dict[str, float]:
        """Seconds of the whole step, and of its attention and its position convolutions by themselves."""
        config, rows, n = self.config, 2 * self.batch, self.frames
        step = jax.jit(lambda p, x, fixed: x + DT * self._velocity(p, x, fixed))
        lengths = jnp.repeat(self.lengths, 2)
        both = self.fixed.reshape(rows, n, config.dim)
        valid = (jnp.arange(n)[None, :] < lengths[:, None])[..., None]
        heads = jax.random.normal(jax.random.key(1), (rows, n, config.heads, config.dim_head), self.dtype)

        @jax.jit
        def all_attention(q: jax.Array, kv: jax.Array) -> jax.Array:
            return lax.scan(
                lambda q, _: (attention(q, kv, kv, lengths, Platform.here()), None), q, length=config.depth
            )[0]

        positions = jax.jit(lambda p, x: nnx.merge(self.graph, p).input.position(x, valid))
        return {
            "step": seconds_a_call(lambda x: step(self.parameters, x, self.fixed), self.x, chain, repeats),
            "attention": seconds_a_call(lambda q: all_attention(q, heads), heads, chain, repeats),
            "positions": seconds_a_call(lambda x: positions(self.parameters, x), both, chain, repeats),
        }


def request(programs: Programs, reference_s: float, speech_s: float) -> tuple[Reference, SegmentPlan]:
    """A reference of coloured noise and a text of the usual number of characters for that time."""
    model, mel = programs.model, programs.model.config.mel
    samples = np.random.default_rng(0).standard_normal(round(reference_s * mel.sample_rate)).astype(np.float32) * 0.1
    characters = [max(2, int(seconds * CHARACTERS_A_SECOND)) for seconds in (reference_s, speech_s)]
    spoken, text = ((TEXT * (count // len(TEXT) + 1))[:count] for count in characters)
    frames = audio.mel(samples, mel)
    reference = Reference(samples, frames, spoken, gain=1.0, nbytes=samples.nbytes + frames.nbytes)
    return reference, model.frontend.plan(text, reference, speed=1.0, seconds=speech_s)


def serve(programs: Programs, reference: Reference, plan: SegmentPlan, nfe: int, count: int) -> tuple[float, int]:
    """Seconds that `count` requests take from the first prefill to the last sample, and samples a request."""
    schedule = programs.schedule(nfe, True)
    bucket = next(n for n in programs.buckets if n >= plan.frames)
    start = time.perf_counter()
    with ThreadPoolExecutor(1) as preprocess, ThreadPoolExecutor(1) as postprocess:

        def prefill(seed: int) -> Future[Any]:
            return preprocess.submit(programs.prefill, plan, reference, seed=seed, segment_index=0, guided=True)

        waiting = deque(prefill(seed) for seed in range(count))
        state = programs.new_state(bucket)
        active: dict[int, int] = {}  # slot → steps made
        clips, fences = [], deque[Callable[[], object]]()
        while waiting or active:
            for slot in range(programs.slots):
                if slot not in active and waiting and (not active or waiting[0].done()):
                    state = programs.insert(state, waiting.popleft().result(), slot)
                    active[slot] = 0
            for first in range(0, len(active), programs.step_sizes[-1]):
                slots = list(active)[first : first + programs.step_sizes[-1]]
                state = programs.step(bucket, state, [StepRow(slot, schedule, active[slot], CFG) for slot in slots])
            fences.append(programs.fence(state))
            if len(fences) > programs.run_ahead:
                fences.popleft()()
            for slot in list(active):
                active[slot] += 1
                if active[slot] == nfe:
                    del active[slot]
                    mel = programs.take(state, slot, plan)
                    clips.append(postprocess.submit(programs.vocode, mel, 0, plan.frames - plan.ref_frames))
        samples = [len(clip.result()) for clip in clips]
    return time.perf_counter() - start, samples[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="F5TTS_v1_Base", choices=[n for n, c in CONFIGS.items() if c.name[0] != "E"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--frames", type=int, nargs="+", default=[469, 938, 1875])
    parser.add_argument("--steps", type=int, nargs="+", default=[7, 16], help="of the requests")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the reference, and of the speech again")
    parser.add_argument("--requests", type=int, default=128, help="of the saturated run")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chain", type=int, default=10, help="steps that are waited for together")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal in seconds, with or without a GPU")
    options = parser.parse_args()
    device = jax.devices()[0]
    if options.tiny:
        options.model, options.batches, options.frames, options.steps = "embedded", [1, 2], [64], [2]
        options.seconds, options.requests, options.slots, options.repeats, options.chain = 0.4, 5, 2, 2, 2
    elif device.platform != "gpu":
        print(f"there is no GPU here, only {device}; --tiny rehearses without one", file=sys.stderr)
        return 2
    config: ModelConfig = CONFIGS[options.model]
    if config.tokenizer is None:
        config = replace(config, tokenizer="pinyin")
    size = 1024 if options.tiny else 8192
    peak = matmul_rate(jnp.bfloat16, size)
    label = "REHEARSAL, the numbers mean nothing: " if options.tiny else ""
    print(
        f"{label}{options.model} in bfloat16 on {device.device_kind}; products of {size} × {size}: {peak / 1e12:.3g} TFLOP/s\n"
    )

    model = random_model(config, jnp.bfloat16)
    assert isinstance(model.backbone, DiT)
    half, short = model.backbone, min(options.frames) // 8
    wide = jax.tree.map(lambda a: a.astype(jnp.float32), half)
    made, truth = (np.asarray(Step(m, 2, min(options.frames), short).velocity(), np.float64) for m in (half, wide))
    error = float(np.linalg.norm(made - truth) / np.linalg.norm(truth))
    del wide
    print(f"two rows padded by {short} frames, against float32: relative error {error:.1e}")
    if not error < TOLERANCE:
        print(f"that is beyond {TOLERANCE}: nothing timed", file=sys.stderr)
        return 1

    print(
        f"\n{'frames':>6} {'batch':>5} {'step, ms':>9} {'share':>6} {'TFLOP/s':>8} {'attention':>10} {'positions':>10}"
    )
    steps, requests = [], []
    for frames in options.frames:
        for batch in options.batches:
            times = Step(half, batch, frames).times(options.chain, options.repeats)
            rate = step_flops(config.backbone, frames, 2 * batch) / times["step"]
            ms = {part: seconds * 1e3 for part, seconds in times.items()}
            print(
                f"{frames:6} {batch:5} {ms['step']:9.2f} {rate / peak:6.1%} {rate / 1e12:8.3g} "
                f"{ms['attention']:7.2f} ms {ms['positions']:7.2f} ms",
                flush=True,
            )
            steps.append({"frames": frames, "batch": batch, "ms": ms, "flops": rate, "share": rate / peak})

    frames = int(2 * options.seconds * config.mel.sample_rate / config.mel.hop) + 1
    sizes = tuple(n for n in (1, 2, 4, 8) if n <= options.slots)
    programs = Programs(
        model, make_mesh("1x1", config.backbone.heads), buckets=(frames,), slots=options.slots, step_sizes=sizes
    )
    programs.warm_up()
    reference, plan = request(programs, options.seconds, options.seconds)
    serve(programs, reference, plan, 1, options.slots)
    print(f"\n{options.seconds:g} s + {options.seconds:g} s, {options.slots} slots, {plan.frames} frames, guided\n")
    print(f"{'steps':>6} {'alone, ms':>10} {'of real time':>12} {'requests/s':>11} {'audio s/s':>10}")
    for nfe in options.steps:
        alone, samples = min(serve(programs, reference, plan, nfe, 1) for _ in range(options.repeats))
        together, _ = serve(programs, reference, plan, nfe, options.requests)
        speech = samples / config.mel.sample_rate
        throughput = options.requests / together
        print(
            f"{nfe:6} {alone * 1e3:10.1f} {alone / speech:12.4f} {throughput:11.2f} {throughput * speech:10.1f}",
            flush=True,
        )
        requests.append({"steps": nfe, "alone_ms": alone * 1e3, "rtf": alone / speech, "requests_s": throughput})
    results = {
        "model": options.model, "device": device.device_kind, "rehearsal": options.tiny, "peak": peak, "error": error,
        "steps": steps, "requests": requests,
    }  # fmt: skip
    print_last_line("gpu", environment("jax", "flax"), results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
