"""Trains the length model: `python -m training.train_lengths --out f5_tts_server/embedded/assets/lengths.safetensors`.

The truth is what Hibari's own length predictor says at many speeds. Takes some minutes, most of them the teacher's;
prints its error on sentences kept out.
"""

from __future__ import annotations

import argparse
import random
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
from f5_tts_server.f5.config import MelConfig
from training.sentences import heldout_sentences, sentences
from training.spoken import TooLong
from training.teachers import Hibari

WIDTH, SECOND = 96, 32
BATCH, EPOCHS, PEAK = 1024, 12, 4e-3
USUAL_RATE = 165.0  # words a minute that the teacher's speed of 1 is taken for

Parameters = dict[str, Any]
Examples = tuple[np.ndarray, np.ndarray, np.ndarray]


def examples(texts: list[str], seed: int) -> tuple[Examples, list[tuple[int, float]]]:
    """ids [k, 5], place with the rate last [k, f], log frames [k]; and a sentence's (symbols, words a minute)."""
    teacher, random_ = Hibari(), random.Random(seed)
    hop = MelConfig().hop
    ids, places, targets, sizes = [], [], [], []
    for text in texts:
        wpm = random_.uniform(SLOWEST + 5, FASTEST - 5)
        symbols = phonemes(text)
        try:
            lengths = teacher.lengths(symbols, speed=wpm / USUAL_RATE) / hop
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("f5_tts_server/embedded/assets/lengths.safetensors"))
    parser.add_argument("--sentences", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    stream = sentences(arguments.seed)
    (ids, place, target), _ = examples([next(stream) for _ in range(arguments.sentences)], arguments.seed)
    steps = EPOCHS * (len(ids) // BATCH)
    tx = optax.adam(optax.cosine_decay_schedule(PEAK, steps))
    parameters = initial(place.shape[1], arguments.seed)
    state = tx.init(parameters)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(
        parameters: Parameters, state: optax.OptState, ids: jax.Array, place: jax.Array, target: jax.Array
    ) -> tuple[Parameters, optax.OptState]:
        def loss(parameters: Parameters) -> jax.Array:
            return jnp.mean(optax.losses.huber_loss(predict(parameters, ids, place), target, delta=0.2))

        updates, state = tx.update(jax.grad(loss)(parameters), state)
        return optax.apply_updates(parameters, updates), state

    rng = np.random.default_rng(arguments.seed)
    for _ in range(EPOCHS):
        order = rng.permutation(len(ids))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[at : at + BATCH]
            parameters, state = step(parameters, state, ids[chosen], place[chosen], target[chosen])

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
