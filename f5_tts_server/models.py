"""From a model's name to its configuration and to a loaded `SpeechModel`: the embedded voice and the released models.

JAX is imported where a model is loaded, so that a server knows what it will speak with before that takes its time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from f5_tts_server.embedded import config as embedded
from f5_tts_server.f5 import config as released
from f5_tts_server.f5.config import ModelConfig, read_config
from f5_tts_server.f5.hub import backbone_files, vocoder_files

if TYPE_CHECKING:
    from f5_tts_server.f5.frontend import Frontend
    from f5_tts_server.f5.model import SpeechModel
    from f5_tts_server.f5.vocoder import Vocoder

CONFIGS: dict[str, ModelConfig] = {**released.CONFIGS, embedded.CONFIG.name: embedded.CONFIG}


def model_config(model: str, config: str | None = None) -> ModelConfig:
    """What `model` is made of: `config` if given, else by the model's name, else F5TTS_v1_Base.

    config: a name in `CONFIGS` or an official YAML file. Raises ValueError for any other.
    """
    if config is None:
        return CONFIGS.get(model, CONFIGS["F5TTS_v1_Base"])
    return CONFIGS[config] if config in CONFIGS else read_config(config)


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
        config: for weights that are not released ones, see `model_config`.
        vocab: the vocabulary; by default the `vocab.txt` beside the weights.
        vocoder: a folder or `hf://owner/repo`; by default the released one for the model's mel, for the embedded voice
            its own.
        dtype: of weights and of what is multiplied with them. The vocoder stays float32.
        max_frames: longest segment, reference included (93.75 frames a second).

    Raises ValueErrors that name what is missing or does not fit.
    """
    import jax.numpy as jnp

    from f5_tts_server.embedded.phoneme_frontend import PhonemeFrontend
    from f5_tts_server.f5.model import SpeechModel
    from f5_tts_server.f5.text import PinyinFrontend, Vocab
    from f5_tts_server.f5.weights import load_backbone

    chosen = model_config(model, config)
    if model == embedded.CONFIG.name:
        model, vocoder = str(embedded.ASSETS / "flow.safetensors"), vocoder or str(embedded.ASSETS / "vocoder")
    files = backbone_files(model, vocab)
    vocabulary = Vocab.load(files.vocab)
    backbone_config = replace(chosen.backbone, text_num_embeds=vocabulary.size)
    frontend: Frontend
    if chosen.tokenizer is None:
        frontend = PhonemeFrontend.load(files.vocab.parent, chosen.mel, max_frames=max_frames)
    else:
        frontend = PinyinFrontend(vocabulary, chosen.mel, max_frames=max_frames, tokenizer=chosen.tokenizer)
    return SpeechModel(
        config=replace(chosen, backbone=backbone_config),
        backbone=load_backbone(files.weights, backbone_config, jnp.dtype(dtype)),
        vocoder=load_vocoder(chosen.mel.kind, vocoder),
        frontend=frontend,
    )


def load_vocoder(kind: Literal["vocos", "bigvgan"], vocoder: str | None) -> Vocoder:
    """Loads the vocoder for a kind of mel: a folder or `hf://owner/repo`, by default the released one.

    Raises ValueErrors that name what is missing or does not fit.
    """
    from f5_tts_server.embedded.weights import HEAD_CLASS, load_source_vocos
    from f5_tts_server.f5.vocos import head_class
    from f5_tts_server.f5.weights import load_bigvgan, load_vocos

    files = vocoder_files(kind, vocoder)
    if kind == "bigvgan":
        return load_bigvgan(files.config, files.weights)
    load = load_source_vocos if head_class(files.config) == HEAD_CLASS else load_vocos
    return load(files.config, files.weights)
