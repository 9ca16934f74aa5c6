"""The official F5-TTS classes, imported without the trainer and its dependencies. Needs torch; see `make parity`."""

from __future__ import annotations

import sys
import types
from dataclasses import asdict

import numpy as np
import torch

from f5_tts_server.f5.config import BackboneConfig
from tests.golden.random_weights import draw

_trainer = types.ModuleType("f5_tts.model.trainer")
_trainer.Trainer = None  # type: ignore[attr-defined]
sys.modules["f5_tts.model.trainer"] = _trainer

from f5_tts.model import CFM, DiT, UNetT


def build(config: BackboneConfig, seed: int) -> tuple[CFM, dict[str, tuple[int, ...]]]:
    """The official model of this shape with random weights, and the shapes of its keys (buffers left out)."""
    arguments = asdict(config)
    kind = {"DiT": DiT, "UNetT": UNetT}[arguments.pop("backbone")]
    for foreign in (
        ("skip_connect_type",)
        if kind is DiT
        else (
            "long_skip_connection",
            "text_embedding_average_upsampling",
        )
    ):
        arguments.pop(foreign)
    model = CFM(transformer=kind(**arguments, dropout=0.0), vocab_char_map=None).eval()
    shapes = {name: tuple(p.shape) for name, p in model.transformer.named_parameters()}
    load(model, draw(shapes, seed))
    return model, shapes


def load(model: CFM, weights: dict[str, np.ndarray]) -> None:
    """Puts random weights, keyed as in the transformer, into the official model."""
    model.transformer.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)


def noise(seed: int, frames: int) -> np.ndarray:
    """The start that `CFM.sample(seed=seed)` draws for one row."""
    torch.manual_seed(seed)
    return torch.randn(frames, 100).numpy()
