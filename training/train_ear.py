"""Trains the evaluation's second ear: `python -m training.train_ear --run ... --minutes 20`.

The recogniser of `ear_model` learns from the teacher's audio alone, made on the fly, in voices other than those that
ship and those kept out for the cloning test: what it makes of our voice, it was never taught. Resumable like
`train_flow`.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from f5_tts_server.embedded.phonemes import phonemes
from f5_tts_server.f5.audio import mel
from training.checkpoints import load_checkpoint, save_checkpoint
from training.corpus import MEL, NAMED_VOICES, SEEN_VARIANTS, level
from training.ear_model import BLANK, FRAMES_A_STEP, EarModel, classes
from training.prefetch import prefetch
from training.sentences import sentences
from training.teacher import DITHER, SAMPLE_RATE, Mismatch, Teacher, Voice
from training.train_flow import EMA, LONGEST_STEP, fresh_state, learning_rate, optimiser

VARIANTS = tuple(variant for variant in SEEN_VARIANTS if variant not in {v.variant for v in NAMED_VOICES.values()})
POOL, FRESH = 2000, 4  # utterances held at a time, and new ones a batch
FRAMES_A_BATCH = 5760
BUCKET = 240  # frames: rows are padded to a multiple of it, so that few programs compile
LONGEST = 960
FRAMES_A_LABEL = 5  # faster speech is left out
LONGEST_EDGE = 0.3  # seconds of near silence around an utterance

Tree = Any
Heard = tuple[np.ndarray, np.ndarray]  # mel float16 [frames, 100] and classes int32


def draw_voice(random_: random.Random) -> Voice:
    """Any voice that the evaluation does not use, at any pitch, rate and size."""
    return Voice(
        random_.choice(VARIANTS),
        random_.randint(5, 85),
        random_.randint(130, 200),
        math.exp(random_.uniform(-0.2, 0.2)),
    )


def utterances(seed: int) -> Iterator[Heard]:
    """Sentences in a new voice each, at the level at which the ear listens."""
    teacher, random_, rng, text = Teacher(), random.Random(seed), np.random.default_rng(seed), sentences(seed)
    while True:
        symbols = phonemes(next(text))
        try:
            spoken = level(teacher.speak(symbols, draw_voice(random_)).samples, rng)
        except Mismatch:
            continue
        edges = (rng.normal(0, DITHER, int(rng.uniform(0, LONGEST_EDGE) * SAMPLE_RATE)) for _ in range(2))
        frames = mel(np.concatenate([next(edges), spoken, next(edges)]).astype(np.float32), MEL)
        frames = frames[: len(frames) // FRAMES_A_STEP * FRAMES_A_STEP]
        labels = classes(symbols)
        if len(frames) <= LONGEST and 0 < len(labels) <= len(frames) // FRAMES_A_LABEL:
            yield frames.astype(np.float16), labels


def batches(seed: int) -> Iterator[dict[str, np.ndarray]]:
    """mel float32 [b, n, 100], frames int32 [b], labels int32 [b, n / 5] padded with the blank; b · n is constant.

    Bands are tilted and a little noise is laid over the mels, so that the ear does not hang on a voice's exact colour.
    """
    rng = np.random.default_rng(seed)
    source = utterances(seed)
    pool: dict[int, list[Heard]] = {n: [] for n in range(BUCKET, LONGEST + 1, BUCKET)}

    def add(count: int) -> None:
        for _ in range(count):
            one = next(source)
            rows = pool[-(-len(one[0]) // BUCKET) * BUCKET]
            if sum(map(len, pool.values())) < POOL:
                rows.append(one)
            elif rows:
                rows[int(rng.integers(len(rows)))] = one

    add(POOL)
    sizes = np.array([n * len(rows) for n, rows in pool.items()], float)
    while True:
        add(FRESH)
        n = int(rng.choice(list(pool), p=sizes / sizes.sum()))
        b = FRAMES_A_BATCH // n
        batch = {
            "mel": np.zeros((b, n, MEL.n_mels), np.float32),
            "frames": np.zeros(b, np.int32),
            "labels": np.full((b, n // FRAMES_A_LABEL), BLANK, np.int32),
        }
        for row in range(b):
            frames, labels = pool[n][int(rng.integers(len(pool[n])))]
            tilt = np.interp(np.arange(MEL.n_mels), (0, 33, 66, 99), rng.normal(0, 0.3, 4))
            blur = rng.normal(0, rng.uniform(0, 0.3), frames.shape)
            batch["mel"][row, : len(frames)] = frames + tilt + blur
            batch["frames"][row] = len(frames)
            batch["labels"][row, : len(labels)] = labels
        yield batch


def loss_of(model: EarModel, batch: dict[str, jax.Array]) -> jax.Array:
    """CTC's negative log likelihood a sound."""
    logits = model(batch["mel"], batch["frames"])
    beyond = jnp.arange(logits.shape[1]) >= (batch["frames"] // FRAMES_A_STEP)[:, None]
    absent = batch["labels"] == BLANK
    losses = optax.ctc_loss(logits, beyond.astype(jnp.float32), batch["labels"], absent.astype(jnp.float32))
    return jnp.sum(losses) / jnp.sum(~absent)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(
    graphdef: nnx.GraphDef[EarModel], state: Tree, rate: jax.Array, batch: dict[str, jax.Array]
) -> tuple[Tree, jax.Array]:
    """One update; state as in `train_flow.train_step`."""
    loss, gradient = jax.value_and_grad(lambda params: loss_of(nnx.merge(graphdef, params), batch))(state["params"])
    updates, adam = optimiser().update(gradient, state["adam"], state["params"])
    params = jax.tree.map(lambda p, u: p - rate * u, state["params"], updates)
    step = state["step"] + 1
    decay = jnp.minimum(EMA, (1 + step) / (10 + step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state["average"], params)
    return {"params": params, "average": average, "adam": adam, "step": step}, loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("training/runs/ear"))
    parser.add_argument("--minutes", type=float, default=20, help="of training in all, earlier starts included")
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(arguments.run.resolve() / "compiled"))

    graphdef, params = nnx.split(EarModel(rngs=nnx.Rngs(arguments.seed)))
    state = fresh_state(params)
    spent = 0.0
    checkpoint, log = arguments.run / "checkpoint.npz", arguments.run / "log.csv"
    if checkpoint.exists():
        state, progress = load_checkpoint(checkpoint, state)
        spent = progress["spent"]
    step = int(state["step"])
    print(f"step {step}, {sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6:.2f} M parameters", flush=True)

    losses: list[float] = []
    budget = arguments.minutes * 60
    last, saved = 0.0, time.monotonic()
    with log.open("a", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(["step", "seconds", "loss", "learning_rate"])
        for batch in prefetch(batches(arguments.seed + step)):
            last = last or time.monotonic()  # the first pool of utterances is no training
            rate = learning_rate(step, spent / budget, arguments.peak)
            state, loss = train_step(graphdef, state, jnp.float32(rate), batch)
            losses.append(float(loss))
            step += 1
            now = time.monotonic()
            spent, last = spent + min(now - last, LONGEST_STEP), now
            if step % 50 == 0:
                mean = float(np.mean(losses))
                losses.clear()
                writer.writerow([step, f"{spent:.1f}", f"{mean:.5f}", f"{rate:.2e}"])
                file.flush()
                print(f"step {step}  {spent:.0f} s  loss {mean:.4f}  rate {rate:.1e}", flush=True)
            if now - saved > 180 or spent >= budget:
                save_checkpoint(checkpoint, state, {"spent": spent})
                saved = now
            if spent >= budget:
                return


if __name__ == "__main__":
    main()
