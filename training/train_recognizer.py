"""Trains the recognizer: `python -m training.train_recognizer --minutes 40`.

Framewise: the shards say which phoneme sounds in every frame, so no alignment is learned. Their speech is heard through
rooms, noise, telephone bands, other levels and rates, drawn anew each time. `--out FOLDER` writes the weights of the
last checkpoint.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from f5_tts_server.embedded.phonemes import SYMBOLS
from f5_tts_server.f5.audio import mel
from f5_tts_server.recognizer.network import (
    CLASS_OF,
    CLASSES,
    DILATIONS,
    FIRST_TAPS,
    MEAN,
    MEL,
    NORM_EPSILON,
    SCALE,
    TAPS,
    shapes,
)
from training.checkpoints import load_checkpoint
from training.fit import arguments_of_a_run, fit, fresh_state, stepped
from training.shards import Spoken, read_shard, shards

FRAMES = 320  # of a crop
CROPS = 10  # in a batch
SMOOTHING = 0.05
_QUIET = -3.4  # mean log-mel of a prepared utterance below which nothing sounds
_LONG_QUIET = 8  # quiet frames in a row that are silence, whatever symbol the teacher counts them to
_NATURAL_SHARE = 0.35  # of crops that come from Kokoro's many voices, however few hours they have

_CLASS = np.array([CLASS_OF[symbol] for symbol in SYMBOLS], np.int32)

Samples = NDArray[np.float32]
Tree = Any


class Batch(NamedTuple):
    mel: NDArray[np.float32]  # [b, frames, 100]
    classes: NDArray[np.int32]  # [b, frames]


def frame_classes(one: Spoken) -> NDArray[np.int32]:
    """The class that sounds at the centre of each frame [n]; long quiet stretches are silence."""
    ends = np.cumsum(one.lengths)
    at = np.minimum(np.searchsorted(ends, np.arange(len(one.mel)), side="right"), len(ends) - 1)
    classes = _CLASS[one.ids[at]]
    quiet = one.mel.astype(np.float32).mean(axis=1) < _QUIET
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= _LONG_QUIET:
            classes[start:end] = 0
    return classes


def room(rng: np.random.Generator) -> Samples:
    """An impulse response: the direct sound, and exponentially decaying noise after it."""
    seconds = rng.uniform(0.1, 0.6)
    length = int(seconds * MEL.sample_rate)
    decay = np.exp(-6.9 * np.arange(length) / length)
    tail: NDArray[np.float64] = rng.normal(0, 1, length) * decay
    tail[: int(rng.uniform(0.002, 0.02) * MEL.sample_rate)] = 0
    tail *= rng.uniform(0.1, 0.7) / np.sqrt(np.sum(np.square(tail)))
    tail[0] = 1.0
    return tail.astype(np.float32)


def noise(rng: np.random.Generator, count: int) -> Samples:
    """[count] of unit power, coloured between brown and blue."""
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    spectrum *= np.maximum(np.arange(len(spectrum)), 4) ** rng.uniform(-1.0, 0.3)
    coloured = np.fft.irfft(spectrum, count)
    return (coloured / np.sqrt(np.mean(np.square(coloured)))).astype(np.float32)


def heard(samples: Samples, other: Samples, rng: np.random.Generator) -> Samples:
    """Samples [n] as some microphone has them. `other` [m]: a second speaker."""
    spoken: NDArray[np.floating] = samples
    count = len(samples)
    power = float(np.sqrt(np.mean(np.square(samples)))) + 1e-6
    if rng.random() < 0.35:
        impulse = room(rng)
        size = 1 << (count + len(impulse)).bit_length()
        spoken = np.fft.irfft(np.fft.rfft(spoken, size) * np.fft.rfft(impulse, size), size)[:count]
    if rng.random() < 0.55:
        spoken = spoken + noise(rng, count) * power * 10 ** (-rng.uniform(5, 45) / 20)
    if rng.random() < 0.1 and len(other) >= count:
        babble = other[:count] * (power / (float(np.sqrt(np.mean(np.square(other[:count])))) + 1e-6))
        spoken = spoken + babble * 10 ** (-rng.uniform(12, 30) / 20)
    if rng.random() < 0.4:  # a band, and a microphone's curve
        spectrum = np.fft.rfft(spoken)
        hertz = np.linspace(0, MEL.sample_rate / 2, len(spectrum))
        points = rng.normal(0, 4, 8)  # dB
        curve = np.interp(np.sqrt(hertz), np.linspace(0, np.sqrt(hertz[-1]), 8), points)
        if rng.random() < 0.5:
            curve -= np.maximum(hertz - rng.uniform(3_400, 10_000), 0) / rng.uniform(5, 40)
            curve -= np.maximum(rng.uniform(20, 300) - hertz, 0) / rng.uniform(2, 20)
        spoken = np.fft.irfft(spectrum * 10 ** (np.maximum(curve, -80) / 20), count)
    if rng.random() < 0.1:
        spoken = np.clip(spoken, -power * 3, power * 3)
    return (spoken * 10 ** (rng.normal(0, 5) / 20)).astype(np.float32)


def crop(one: Spoken, other: Spoken, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """FRAMES frames of an utterance as some microphone has it, at another rate; what it lacks is silence."""
    rate = float(np.exp(rng.uniform(np.log(0.85), np.log(1.2)))) if rng.random() < 0.4 else 1.0
    classes = frame_classes(one)
    wanted = int(np.ceil(FRAMES * rate)) + 2
    start = int(rng.integers(0, max(len(classes) - wanted, 0) + 1))
    samples: NDArray[np.floating] = one.samples[start * MEL.hop : (start + wanted) * MEL.hop]
    classes = classes[start : start + wanted]
    if rate != 1.0:  # of a record: pitch and formants go with it
        samples = np.interp(np.arange(0, len(samples) - 1, rate), np.arange(len(samples)), samples)
        classes = classes[np.minimum(np.rint(np.arange(0, len(classes), rate)).astype(int), len(classes) - 1)]
    lead = int(rng.integers(0, 24)) if rng.random() < 0.3 else 0
    needed = (FRAMES - 1) * MEL.hop
    placed = np.pad(samples, (lead * MEL.hop, max(needed - len(samples), 0)))[:needed].astype(np.float32)
    placed += rng.normal(0, 3e-4, needed).astype(np.float32)
    labels = np.pad(classes, (lead, FRAMES))[:FRAMES]
    frames = mel(heard(placed, other.samples, rng), MEL)
    if rng.random() < 0.2:
        low = int(rng.integers(0, MEL.n_mels - 15))
        frames[:, low : low + int(rng.integers(4, 15))] = frames.min()
    return frames, labels


def batches(folder: Path, seed: int) -> Iterator[Batch]:
    """Endless. Takes in shards that come while it runs; some of each teacher's shards are in memory at a time."""
    rng, picker = np.random.default_rng(seed), random.Random(seed)
    while True:
        found = {path: path.name.startswith("kokoro") for path in shards(folder)}
        many = [path for path, natural in found.items() if natural]
        few = [path for path, natural in found.items() if not natural]
        chosen = picker.sample(few, min(4, len(few)))
        pools = [
            [one for path in paths for one in read_shard(path)]
            for paths in (picker.sample(many, min(8, len(many))), chosen)
        ]
        pools = [pool for pool in pools if pool]
        if not pools:
            raise SystemExit(f"{folder} has no shards: python -m training.corpus makes them")
        for _ in range(60):
            rows = []
            for _ in range(CROPS):
                pool = pools[0] if len(pools) == 1 or rng.random() < _NATURAL_SHARE else pools[-1]
                rows.append(crop(picker.choice(pool), picker.choice(pools[-1]), rng))
            yield Batch(np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows]))


def initial(seed: int) -> Tree:
    """Fresh weights; the blocks begin as small corrections."""
    rng = np.random.default_rng(seed)
    params = {}
    for name, shape in shapes().items():
        if name.endswith(("bias", "shift")):
            value = np.zeros(shape)
        elif name.endswith("scale"):
            value = np.ones(shape)
        else:
            fan = TAPS if name == "taps" else shape[-2]
            value = rng.normal(0, (0.5 if name == "fall" else 1.0) / fan**0.5, shape)
        params[name] = jnp.asarray(value, jnp.float32)
    return params


def predict(params: Tree, frames: jax.typing.ArrayLike) -> jax.Array:
    """Logits [b, t, classes] of log-mel [b, t, 100]: what `recognizer.network` computes."""
    frames = jnp.asarray(frames)
    count = frames.shape[1]
    scaled = jnp.pad((frames - MEAN) / SCALE, ((0, 0), (1, 1), (0, 0)))
    x = jnp.concatenate([scaled[:, tap : tap + count] for tap in range(FIRST_TAPS)], axis=-1) @ params["embed"]
    x = x + params["embed_bias"]
    for block, dilation in enumerate(DILATIONS):
        reach = TAPS // 2 * dilation
        padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)))
        y = params["taps_bias"][block]
        for tap in range(TAPS):
            y = y + padded[:, tap * dilation : tap * dilation + count] * params["taps"][block, tap]
        y = _normalise(y, params["scale"][block], params["shift"][block]) @ params["rise"][block]
        y = jax.nn.relu(y + params["rise_bias"][block])
        x = x + y @ params["fall"][block] + params["fall_bias"][block]
    return _normalise(x, params["last_scale"], params["last_shift"]) @ params["out"] + params["out_bias"]


def _normalise(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    x = x - x.mean(axis=-1, keepdims=True)
    return x * (scale / jnp.sqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + NORM_EPSILON)) + shift


@partial(jax.jit, donate_argnums=0)
def update(state: Tree, rate: jax.Array, progress: float, batch: Batch) -> tuple[Tree, dict[str, jax.Array]]:
    def loss(params: Tree) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits = predict(params, batch.mel)
        log_p = jax.nn.log_softmax(logits)
        truth = jax.nn.one_hot(batch.classes, len(CLASSES)) * (1 - SMOOTHING) + SMOOTHING / len(CLASSES)
        cross = -jnp.mean(jnp.sum(truth * log_p, axis=-1))
        right = jnp.mean(jnp.argmax(logits, axis=-1) == batch.classes)
        return cross, {"loss": cross, "right": right}

    gradient, values = jax.grad(loss, has_aux=True)(state["params"])
    return stepped(state, gradient, rate), values


def export(state: Tree, folder: Path) -> Path:
    """The averaged weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recognizer.safetensors"
    save_file({name: np.asarray(value, np.float16) for name, value in state["average"].items()}, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments_of_a_run(parser, run="training/runs/recognizer", minutes=40, peak=3e-3)
    parser.add_argument("--out", type=Path, help="only write the weights of the last checkpoint there")
    arguments = parser.parse_args()
    state = fresh_state(initial(arguments.seed))
    if arguments.out is not None:
        state, progress = load_checkpoint(arguments.run / "checkpoint.npz", state)
        print(f"step {progress['step']:.0f}: {export(state, arguments.out)}")
        return
    fit(
        arguments,
        state,
        lambda seed: batches(arguments.data, seed),
        update,
        lambda batch: batch.classes.size * MEL.hop / MEL.sample_rate,
    )


if __name__ == "__main__":
    main()
