"""How much a step has to compute, and how fast this device multiplies matrices."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp

from f5_tts_server.f5.config import BackboneConfig


def step_flops(config: BackboneConfig, frames: int, rows: int = 2) -> float:
    """Multiplications and additions of one step over `rows` rows of the backbone (one guided segment has two).

    What no step changes is left out: text, the projections of text and reference, all that hangs on time alone.
    """
    inner = config.heads * config.dim_head
    products = config.depth * (4 * config.dim * inner + 2 * config.dim * config.ff_mult * config.dim)
    positions = 2 * 31 * config.dim * (config.dim // 16)
    ends = 2 * config.mel_dim * config.dim
    attention = config.depth * 2 * inner * frames
    return 2 * rows * frames * (products + positions + ends + attention)


def matmul_rate(dtype: Any = jnp.float32, size: int = 2048) -> float:
    """FLOP/s of size × size products in JAX, the best of eight."""
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda x: x @ x)
    product(a).block_until_ready()
    times = []
    for _ in range(8):
        start = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)
