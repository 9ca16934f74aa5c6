"""Attention for TPUs in one kernel, which turns queries and keys by their positions too.

It reads and writes [b, n, h · d], as the products before and after it do. Heads of 64 channels taken apart, as JAX's own
kernel wants them, are a copy in another layout each way, where every frame takes 128 places.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

_LANES = 128  # of a core: heads are taken by as many as fill them
_SCORES = 256 * 1024  # of one head that a core holds at once
_NOT_LOOKED_AT = -1e30


def rotated_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    rotation: tuple[jax.Array, jax.Array],
    rotated: jax.Array,
    lengths: jax.Array,
) -> jax.Array:
    """softmax(q kᵀ / √d) v over the first `lengths` keys of each row, q and k rotated.

    q, k, v: [b, n, h, d]; rotation: cosines and sines, float32 [n, d / 2] each; rotated: bool [h], which heads are;
    lengths: int32 [b], each at least 1. Returns [b, n, h, d]; queries beyond a row's length get finite values that mean
    nothing.
    """
    b, n, h, d = q.shape
    channels = h * d
    width = _LANES if channels % _LANES == 0 and _LANES % d == 0 else channels  # of the heads in one block
    queries = min(n, max(_LANES, _SCORES // n // _LANES * _LANES))
    flat = [x.reshape(b, n, channels) for x in (q, k, v)]
    cos, sin = (jnp.tile(jnp.repeat(x, 2, axis=1), (1, width // d)) for x in rotation)  # [n, width]
    sin = jnp.where(jnp.arange(width) % 2 == 0, -sin, sin)
    turned = jnp.repeat(rotated, d)[None].astype(jnp.float32)  # [1, h · d]

    some = pl.BlockSpec((None, queries, width), lambda row, heads, block, _: (row, block, heads))
    every = pl.BlockSpec((None, n, width), lambda row, heads, block, _: (row, 0, heads))
    table = pl.BlockSpec((n, width), lambda row, heads, block, _: (0, 0))
    part = pl.BlockSpec((queries, width), lambda row, heads, block, _: (block, 0))
    out = pl.pallas_call(
        partial(_kernel, dim_head=d),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(b, channels // width, pl.cdiv(n, queries)),
            in_specs=[
                some, every, every, part, part, table, table,
                pl.BlockSpec((1, width), lambda row, heads, block, _: (0, heads)),
            ],
            out_specs=some,
            scratch_shapes=[pltpu.VMEM((n, width), k.dtype)],
        ),
        out_shape=jax.ShapeDtypeStruct((b, n, channels), q.dtype),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
        name="rotated_attention",
    )(lengths, *flat, cos, sin, cos, sin, turned)  # fmt: skip
    return out.reshape(b, n, h, d)


def _kernel(
    lengths: Any, q: Any, k: Any, v: Any, cos: Any, sin: Any, all_cos: Any, all_sin: Any, turned: Any, out: Any,
    turned_keys: Any, *, dim_head: int,
) -> None:  # fmt: skip
    """Some queries and all keys of as many heads as fill a block."""
    width = q.shape[-1]
    channel = jax.lax.broadcasted_iota(jnp.int32, (1, width), 1)

    def rotate(x: jax.Array, cos: jax.Array, sin: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        neighbour = jnp.where(channel & 1 == 0, pltpu.roll(wide, width - 1, 1), pltpu.roll(wide, 1, 1))
        return jnp.where(turned[...] > 0, wide * cos + neighbour * sin, wide).astype(x.dtype)

    @pl.when(pl.program_id(2) == 0)
    def _() -> None:
        turned_keys[...] = rotate(k[...], all_cos[...], all_sin[...])

    queries, keys, values = rotate(q[...], cos[...], sin[...]), turned_keys[...], v[...]
    looked_at = jax.lax.broadcasted_iota(jnp.int32, (1, keys.shape[0]), 1) < lengths[pl.program_id(0)]
    mixed = jnp.zeros(queries.shape, jnp.float32)
    # A product of all channels takes as long as one of 64: of each head, its own queries and its own part of the sums.
    for head in range(width // dim_head):
        own = (channel >= head * dim_head) & (channel < (head + 1) * dim_head)
        scores = jax.lax.dot_general(
            jnp.where(own, queries, 0), keys, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
        )
        scores = jnp.where(looked_at, scores * dim_head**-0.5, _NOT_LOOKED_AT)
        weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
        sums = jnp.dot(weights.astype(values.dtype), values, preferred_element_type=jnp.float32)
        mixed = jnp.where(own, sums / jnp.sum(weights, axis=-1, keepdims=True), mixed)
    out[...] = mixed.astype(out.dtype)
