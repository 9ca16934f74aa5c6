"""The sizes on which our BigVGAN is compared with the official class, and the weights they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from f5_tts_server.f5.bigvgan import BigVGANConfig
from tests.golden.random_weights import draw

SEED, FRAMES = 20_261_124, 19

_SMALL = BigVGANConfig(
    num_mels=12,
    upsample_rates=(4, 2),
    upsample_kernel_sizes=(8, 4),
    upsample_initial_channel=24,
    resblock_kernel_sizes=(3, 7),
    resblock_dilation_sizes=((1, 5), (1, 3)),
    hop_size=8,
)
CASES: dict[str, BigVGANConfig] = {
    "v2": _SMALL,
    "v1": replace(_SMALL, use_tanh_at_final=True, use_bias_at_final=True),
    # A released model's stages and kernels; channels and dilations are few.
    "stages": BigVGANConfig(num_mels=8, upsample_initial_channel=64, resblock_dilation_sizes=((1,),) * 3),
}

CHECKPOINT_CASE = "v2"  # whose weights are stored

# Residual branches that do not grow from block to block, and samples that are loud without being clipped.
_GAINS = {"resblocks": 0.4, "conv_post": 0.1}


def draw_all(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights by official key. The gains of weight norm are drawn around one: around zero a signal would die out."""
    return {
        key: np.abs(1 + value) * np.float32(_GAINS.get(key.split(".")[0], 1.0)) if key.endswith("weight_g") else value
        for key, value in draw(shapes, SEED).items()
    }
