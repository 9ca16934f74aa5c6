"""Trains the embedded voice's flow model: `python -m training.train_flow --data ... --run ... --minutes 90`.

The model is `f5.dit.DiT` itself in its named configuration "embedded"; this file adds the conditional flow matching
loss with F5-TTS's infilling mask (arXiv 2410.06885, section 3) and the optimiser. Stop it at any time and start it
again with the same `--run`: it goes on from its last checkpoint. The learning rate follows the time spent, warm-up
then cosine, so that a run is annealed when its minutes are over.

With `--distil RUN` a new run starts from the averaged weights of an earlier one and learns its guided velocity
(arXiv 2210.03142, section 3.1), so that one pass a step says what two did. With `--start FOLDER` it starts from the
weights in an exported folder, where the run that made them is gone.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from f5_tts_server.embedded.config import CONFIG
from f5_tts_server.embedded.lengths import allocate
from f5_tts_server.embedded.phonemes import SYMBOLS
from f5_tts_server.f5.config import BackboneConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.model import to_backbone_scale
from f5_tts_server.f5.weights import load_backbone
from training.checkpoints import load_checkpoint, save_checkpoint
from training.prefetch import prefetch

BACKBONE = replace(CONFIG.backbone, text_num_embeds=len(SYMBOLS))
# Rows × frames, and how often: few shapes, so that few programs compile. Attention makes long rows dear.
SHAPES = ((10, 192), (5, 384), (3, 640), (2, 960))
SHARES = (0.25, 0.4, 0.25, 0.1)
# Shares of a row to be filled in. Smaller than F5-TTS has (0.7 to 1, and audio dropped in 0.3): as much reference as at
# inference, and seen more often, so that a small model learns to follow its voice.
MASKED = (0.5, 1.0)
DROP_AUDIO, DROP_BOTH = 0.1, 0.2
DISTILLED_GUIDANCE = 1.0
WARM_UP_STEPS = 200
EMA = 0.999
LONGEST_STEP = 10.0  # seconds; what is longer is a process that was stopped, not training

Tree = Any


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
    """Every shard of a folder, in memory."""

    def __init__(self, folder: Path) -> None:
        # One entry a session: its utterances as (mel, ids, lengths).
        self.sessions: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = []
        for path in sorted(folder.glob("shard????.npz")):
            with np.load(path) as shard:
                mel, ids, lengths, rows = (shard[name] for name in ("mel", "ids", "lengths", "rows"))
            frame, symbol = 0, 0
            sessions = defaultdict(list)
            for frames, symbols, session, _ in rows:
                cut = slice(symbol, symbol + symbols)
                sessions[int(session)].append((mel[frame : frame + frames], ids[cut], lengths[cut]))
                frame, symbol = frame + frames, symbol + symbols
            self.sessions += sessions.values()
        if not self.sessions:
            raise FileNotFoundError(f"{folder} has no shards: make them with `python -m training.corpus`")

    def row(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """mel [at most n, 100] and tokens, half as many: utterances of one session end to end.

        The last utterance is mostly cut where the row is full, so that little of a batch is padding.
        """
        session = self.sessions[rng.integers(len(self.sessions))]
        mels, tokens, total = [], [], 0
        for mel, ids, lengths in session[int(rng.integers(len(session))) :]:
            if total > 0.75 * n and total + len(mel) > n and rng.random() < 0.5:
                break
            mels.append(mel)
            tokens.append(np.repeat(ids, allocate(lengths, len(mel) // 2)))
            total += len(mel)
            if total >= n:
                break
        return np.concatenate(mels)[:n], np.concatenate(tokens)[: n // 2]

    def batches(self, seed: int) -> Iterator[Batch]:
        rng = np.random.default_rng(seed)
        while True:
            size, n = SHAPES[rng.choice(len(SHAPES), p=SHARES)]
            rows: list[tuple[np.ndarray, np.ndarray]] = []
            while len(rows) < size:
                row = self.row(rng, n)
                if len(row[0]) > 0.6 * n:
                    rows.append(row)
            yield self._collate(rows, n, rng)

    @staticmethod
    def _collate(rows: list[tuple[np.ndarray, np.ndarray]], n: int, rng: np.random.Generator) -> Batch:
        mel = np.zeros((len(rows), n, CONFIG.backbone.mel_dim), np.float32)
        tokens = np.full((len(rows), n), -1, np.int32)
        frames = np.array([len(row[0]) for row in rows], np.int32)
        for index, (row, symbols) in enumerate(rows):
            mel[index, : len(row)] = to_backbone_scale(CONFIG, row.astype(np.float32))
            tokens[index, : len(symbols)] = symbols
        masked = (frames * rng.uniform(*MASKED, len(rows))).astype(np.int32)
        first = (rng.random(len(rows)) * (frames - masked + 1)).astype(np.int32)
        return Batch(mel, tokens, frames, first, first + masked)


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


def flow_loss(model: DiT, teacher: DiT | None, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """Mean squared error of the predicted velocity over the masked frames.

    The truth is x1 − x0, or the guided velocity of `teacher` where there is one; in batches whose audio and text are
    dropped, its null velocity.
    """
    mel, frames = batch["mel"], batch["frames"]
    b, n, _ = mel.shape
    noise_key, time_key, drop_key = jax.random.split(key, 3)
    index = jnp.arange(n)[None, :]
    masked = ((index >= batch["first"][:, None]) & (index < batch["last"][:, None]))[..., None]
    x0 = jax.random.normal(noise_key, mel.shape)
    # Stratified over the batch: less variance than independent draws, uniform all the same.
    t = (jax.random.uniform(time_key) + jnp.arange(b) / b) % 1.0
    x = (1 - t[:, None, None]) * x0 + t[:, None, None] * mel
    heard = jnp.where(masked, 0.0, mel)

    def velocity(by: DiT, drop_audio: bool | jax.Array, drop_text: bool | jax.Array) -> jax.Array:
        text = by.embed_text(batch["tokens"], frames, drop_text)
        cond = jnp.where(drop_audio, 0.0, heard)
        return by.velocity(x, by.fix_inputs(cond, text), by.modulations(t), frames)

    draw = jax.random.uniform(drop_key, (2,))
    drop_both = draw[0] < DROP_BOTH
    if teacher is None:
        truth = mel - x0
        made = velocity(model, (draw[1] < DROP_AUDIO) | drop_both, drop_both)
    else:
        null = velocity(teacher, True, True)
        conditional = velocity(teacher, False, False)
        truth = jnp.where(drop_both, null, conditional + DISTILLED_GUIDANCE * (conditional - null))
        made = velocity(model, drop_both, drop_both)
    return jnp.sum(jnp.square(made - truth) * masked) / (jnp.sum(masked) * mel.shape[-1])


def optimiser() -> optax.GradientTransformation:
    """AdamW without its learning rate, which each step brings along."""
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(b1=0.9, b2=0.99),
        optax.add_decayed_weights(0.01, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)),
    )


def fresh_state(params: Tree) -> Tree:
    """A run's state before its first step; `average` starts as a copy."""
    return {
        "params": params,
        "average": jax.tree.map(jnp.copy, params),
        "adam": optimiser().init(params),
        "step": jnp.zeros((), jnp.int32),
    }


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(
    graphdef: nnx.GraphDef[DiT],
    state: Tree,
    teacher: Tree | None,
    key: jax.Array,
    rate: jax.Array,
    batch: dict[str, jax.Array],
) -> tuple[Tree, jax.Array, jax.Array]:
    """One update; returns the state, which is donated, with the loss and the gradient's norm.

    `teacher`: parameters whose guided velocity is distilled, if any.
    """
    step = state["step"] + 1
    guide = None if teacher is None else nnx.merge(graphdef, teacher)

    def loss_of(params: Tree) -> jax.Array:
        return flow_loss(nnx.merge(graphdef, params), guide, jax.random.fold_in(key, step), batch)

    loss, gradient = jax.value_and_grad(loss_of)(state["params"])
    updates, adam = optimiser().update(gradient, state["adam"], state["params"])
    params = jax.tree.map(lambda p, u: p - rate * u, state["params"], updates)
    decay = jnp.minimum(EMA, (1 + step) / (10 + step))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state["average"], params)
    new = {"params": params, "average": average, "adam": adam, "step": step}
    return new, loss, optax.global_norm(gradient)


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Linear warm-up in steps, then a cosine down to a fiftieth of the peak; progress from 0 to 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * cosine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("training/data"))
    parser.add_argument("--run", type=Path, default=Path("training/runs/flow"))
    parser.add_argument("--minutes", type=float, default=90, help="of training in all, earlier starts included")
    parser.add_argument("--peak", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--distil", type=Path, help="an earlier run, whose guided velocity is to be learnt")
    parser.add_argument("--start", type=Path, help="an exported folder, whose weights a new run starts from")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(arguments.run.resolve() / "compiled"))

    graphdef, params = nnx.split(exported(arguments.start) if arguments.start else build(arguments.seed))
    state, teacher = fresh_state(params), None
    if arguments.distil:
        teacher = load_checkpoint(arguments.distil / "checkpoint.npz", state)[0]["average"]
        state = fresh_state(jax.tree.map(jnp.copy, teacher))
    spent, heard = 0.0, 0.0
    checkpoint, log = arguments.run / "checkpoint.npz", arguments.run / "log.csv"
    if checkpoint.exists():
        state, progress = load_checkpoint(checkpoint, state)
        spent, heard = progress["spent"], progress["heard"]
    step = int(state["step"])
    print(f"step {step}, {sum(leaf.size for leaf in jax.tree.leaves(params)) / 1e6:.2f} M parameters", flush=True)

    key = jax.random.key(arguments.seed)
    losses: list[jax.Array] = []
    budget = arguments.minutes * 60
    last = saved = time.monotonic()
    with log.open("a", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(["step", "seconds", "hours_heard", "loss", "gradient_norm", "learning_rate"])
        for batch in prefetch(Corpus(arguments.data).batches(arguments.seed + step)):
            rate = learning_rate(step, spent / budget, arguments.peak)
            state, loss, norm = train_step(graphdef, state, teacher, key, jnp.float32(rate), vars(batch))
            losses.append(loss)
            step += 1
            heard += float(batch.frames.sum()) * CONFIG.mel.hop / CONFIG.mel.sample_rate / 3600
            if step % 50 == 0:
                mean = float(np.mean(jax.device_get(losses)))
                losses.clear()
            # The step runs ahead of this thread; waiting for its loss makes the clock honest.
            jax.block_until_ready(loss)
            now = time.monotonic()
            spent, last = spent + min(now - last, LONGEST_STEP), now
            if step % 50 == 0:
                writer.writerow([step, f"{spent:.1f}", f"{heard:.3f}", f"{mean:.5f}", f"{norm:.3f}", f"{rate:.2e}"])
                file.flush()
                print(f"step {step}  {spent:.0f} s  {heard:.2f} h  loss {mean:.4f}  rate {rate:.1e}", flush=True)
            if now - saved > 180 or spent >= budget:
                save_checkpoint(checkpoint, state, {"spent": spent, "heard": heard})
                saved = now
            if spent >= budget:
                return


if __name__ == "__main__":
    main()
