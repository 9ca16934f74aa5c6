"""One guided Euler step against the official PyTorch code: same weights, same inputs, float32, alternating runs.

`make parity` makes the environment; then `.venv-parity/bin/python -m benchmarks.step --model F5TTS_v1_Base`.
Results are compared before they are timed. Rows: ours, PyTorch float32, torch.compile (with --compile; needs a C++
compiler), both in bfloat16 (not with --no-bfloat16: they take long where the processor has no bfloat16). The share is of
the machine's own rate for 2048 × 2048 float32 products in JAX, measured in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from benchmarks.arithmetic import matmul_rate, step_flops
from benchmarks.report import environment, print_last_line
from f5_tts_server.f5 import sampler
from f5_tts_server.f5.config import BackboneConfig
from f5_tts_server.f5.weights import backbone_from_state_dict
from f5_tts_server.models import CONFIGS
from tests.golden import official
from tests.golden.random_weights import draw

SEED = 1
TOLERANCE = 1e-4
PAUSE = 0.3  # seconds; the last row's threads spin for a while before they sleep, at the cost of the next row


def build(config: BackboneConfig, frames: int, compiled: bool, bfloat16: bool) -> dict[str, Callable[[], np.ndarray]]:
    """One call a row of the table; each returns the velocity of the same guided step."""
    rng = np.random.default_rng(SEED)
    theirs, shapes = official.build(config, SEED)
    weights = draw(shapes, SEED)
    x = rng.standard_normal((1, frames, 100)).astype(np.float32)
    cond = np.where(np.arange(frames)[None, :, None] < frames // 2, x, 0).astype(np.float32)
    tokens = rng.integers(0, config.text_num_embeds, (1, frames // 4))
    padded = np.pad(tokens, ((0, 0), (0, frames - tokens.shape[1])), constant_values=-1).astype(np.int32)
    lengths, cfg, t = np.array([frames], np.int32), np.array([2.0], np.float32), 0.4

    def jax_row(dtype: jnp.dtype) -> Callable[[], np.ndarray]:
        graph, parameters = nnx.split(backbone_from_state_dict(weights, config, dtype))
        fixed = jax.jit(lambda p: sampler.fix_both(nnx.merge(graph, p), cond, padded, lengths))(parameters)
        modulation = jax.jit(lambda p: nnx.merge(graph, p).modulations(jnp.array([t], jnp.float32)))(parameters)
        step = jax.jit(lambda p, x: sampler.guided_velocity(nnx.merge(graph, p), x, fixed, modulation, lengths, cfg))
        return lambda: np.asarray(step(parameters, x))

    def torch_row(model: torch.nn.Module, dtype: torch.dtype) -> Callable[[], np.ndarray]:
        inputs = {
            "x": torch.from_numpy(x).to(dtype),
            "cond": torch.from_numpy(cond).to(dtype),
            "text": torch.from_numpy(tokens),
            "time": torch.tensor(t, dtype=dtype),
        }

        def run() -> np.ndarray:
            with torch.inference_mode():
                both = model(**inputs, cfg_infer=True, cache=True)
                conditional, null = both.chunk(2, dim=0)
                return (conditional + 2.0 * (conditional - null)).float().numpy()

        return run

    rows = {
        "JAX float32": jax_row(jnp.float32),
        "PyTorch float32": torch_row(theirs.transformer, torch.float32),
    }
    if compiled:
        rows["PyTorch float32, torch.compile"] = torch_row(torch.compile(theirs.transformer), torch.float32)
    if bfloat16:
        rows["JAX bfloat16"] = jax_row(jnp.bfloat16)
        half, _ = official.build(config, SEED)
        rows["PyTorch bfloat16"] = torch_row(half.transformer.to(torch.bfloat16), torch.bfloat16)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="F5TTS_v1_Base", choices=CONFIGS)
    parser.add_argument("--frames", type=int, nargs="+", default=[469, 938])
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each row, alternating")
    parser.add_argument("--depth", type=int, help="layers, to look at a part of a large model")
    parser.add_argument("--compile", action="store_true", help="a torch.compile row too")
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=True, help="bfloat16 rows too")
    options = parser.parse_args()
    config = CONFIGS[options.model].backbone
    if options.depth:
        config = replace(config, depth=options.depth)
    threads = torch.get_num_threads()
    rate = matmul_rate()
    print(
        f"{options.model}, one guided step; matrix products {rate / 1e9:.0f} GFLOP/s; {threads} threads for PyTorch\n"
    )
    print(f"{'frames':>6}  {'':32} {'ms':>9} {'ours is':>9} {'share':>7} {'error':>9}")
    results = []
    for frames in options.frames:
        rows = build(config, frames, options.compile, options.bfloat16)
        truth = rows["PyTorch float32"]()
        errors = {name: float(np.linalg.norm(run() - truth) / np.linalg.norm(truth)) for name, run in rows.items()}
        if errors["JAX float32"] > TOLERANCE:
            print(f"ours differs from the official code by {errors['JAX float32']:.1e}: not timed", file=sys.stderr)
            return 1
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(options.runs):
            for name, run in rows.items():
                time.sleep(PAUSE)
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
        ours = statistics.median(times["JAX float32"])
        for name, seconds in times.items():
            median = statistics.median(seconds)
            share = step_flops(config, frames) / median / rate
            print(f"{frames:6}  {name:32} {median * 1e3:9.1f} {median / ours:8.2f}× {share:6.0%} {errors[name]:9.1e}")
            results.append(
                {
                    "frames": frames,
                    "row": name,
                    "ms": median * 1e3,
                    "all": seconds,
                    "error": errors[name],
                    "share": share,
                }
            )
    print_last_line(
        "step", environment("jax", "torch", "f5-tts"), {"model": options.model, "rate": rate, "rows": results}
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
