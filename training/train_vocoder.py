"""Trains the embedded voice's vocoder: `python -m training.train_vocoder --start FOLDER --minutes 30`.

A small `SourceVocos`, from the teachers' audio: log-mel L1 and spectra at four resolutions (spectral convergence and
log magnitude, arXiv 1910.11480) and discriminators (`discriminators`), with the true pitch and its phase; its pitch
tracker learns them off the mel at the same time. Half of the mels are blurred by noise, and
those that `training.redraw` has made as the flow model would are learnt from too, where the folder has some.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.embedded.source_vocos import PitchTracker, SourceVocos, bin_frequencies
from f5_tts_server.embedded.weights import load_source_vocos
from f5_tts_server.f5.audio import mel, mel_filters
from f5_tts_server.f5.vocos import VocosConfig
from training.discriminators import Discriminators, adversarial_loss, feature_loss, magnitudes, verdict_loss
from training.fit import arguments_of_a_run, fit, fresh_state, stepped
from training.pitch import track
from training.shards import ALTERED, MEL, read_shard, shards
from training.vowels import vowel

CONFIG = VocosConfig(dim=192, intermediate_dim=576, num_layers=6)
ROWS, FRAMES = 8, 49  # a row's audio has (frames − 1) · hop samples
RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))  # FFT size and hop in samples
VOWELS = 0.12  # share of the rows: without them the tracker takes steady low voices for noise
REDRAWN = 0.5  # share of the rows, where there are redrawn mels
MEL_WEIGHT = 3.0
PITCH_WEIGHT = 0.2
COMPLEX_WEIGHT = 2.0
CRITICS_FROM = 0.6  # of the time: discriminators cost more than the vocoder does, and what is far off needs none
DISTANCE_WEIGHT, FEATURE_WEIGHT = 5.0, 1.0  # beside the verdicts' 1
CRITICS_RATE = 1.0  # the discriminators' learning rate in units of the vocoder's

Tree = Any


def exported(folder: Path) -> SourceVocos:
    """The vocoder that `training.export` has written, in float32."""
    return load_source_vocos(folder / "vocoder" / "config.yaml", folder / "vocoder" / "model.safetensors")


class Clips:
    """Every utterance of a folder's shards that is a teacher's own voice: log-mel, samples and pitch."""

    def __init__(self, folder: Path) -> None:
        self.clips: list[tuple[NDArray[np.float32], ...]] = []
        self.redrawn: list[tuple[NDArray[np.float32], ...]] = []
        for path in shards(folder):
            beside = path.with_suffix(".redrawn.npy")
            others = np.load(beside) if beside.exists() else None
            frame = 0
            for one in read_shard(path):
                span = slice(frame, frame + len(one.mel))
                frame = span.stop
                if one.voice == ALTERED or len(one.mel) < FRAMES:
                    continue
                pitch = track(one.samples, len(one.mel))
                rest = (one.samples, pitch.hertz, pitch.voiced.astype(np.float32), pitch.cycles)
                self.clips.append((one.mel.astype(np.float32), *rest))
                if others is not None and span.stop <= len(others):
                    self.redrawn.append((others[span].astype(np.float32), *rest))
        if not self.clips:
            raise FileNotFoundError(f"{folder} has no shards: make them with `python -m training.corpus`")

    def batches(self, seed: int) -> Iterator[dict[str, NDArray[np.float32]]]:
        """mel float32 [rows, frames, 100], the samples float32 [rows, (frames − 1) · hop] it came from, and their pitch,
        float32 [rows, frames]: `hertz`, `voiced` (0 or 1) and `cycles`."""
        rng = np.random.default_rng(seed)
        while True:
            rows = []
            for _ in range(ROWS):
                if rng.random() < VOWELS:
                    wave, pitch = vowel(FRAMES, rng)
                    rows.append((mel(wave, MEL)[:FRAMES], wave, pitch.hertz, pitch.voiced, pitch.cycles))
                    continue
                clips = self.redrawn if self.redrawn and rng.random() < REDRAWN else self.clips
                frames, samples, *tracked = clips[int(rng.integers(len(clips)))]
                at = int(rng.integers(len(frames) - FRAMES + 1))
                blur = rng.normal(0, rng.uniform(0, 0.15), (FRAMES, MEL.n_mels)) if rng.random() < 0.3 else 0.0
                loudness = rng.uniform(0.6, 1.5)
                wave = samples[at * MEL.hop : (at + FRAMES - 1) * MEL.hop] * loudness
                heard = frames[at : at + FRAMES] + np.log(loudness) + blur
                rows.append((heard, wave, *(one[at : at + FRAMES] for one in tracked)))
            columns = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
            yield dict(zip(("mel", "samples", "hertz", "voiced", "cycles"), columns, strict=True))


def voiced_samples(model: SourceVocos, batch: dict[str, jax.Array]) -> jax.Array:
    """The samples that the model makes of a batch's mels and true pitch."""
    cycles, turn = batch["voiced"] * batch["hertz"] * MEL.hop / MEL.sample_rate, 2 * jnp.pi * batch["cycles"]
    track = jnp.stack([jnp.cos(turn), jnp.sin(turn), cycles, batch["cycles"]], axis=-1)
    return model.decode(jnp.concatenate([batch["mel"], track], axis=-1))


def compressed(samples: jax.Array) -> jax.Array:
    """Complex spectra [b, n, k] with the root of their magnitudes, of samples [b, s]."""
    starts = np.arange(0, samples.shape[1] - MEL.n_fft + 1, MEL.hop)
    window = jnp.asarray(np.hanning(MEL.n_fft + 1)[:-1], jnp.float32)
    spectra = jnp.fft.rfft(samples[:, starts[:, None] + np.arange(MEL.n_fft)] * window)
    return spectra * (jnp.square(spectra.real) + jnp.square(spectra.imag) + 1e-6) ** -0.25


def distance(made: jax.Array, true: jax.Array) -> jax.Array:
    """Log-mel L1, that of compressed complex spectra, and the mean over four resolutions of spectral convergence plus
    log-magnitude L1; samples [b, s].

    The phase of the pulses is the true one, so complex spectra can be compared.
    """
    a, b = compressed(made), compressed(true)
    away = jnp.sqrt(jnp.square((a - b).real) + jnp.square((a - b).imag) + 1e-9)
    loudness = jnp.sqrt(jnp.square(b.real) + jnp.square(b.imag) + 1e-9)
    total = COMPLEX_WEIGHT * jnp.mean(away) / jnp.mean(loudness)
    for size, hop in RESOLUTIONS:
        a, b = magnitudes(made, size, hop), magnitudes(true, size, hop)
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
def plain_step(
    vocoder: nnx.GraphDef[SourceVocos], state: Tree, rate: jax.Array, batch: dict[str, jax.Array]
) -> tuple[Tree, dict[str, jax.Array]]:
    """One update of the vocoder alone, by the spectral distance; `state` is its own."""

    def loss_of(params: Tree) -> tuple[jax.Array, dict[str, jax.Array]]:
        model = nnx.merge(vocoder, params)
        far, pitch = distance(voiced_samples(model, batch), batch["samples"]), pitch_loss(model.pitch, batch)
        return DISTANCE_WEIGHT * far + PITCH_WEIGHT * pitch, {"distance": far, "pitch": pitch}

    (_, values), gradient = jax.value_and_grad(loss_of, has_aux=True)(state["params"])
    return stepped(state, gradient, rate), values


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def train_step(
    vocoder: nnx.GraphDef[SourceVocos],
    critics: nnx.GraphDef[Discriminators],
    state: Tree,
    rate: jax.Array,
    batch: dict[str, jax.Array],
) -> tuple[Tree, dict[str, jax.Array]]:
    """One update of the vocoder and one of the discriminators, from the same samples."""
    true = batch["samples"]

    def loss_of(params: Tree) -> tuple[jax.Array, tuple[dict[str, jax.Array], jax.Array]]:
        model = nnx.merge(vocoder, params)
        made = voiced_samples(model, batch)
        far, pitch = distance(made, true), pitch_loss(model.pitch, batch)
        judge = nnx.merge(critics, state["critics"]["params"])
        judged = judge(made)
        verdict, features = adversarial_loss(judged), feature_loss(judge(true), judged)
        values = {"distance": far, "pitch": pitch, "verdict": verdict, "features": features}
        loss = DISTANCE_WEIGHT * far + PITCH_WEIGHT * pitch + verdict + FEATURE_WEIGHT * features
        return loss, (values, made)

    (_, (values, made)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state["vocoder"]["params"])

    def critics_loss_of(params: Tree) -> jax.Array:
        judge = nnx.merge(critics, params)
        return verdict_loss(judge(true), judge(made))

    critics_loss, critics_gradient = jax.value_and_grad(critics_loss_of)(state["critics"]["params"])
    new = {
        "vocoder": stepped(state["vocoder"], gradient, rate),
        "critics": stepped(state["critics"], critics_gradient, CRITICS_RATE * rate),
    }
    return new, values | {"critics": critics_loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments_of_a_run(parser, run="training/runs/vocoder", minutes=30, peak=8e-4)
    arguments = parser.parse_args()
    model = exported(arguments.start) if arguments.start else SourceVocos(CONFIG, rngs=nnx.Rngs(arguments.seed))
    vocoder, params = nnx.split(model)
    critics, judging = nnx.split(Discriminators(rngs=nnx.Rngs(arguments.seed)))
    state = {"vocoder": fresh_state(params), "critics": fresh_state(judging)}

    def update(
        state: Tree, rate: float, progress: float, batch: dict[str, NDArray[np.float32]]
    ) -> tuple[Tree, dict[str, jax.Array]]:
        if progress < CRITICS_FROM:
            state["vocoder"], values = plain_step(vocoder, state["vocoder"], jnp.float32(rate), batch)
            return state, values | dict.fromkeys(("verdict", "features", "critics"), jnp.full((), jnp.nan))
        return train_step(vocoder, critics, state, jnp.float32(rate), batch)

    def seconds_of(batch: dict[str, NDArray[np.float32]]) -> float:
        return batch["samples"].size / MEL.sample_rate

    fit(arguments, state, Clips(arguments.data).batches, update, seconds_of)


if __name__ == "__main__":
    main()
