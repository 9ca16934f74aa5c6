"""What each of eight devices computes by itself, as TPUs and GPUs do it, against one device; prints errors as JSON.

The kernel for TPUs is not interpreted on several devices (JAX 0.10.2 hangs); another form of attention stands for it.

A process of its own: the number of devices is fixed when JAX starts.
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding

from f5_tts_server.f5.attention import attention
from f5_tts_server.f5.layers import GroupedConv
from f5_tts_server.f5.placement import make_mesh
from f5_tts_server.f5.platform import HEADS, ROWS, Platform


def error(ours: jax.Array, truth: jax.Array) -> float:
    return float(np.linalg.norm(np.asarray(ours) - np.asarray(truth)) / np.linalg.norm(truth))


def main() -> None:
    mesh = make_mesh("2x4", 4)
    rng = np.random.default_rng(29)
    q, k, v = rng.standard_normal((3, 4, 130, 4, 8)).astype(np.float32)
    lengths = np.array([130, 1, 129, 64], np.int32)
    by_head = [jax.device_put(part, NamedSharding(mesh, HEADS)) for part in (q, k, v)]
    of_rows = jax.device_put(lengths, NamedSharding(mesh, ROWS))
    one_device = partial(attention, platform=Platform("cpu", 1))
    attend = Platform("tpu", 8, mesh).on_each_device(one_device, (HEADS, HEADS, HEADS, ROWS), HEADS)

    x = rng.standard_normal((4, 50, 32)).astype(np.float32)
    alone, split = (
        GroupedConv(32, 31, 4, platform=platform, rngs=nnx.Rngs(3))
        for platform in (Platform("cpu", 1), Platform("gpu", 8, mesh))
    )
    convolve = jax.jit(split).lower(jax.device_put(x, NamedSharding(mesh, ROWS))).compile()
    errors = {
        "attention": error(
            jax.jit(attend)(*by_head, of_rows),
            one_device(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), jnp.asarray(lengths)),
        ),
        "convolution": error(convolve(jax.device_put(x, NamedSharding(mesh, ROWS))), alone(jnp.asarray(x))),
    }
    gathers = str(convolve.as_text()).count("all-gather(")
    print(json.dumps({"errors": errors, "gathers": gathers}))


if __name__ == "__main__":
    main()
