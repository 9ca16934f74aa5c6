"""`lax.scan` and `lax.map` over arrays that keep bfloat16 as it is.

XLA's CPU backend cannot slice bfloat16: it widens whatever a loop slices to float32, all of it before the loop, and
narrows each slice again. As 16-bit integers the same bits pass. Elsewhere they are left as they are: on a TPU the
integers would be a copy of all that is sliced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from f5_tts_server.f5.platform import Platform

Carry = TypeVar("Carry")
Out = TypeVar("Out")
Tree = Any


def scan(
    body: Callable[[Carry, Any], tuple[Carry, Out]], carry: Carry, over: Tree, platform: Platform
) -> tuple[Carry, Out]:
    """`lax.scan`; what is sliced may be bfloat16, but not uint16."""
    result: tuple[Carry, Out]
    if platform.kind == "cpu":
        result = lax.scan(lambda held, bits: body(held, _from_bits(bits)), carry, _to_bits(over))
    else:
        result = lax.scan(body, carry, over)
    return result


def map_over(body: Callable[[Any], Out], over: Tree) -> Out:
    """`lax.map` on the CPU; what is sliced may be bfloat16, but not uint16."""
    result: Out = lax.map(lambda bits: body(_from_bits(bits)), _to_bits(over))
    return result


def _to_bits(tree: Tree) -> Tree:
    return _reinterpreted(tree, jnp.bfloat16, jnp.uint16)


def _from_bits(tree: Tree) -> Tree:
    return _reinterpreted(tree, jnp.uint16, jnp.bfloat16)


def _reinterpreted(tree: Tree, given: jnp.dtype, wanted: jnp.dtype) -> Tree:
    return jax.tree.map(lambda leaf: lax.bitcast_convert_type(leaf, wanted) if leaf.dtype == given else leaf, tree)
