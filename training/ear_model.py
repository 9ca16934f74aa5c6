"""A small CTC recogniser of phonemes: the evaluation's second ear, trained on the teacher's audio only.

Stress and pauses are not heard, so "ˈɑ", "ˌɑ" and "ɑ" are one sound here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES
from f5_tts_server.embedded.pronunciation import CONSONANTS, VOWELS
from f5_tts_server.f5.layers import Linear, layer_norm

SOUNDS: tuple[str, ...] = (*CONSONANTS, *VOWELS)
"""What the ear tells apart. Its class k is SOUNDS[k − 1]; class 0 is CTC's blank."""
BLANK = 0
FRAMES_A_STEP = 2  # mel frames an output step
DIM, TAPS = 192, 5
DILATIONS = (1, 2, 4, 1, 2, 4, 1)  # together ± 30 steps, 0.64 s: sounds in context, but no sentences by heart

_CLASS = {sound: index for index, sound in enumerate(SOUNDS, 1)}
_MEL_DIM = 100
_MEL_MEAN, _MEL_SCALE = -1.0, 1 / 2.2  # those of the corpus


def sounds(symbols: Iterable[str]) -> list[str]:
    """Phoneme symbols without stress, pauses and word boundaries."""
    return [symbol.lstrip("ˈˌ") for symbol in symbols if symbol != BOUNDARY and symbol not in PAUSES]


def classes(symbols: Iterable[str]) -> NDArray[np.int32]:
    """Phoneme symbols as the ear's classes."""
    return np.array([_CLASS[sound] for sound in sounds(symbols)], np.int32)


def collapse(best: Sequence[int]) -> list[str]:
    """The sounds of each step's best class: repeats count once, a blank between two of them keeps both (CTC)."""
    return [
        SOUNDS[one - 1] for index, one in enumerate(best) if one != BLANK and (index == 0 or one != best[index - 1])
    ]


class DilatedConv(nnx.Module):
    """A convolution over steps [b, n, d] of `TAPS` taps, `dilation` apart, as one product: XLA's own is slow in
    training on a CPU."""

    def __init__(self, dilation: int, *, rngs: nnx.Rngs) -> None:
        self.dilation = dilation
        self.linear = Linear(TAPS * DIM, DIM, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        reach = TAPS // 2 * self.dilation
        n = x.shape[1]
        padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)))
        return self.linear(
            jnp.concatenate([padded[:, i * self.dilation : i * self.dilation + n] for i in range(TAPS)], axis=-1)
        )


class EarModel(nnx.Module):
    """Log-mel frames to logits over CTC's classes: residual dilated convolutions, 1.3 M parameters."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.input = Linear(FRAMES_A_STEP * _MEL_DIM, DIM, rngs=rngs)
        self.blocks = nnx.List([DilatedConv(dilation, rngs=rngs) for dilation in DILATIONS])
        self.output = Linear(DIM, 1 + len(SOUNDS), rngs=rngs)

    def __call__(self, mel: jax.Array, frames: jax.Array) -> jax.Array:
        """mel [b, n, 100], n even, of which frames [b] are real → logits [b, n / 2, classes].

        What lies beyond a row's frames changes nothing.
        """
        b, n, d = mel.shape
        steps = n // FRAMES_A_STEP
        valid = (jnp.arange(steps) < (frames // FRAMES_A_STEP)[:, None])[..., None]
        x = self.input(((mel - _MEL_MEAN) * _MEL_SCALE).reshape(b, steps, FRAMES_A_STEP * d))
        for block in self.blocks:
            x = x + jax.nn.gelu(block(jnp.where(valid, layer_norm(x), 0.0)))
        return self.output(layer_norm(x))
