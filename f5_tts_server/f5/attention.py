"""Bidirectional attention over rows of different length, in the form each platform is fastest at."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from f5_tts_server.f5 import loops
from f5_tts_server.f5.platform import EACH_HEAD, HEADS, ROWS, WHOLE, Platform
from f5_tts_server.f5.rotary import rotate


def rotated_attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    rotation: tuple[jax.Array, jax.Array],
    rotated: int | None,
    lengths: jax.Array,
    platform: Platform,
    dtype: jnp.dtype,
) -> jax.Array:
    """`attention` whose queries and keys are first turned by their positions, with products of `dtype`.

    rotation: from `rotary`; rotated: how many heads are, the first ones; None: all. Returns [b, n, h, d] of `dtype`.
    """
    if platform.kind == "tpu":
        # Only here: a server on another device starts without Pallas.
        from f5_tts_server.f5 import tpu_attention

        heads = jnp.arange(q.shape[2]) < (q.shape[2] if rotated is None else rotated)
        inputs = (HEADS, HEADS, HEADS, WHOLE, EACH_HEAD, ROWS)
        of_device = platform.on_each_device(tpu_attention.rotated_attention, inputs, HEADS)
        return of_device(q.astype(dtype), k.astype(dtype), v.astype(dtype), rotation, heads, lengths)
    q, k = (rotate(x, rotation, rotated, platform) for x in (q, k))
    return attention(q.astype(dtype), k.astype(dtype), v.astype(dtype), lengths, platform)


def attention(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array, platform: Platform) -> jax.Array:
    """softmax(q kᵀ / √d) v over the first `lengths` keys of each row; for CPUs and GPUs.

    q, k, v: [b, n, h, d]; lengths: int32 [b], each at least 1. Returns [b, n, h, d]; queries beyond a row's length
    get finite values that mean nothing.
    """
    if platform.kind == "cpu" and platform.devices == 1:  # a loop over heads cannot be split over devices
        return _attention_by_head(q, k, v, lengths)
    if q.dtype == jnp.bfloat16 and platform.kind == "gpu":
        return jax.nn.dot_product_attention(
            q, k, v, query_seq_lengths=lengths, key_value_seq_lengths=lengths, implementation="cudnn"
        )
    return _attention_at_once(q, k, v, lengths)


def _attention_at_once(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
    mask = jnp.arange(k.shape[1])[None, None, None, :] < lengths[:, None, None, None]
    return jax.nn.dot_product_attention(q, k, v, mask=mask)


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
