"""The flow's ordinary differential equation: time grids, guidance, Euler and midpoint steps.

Sources: `CFM.sample` in SWivid/F5-TTS 1.1.22, `src/f5_tts/model/cfm.py` (MIT); sway sampling: arXiv 2410.06885;
EPSS: Fast F5-TTS, arXiv 2505.19931.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

# Empirically pruned time grids, in units of 1/32, by number of steps.
EPSS_GRIDS: dict[int, tuple[int, ...]] = {
    5: (0, 2, 4, 8, 16, 32),
    6: (0, 2, 4, 6, 8, 16, 32),
    7: (0, 2, 4, 6, 8, 16, 24, 32),
    10: (0, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32),
    12: (0, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32),
    16: (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
}

Method = Literal["euler", "midpoint"]


class Backbone(Protocol):
    """What the sampler asks of a backbone; `DiT` and `UNetT` document the shapes."""

    def embed_text(self, tokens: jax.Array, frames: jax.Array, drop: bool | jax.Array) -> jax.Array: ...
    def fix_inputs(self, cond: jax.Array, text: jax.Array) -> jax.Array: ...
    def modulations(self, t: jax.Array) -> jax.Array: ...
    def velocity(self, x: jax.Array, fixed: jax.Array, modulation: jax.Array, frames: jax.Array) -> jax.Array: ...


def time_grid(nfe: int, sway: float | None, epss: bool = True) -> np.ndarray:
    """The times between which `nfe` steps go from noise (0) to speech (1): float32 [nfe + 1].

    `epss` takes the pruned grid where there is one for this number of steps; `sway` is the coefficient of sway
    sampling (−1 spends more steps near the noise), None for none.
    """
    if nfe < 1:
        raise ValueError(f"nfe must be at least 1, not {nfe}")
    if epss and nfe in EPSS_GRIDS:
        t = np.asarray(EPSS_GRIDS[nfe], np.float32) / np.float32(32)
    else:
        t = np.linspace(0, 1, nfe + 1, dtype=np.float32)
    if sway is not None:
        t = t + np.float32(sway) * (np.cos(np.float32(np.pi / 2) * t) - 1 + t)
    return t.astype(np.float32)


def fix_both(backbone: Backbone, cond: jax.Array, tokens: jax.Array, frames: jax.Array) -> jax.Array:
    """The step-independent inputs of the conditional and the null pass: [b, 2, n, d].

    cond [b, n, mel], zero where speech is to be made; tokens int32 [b, n], −1 beyond the text; frames int32 [b].
    """
    conditional = backbone.fix_inputs(cond, backbone.embed_text(tokens, frames, False))
    null = backbone.fix_inputs(jnp.zeros_like(cond), backbone.embed_text(tokens, frames, True))
    return jnp.stack([conditional, null], axis=1)


def both_velocities(
    backbone: Backbone, x: jax.Array, fixed: jax.Array, modulation: jax.Array, frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """v_cond and v_null, [b, n, mel] each, packed in one forward. Arguments as in `guided_velocity`."""
    b, n, mel = x.shape
    both = backbone.velocity(_twice(x), fixed.reshape(2 * b, n, -1), _twice(modulation), _twice(frames)).reshape(
        b, 2, n, mel
    )
    return both[:, 0], both[:, 1]


def guided_velocity(
    backbone: Backbone,
    x: jax.Array,
    fixed: jax.Array,
    modulation: jax.Array,
    frames: jax.Array,
    cfg_strength: jax.Array,
) -> jax.Array:
    """v = v_cond + cfg · (v_cond − v_null).

    x [b, n, mel]; fixed [b, 2, n, d] from `fix_both`; modulation [b, c, d]; frames int32 [b]; cfg_strength [b].
    """
    conditional, null = both_velocities(backbone, x, fixed, modulation, frames)
    return conditional + cfg_strength[:, None, None] * (conditional - null)


def _twice(rows: jax.Array) -> jax.Array:
    """Each row two times in a row, [b, ...] → [2 b, ...]. Rows that are spread over devices stay where they are, which
    `jnp.repeat`, a gather to the compiler, does not see to."""
    b, *rest = rows.shape
    return jnp.broadcast_to(rows[:, None], (b, 2, *rest)).reshape(2 * b, *rest)


def integrate(
    velocity: Callable[[np.float32, jax.Array], jax.Array], x: jax.Array, times: np.ndarray, method: Method = "euler"
) -> Iterator[jax.Array]:
    """Steps dx/dt = velocity(t, x) along `times` [k + 1], yielding x after each of the k steps."""
    for t, dt in zip(times[:-1], np.diff(times), strict=True):
        if method == "midpoint":
            x = x + dt * velocity(t + dt / 2, x + dt / 2 * velocity(t, x))
        else:
            x = x + dt * velocity(t, x)
        yield x


def noise(
    seed: int | jax.Array, segment_index: int | jax.Array, frames: int, mel_dim: int = 100, scale: float = 1.0
) -> jax.Array:
    """The flow's starting point, float32 [frames, mel_dim] of standard deviation `scale`: a function of seed and segment.

    Rows do not depend on how many are drawn, so a padded row starts from the noise of the bare one.
    """
    key = jax.random.fold_in(jax.random.key(seed), segment_index)
    return scale * jax.random.normal(key, (frames, mel_dim), jnp.float32)
