"""A flow model small enough to train in a test, and made-up batches for it."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from f5_tts_server.embedded.config import CONFIG
from f5_tts_server.f5.dit import DiT
from training.train_flow import BACKBONE, build

TINY = replace(BACKBONE, dim=64, depth=1, heads=1, text_dim=32, conv_layers=1)


def batch(seed: int, first: int, last: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    mel = rng.normal(0.3, 1.5, (2, 64, CONFIG.backbone.mel_dim)).astype(np.float32)
    tokens = np.where(np.arange(64) < 32, rng.integers(0, 109, (2, 64)), -1).astype(np.int32)
    span = (np.full(2, edge, np.int32) for edge in (first, last))
    values = (mel, tokens, np.full(2, 64, np.int32), *span)
    return {
        name: jnp.asarray(value)
        for name, value in zip(("mel", "tokens", "frames", "first", "last"), values, strict=True)
    }


def speaking(seed: int) -> DiT:
    """A model whose layers and velocity are not zero, as they are before training."""
    model = build(seed, TINY)
    for layer in (model.blocks.time, model.proj_out):
        layer.w[...] = jax.random.normal(jax.random.key(seed), layer.w.shape) * 0.1
    return model
