"""Official YAML files: what is read of them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from f5_tts_server.f5.config import CONFIGS, MelConfig, read_config

# `configs/F5TTS_v1_Base.yaml` of SWivid/F5-TTS 1.1.22, without what concerns training.
OFFICIAL: dict[str, Any] = {
    "name": "F5TTS_v1_Base",
    "tokenizer": "pinyin",
    "tokenizer_path": None,
    "backbone": "DiT",
    "arch": {
        "dim": 1024,
        "depth": 22,
        "heads": 16,
        "ff_mult": 2,
        "text_dim": 512,
        "text_mask_padding": True,
        "qk_norm": None,
        "conv_layers": 4,
        "pe_attn_head": None,
        "attn_backend": "torch",
        "attn_mask_enabled": False,
        "checkpoint_activations": False,
    },
    "mel_spec": {
        "target_sample_rate": 24000,
        "n_mel_channels": 100,
        "hop_length": 256,
        "win_length": 1024,
        "n_fft": 1024,
        "mel_spec_type": "vocos",
    },
}


def write(folder: Path, **changes: Any) -> str:
    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump({"model": {**OFFICIAL, **changes}}))
    return str(path)


def test_the_official_file_is_the_named_configuration(tmp_path: Path) -> None:
    assert read_config(write(tmp_path)) == CONFIGS["F5TTS_v1_Base"]


def test_a_silent_file_means_what_the_official_classes_assume(tmp_path: Path) -> None:
    given = {key: OFFICIAL["arch"][key] for key in ("dim", "depth", "heads")}
    read = read_config(write(tmp_path, arch=given, mel_spec={}))
    assert read.backbone == replace(CONFIGS["F5TTS_v1_Base"].backbone, text_dim=100, conv_layers=0, ff_mult=4)


def test_a_file_says_which_mel_the_model_speaks_in(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, mel_spec={"mel_spec_type": "bigvgan"})).mel == MelConfig(kind="bigvgan")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mel_spec": {"mel_spec_type": "hifigan"}}, r"mel_spec_type is 'hifigan'; it must be vocos or bigvgan"),
        ({"mel_spec": {"hop_length": 300}}, r"mel_spec\.hop_length is 300; it must be 256"),
        ({"mel_spec": {"bands": 3}}, r"mel_spec\.bands is 3; it is not known"),
        ({"mel_spec": None}, "not an official model file"),
        ({"backbone": "MMDiT"}, r"model\.backbone is 'MMDiT'; it must be DiT or UNetT"),
        ({"tokenizer": "byte"}, r"model\.tokenizer is 'byte'"),
        ({"arch": {**OFFICIAL["arch"], "width": 3}}, r"model\.arch has unknown width"),
    ],
)
def test_what_cannot_be_spoken_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Whatever kind of mel a file named was once accepted, and decoded by Vocos, which reads another mel: noise.

    A backbone that is neither DiT nor UNetT was taken for a UNetT.
    """
    with pytest.raises(ValueError, match=message):
        read_config(write(tmp_path, **changes))


def test_what_is_not_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("model: [")
    with pytest.raises(ValueError, match=r"model\.yaml is not a YAML file"):
        read_config(str(path))
