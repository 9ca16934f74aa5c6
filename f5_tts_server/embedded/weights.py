"""The embedded voice's vocoder, to files and back: those of Vocos, and a pitch tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import safetensors.numpy
from flax import nnx

from f5_tts_server.embedded.source_vocos import SourceVocos
from f5_tts_server.f5.vocos import VocosConfig
from f5_tts_server.f5.weights import DEPTHWISE, VOCOS_ROWS, Row, affine, fill_vocos, norm, vocos_state_dict

HEAD_CLASS = "f5.source_vocos.SourceHead"  # a name for this format: no module has it
_ROWS = [
    *VOCOS_ROWS,
    *affine("pitch.embed", "pitch.embed"),
    *affine("pitch.convnext.{i}.dwconv", "pitch.blocks.dwconv", DEPTHWISE),
    *norm("pitch.convnext.{i}.norm", "pitch.blocks.norm_scale", "pitch.blocks.norm_shift"),
    *affine("pitch.convnext.{i}.pwconv1", "pitch.blocks.pwconv1"),
    *affine("pitch.convnext.{i}.pwconv2", "pitch.blocks.pwconv2"),
    Row("pitch.convnext.{i}.gamma", ("pitch.blocks.gamma",)),
    *affine("pitch.out", "pitch.out"),
]


def load_source_vocos(config_path: str | Path, weights_path: str | Path, dtype: Any = jnp.float32) -> SourceVocos:
    """Loads what `save_source_vocos` wrote. Raises as `f5.weights.load_vocos`."""
    config = VocosConfig.from_yaml(config_path, HEAD_CLASS)
    return fill_vocos(lambda: SourceVocos(config, rngs=nnx.Rngs(0), param_dtype=dtype), _ROWS, config, weights_path)


def save_source_vocos(config_path: str | Path, weights_path: str | Path, model: SourceVocos) -> None:
    """Writes a `config.yaml` and a `.safetensors` file that `load_source_vocos` reads."""
    model.config.write_yaml(config_path, HEAD_CLASS)
    safetensors.numpy.save_file(vocos_state_dict(model, _ROWS), weights_path)
