"""Trains the length model: `python -m training.train_lengths --out f5_tts_server/embedded/assets/lengths.safetensors`.

The truth is what Hibari's own length predictor says at many speeds. Takes some minutes, most of them the teacher's;
prints its error on sentences kept out.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import save_file

from f5_tts_server.embedded.lengths import FASTEST, SLOWEST, features, rate_feature
from f5_tts_server.embedded.phonemes import SYMBOLS, phonemes
from training.fit import Tree, arguments_of_fit, fit, fresh_state, stepped
from training.sentences import heldout_sentences, sentences
from training.shards import MEL
from training.spoken import TooLong

WIDTH, SECOND = 96, 32
BATCH = 1024
USUAL_RATE = 165.0  # words a minute that the teacher's speed of 1 is taken for

Parameters = dict[str, Any]
Examples = tuple[np.ndarray, np.ndarray, np.ndarray]


def examples(texts: list[str], seed: int) -> tuple[Examples, list[tuple[int, float]]]:
    """ids [k, 5], place with the rate last [k, f], log frames [k]; and a sentence's (symbols, words a minute)."""
    from training.teachers import Hibari  # whose packages only the environment for training has

    teacher, random_ = Hibari(), random.Random(seed)
    ids, places, targets, sizes = [], [], [], []
    for text in texts:
        wpm = random_.uniform(SLOWEST + 5, FASTEST - 5)
        symbols = phonemes(text)
        try:
            lengths = teacher.lengths(symbols, speed=wpm / USUAL_RATE) / MEL.hop
        except TooLong:
            continue
        neighbours, place = features(symbols)
        ids.append(neighbours)
        places.append(np.column_stack([place, np.full(len(place), rate_feature(wpm), np.float32)]))
        targets.append(np.log(np.maximum(lengths, 0.5)).astype(np.float32))
        sizes.append((len(place), wpm))
    return (np.concatenate(ids), np.concatenate(places), np.concatenate(targets)), sizes


def predict(parameters: Parameters, ids: jax.Array, place: jax.Array) -> jax.Array:
    """Log frames; the same sum that `embedded.lengths.LengthModel.frames` takes."""
    first = parameters["bias"] + place @ parameters["place"]
    for neighbour in range(5):
        first = first + parameters["embedding"][neighbour][ids[:, neighbour]]
    second = jnp.tanh(first) @ parameters["hidden"] + parameters["hidden_bias"]
    return jnp.tanh(second) @ parameters["out"] + parameters["out_bias"]


def initial(place_width: int, seed: int) -> Parameters:
    keys = jax.random.split(jax.random.key(seed), 4)
    return {
        "embedding": 0.3 * jax.random.normal(keys[0], (5, len(SYMBOLS) + 1, WIDTH)),
        "place": 0.3 * jax.random.normal(keys[1], (place_width, WIDTH)),
        "bias": jnp.zeros(WIDTH),
        "hidden": jax.random.normal(keys[2], (WIDTH, SECOND)) / WIDTH**0.5,
        "hidden_bias": jnp.zeros(SECOND),
        "out": jax.random.normal(keys[3], (SECOND,)) / SECOND**0.5,
        "out_bias": jnp.array(1.5),
    }


def batches(truth_of: Examples, seed: int) -> Iterator[Examples]:
    """Endless: epoch after epoch, each in an order of its own."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(truth_of[0]))
        for at in range(0, max(len(order) - BATCH, 0) + 1, BATCH):
            ids, place, target = (one[order[at : at + BATCH]] for one in truth_of)
            yield ids, place, target


@partial(jax.jit, donate_argnums=0)
def train_step(
    state: Tree, rate: jax.Array, ids: jax.Array, place: jax.Array, target: jax.Array
) -> tuple[Tree, dict[str, jax.Array]]:
    """One update; returns the state, which is donated, and the loss."""

    def loss_of(parameters: Parameters) -> jax.Array:
        return jnp.mean(optax.losses.huber_loss(predict(parameters, ids, place), target, delta=0.2))

    loss, gradient = jax.value_and_grad(loss_of)(state["params"])
    return stepped(state, gradient, rate), {"loss": loss}


def update(state: Tree, rate: float, progress: float, batch: Examples) -> tuple[Tree, dict[str, jax.Array]]:
    del progress
    return train_step(state, jnp.float32(rate), *batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("f5_tts_server/embedded/assets/lengths.safetensors"))
    parser.add_argument("--sentences", type=int, default=4000)
    arguments_of_fit(parser, run="training/runs/lengths", minutes=1, peak=4e-3)
    arguments = parser.parse_args()
    stream = sentences(arguments.seed)
    truth_of, _ = examples([next(stream) for _ in range(arguments.sentences)], arguments.seed)
    state = fresh_state(initial(truth_of[1].shape[1], arguments.seed))

    def seconds_of(batch: Examples) -> float:
        return float(np.exp(batch[2]).sum()) * MEL.hop / MEL.sample_rate

    parameters = fit(arguments, state, partial(batches, truth_of), update, seconds_of)["average"]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.asarray(value) for name, value in parameters.items()}, arguments.out)

    (ids, place, target), sizes = examples(heldout_sentences(), arguments.seed + 1)
    guess, truth = np.exp(np.asarray(predict(parameters, jnp.asarray(ids), jnp.asarray(place)))), np.exp(target)
    edges = np.cumsum([0, *(size for size, _ in sizes)])
    totals = [(guess[a:b].sum(), truth[a:b].sum()) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    drift = [
        np.abs(np.cumsum(guess[a:b]) - np.cumsum(truth[a:b])).max() for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    ratio = 1 - np.sum((guess - truth) ** 2) / np.sum((truth - truth.mean()) ** 2)
    print(f"held out: R2 {ratio:.4f}, mean error {np.abs(guess - truth).mean():.2f} frames a symbol")
    print(
        f"          whole sentence {np.mean([abs(g - t) / t for g, t in totals]):.2%}, drift {np.mean(drift):.1f} frames"
    )


if __name__ == "__main__":
    main()
