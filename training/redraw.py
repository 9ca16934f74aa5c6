"""Log-mels as the flow model makes them, of audio that is known: `python -m training.redraw --flow FOLDER`.

They are what the vocoder meets at run time, and lie beside the shards that they were made of, for `train_vocoder`.

A true log-mel is brought back to a late point of the flow, noise and all, and the flow model ends it from there. Words,
voice and pitch stay as they are; what comes out has the flow model's own blur.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.embedded.config import CONFIG
from f5_tts_server.embedded.lengths import FRAMES_A_TOKEN, allocate
from f5_tts_server.f5 import sampler
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.model import from_backbone_scale, to_backbone_scale
from training.shards import ALTERED, read_shard, shards
from training.train_flow import exported

LONGEST = 640  # frames
HEARD = 0.25  # share of an utterance that is the reference of the rest
LAST_STEPS = 3  # of the recommended ones


class Redrawer:
    """The flow model of an exported folder."""

    def __init__(self, folder: Path) -> None:
        self._graphdef, self._params = nnx.split(exported(folder))
        self._redrawn = jax.jit(self._redraw, static_argnames="first")
        self._times = sampler.time_grid(CONFIG.sampling.nfe, -1.0 if CONFIG.sampling.sway else None)

    def __call__(
        self,
        mel: NDArray[np.float32],
        ids: NDArray[np.integer],
        lengths: NDArray[np.floating],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """An utterance's log-mel [n, 100] redrawn but for its first quarter; `ids` of its symbols and their `lengths`.

        What is longer than LONGEST, or has more sounds than tokens fit in, comes back as it is.
        """
        n = len(mel)
        if n > LONGEST or n // FRAMES_A_TOKEN < len(lengths):
            return mel
        tokens = np.repeat(ids, allocate(lengths, n // FRAMES_A_TOKEN))
        padded, symbols = np.zeros((1, LONGEST, mel.shape[1]), np.float32), np.full((1, LONGEST), -1, np.int32)
        padded[0, :n] = to_backbone_scale(CONFIG, mel)
        symbols[0, : len(tokens)] = tokens
        noise = rng.normal(size=padded.shape).astype(np.float32)
        first = len(self._times) - 1 - int(rng.integers(1, LAST_STEPS + 1))
        made = self._redrawn(self._params, padded, symbols, np.array([n], np.int32), noise, first=first)
        kept = int(HEARD * n)
        return np.concatenate([mel[:kept], np.asarray(from_backbone_scale(CONFIG, made))[0, kept:n]])

    def _redraw(
        self, params: nnx.State, mel: jax.Array, tokens: jax.Array, frames: jax.Array, noise: jax.Array, first: int
    ) -> jax.Array:
        flow: DiT = nnx.merge(self._graphdef, params)
        times = self._times[first:]
        heard = (jnp.arange(LONGEST) < (HEARD * frames).astype(jnp.int32))[None, :, None]
        fixed = flow.fix_inputs(jnp.where(heard, mel, 0.0), flow.embed_text(tokens, frames, False))
        start = (1 - times[0]) * CONFIG.noise_scale * noise + times[0] * mel

        def velocity(t: np.float32, x: jax.Array) -> jax.Array:
            return flow.velocity(x, fixed, flow.modulations(jnp.array([t])), frames)

        *_, made = sampler.integrate(velocity, start, times)
        return made


def redraw_shard(path: Path, redrawer: Redrawer, most: int) -> None:
    """Writes `NAME.redrawn.npy`, float16 [frames, 100], beside a shard: of its first utterances, `most` at most."""
    rng = np.random.default_rng(len(path.name))
    made = [
        one.mel if one.voice == ALTERED else redrawer(one.mel.astype(np.float32), one.ids, one.lengths, rng)
        for one in islice(read_shard(path), most)
    ]
    np.save(path.with_suffix(".redrawn.npy"), np.concatenate(made).astype(np.float16))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    parser.add_argument("--flow", type=Path, required=True, help="an exported folder, whose flow model redraws")
    parser.add_argument("--shards", type=int, default=1000, help="at most so many of each teacher")
    parser.add_argument("--utterances", type=int, default=1000, help="at most so many of a shard")
    arguments = parser.parse_args()
    redrawer = Redrawer(arguments.flow)
    for teacher in ("hibari", "kokoro"):
        of_teacher = [path for path in shards(arguments.data) if path.name.startswith(teacher)]
        for path in of_teacher[: arguments.shards]:
            redraw_shard(path, redrawer, arguments.utterances)
            print(path.name, flush=True)


if __name__ == "__main__":
    main()
