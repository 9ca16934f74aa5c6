"""What the embedded voice is made of, and where its files lie. No JAX here."""

from __future__ import annotations

from pathlib import Path

from f5_tts_server.f5.config import BackboneConfig, ModelConfig, Sampling

ASSETS = Path(__file__).parent / "assets"

CONFIG = ModelConfig(  # small enough for two CPU cores
    "embedded",
    BackboneConfig(
        backbone="DiT",
        dim=256,
        depth=6,
        heads=4,
        ff_mult=2,
        text_dim=192,
        conv_layers=4,
        text_mask_padding=True,
        text_embedding_average_upsampling=True,
        text_num_embeds=128,
    ),
    tokenizer=None,  # `PhonemeFrontend` times each phoneme
    mel_offset=1.0,
    mel_scale=1 / 2.2,
    # No guidance: its velocity is a guided one already, see `training.train_flow`.
    sampling=Sampling(nfe=4, cfg_strength=0.0, sway=True),
    noise_scale=0.6,
    longest=1408,  # trained on 960; a reference of 12 s leaves three seconds to speak
)
