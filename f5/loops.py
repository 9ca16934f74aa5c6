"""What loops of the program run over, in a form that keeps bfloat16 as it is.

XLA's CPU backend cannot slice bfloat16: it widens whatever a loop slices to float32, all of it before the loop, and
narrows each slice again. As 16-bit integers the same bits pass.
"""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Tree = TypeVar("Tree")


def for_loop(tree: Tree) -> Tree:
    """The arrays of a tree, bfloat16 ones as bits, to be given to `lax.scan` or `lax.map`."""
    return _reinterpreted(tree, jnp.bfloat16, jnp.uint16)


def from_loop(tree: Tree) -> Tree:
    """Inside the loop's body: what `for_loop` was given."""
    return _reinterpreted(tree, jnp.uint16, jnp.bfloat16)


def _reinterpreted(tree: Tree, given: jnp.dtype, wanted: jnp.dtype) -> Tree:
    def one(leaf: jax.Array) -> jax.Array:
        return lax.bitcast_convert_type(leaf, wanted) if leaf.dtype == given else leaf

    changed: Tree = jax.tree.map(one, tree)
    return changed
