"""From a model's name to a loaded `SpeechModel`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from f5_tts_server.embedded.phoneme_frontend import PhonemeFrontend
from f5_tts_server.f5.config import model_config
from f5_tts_server.f5.frontend import Frontend
from f5_tts_server.f5.hub import backbone_files, vocoder_files
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.f5.text import PinyinFrontend, Vocab
from f5_tts_server.f5.weights import load_backbone, load_vocos

EMBEDDED = Path(__file__).parent.parent / "embedded" / "assets"


def load_model(
    model: str,
    *,
    config: str | None = None,
    vocab: str | None = None,
    vocoder: str | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    max_frames: int = 4096,
) -> SpeechModel:
    """Loads the embedded voice, a released model (downloaded if need be) or a checkpoint of one's own.

    Args:
        model: "embedded"; a name in `f5.hub.RELEASED`; `hf://owner/repo/file`; a weights file or a folder with one.
        config: for weights that are not released ones: a name in `f5.config.CONFIGS` or an official YAML file;
            F5TTS_v1_Base where it is not said.
        vocab: the vocabulary; by default the `vocab.txt` beside the weights.
        vocoder: a folder or `hf://owner/repo`; by default charactr/vocos-mel-24khz, for the embedded voice its own.
        dtype: of weights and of what is multiplied with them. The vocoder stays float32.
        max_frames: longest segment, reference included (93.75 frames a second).

    Raises ValueErrors that name what is missing or does not fit.
    """
    chosen = model_config(model, config)
    embedded = model == "embedded"
    files = backbone_files(str(EMBEDDED / "flow.safetensors") if embedded else model, vocab)
    vocoder_at = vocoder_files(str(EMBEDDED / "vocoder") if embedded and vocoder is None else vocoder)
    vocabulary = Vocab.load(files.vocab)
    backbone_config = replace(chosen.backbone, text_num_embeds=vocabulary.size)
    frontend: Frontend
    if chosen.tokenizer == "phonemes":
        frontend = PhonemeFrontend.load(files.vocab.parent, chosen.mel, max_frames=max_frames)
    else:
        frontend = PinyinFrontend(vocabulary, chosen.mel, max_frames=max_frames, tokenizer=chosen.tokenizer)
    return SpeechModel(
        config=replace(chosen, backbone=backbone_config),
        backbone=load_backbone(files.weights, backbone_config, jnp.dtype(dtype)),
        vocoder=load_vocos(vocoder_at.config, vocoder_at.weights),
        frontend=frontend,
    )
