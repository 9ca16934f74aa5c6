"""Vocos with a source: its spectrum is a filter on a pulse train and on noise, instead of the samples' own.

A convolutional vocoder that sees a steady log-mel makes every frame alike, so its samples repeat with each hop: a voice
below the frame rate (93.75 Hz) comes out at the frame rate. Here a small network reads the pitch off the log-mel, its
phase is summed over the clip, and what Vocos predicts for a frame multiplies the spectra of a pulse train of that
phase and of white noise (source and filter: Fant 1960; in neural vocoders: Wang et al., arXiv:1904.12088). To this it
adds a spectrum of its own, as a plain Vocos does, for all that is neither: it reads the phase beside the log-mel, so that
frames of a steady vowel differ. In the end every frame's spectrum is brought to the mel that was asked for, or near it
where that one is blurred: so the network has only to learn what a mel does not tell, phases and what lies between bands.

Shapes: b batch, n frames, k = n_fft / 2 + 1 bins. A *pitched* clip has four channels more than its log-mel: cosine and
sine of the phase at the frame's centre, cycles a frame (0 where unvoiced), and the cycles that have passed at the
frame's centre, modulo 1. The last two are its *track*.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.f5.audio import mel_filters
from f5_tts_server.f5.config import MelConfig
from f5_tts_server.f5.layers import Linear, layer_norm, shifted
from f5_tts_server.f5.vocos import MAX_MAGNITUDE, TAPS, ConvNeXtBlock, Vocos, VocosConfig, hann_window

PITCH_BINS = 144
LOWEST, HIGHEST = 50.0, 420.0  # Hz
PITCH_SIZE = VocosConfig(dim=96, intermediate_dim=192, num_layers=3)
HIGHEST_HARMONIC = 11_500.0  # Hz
_NEIGHBOURS = 3  # bins to either side of the best that its frequency is averaged over
_NOISE_SEED = 0
_MEL_ROUNDS = 3
_MOST_GAIN = 1.0  # in one round, in the logarithm
_LEAST_POWER, _LEAST_MEL = 1e-10, 1e-5


def bin_frequencies() -> NDArray[np.float32]:
    """Centre of each pitch bin in Hz, evenly spaced in its logarithm."""
    return np.geomspace(LOWEST, HIGHEST, PITCH_BINS).astype(np.float32)


class PitchTracker(nnx.Module):
    """Log-mel [b, n, 100] → logits [b, n, PITCH_BINS + 1], the last of which says that the frame is voiced."""

    def __init__(self, mels: int, *, rngs: nnx.Rngs) -> None:
        size = PITCH_SIZE
        self.embed = Linear(TAPS * mels, size.dim, rngs=rngs)
        self.blocks = nnx.vmap(lambda r: ConvNeXtBlock(size, rngs=r, dtype=jnp.float32))(rngs.split(size.num_layers))
        self.out = Linear(size.dim, PITCH_BINS + 1, rngs=rngs)

    def __call__(self, mel: jax.Array, frames: jax.Array) -> jax.Array:
        """`frames` int32 [b]: how many of each row are meant."""
        valid = (jnp.arange(mel.shape[1])[None, :] < frames[:, None])[..., None]
        graph, parameters = nnx.split(self.blocks)

        def block(x: jax.Array, layer: nnx.State[Any, Any]) -> tuple[jax.Array, None]:
            return jnp.where(valid, nnx.merge(graph, layer)(x), 0), None

        x = layer_norm(self.embed(jnp.concatenate(shifted(jnp.where(valid, mel, 0), TAPS), axis=-1)))
        x, _ = jax.lax.scan(block, jnp.where(valid, x, 0), parameters)
        return self.out(layer_norm(x))

    def frequencies(self, mel: jax.Array, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Hz [b, n] and whether voiced [b, n]."""
        logits = self(mel, frames)
        weights = jax.nn.softmax(logits[..., :-1])
        best = jnp.argmax(weights, axis=-1)[..., None]
        near = jnp.abs(jnp.arange(PITCH_BINS) - best) <= _NEIGHBOURS
        weights = jnp.where(near, weights, 0.0)
        height = jnp.sum(weights * jnp.log(bin_frequencies()), axis=-1) / jnp.sum(weights, axis=-1)
        return jnp.exp(height), logits[..., -1] > 0


class SourceVocos(Vocos):
    """Reads pitched clips; `out` gives the pulses' log gain and phase, the noise's log gain, the log magnitude and phase
    of what is added to them, and how far off the log-mel shall be."""

    def __init__(self, config: VocosConfig, *, rngs: nnx.Rngs, param_dtype: jnp.dtype = jnp.float32) -> None:
        super().__init__(config, rngs=rngs, param_dtype=param_dtype)
        outputs = 5 * (config.n_fft // 2 + 1) + config.input_channels
        self.out = Linear(config.dim, outputs, rngs=rngs, dtype=param_dtype)
        self.pitch = PitchTracker(config.input_channels, rngs=rngs)

    @property
    def analyses(self) -> bool:
        return True

    @property
    def feature_channels(self) -> int:
        return self.config.input_channels + 4

    @property
    def read_channels(self) -> int:
        return self.config.input_channels + 3

    def analyse(self, mel: jax.Array, frames: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The pitch of clips: Hz [b, n] and whether voiced [b, n]."""
        return self.pitch.frequencies(mel, frames)

    def prepare(
        self, mel: NDArray[np.float32], analysis: tuple[NDArray[np.float32], NDArray[np.bool_]]
    ) -> NDArray[np.float32]:
        """A pitched clip [n, input_channels + 4]."""
        return with_pitch(mel, *analysis, self.config)

    def _synthesised(self, hidden: jax.Array, features: jax.Array, index: jax.Array) -> jax.Array:
        log_mel = features[..., : self.config.input_channels]
        bins = (self.config.n_fft // 2 + 1) * np.arange(1, 6)
        gain, turn, noise_gain, own, own_phase, off = jnp.split(self.out(hidden).astype(jnp.float32), bins, axis=-1)
        pulses, noise = pulse_spectra(features[..., -2:], self.config), noise_spectra(index, self.config)
        spectrum = _polar(gain, turn) * pulses + _bounded_exp(noise_gain) * noise + _polar(own, own_phase)
        spectrum = spectrum * mel_gain(spectrum, log_mel + off, self.config)
        return jnp.fft.irfft(spectrum, self.config.n_fft, axis=-1) * hann_window(self.config.n_fft)


def _polar(log_magnitude: jax.Array, phase: jax.Array) -> jax.Array:
    """Spectra [b, n, k], real in the first and the last bin, as a real signal's are."""
    magnitude, edge = _bounded_exp(log_magnitude), np.ones(phase.shape[-1], np.float32)
    edge[[0, -1]] = 0
    return jax.lax.complex(magnitude * jnp.cos(phase), magnitude * jnp.sin(phase) * edge)


def _bounded_exp(x: jax.Array) -> jax.Array:
    """Bounded before it is raised: the gradient of a bound on infinity is NaN, and ended a training run."""
    return jnp.exp(jnp.minimum(x, np.log(MAX_MAGNITUDE)))


def pulse_spectra(track: jax.Array, config: VocosConfig) -> jax.Array:
    """Spectra [b, n, k] of a pulse train of unit variance, from [b, n, 2] cycles a frame and cycles passed."""
    cycles, passed = track[..., :1], track[..., 1:]
    offset = jnp.arange(-(config.n_fft // 2), config.n_fft // 2) / config.hop
    turn = passed + cycles * offset  # [b, n, n_fft]
    turn = turn - jnp.round(turn)
    rate = config.sample_rate / config.hop  # frames a second
    harmonics = jnp.floor(HIGHEST_HARMONIC / rate / jnp.where(cycles > 0, cycles, 1.0))
    # Dirichlet's closed form of the cosines' sum, its limit where a pulse stands.
    half = jnp.sin(jnp.pi * turn)
    near = jnp.abs(half) < 1e-4
    ratio = jnp.sin((2 * harmonics + 1) * jnp.pi * turn) / jnp.where(near, 1.0, half)
    total = 0.5 * (jnp.where(near, 2 * harmonics + 1, ratio) - 1)
    train = jnp.where(cycles > 0, total * jnp.sqrt(2 / harmonics), 0.0)
    return jnp.fft.rfft(train * hann_window(config.n_fft), axis=-1)


def mel_gain(spectrum: jax.Array, log_mel: jax.Array, config: VocosConfig) -> jax.Array:
    """What a spectrum [b, n, k] has to be multiplied with, [b, n, k], so that its log-mel is `log_mel` [b, n, mels].

    In a few rounds, each bin by the mean of what its bands lack, weighed by their filters.
    """
    filters = mel_filters(MelConfig(config.sample_rate, config.n_fft, config.hop, config.n_fft, config.input_channels))
    shares = (filters / np.maximum(filters.sum(axis=1, keepdims=True), 1e-6)).T.astype(np.float32)  # [mels, k]
    log_magnitude = 0.5 * jnp.log(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + _LEAST_POWER)
    log_gain = jnp.zeros_like(log_magnitude)
    for _ in range(_MEL_ROUNDS):
        made = jnp.log(jnp.exp(log_magnitude + log_gain) @ filters.astype(np.float32) + _LEAST_MEL)
        lacking = jnp.clip(log_mel - made, -_MOST_GAIN, _MOST_GAIN)
        log_gain = log_gain + lacking @ shares
    return jnp.exp(log_gain)


def noise_spectra(index: jax.Array, config: VocosConfig) -> jax.Array:
    """Spectra [b, n, k] of white noise at successive frames of these numbers [b, n]: a frame's noise is its own."""
    parts, n = config.n_fft // config.hop, index.shape[1]
    key = jax.random.key(_NOISE_SEED)

    def hop(number: jax.Array) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(key, number), (config.hop,))

    hops = jax.vmap(jax.vmap(hop))((index[:, :1] + jnp.arange(n + parts - 1)).astype(jnp.uint32))
    frames = jnp.concatenate([hops[:, part : part + n] for part in range(parts)], axis=-1)
    return jnp.fft.rfft(frames * hann_window(config.n_fft), axis=-1)


def with_pitch(
    mel: NDArray[np.float32], hertz: NDArray[np.float32], voiced: NDArray[np.bool_], config: VocosConfig
) -> NDArray[np.float32]:
    """A pitched clip [n, input_channels + 4] out of a log-mel [n, input_channels] and its pitch, both [n]."""
    cycles = hertz.astype(np.float64) * config.hop / config.sample_rate
    passed = np.cumsum(cycles) - cycles / 2  # as if a frame's pitch held from half a hop before to half a hop after it
    turn = 2 * np.pi * passed
    track = np.stack([np.cos(turn), np.sin(turn), cycles * voiced, passed % 1], axis=1)
    return np.concatenate([mel, track], axis=1).astype(np.float32)
