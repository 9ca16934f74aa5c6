"""What kind of devices a program is compiled for: operations take the form that is fastest there."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh


@dataclass(frozen=True)
class Platform:
    """`kind` as JAX names it ("cpu", "gpu", "tpu"), and how many devices share a program."""

    kind: str
    devices: int

    @classmethod
    def here(cls) -> Platform:
        """All devices of JAX's default backend."""
        return cls(jax.default_backend(), jax.device_count())

    @classmethod
    def of(cls, mesh: Mesh) -> Platform:
        return cls(mesh.devices.flat[0].platform, mesh.size)

    def activation_dtype(self, weights: jnp.dtype) -> jnp.dtype:
        """The type between the products. On the CPU float32: only products are faster in bfloat16, all else is slower."""
        return jnp.dtype(jnp.float32) if self.kind == "cpu" else jnp.dtype(weights)
