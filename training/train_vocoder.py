"""Trains the embedded voice's vocoder: `python -m training.train_vocoder --run ... --minutes 25`.

A small `SourceVocos`, from the teacher's own audio made on the fly: log-mel L1 and spectra at four
resolutions (spectral convergence and log magnitude, arXiv 1910.11480), with the true pitch and its phase; its pitch
tracker learns them off the mel at the same time. At run time mels come from the flow model, so here half of them are
blurred by noise, and with `--flow FOLDER` most are redrawn by the flow model exported there. `--start FOLDER` begins
with the vocoder exported there, where its run is gone. Resumable like `train_flow`.
"""

from __future__ import annotations

import argparse
import csv
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
from f5_tts_server.embedded.source_vocos import PitchTracker, SourceVocos, bin_frequencies
from f5_tts_server.embedded.weights import load_source_vocos
from f5_tts_server.f5.audio import mel, mel_filters
from f5_tts_server.f5.vocos import VocosConfig
from training.checkpoints import load_checkpoint, save_checkpoint
from training.corpus import MEL, draw_voice, level
from training.pitch import track
from training.prefetch import prefetch
from training.redraw import Redrawer
from training.sentences import sentences
from training.teacher import Mismatch, Teacher
from training.train_flow import EMA, LONGEST_STEP, fresh_state, learning_rate, optimiser

CONFIG = VocosConfig(dim=192, intermediate_dim=576, num_layers=6)
ROWS, FRAMES = 16, 65  # a row's audio has (frames − 1) · hop samples
POOL = 400  # utterances held at a time
RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))  # FFT size and hop in samples
REDRAWN = 0.7  # share of the utterances, where there is a flow model
MEL_WEIGHT = 3.0
PITCH_WEIGHT = 0.2

Tree = Any


def exported(folder: Path) -> SourceVocos:
    """The vocoder that `training.export` has written, in float32."""
    return load_source_vocos(folder / "vocoder" / "config.yaml", folder / "vocoder" / "model.safetensors")


def crops(seed: int, redrawer: Redrawer | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Batches of crops: mel float32 [rows, frames, 100], the samples float32 [rows, (frames − 1) · hop] it came from, and
    their pitch, float32 [rows, frames]: `hertz`, `voiced` (0 or 1) and `cycles`."""
    teacher, random_, rng, text = Teacher(), random.Random(seed), np.random.default_rng(seed), sentences(seed)
    pool: list[tuple[np.ndarray, ...]] = []

    def add() -> None:
        while True:
            try:
                spoken = teacher.speak(phonemes(next(text)), draw_voice(random_))
            except Mismatch:
                continue
            loudness = random_.uniform(0.5, 2.0)
            samples = level(spoken.samples, rng, loudness)
            frames = mel(samples, MEL)
            if len(frames) >= FRAMES:
                pitch = track(samples, len(frames))
                if redrawer is not None and random_.random() < REDRAWN:
                    frames = redrawer(frames - np.log(loudness), spoken, rng) + np.log(loudness)
                pool.append((frames, samples[: (len(frames) - 1) * MEL.hop], pitch.hertz, pitch.voiced, pitch.cycles))
                return

    for _ in range(POOL):
        add()
    while True:
        pool.pop(int(rng.integers(len(pool))))
        add()
        rows = []
        for _ in range(ROWS):
            frames, samples, *pitch = pool[int(rng.integers(len(pool)))]
            at = int(rng.integers(len(frames) - FRAMES + 1))
            blur = rng.normal(0, rng.uniform(0, 0.2), (FRAMES, MEL.n_mels)) if rng.random() < 0.5 else 0.0
            wave = samples[at * MEL.hop : (at + FRAMES - 1) * MEL.hop]
            rows.append((frames[at : at + FRAMES] + blur, wave, *(one[at : at + FRAMES] for one in pitch)))
        columns = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
        yield dict(zip(("mel", "samples", "hertz", "voiced", "cycles"), columns, strict=True))


def spectrum(samples: jax.Array, size: int, hop: int) -> jax.Array:
    """Magnitudes [b, n, size / 2 + 1] of samples [b, s], frames that lie inside the signal."""
    starts = np.arange(0, samples.shape[1] - size + 1, hop)
    window = jnp.asarray(np.hanning(size + 1)[:-1], jnp.float32)
    transformed = jnp.fft.rfft(samples[:, starts[:, None] + np.arange(size)] * window)
    return jnp.sqrt(jnp.square(transformed.real) + jnp.square(transformed.imag) + 1e-9)


def loss_of(model: SourceVocos, batch: dict[str, jax.Array]) -> jax.Array:
    """The samples' distance plus the tracker's."""
    cycles = batch["voiced"] * batch["hertz"] * MEL.hop / MEL.sample_rate
    pitched = jnp.concatenate([batch["mel"], cycles[..., None], batch["cycles"][..., None]], axis=-1)
    return distance(model.decode(pitched), batch["samples"]) + PITCH_WEIGHT * pitch_loss(model.pitch, batch)


def distance(made: jax.Array, true: jax.Array) -> jax.Array:
    """Log-mel L1 and the mean over four resolutions of spectral convergence plus log-magnitude L1; samples [b, s]."""
    total = jnp.zeros(())
    for size, hop in RESOLUTIONS:
        a, b = spectrum(made, size, hop), spectrum(true, size, hop)
        convergence = jnp.linalg.norm(a - b) / jnp.linalg.norm(b)
        logs = jnp.mean(jnp.abs(jnp.log(jnp.maximum(a, 1e-4)) - jnp.log(jnp.maximum(b, 1e-4))))
        total += (convergence + logs) / len(RESOLUTIONS)
        if size == MEL.n_fft:
            filters = jnp.asarray(mel_filters(MEL), jnp.float32)
            log_mels = (jnp.log(jnp.maximum(x @ filters, 1e-5)) for x in (a, b))
            total += MEL_WEIGHT * jnp.mean(jnp.abs(jnp.subtract(*log_mels)))
    return total


def pitch_loss(tracker: PitchTracker, batch: dict[str, jax.Array]) -> jax.Array:
    """Cross entropy of the pitch, its bin a little blurred, where there is one, and of whether there is."""
    rows, n, _ = batch["mel"].shape
    logits = tracker(batch["mel"], jnp.full(rows, n))
    heights = jnp.log(bin_frequencies())
    away = (heights - jnp.log(batch["hertz"])[..., None]) / (heights[1] - heights[0])
    wanted = jax.nn.softmax(-0.5 * jnp.square(away))
    bins = -jnp.sum(wanted * jax.nn.log_softmax(logits[..., :-1]), axis=-1)
    voiced = optax.sigmoid_binary_cross_entropy(logits[..., -1], batch["voiced"])
    return jnp.sum(bins * batch["voiced"]) / jnp.sum(batch["voiced"]) + jnp.mean(voiced)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(
    graphdef: nnx.GraphDef[SourceVocos], state: Tree, rate: jax.Array, batch: dict[str, jax.Array]
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
    parser.add_argument("--run", type=Path, default=Path("training/runs/vocoder"))
    parser.add_argument("--minutes", type=float, default=25, help="of training in all, earlier starts included")
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flow", type=Path, help="an exported folder, whose flow model redraws mels")
    parser.add_argument("--start", type=Path, help="an exported folder, whose vocoder a new run starts from")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(arguments.run.resolve() / "compiled"))

    model = exported(arguments.start) if arguments.start else SourceVocos(CONFIG, rngs=nnx.Rngs(arguments.seed))
    graphdef, params = nnx.split(model)
    redrawer = Redrawer(arguments.flow) if arguments.flow else None
    state = fresh_state(params)
    spent = 0.0
    checkpoint, log = arguments.run / "checkpoint.npz", arguments.run / "log.csv"
    if checkpoint.exists():
        state, progress = load_checkpoint(checkpoint, state)
        spent = progress["spent"]
    step = int(state["step"])
    losses: list[float] = []
    budget = arguments.minutes * 60
    last = saved = time.monotonic()
    with log.open("a", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(["step", "seconds", "loss", "learning_rate"])
        for batch in prefetch(crops(arguments.seed + step, redrawer)):
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
