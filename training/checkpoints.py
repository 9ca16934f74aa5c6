"""Training state on disk: one npz of leaves, named by their path, and a JSON of plain numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

Tree = Any


def save_checkpoint(path: Path, state: Tree, progress: dict[str, float]) -> None:
    """Writes beside `path` and renames, so that a stop while writing loses nothing."""
    leaves = {jax.tree_util.keystr(key): np.asarray(leaf) for key, leaf in jax.tree_util.tree_leaves_with_path(state)}
    partial = path.with_suffix(".part.npz")
    np.savez(partial, __progress__=np.array(json.dumps(progress)), **leaves)  # type: ignore[arg-type]
    partial.replace(path)


def load_checkpoint(path: Path, like: Tree, part: str = "") -> tuple[Tree, dict[str, float]]:
    """The state in the structure of `like`, and its progress; `part`: only what lies under that key.

    Raises ValueError where leaves differ.
    """
    prefix = f"[{part!r}]" if part else ""
    with np.load(path) as file:
        names = [prefix + jax.tree_util.keystr(key) for key, _ in jax.tree_util.tree_leaves_with_path(like)]
        if set(names) != {name for name in file.files if name.startswith(prefix) and name != "__progress__"}:
            raise ValueError(f"{path} is the checkpoint of another model")
        leaves = [jax.numpy.asarray(file[name]) for name in names]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), json.loads(str(file["__progress__"]))
