"""Trains the embedded voice's flow model: `python -m training.train_flow --start FOLDER --minutes 60`.

The model is `f5.dit.DiT` itself in its named configuration "embedded"; this file adds the conditional flow matching
loss with F5-TTS's infilling mask (arXiv 2410.06885, section 3). What it gives needs guidance, two passes a step.

With `--guide FOLDER` it learns the guided velocity instead: the truth is moved by what guidance with that folder's frozen
weights would add. So a student of `training.distil_flow`, which is served in one pass, goes on learning from speech.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from f5_tts_server.embedded.config import CONFIG
from f5_tts_server.embedded.lengths import FRAMES_A_TOKEN, allocate
from f5_tts_server.embedded.phonemes import SYMBOLS
from f5_tts_server.f5 import sampler
from f5_tts_server.f5.config import BackboneConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.model import padded, to_backbone_scale
from f5_tts_server.f5.weights import load_backbone
from training.fit import arguments_of_a_run, fit, fresh_state, stepped
from training.shards import ALTERED, Spoken, read_shard, shards
from training.spoken import SHIPPED

BACKBONE = replace(CONFIG.backbone, text_num_embeds=len(SYMBOLS))
# Rows × frames, and how often: few shapes, so that few programs compile. Attention makes long rows dear.
SHAPES = ((5, 384), (2, 960))
SHARES = (0.75, 0.25)
# Shares of a row to be filled in. Smaller than F5-TTS has (0.7 to 1, and audio dropped in 0.3): as much reference as at
# inference, and seen more often, so that a small model learns to follow its voice.
MASKED = (0.5, 1.0)
READ_EVERY = 50  # batches; shards may be added meanwhile
DROP_AUDIO, DROP_BOTH = 0.05, 0.1
GUIDANCE, GUIDED_UNTIL = 1.0, 0.25  # where it is learnt: its strength, and the time from which there is none
SHARE_OF_KIND = {"default": 0.45, "altered": 0.15, "shipped": 0.3, "others": 0.1}
Tree = Any
_NO_SAMPLES = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Batch:
    """mel float32 [b, n, 100] as the backbone sees it; tokens int32 [b, n]; frames, first and last int32 [b].

    Frames from `first` to `last` are masked: the model fills them in.
    """

    mel: np.ndarray
    tokens: np.ndarray
    frames: np.ndarray
    first: np.ndarray
    last: np.ndarray


class Corpus:
    """Every shard of a folder, in memory: the flow's part of each, grouped by session and by whose voice it is."""

    def __init__(self, folder: Path, shapes: tuple[tuple[int, int], ...] = SHAPES) -> None:
        """`shapes`: rows × frames of the batches, as often as `SHARES` says."""
        self._folder, self._read, self._shapes = folder, set[Path](), shapes
        self.sessions: dict[str, list[list[Spoken]]] = defaultdict(list)  # kind of voice → its sessions
        self.read()
        if not self.sessions:
            raise FileNotFoundError(f"{folder} has no shards: make them with `python -m training.corpus`")

    def read(self) -> None:
        """Takes in the shards that have come since."""
        for path in (path for path in shards(self._folder) if path not in self._read):
            self._read.add(path)
            sessions: dict[int, list[Spoken]] = defaultdict(list)
            for spoken in read_shard(path):
                sessions[spoken.session].append(replace(spoken, samples=_NO_SAMPLES))
            for session in sessions.values():
                self.sessions[kind(session[0].voice, path)].append(session)
        self._kinds = sorted(self.sessions)
        shares = np.array([SHARE_OF_KIND[kind] for kind in self._kinds])
        self._shares = shares / shares.sum()

    def row(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """mel [at most n, 100] and tokens, half as many: utterances of one session end to end.

        The last utterance is mostly cut where the row is full, so that little of a batch is padding.
        """
        sessions = self.sessions[self._kinds[rng.choice(len(self._kinds), p=self._shares)]]
        session = sessions[rng.integers(len(sessions))]
        order = rng.permutation(len(session))
        mels, tokens, total = [], [], 0
        for one in (session[int(index)] for index in order):
            frames = len(one.mel)
            if total > 0.75 * n and total + frames > n and rng.random() < 0.5:
                break
            mels.append(one.mel)
            tokens.append(np.repeat(one.ids, allocate(one.lengths, frames // FRAMES_A_TOKEN)))
            total += frames
            if total >= n:
                break
        return np.concatenate(mels)[:n], np.concatenate(tokens)[: n // FRAMES_A_TOKEN]

    def batches(self, seed: int) -> Iterator[Batch]:
        rng = np.random.default_rng(seed)
        for number in count(1):
            if number % READ_EVERY == 0:
                self.read()
            size, n = self._shapes[rng.choice(len(self._shapes), p=SHARES)]
            rows: list[tuple[np.ndarray, np.ndarray]] = []
            while len(rows) < size:
                row = self.row(rng, n)
                if len(row[0]) > 0.6 * n:
                    rows.append(row)
            yield self._collate(rows, n, rng)

    @staticmethod
    def _collate(rows: list[tuple[np.ndarray, np.ndarray]], n: int, rng: np.random.Generator) -> Batch:
        mel = padded([to_backbone_scale(CONFIG, row.astype(np.float32)) for row, _ in rows], n)
        tokens = padded([symbols.astype(np.int32) for _, symbols in rows], n, fill=-1)
        frames = np.array([len(row) for row, _ in rows], np.int32)
        masked = (frames * rng.uniform(*MASKED, len(rows))).astype(np.int32)
        first = (rng.random(len(rows)) * (frames - masked + 1)).astype(np.int32)
        return Batch(mel, tokens, frames, first, first + masked)


def kind(voice: str, path: Path) -> str:
    """Which share of the batches a session's voice belongs to, see `SHARE_OF_KIND`."""
    if path.name.startswith("hibari"):
        return "altered" if voice == ALTERED else "default"
    return "shipped" if voice in SHIPPED else "others"


def build(seed: int, backbone: BackboneConfig = BACKBONE) -> DiT:
    """A DiT as initialised for training: modulations and the output start at zero, as upstream."""
    model = DiT(backbone, rngs=nnx.Rngs(seed))
    for layer in (model.blocks.time, model.norm_out, model.proj_out):
        layer.w[...] = jnp.zeros_like(layer.w[...])
        if layer.b is not None:
            layer.b[...] = jnp.zeros_like(layer.b[...])
    return model


def exported(folder: Path) -> DiT:
    """The model of what `training.export` has written, in float32; the pause's second row (see there) left out."""
    model = load_backbone(folder / "flow.safetensors", replace(BACKBONE, text_num_embeds=len(SYMBOLS) + 1))
    assert isinstance(model, DiT)
    table = model.text.embedding[...]
    model.text.embedding = nnx.Param(jnp.concatenate([table[:1], table[2:]]))
    return model


def masked_frames(batch: dict[str, jax.Array]) -> jax.Array:
    """Which frames of a batch are to be made, bool [b, n, 1]."""
    index = jnp.arange(batch["mel"].shape[1])[None, :]
    return ((index >= batch["first"][:, None]) & (index < batch["last"][:, None]))[..., None]


def mean_square(difference: jax.Array, masked: jax.Array) -> jax.Array:
    """Of the frames [b, n, mel] that are masked [b, n, 1]."""
    return jnp.sum(jnp.square(difference) * masked) / (jnp.sum(masked) * difference.shape[-1])


def guidance(t: jax.Array) -> jax.Array:
    """Its strength at a time; any shape. Words are decided early; later on it only makes speech harsh (arXiv 2404.07724).

    Half of `GUIDED_UNTIL` before it there is all of it, at it none.
    """
    return GUIDANCE * jnp.clip(2 - 2 * t / GUIDED_UNTIL, 0, 1)


def flow_loss(model: DiT, key: jax.Array, batch: dict[str, jax.Array], guide: DiT | None = None) -> jax.Array:
    """Mean squared error of the predicted velocity over the masked frames.

    Its truth is x1 − x0; with a `guide`, x1 − x0 + guidance(t) · (the guide's velocity − its null one), and nothing is
    dropped.
    """
    mel, frames, masked = batch["mel"], batch["frames"], masked_frames(batch)
    noise_key, time_key, drop_key = jax.random.split(key, 3)
    x0 = jax.random.normal(noise_key, mel.shape)
    # Stratified over the batch: less variance than independent draws. Bent as sway sampling bends its steps, so that
    # early times, which few steps lean on most, are learnt best.
    t = 1 - jnp.cos(jnp.pi / 2 * ((jax.random.uniform(time_key) + jnp.arange(len(mel)) / len(mel)) % 1.0))
    x = (1 - t[:, None, None]) * x0 + t[:, None, None] * mel
    truth = mel - x0
    if guide is None:
        draw = jax.random.uniform(drop_key, (2,))
        drop_both = draw[0] < DROP_BOTH
        cond = jnp.where(masked | (draw[1] < DROP_AUDIO) | drop_both, 0.0, mel)
    else:
        drop_both = jnp.bool_(False)
        cond = jnp.where(masked, 0.0, mel)
        both = sampler.fix_both(guide, cond, batch["tokens"], frames)
        told, null = sampler.both_velocities(guide, x, both, guide.modulations(t), frames)
        truth += guidance(t)[:, None, None] * jax.lax.stop_gradient(told - null)
    fixed = model.fix_inputs(cond, model.embed_text(batch["tokens"], frames, drop_both))
    return mean_square(model.velocity(x, fixed, model.modulations(t), frames) - truth, masked)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def train_step(
    graphdef: nnx.GraphDef[DiT],
    guide: Tree | None,
    state: Tree,
    key: jax.Array,
    rate: jax.Array,
    batch: dict[str, jax.Array],
) -> tuple[Tree, dict[str, jax.Array]]:
    """One update; returns the state, which is donated, and the loss. `guide`: its parameters, see `flow_loss`."""
    guiding = None if guide is None else nnx.merge(graphdef, guide)

    def loss_of(params: Tree) -> jax.Array:
        return flow_loss(nnx.merge(graphdef, params), jax.random.fold_in(key, state["step"]), batch, guiding)

    loss, gradient = jax.value_and_grad(loss_of)(state["params"])
    return stepped(state, gradient, rate), {"loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments_of_a_run(parser, run="training/runs/flow", minutes=60, peak=1e-3)
    parser.add_argument(
        "--guide", type=Path, help="an exported folder, whose weights guide: what is learnt needs one pass"
    )
    arguments = parser.parse_args()
    model = exported(arguments.start) if arguments.start else build(arguments.seed)
    graphdef, params = nnx.split(model)
    guide = nnx.split(exported(arguments.guide))[1] if arguments.guide else None
    key = jax.random.key(arguments.seed)

    def update(state: Tree, rate: float, progress: float, batch: Batch) -> tuple[Tree, dict[str, jax.Array]]:
        return train_step(graphdef, guide, state, key, jnp.float32(rate), vars(batch))

    def seconds_of(batch: Batch) -> float:
        return float(batch.frames.sum()) * CONFIG.mel.hop / CONFIG.mel.sample_rate

    fit(arguments, fresh_state(params), Corpus(arguments.data).batches, update, seconds_of)


if __name__ == "__main__":
    main()
