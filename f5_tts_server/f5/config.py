"""What a model is made of: the values of the official YAML files, under their names.

Source: SWivid/F5-TTS 1.1.22, `src/f5_tts/configs/*.yaml` (MIT).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import yaml


@dataclass(frozen=True)
class MelConfig:
    """Short-time analysis of the audio. `frames = samples // hop + 1` for `kind="vocos"`."""

    sample_rate: int = 24_000  # Hz
    n_fft: int = 1024  # samples
    hop: int = 256  # samples a frame: 93.75 frames a second
    win: int = 1024  # samples
    n_mels: int = 100
    kind: Literal["vocos", "bigvgan"] = "vocos"


@dataclass(frozen=True)
class BackboneConfig:
    """One transformer. Field names are those of `arch` in the official YAML files."""

    backbone: Literal["DiT", "UNetT"]
    dim: int
    depth: int
    heads: int
    ff_mult: int
    text_dim: int
    conv_layers: int
    text_mask_padding: bool
    text_num_embeds: int = (
        2545  # size of the released vocabulary; the loader sets the one of the vocabulary it is given
    )
    dim_head: int = 64
    mel_dim: int = 100
    text_embedding_average_upsampling: bool = False
    qk_norm: Literal["rms_norm"] | None = None
    pe_attn_head: int | None = None  # how many heads are rotated; None: all
    long_skip_connection: bool = False  # DiT only
    skip_connect_type: Literal["add", "concat", "none"] = "concat"  # UNetT only

    def __post_init__(self) -> None:
        if self.text_embedding_average_upsampling and not self.text_mask_padding:
            raise ValueError("text_embedding_average_upsampling needs text_mask_padding: there is no text to spread")
        if self.text_embedding_average_upsampling and self.backbone == "UNetT":
            raise ValueError("text_embedding_average_upsampling exists for DiT only")
        if self.backbone == "UNetT" and self.depth % 2:
            raise ValueError(f"depth {self.depth}: UNetT pairs its layers, so it must be even")


@dataclass(frozen=True)
class Sampling:
    """How a flow is integrated, in F5-TTS's own words. The defaults are what a released model is asked for.

    `nfe` steps; guidance v = v_cond + cfg_strength · (v_cond − v_null); `sway`: with the coefficient −1; `epss`: on
    the pruned time grid where there is one for `nfe`.
    """

    nfe: int = 50
    cfg_strength: float = 2.0
    sway: bool = False
    method: Literal["euler", "midpoint"] = "euler"
    epss: bool = True


@dataclass(frozen=True)
class ModelConfig:
    """A named model: its backbone, the mel it speaks in, the text it reads and the sampling it is best at.

    The backbone sees `(mel + mel_offset) * mel_scale`; the released checkpoints see the log-mel as it is.
    """

    name: str
    backbone: BackboneConfig
    tokenizer: Literal["pinyin", "char"] | None = "pinyin"  # None: the model has a text front end of its own
    mel: MelConfig = MelConfig()
    mel_offset: float = 0.0
    mel_scale: float = 1.0
    sampling: Sampling = Sampling()
    noise_scale: float = 1.0  # of the noise that the flow starts from: below 1 less varied, and clearer
    longest: int = 2112  # frames of reference and speech that it is worth speaking in one go: 22 s


_F5_BASE = BackboneConfig(
    backbone="DiT",
    dim=1024,
    depth=22,
    heads=16,
    ff_mult=2,
    text_dim=512,
    conv_layers=4,
    text_mask_padding=False,
    pe_attn_head=1,
)
_E2_BASE = BackboneConfig(
    backbone="UNetT",
    dim=1024,
    depth=24,
    heads=16,
    ff_mult=4,
    text_dim=100,
    conv_layers=0,
    text_mask_padding=False,
    pe_attn_head=1,
)
_F5_V1_BASE = replace(_F5_BASE, text_mask_padding=True, pe_attn_head=None)

CONFIGS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        ModelConfig("F5TTS_v1_Base", _F5_V1_BASE),
        ModelConfig("F5TTS_v1_Small", replace(_F5_V1_BASE, dim=768, depth=18, heads=12), tokenizer="char"),
        ModelConfig("F5TTS_Base", _F5_BASE),
        ModelConfig("F5TTS_Base_bigvgan", _F5_BASE, mel=MelConfig(kind="bigvgan")),
        ModelConfig("F5TTS_Small", replace(_F5_BASE, dim=768, depth=18, heads=12)),
        ModelConfig("E2TTS_Base", _E2_BASE),
        ModelConfig("E2TTS_Small", replace(_E2_BASE, dim=768, depth=20, heads=12)),
    )
}

# The mels there are vocoders for, as the official files describe them.
_MEL = MelConfig()
_MEL_SPEC: dict[str, tuple[int | str, ...]] = {
    "target_sample_rate": (_MEL.sample_rate,),
    "n_mel_channels": (_MEL.n_mels,),
    "hop_length": (_MEL.hop,),
    "win_length": (_MEL.win,),
    "n_fft": (_MEL.n_fft,),
    "mel_spec_type": ("vocos", "bigvgan"),
}


def read_config(name: str) -> ModelConfig:
    """A configuration by its name in `CONFIGS`, or from a YAML file in the official format (`configs/*.yaml`).

    Of the file `model.name`, `model.backbone`, `model.arch`, `model.tokenizer` and `model.mel_spec` are read. Raises
    ValueError that names what is missing, unknown or not supported.
    """
    if name in CONFIGS:
        return CONFIGS[name]
    if not name.endswith((".yaml", ".yml")):
        raise ValueError(
            f"there is no configuration {name!r}: name one of {', '.join(CONFIGS)}, or an official YAML file"
        )
    with Path(name).expanduser().open(encoding="utf-8") as file:
        try:
            document = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f"{name} is not a YAML file: {error}") from error
    try:
        model = document["model"]
        arch: dict[str, Any] = dict(model["arch"])
        kind, tokenizer = model["backbone"], model["tokenizer"]
        mel_spec: dict[str, Any] = dict(model.get("mel_spec", {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        fault = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{name} is not an official model file: {fault}") from error
    if kind not in ("DiT", "UNetT"):
        raise ValueError(f"{name}: model.backbone is {kind!r}; it must be DiT or UNetT")
    for training_only in ("dropout", "attn_backend", "attn_mask_enabled", "checkpoint_activations"):
        arch.pop(training_only, None)
    known = {field.name for field in fields(BackboneConfig)} - {"backbone", "mel_dim", "text_num_embeds"}
    if unknown := sorted(set(arch) - known):
        raise ValueError(f"{name}: model.arch has unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    if tokenizer == "custom":  # a vocabulary of its own, read as the released one is
        tokenizer = "pinyin"
    if tokenizer not in ("pinyin", "char"):
        raise ValueError(f"{name}: model.tokenizer is {tokenizer!r}; it must be pinyin, char or custom")
    for key, value in mel_spec.items():
        if value not in _MEL_SPEC.get(key, ()):
            allowed = " or ".join(map(str, _MEL_SPEC.get(key, ())))
            only = f"it must be {allowed}, as the vocoder reads" if allowed else "it is not known"
            raise ValueError(f"{name}: model.mel_spec.{key} is {value!r}; {only}")
    # What the official classes assume where the file is silent.
    defaults = {"text_dim": 100, "conv_layers": 0, "text_mask_padding": True, "ff_mult": 4}
    return ModelConfig(
        name=str(model.get("name", Path(name).stem)),
        backbone=BackboneConfig(backbone=kind, **{**defaults, **arch}),
        tokenizer=tokenizer,
        mel=MelConfig(kind=mel_spec.get("mel_spec_type", "vocos")),
    )
