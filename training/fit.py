"""The loop that every training shares: batches made ahead, a learning rate by the time spent, a log and checkpoints.

Stop it at any time and start it again with the same run folder: it goes on from its last checkpoint. The learning rate
warms up in steps and then follows a cosine over the minutes spent, so that a run is annealed when its minutes are over.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from training.checkpoints import load_checkpoint, save_checkpoint
from training.prefetch import prefetch

WARM_UP_STEPS = 100
EMA = 0.99  # short: a run is annealed when it is over, and its average shall hold nothing of its start
LONGEST_STEP = 20.0  # seconds; what is longer is a process that was stopped, not training
LOG_EVERY = 25  # steps
SAVE_EVERY = 120.0  # seconds

Tree = Any
Batch = TypeVar("Batch")
Update = Callable[[Tree, float, float, Batch], tuple[Tree, dict[str, jax.Array]]]
"""(state, learning rate, progress from 0 to 1, batch) → the new state and what the log shall say."""


def optimiser() -> optax.GradientTransformation:
    """AdamW without its learning rate, which each step brings along."""
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(b1=0.9, b2=0.99),
        optax.add_decayed_weights(0.01, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)),
    )


def fresh_state(params: Tree) -> Tree:
    """A model's state before its first step; `average` starts as a copy."""
    return {
        "params": params,
        "average": jax.tree.map(jnp.copy, params),
        "adam": optimiser().init(params),
        "step": jnp.zeros((), jnp.int32),
    }


def stepped(state: Tree, gradient: Tree, rate: jax.Array) -> Tree:
    """The state after one update, for use inside a compiled function."""
    updates, adam = optimiser().update(gradient, state["adam"], state["params"])
    params = jax.tree.map(lambda p, u: p - rate * u, state["params"], updates)
    step = state["step"] + 1
    decay = jnp.minimum(EMA, (1 + step) / (10 + step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state["average"], params)
    return {"params": params, "average": average, "adam": adam, "step": step}


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Linear warm-up in steps, then a cosine down to a fiftieth of the peak; progress from 0 to 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * cosine)


def arguments_of_fit(parser: argparse.ArgumentParser, *, run: str, minutes: float, peak: float) -> None:
    """The arguments that `fit` reads."""
    parser.add_argument("--run", type=Path, default=Path(run))
    parser.add_argument("--minutes", type=float, default=minutes, help="of training in all, earlier starts included")
    parser.add_argument("--peak", type=float, default=peak, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)


def arguments_of_a_run(parser: argparse.ArgumentParser, *, run: str, minutes: float, peak: float) -> None:
    """The arguments of every training from shards."""
    arguments_of_fit(parser, run=run, minutes=minutes, peak=peak)
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    parser.add_argument("--start", type=Path, help="an exported folder, whose weights a new run starts from")


def fit(
    arguments: argparse.Namespace,
    state: Tree,
    batches: Callable[[int], Iterator[Batch]],
    update: Update[Batch],
    seconds_of: Callable[[Batch], float],
) -> Tree:
    """Trains until `arguments.minutes` are spent and returns the last state.

    Args:
        arguments: those of `arguments_of_fit`.
        state: at the first step. A leaf tree whose `step` is read off the log's count.
        batches: an endless iterator for a seed.
        update: one step.
        seconds_of: how much audio a batch holds, in seconds.
    """
    run: Path = arguments.run
    run.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(run.resolve() / "compiled"))
    spent, heard, step = 0.0, 0.0, 0
    checkpoint, log = run / "checkpoint.npz", run / "log.csv"
    if checkpoint.exists():
        state, progress = load_checkpoint(checkpoint, state)
        spent, heard, step = progress["spent"], progress["heard"], int(progress["step"])
    print(f"step {step}, {spent / 60:.1f} of {arguments.minutes:g} minutes spent", flush=True)
    budget = arguments.minutes * 60
    measured: list[dict[str, jax.Array]] = []
    last = saved = time.monotonic()
    with log.open("a", newline="") as file:
        writer = csv.writer(file)
        for batch in prefetch(batches(arguments.seed + step)):
            rate = learning_rate(step, spent / budget, arguments.peak)
            state, values = update(state, rate, spent / budget, batch)
            measured.append(values)
            jax.block_until_ready(values)  # the step runs ahead of this thread: waiting makes the clock honest
            step += 1
            heard += seconds_of(batch) / 3600
            now = time.monotonic()
            spent, last = spent + min(now - last, LONGEST_STEP), now
            if step % LOG_EVERY == 0:
                means = {name: float(np.mean([row[name] for row in measured])) for name in values}
                measured.clear()
                if file.tell() == 0:
                    writer.writerow(["step", "seconds", "hours_heard", "learning_rate", *means])
                numbers = (f"{mean:.5f}" for mean in means.values())
                writer.writerow([step, f"{spent:.1f}", f"{heard:.3f}", f"{rate:.2e}", *numbers])
                file.flush()
                shown = "  ".join(f"{name} {mean:.4f}" for name, mean in means.items())
                print(f"step {step}  {spent:.0f} s  {heard:.2f} h  rate {rate:.1e}  {shown}", flush=True)
            if now - saved > SAVE_EVERY or spent >= budget:
                save_checkpoint(checkpoint, state, {"spent": spent, "heard": heard, "step": step})
                saved = now
            if spent >= budget:
                break
    return state
