"""Bidirectional attention over rows of different length, in the form each platform is fastest at."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from f5_tts_server.f5 import loops
from f5_tts_server.f5.platform import HEADS, ROWS, Platform

_LANES = 128  # of a TPU: blocks of queries and keys are multiples
_SCORES = 512 * 1024  # that a TPU's core holds at once


def attention(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, platform: Platform) -> jax.Array:
    """softmax(q kᵀ / √d) v over the first `lengths` keys of each row.

    q, k, v: [b, n, h, d]; lengths: int32 [b], each at least 1. Returns [b, n, h, d]; queries beyond a row's length
    get finite values that mean nothing.
    """
    if platform.kind == "cpu" and platform.devices == 1:  # a loop over heads cannot be split over devices
        return _attention_by_head(q, k, v, lengths)
    if q.dtype == jnp.bfloat16 and platform.kind == "gpu":
        return jax.nn.dot_product_attention(
            q, k, v, query_seq_lengths=lengths, key_value_seq_lengths=lengths, implementation="cudnn"
        )
    if platform.kind == "tpu":
        return platform.on_each_device(_attention_in_one_kernel, (HEADS, HEADS, HEADS, ROWS), HEADS)(q, k, v, lengths)
    return _attention_at_once(q, k, v, lengths)


def _attention_at_once(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
    mask = jnp.arange(k.shape[1])[None, None, None, :] < lengths[:, None, None, None]
    return jax.nn.dot_product_attention(q, k, v, mask=mask)


def _attention_in_one_kernel(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
    """JAX's kernel for TPUs: scores stay in the core, those of some queries and all keys of a head at a time."""
    # Only here: a server on another device starts without Pallas.
    from jax.experimental.pallas.ops.tpu.flash_attention import BlockSizes, SegmentIds, flash_attention

    b, n, _, d = q.shape
    keys = -(-n // _LANES) * _LANES
    queries = max(_LANES, _SCORES // keys // _LANES * _LANES)
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # [b, h, n, d]
    k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, keys - n), (0, 0))) for x in (k, v))
    # All queries are of segment 1, and so are the keys that they look at.
    looked_at = jnp.arange(keys)[None] < lengths[:, None]
    segments = SegmentIds(q=jnp.ones((b, n), jnp.int32), kv=looked_at.astype(jnp.int32))
    blocks = BlockSizes(block_q=min(queries, n), block_k_major=keys, block_k=keys, block_b=1)
    out = flash_attention(q, k, v, segment_ids=segments, sm_scale=d**-0.5, block_sizes=blocks)
    return out.swapaxes(1, 2)


def _attention_by_head(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
    """One head of one row at a time: the scores stay in cache, which XLA's batched form on the CPU does not manage."""
    b, n, h, d = q.shape
    bias = jnp.where(jnp.arange(n)[None, :] < lengths[:, None], 0.0, -jnp.inf).astype(jnp.float32)  # [b, n]

    def one_head(inputs: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> jax.Array:
        q1, k1, v1, bias1 = inputs  # [n, d], [d, n], [n, d], [n]
        scores = jnp.matmul(q1, k1, preferred_element_type=jnp.float32) + bias1[None, :]
        weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
        total = jnp.sum(weights, axis=-1, keepdims=True)
        mixed = jnp.matmul(weights.astype(v1.dtype), v1, preferred_element_type=jnp.float32)
        return (mixed / total).astype(v1.dtype)

    # Keys are turned before the loop: within it, in bfloat16, turning costs as much as the product.
    q, v = (x.transpose(0, 2, 1, 3).reshape(b * h, n, d) for x in (q * d**-0.5, v))
    k = k.transpose(0, 2, 3, 1).reshape(b * h, d, n)
    out = loops.map_over(one_head, (q, k, v, jnp.repeat(bias, h, axis=0)))
    return out.reshape(b, h, n, d).transpose(0, 2, 1, 3)
