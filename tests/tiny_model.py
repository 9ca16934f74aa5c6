"""A model of a few thousand random weights, written to a folder as released checkpoints are, for tests of real code.

It says nothing intelligible, but every part of it is the real one: loader, front end, backbone, vocoder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import yaml
from flax import nnx

from f5_tts_server.f5.bigvgan import BigVGAN, BigVGANConfig
from f5_tts_server.f5.config import CONFIGS
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.vocos import Vocos, VocosConfig
from f5_tts_server.f5.weights import (
    backbone_from_state_dict,
    backbone_state_dict,
    save_backbone,
    save_bigvgan,
    save_vocos,
)
from tests.golden.random_weights import draw

SEED = 20_261_122
CHARACTERS = " " + "".join(chr(code) for code in range(33, 127))
ARCH = {
    "dim": 64,
    "depth": 2,
    "heads": 8,
    "dim_head": 8,
    "ff_mult": 2,
    "text_dim": 32,
    "conv_layers": 1,
    "text_mask_padding": True,
}

BIGVGAN = BigVGANConfig(
    upsample_rates=(16, 16),
    upsample_kernel_sizes=(32, 32),
    upsample_initial_channel=32,
    resblock_kernel_sizes=(3, 5),
    resblock_dilation_sizes=((1, 2), (1, 2)),
)


def write(folder: Path, mel: Literal["vocos", "bigvgan"] = "vocos") -> dict[str, str]:
    """Writes the model into `folder`; returns the arguments of `load_model` (and the settings) that load it.

    mel: the kind that it speaks in, and whose vocoder it is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(character + "\n" for character in CHARACTERS))
    document: dict[str, Any] = {"model": {"name": "tiny", "backbone": "DiT", "tokenizer": "char", "arch": ARCH}}
    document["model"]["mel_spec"] = {"mel_spec_type": mel}
    (folder / "model.yaml").write_text(yaml.safe_dump(document))
    backbone_config = replace(
        CONFIGS["F5TTS_v1_Base"].backbone,
        **ARCH,  # type: ignore[arg-type]
        text_num_embeds=len(CHARACTERS),
    )
    empty = backbone_state_dict(DiT(backbone_config, rngs=nnx.Rngs(0)))
    shapes = {key: array.shape for key, array in empty.items()}
    buffers = {key: array for key, array in empty.items() if "freqs" in key or "inv_freq" in key}
    weights = {**draw(shapes, SEED), **buffers}
    save_backbone(folder / "model.safetensors", backbone_from_state_dict(weights, backbone_config, jnp.float32))
    at = folder / "vocoder"
    at.mkdir(exist_ok=True)
    if mel == "vocos":
        vocos = Vocos(VocosConfig(dim=32, intermediate_dim=64, num_layers=2), rngs=nnx.Rngs(SEED))
        save_vocos(at / "config.yaml", at / "vocos.safetensors", vocos)
    else:
        bigvgan = BigVGAN(BIGVGAN, rngs=nnx.Rngs(SEED))
        save_bigvgan(at / "config.json", at / "bigvgan.safetensors", bigvgan)
    return {"model": str(folder), "config": str(folder / "model.yaml"), "vocoder": str(folder / "vocoder")}
