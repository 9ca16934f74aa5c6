"""Models with random weights, for benchmarks of what no checkpoint is at hand for."""

from __future__ import annotations

from typing import Any

from flax import nnx

from f5_tts_server.f5.config import ModelConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.f5.text import PinyinFrontend, Vocab
from f5_tts_server.f5.vocos import Vocos, VocosConfig


def alphabet(size: int) -> Vocab:
    """A vocabulary of `size` tokens: ASCII, as far as there is room, and characters that no text contains."""
    letters = [chr(c) for c in range(32, 127)] + [chr(0xE000 + i) for i in range(size)]
    return Vocab({token: i for i, token in enumerate(letters[:size])})


def random_model(config: ModelConfig, dtype: Any) -> SpeechModel:
    """A DiT of this shape, Vocos at its released size, and the official text front end."""
    return SpeechModel(
        config=config,
        backbone=DiT(config.backbone, rngs=nnx.Rngs(0), param_dtype=dtype),
        vocoder=Vocos(VocosConfig(), rngs=nnx.Rngs(1)),
        frontend=PinyinFrontend(alphabet(config.backbone.text_num_embeds), config.mel, max_frames=4096),
    )
