"""Bidirectional attention over rows of different length, in the form each platform is fastest at."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from f5_tts_server.f5 import loops
from f5_tts_server.f5.platform import Platform

_QUERIES = 256  # at a time, on a TPU


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
        return _attention_by_queries(q, k, v, lengths)
    return _attention_at_once(q, k, v, lengths)


def _attention_at_once(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
    mask = jnp.arange(k.shape[1])[None, None, None, :] < lengths[:, None, None, None]
    return jax.nn.dot_product_attention(q, k, v, mask=mask)


def _attention_by_queries(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
    """Some queries at a time, of all rows and heads, which may be spread over devices: all scores at once are hundreds
    of megabytes."""
    b, n, h, d = q.shape
    blocks = -(-n // _QUERIES)
    padded = jnp.pad(q, ((0, 0), (0, blocks * _QUERIES - n), (0, 0), (0, 0)))
    by_block = padded.reshape(b, blocks, _QUERIES, h, d).swapaxes(0, 1)
    out = loops.map_over(lambda block: _attention_at_once(block, k, v, lengths), by_block)
    return out.swapaxes(0, 1).reshape(b, blocks * _QUERIES, h, d)[:, :n]


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
