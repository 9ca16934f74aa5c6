"""What the vocoder is trained against: discriminators over periods and over spectra at several resolutions.

Small versions of those of HiFi-GAN (arXiv 2010.05646) and UnivNet (arXiv 2106.07889). Every convolution is written as
one product over its unrolled taps: XLA's own are slow in training on a CPU.

Samples come in at unit level and weights start so that a layer hands on what it is given at the same size (He et al.,
arXiv 1502.01852). There is no normalisation to make up for it: with weights of a third of the variance, verdicts began
at a thousandth, and in 600 steps no discriminator told anything from anything.
"""

from __future__ import annotations

import math
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from f5_tts_server.f5.audio import TARGET_RMS
from f5_tts_server.f5.layers import Linear

PERIODS = (2, 3, 5, 7)
RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))  # FFT size and hop in samples
_SLOPE = 0.1


class Conv(nnx.Module):
    """A convolution over the two middle axes of [b, n, m, c], zero beyond the edges."""

    def __init__(
        self, c_in: int, c_out: int, kernel: tuple[int, int], stride: tuple[int, int], *, rngs: nnx.Rngs
    ) -> None:
        self.kernel, self.stride = kernel, stride
        self.linear = Linear(kernel[0] * kernel[1] * c_in, c_out, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        b, c = x.shape[0], x.shape[-1]
        (p, q), (s, r) = self.kernel, self.stride
        x = jnp.pad(x, ((0, 0), (p // 2, p // 2), (q // 2, q // 2), (0, 0)))
        rows, columns = (x.shape[1] - p) // s + 1, (x.shape[2] - q) // r + 1
        views = [
            jax.lax.slice(x, (0, i, j, 0), (b, i + (rows - 1) * s + 1, j + (columns - 1) * r + 1, c), (1, s, r, 1))
            for i, j in product(range(p), range(q))
        ]
        return self.linear(jnp.concatenate(views, axis=-1))


class _Stack(nnx.Module):
    """Convolutions with leaky ReLUs between them, the last to one channel."""

    def __init__(
        self, channels: tuple[int, ...], kernels: list[tuple[int, int]], strides: list[tuple[int, int]], rngs: nnx.Rngs
    ) -> None:
        self.convs = nnx.List(
            Conv(c_in, c_out, kernel, stride, rngs=rngs)
            for c_in, c_out, kernel, stride in zip(channels[:-1], channels[1:], kernels, strides, strict=True)
        )
        for conv in self.convs:
            # From `Linear`'s variance of 1 / (3 inputs).
            conv.linear.w[...] *= math.sqrt(6 / (1 + _SLOPE**2))

    def __call__(self, x: jax.Array) -> list[jax.Array]:
        """Every layer's output; the last one is the verdict."""
        found = []
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if index + 1 < len(self.convs):
                x = jax.nn.leaky_relu(x, _SLOPE)
            found.append(x)
        return found


class Discriminators(nnx.Module):
    """All of them: samples [b, s] → for each its layers' outputs."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.periods = nnx.List(
            _Stack((1, 16, 32, 64, 64, 1), [(5, 1)] * 4 + [(3, 1)], [(3, 1)] * 3 + [(1, 1)] * 2, rngs) for _ in PERIODS
        )
        self.spectra = nnx.List(
            _Stack((1, 32, 32, 32, 1), [(3, 16), (3, 5), (3, 5), (3, 3)], [(1, 8), (1, 2), (1, 2), (1, 1)], rngs)
            for _ in RESOLUTIONS
        )

    def __call__(self, samples: jax.Array) -> list[list[jax.Array]]:
        samples, found = samples / TARGET_RMS, []
        for period, stack in zip(PERIODS, self.periods, strict=True):
            whole = samples[:, : samples.shape[1] // period * period]
            found.append(stack(whole.reshape(len(samples), -1, period, 1)))
        for (size, hop), stack in zip(RESOLUTIONS, self.spectra, strict=True):
            found.append(stack(jnp.log(magnitudes(samples, size, hop) + 1e-2)[..., None] / 3))
        return found


def magnitudes(samples: jax.Array, size: int, hop: int) -> jax.Array:
    """Spectra [b, n, size / 2 + 1] of samples [b, s], of the frames that lie inside the signal."""
    starts = np.arange(0, samples.shape[1] - size + 1, hop)
    window = jnp.asarray(np.hanning(size + 1)[:-1], jnp.float32)
    transformed = jnp.fft.rfft(samples[:, starts[:, None] + np.arange(size)] * window)
    return jnp.sqrt(jnp.square(transformed.real) + jnp.square(transformed.imag) + 1e-9)


def verdict_loss(true: list[list[jax.Array]], made: list[list[jax.Array]]) -> jax.Array:
    """What the discriminators learn from: the hinge loss, summed over them."""
    return sum(
        (jnp.mean(jax.nn.relu(1 - t[-1])) + jnp.mean(jax.nn.relu(1 + m[-1])) for t, m in zip(true, made, strict=True)),
        jnp.zeros(()),
    )


def adversarial_loss(made: list[list[jax.Array]]) -> jax.Array:
    """What the vocoder is told by their verdicts, summed over them."""
    return sum((-jnp.mean(m[-1]) for m in made), jnp.zeros(()))


def feature_loss(true: list[list[jax.Array]], made: list[list[jax.Array]]) -> jax.Array:
    """Distance of the inner layers' outputs relative to their size, summed over discriminators."""
    total = jnp.zeros(())
    for t, m in zip(true, made, strict=True):
        for a, b in zip(t[:-1], m[:-1], strict=True):
            total += jnp.mean(jnp.abs(a - b)) / (jnp.mean(jnp.abs(a)) + 1e-6) / (len(t) - 1)
    return total
