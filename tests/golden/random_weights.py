"""Weights drawn from a seed in the official key format, the same wherever NumPy runs: golden files need not hold them.

Every array is drawn and none is left zero: the official initialisation zeroes whole layers and so hides errors.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np


def draw(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """float32 arrays by official key. Scales keep activations near one, so that relative errors mean something."""
    return {key: _draw_one(key, shape, seed) for key, shape in shapes.items()}


def _draw_one(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    values = rng.standard_normal(shape).astype(np.float32)
    if key.endswith(("text_embed.text_embed.weight",)):
        return values
    if len(shape) >= 2 and not key.endswith((".gamma", ".beta")):
        return values / np.float32(math.sqrt(math.prod(shape[1:])))
    is_scale = "norm" in key and key.endswith((".weight", ".g", ".scale")) and len(shape) == 1
    return np.float32(1.0 if is_scale else 0.0) + np.float32(0.2) * values
