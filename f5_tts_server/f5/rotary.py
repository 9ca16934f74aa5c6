"""Rotary position embedding over neighbouring pairs of channels (arXiv 2104.09864).

Source: SWivid/F5-TTS 1.1.22 rotates pairs as `x_transformers` does.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from f5_tts_server.f5.platform import Platform


def rotary(n: int, dim: int) -> tuple[jax.Array, jax.Array]:
    """cos and sin of position × 10000^(−2i/dim) for each pair of channels: float32 [n, dim / 2] each."""
    freqs = 1.0 / (10_000.0 ** (jnp.arange(0, dim, 2, dtype=jnp.float32) / dim))
    angles = jnp.arange(n, dtype=jnp.float32)[:, None] * freqs[None, :]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: jax.Array, rotation: tuple[jax.Array, jax.Array], heads: int | None, platform: Platform) -> jax.Array:
    """Turns neighbouring channel pairs of x [b, n, h, d] by their positions' angles, in the first `heads` heads."""
    if heads is not None and platform.mesh is not None:  # a slice of the heads would be sent around
        return jnp.where(jnp.arange(x.shape[2])[:, None] < heads, rotate(x, rotation, None, platform), x)
    if heads is not None:
        turned = rotate(x[:, :, :heads], rotation, None, platform)
        return jnp.concatenate([turned, x[:, :, heads:]], axis=2)
    cos, sin = (y[None, :, None, :] for y in rotation)
    pairs = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)
