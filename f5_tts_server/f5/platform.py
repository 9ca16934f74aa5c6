"""What kind of devices a program is compiled for: operations take the form that is fastest there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

# How the devices of a mesh of ("data", "model") share what a step computes.
ROWS = PartitionSpec("data")  # [b, ...]
HEADS = PartitionSpec("data", None, "model")  # [b, n, h, d]
EACH_HEAD = PartitionSpec("model")  # [h, ...]
WHOLE = PartitionSpec()


@dataclass(frozen=True)
class Platform:
    """`kind` as JAX names it ("cpu", "gpu", "tpu"), and how many devices share a program.

    `mesh`: the devices over which programs spread rows and heads; None where there is one, or nothing is spread.
    """

    kind: str
    devices: int
    mesh: Mesh | None = None

    @classmethod
    def here(cls) -> Platform:
        """All devices of JAX's default backend."""
        return cls(jax.default_backend(), jax.device_count())

    @classmethod
    def of(cls, mesh: Mesh) -> Platform:
        return cls(mesh.devices.flat[0].platform, mesh.size, mesh if mesh.size > 1 else None)

    def activation_dtype(self, weights: jnp.dtype) -> jnp.dtype:
        """The type between the products. On the CPU float32: only products are faster in bfloat16, all else is slower."""
        return jnp.dtype(jnp.float32) if self.kind == "cpu" else jnp.dtype(weights)

    def on_each_device(
        self, function: Callable[..., jax.Array], inputs: tuple[PartitionSpec, ...], output: PartitionSpec
    ) -> Callable[..., jax.Array]:
        """`function` run by each device on its own part of the arguments: for kernels that XLA does not split."""
        if self.mesh is None:
            return function
        return jax.shard_map(function, mesh=self.mesh, in_specs=inputs, out_specs=output, check_vma=False)
