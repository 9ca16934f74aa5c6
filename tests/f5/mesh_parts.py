"""What each of eight devices computes by itself, as TPUs and GPUs do it, against one device; prints errors as JSON.

The kernel for TPUs is not interpreted on several devices (JAX 0.10.2 hangs); another form of attention stands for it.

A process of its own: the number of devices is fixed when JAX starts.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import json
from functools import partial
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding

from f5_tts_server.f5 import tpu_attention
from f5_tts_server.f5.attention import attention, rotated_attention
from f5_tts_server.f5.layers import GroupedConv
from f5_tts_server.f5.placement import make_mesh
from f5_tts_server.f5.platform import HEADS, ROWS, Platform
from f5_tts_server.f5.rotary import rotary, rotate

Rotation = tuple[jax.Array, jax.Array]


def error(ours: jax.Array, truth: jax.Array) -> float:
    return float(np.linalg.norm(np.asarray(ours) - np.asarray(truth)) / np.linalg.norm(truth))


def in_place_of_the_kernel(
    q: jax.Array, k: jax.Array, v: jax.Array, rotation: Rotation, rotated: jax.Array, lengths: jax.Array
) -> jax.Array:
    """What one device computes of its own rows and heads."""
    one = Platform("cpu", 1)
    q, k = (jnp.where(rotated[:, None], rotate(x, rotation, None, one), x) for x in (q, k))
    return attention(q, k, v, lengths, one)


def main() -> None:
    mesh = make_mesh("2x4", 8)
    rng = np.random.default_rng(29)
    q, k, v = rng.standard_normal((3, 4, 130, 8, 8)).astype(np.float32)
    lengths = np.array([130, 1, 129, 64], np.int32)
    by_head = [jax.device_put(part, NamedSharding(mesh, HEADS)) for part in (q, k, v)]
    of_rows = jax.device_put(lengths, NamedSharding(mesh, ROWS))

    def attend(
        platform: Platform, rotated: int | None, q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array
    ) -> jax.Array:
        return rotated_attention(q, k, v, rotary(130, 8), rotated, lengths, platform, jnp.dtype(jnp.float32))

    def both(rotated: int | None) -> float:
        with patch.object(tpu_attention, "rotated_attention", in_place_of_the_kernel):
            split = jax.jit(partial(attend, Platform("tpu", 8, mesh), rotated))(*by_head, of_rows)
        return error(split, attend(Platform("cpu", 1), rotated, *map(jnp.asarray, (q, k, v, lengths))))

    x = rng.standard_normal((4, 50, 32)).astype(np.float32)
    alone, split = (
        GroupedConv(32, 31, 4, platform=platform, rngs=nnx.Rngs(3))
        for platform in (Platform("cpu", 1), Platform("gpu", 8, mesh))
    )
    convolve = jax.jit(split).lower(jax.device_put(x, NamedSharding(mesh, ROWS))).compile()
    errors = {
        "attention": both(None),
        "attention, three heads rotated": both(3),
        "convolution": error(convolve(jax.device_put(x, NamedSharding(mesh, ROWS))), alone(jnp.asarray(x))),
    }
    gathers = str(convolve.as_text()).count("all-gather(")
    print(json.dumps({"errors": errors, "gathers": gathers}))


if __name__ == "__main__":
    main()
