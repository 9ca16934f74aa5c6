"""Where arrays lie on a mesh of devices: slots over `data`, heads and feed-forward over `model`.

Only this file, `platform` and `programs` know that there is more than one device.
"""

from __future__ import annotations

import re

import jax
from flax import nnx
from jax.experimental.layout import Format, Layout
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Leaves of a backbone that are split; all others are whole on every device. A stacked leaf leads with its depth axis.
# Column-parallel products (q, k, v, up) are followed by row-parallel ones (out, down): one all-reduce each.
_RULES: tuple[tuple[str, PartitionSpec], ...] = (
    (r"attn/to_[qkv]/w", PartitionSpec(None, None, "model")),
    (r"attn/to_[qkv]/b", PartitionSpec(None, "model")),
    (r"attn/to_out/w", PartitionSpec(None, "model", None)),
    (r"ff/up/w", PartitionSpec(None, None, "model")),
    (r"ff/up/b", PartitionSpec(None, "model")),
    (r"ff/down/w", PartitionSpec(None, "model", None)),
    (r"blocks/time/w", PartitionSpec(None, None, "model")),
    (r"blocks/time/b", PartitionSpec(None, "model")),
)


def make_mesh(shape: str, heads: int) -> Mesh:
    """A mesh of ("data", "model") from "4x2" or "auto" (all devices over data).

    Raises ValueError where the shape is malformed, asks for more devices than there are, or does not divide the heads.
    """
    available = jax.device_count()
    match = re.fullmatch(r"(\d+)x(\d+)", shape)
    if shape == "auto":
        data, model = available, 1
    elif match:
        data, model = int(match[1]), int(match[2])
    else:
        raise ValueError(f'device_mesh {shape!r} is neither "auto" nor DATAxMODEL such as "4x2"')
    if data < 1 or model < 1 or data * model > available:
        raise ValueError(f"device_mesh {shape!r} asks for {data * model} devices and there are {available}")
    if heads % model:
        raise ValueError(f"device_mesh {shape!r}: {heads} attention heads do not divide by {model}")
    return jax.make_mesh(
        (data, model), ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[: data * model]
    )


def parameter_shardings(state: nnx.State, mesh: Mesh) -> nnx.State:
    """A tree like `state` that holds each leaf's sharding."""

    def place(path: tuple[object, ...], _leaf: object) -> NamedSharding:
        name = "/".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path)
        for pattern, spec in _RULES:
            if re.search(pattern, name):
                return NamedSharding(mesh, spec)
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(place, state)


def put(tree: nnx.State, shardings: nnx.State) -> nnx.State:
    """Arrays copied to where `shardings`, a tree like theirs, says; of shapes alone, shapes that say so."""
    if all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(tree)):
        return jax.tree.map(lambda a, on: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=on), tree, shardings)
    return jax.device_put(tree, shardings)


def over_slots(mesh: Mesh) -> NamedSharding:
    """Leading axis split over `data`."""
    return NamedSharding(mesh, PartitionSpec("data"))


def in_order(on: NamedSharding, *axes: int) -> Format:
    """Laid out with the first of these axes outermost in memory, and the last one innermost."""
    return Format(Layout(axes), on)


def everywhere(mesh: Mesh) -> NamedSharding:
    """A whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())
