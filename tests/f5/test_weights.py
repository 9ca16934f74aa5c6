"""f5.weights: official key lists in, our leaves out, and a named error for whatever does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from f5_tts_server.f5.checkpoint import CheckpointError
from f5_tts_server.f5.config import BackboneConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.unett import UNetT
from f5_tts_server.f5.vocos import VocosConfig
from f5_tts_server.f5.weights import (
    backbone_from_state_dict,
    backbone_state_dict,
    load_backbone,
    load_vocos,
    save_backbone,
    save_vocos,
    vocos_state_dict,
)
from f5_tts_server.models import CONFIGS
from tests.golden.backbone_cases import CASES
from tests.golden.random_weights import draw

GOLDEN = Path(__file__).parents[1] / "golden"
OFFICIAL_SHAPES: dict[str, dict[str, list[int]]] = json.loads((GOLDEN / "backbone_shapes.json").read_text())
State = dict[str, np.ndarray]


def official_state(name: str) -> State:
    """Drawn weights under the keys of the official class."""
    return draw({key: tuple(shape) for key, shape in OFFICIAL_SHAPES[name].items()}, seed=3)


def write(path: Path, state: State, prefix: str = "ema_model.transformer.") -> Path:
    safetensors.numpy.save_file({prefix + key: value for key, value in state.items()}, path)
    return path


def vocos_files(folder: Path) -> tuple[Path, Path, State]:
    with np.load(GOLDEN / "vocos.npz") as arrays:
        state = {key.removeprefix("center/state/"): arrays[key] for key in arrays if key.startswith("center/state/")}
    VocosConfig(input_channels=100, dim=12, intermediate_dim=20, num_layers=3).write_yaml(folder / "config.yaml")
    safetensors.numpy.save_file(state, folder / "vocos.safetensors")
    return folder / "config.yaml", folder / "vocos.safetensors", state


# ---- what fits


@pytest.mark.parametrize("name", CASES)
def test_every_official_key_has_its_leaf_and_comes_back(name: str) -> None:
    """Loading accounts for all keys of each official architecture; saving gives the same arrays under the same keys."""
    state = official_state(name)
    back = backbone_state_dict(backbone_from_state_dict(state, CASES[name]))
    assert set(back) - set(state) == {"rotary_embed.inv_freq"}  # a buffer, which the shapes list leaves out
    for key, value in state.items():
        assert np.array_equal(back[key], value), key


def test_layouts_by_hand() -> None:
    """One leaf of each layout against indices written out from the official modules' documentation."""
    state = official_state("dit_qk_norm")
    model = backbone_from_state_dict(state, CASES["dit_qk_norm"])
    assert isinstance(model, DiT) and model.text.blocks is not None
    for layer in range(3):
        official = state[f"transformer_blocks.{layer}.attn.to_q.weight"]  # [out, in]
        assert model.blocks.attn.to_q.w[layer, 5, 7] == official[7, 5]
        assert model.blocks.attn.q_norm.scale[layer, 4] == state[f"transformer_blocks.{layer}.attn.q_norm.weight"][4]
    for layer in range(2):
        official = state[f"text_embed.text_blocks.{layer}.dwconv.weight"]  # [d, 1, taps]
        assert model.text.blocks.dwconv.w[layer, 6, 9] == official[9, 0, 6]
        assert model.text.blocks.grn_beta[layer, 8] == state[f"text_embed.text_blocks.{layer}.grn.beta"][0, 0, 8]
    conv = state["input_embed.conv_pos_embed.conv1d.2.weight"]  # [out, in / groups, taps]
    assert model.input.position.conv2.w[...][30, 3, 17] == conv[17, 3, 30]
    joint = state["input_embed.proj.weight"]  # [d, mel + mel + text]: noised mel, reference mel, text
    assert model.input.w_x[...][99, 1] == joint[1, 99]
    assert model.input.w_cond[...][0, 1] == joint[1, 100]
    assert model.input.w_text[...][0, 1] == joint[1, 200]


def test_layers_of_unett_go_to_their_half() -> None:
    state = official_state("unett_concat")
    model = backbone_from_state_dict(state, CASES["unett_concat"])
    assert isinstance(model, UNetT)
    assert np.array_equal(model.first.attn_norm.scale[1], state["layers.1.1.g"])
    assert np.array_equal(model.later.attn_norm.scale[0], state["layers.2.1.g"])
    assert model.later.skip is not None and np.array_equal(model.later.skip.w[1], state["layers.3.0.weight"].T)
    assert model.first.skip is None


def plain(state: State) -> State:
    return state


def as_early_releases(state: State) -> State:
    extra = {
        "ema_model.mel_spec.mel_stft.mel_scale.fb": np.ones((513, 100), np.float32),
        "ema_model.mel_spec.mel_stft.spectrogram.window": np.ones(1024, np.float32),
        "initted": np.array(True),
        "step": np.array(1_250_000),
        "ema_model.transformer.rotary_embed.inv_freq": (10_000.0 ** (-np.arange(16) / 16)).astype(np.float32),
    }
    return {f"ema_model.transformer.{key}": value for key, value in state.items()} | extra


def as_plain_weights(state: State) -> State:
    return {f"transformer.{key}": value for key, value in state.items()}


@pytest.mark.parametrize("dress", [plain, as_early_releases, as_plain_weights])
def test_names_as_files_have_them(tmp_path: Path, dress: Callable[[State], State]) -> None:
    state = official_state("dit_v1")
    path = write(tmp_path / "model.safetensors", dress(state), prefix="")
    back = backbone_state_dict(load_backbone(path, CASES["dit_v1"]))
    assert all(np.array_equal(back[key], value) for key, value in state.items())


@pytest.mark.parametrize("stored", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("wanted", [jnp.float32, jnp.bfloat16])
def test_dtypes(tmp_path: Path, stored: type, wanted: type) -> None:
    state: State = {key: value.astype(stored) for key, value in official_state("dit_no_conv").items()}
    path = write(tmp_path / "model.safetensors", state)
    back = backbone_state_dict(load_backbone(path, CASES["dit_no_conv"], wanted))
    for key, value in state.items():
        assert back[key].dtype == wanted
        assert np.array_equal(back[key], value.astype(np.float32).astype(wanted)), key


def test_saved_backbones_have_the_released_names(tmp_path: Path) -> None:
    model = backbone_from_state_dict(official_state("unett_add"), CASES["unett_add"])
    path = tmp_path / "model.safetensors"
    save_backbone(path, model)
    saved = safetensors.numpy.load_file(path)
    expected = {*OFFICIAL_SHAPES["unett_add"], "rotary_embed.inv_freq"}
    assert set(saved) == {f"ema_model.transformer.{key}" for key in expected}
    assert type(load_backbone(path, CASES["unett_add"])) is UNetT


def test_vocos_files_come_back(tmp_path: Path) -> None:
    """With buffers: mel filters and windows made here equal those that torchaudio made."""
    config, weights, state = vocos_files(tmp_path)
    model = load_vocos(config, weights)
    back = vocos_state_dict(model)
    assert set(back) == set(state)
    for key, value in state.items():
        assert np.allclose(back[key], value, rtol=1e-3, atol=1e-4), key
    save_vocos(tmp_path / "copy.yaml", tmp_path / "copy.safetensors", model)
    again = vocos_state_dict(load_vocos(tmp_path / "copy.yaml", tmp_path / "copy.safetensors"))
    assert all(np.array_equal(again[key], back[key]) for key in back)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_table_names_every_leaf_of_every_named_model(name: str) -> None:
    """Without weights: the error lists every key, and none that the table lacks."""
    config = CONFIGS[name].backbone
    with pytest.raises(CheckpointError, match=r"missing from the file: .* and [0-9]+ more$"):
        backbone_from_state_dict({}, config)


# ---- what does not fit


def refusal(path: Path, config: BackboneConfig) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_backbone(path, config)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_renamed_key(tmp_path: Path) -> None:
    state = official_state("dit_v1")
    state["transformer_blocks.1.attn.to_query.weight"] = state.pop("transformer_blocks.1.attn.to_q.weight")
    message = refusal(write(tmp_path / "model.safetensors", state), CASES["dit_v1"])
    assert "missing from the file: transformer_blocks.1.attn.to_q.weight;" in message
    assert message.endswith("unknown to the model: transformer_blocks.1.attn.to_query.weight")


def test_a_missing_key(tmp_path: Path) -> None:
    state = official_state("dit_v1")
    del state["proj_out.bias"]
    message = refusal(write(tmp_path / "model.safetensors", state), CASES["dit_v1"])
    assert message.endswith("does not fit the model; missing from the file: proj_out.bias")


def test_an_unknown_key(tmp_path: Path) -> None:
    state = official_state("dit_v1") | {"speaker_embed.weight": np.ones(3, np.float32)}
    message = refusal(write(tmp_path / "model.safetensors", state), CASES["dit_v1"])
    assert message.endswith("does not fit the model; unknown to the model: speaker_embed.weight")


def test_a_wrong_shape(tmp_path: Path) -> None:
    state = official_state("dit_v1")
    state["norm_out.linear.weight"] = state["norm_out.linear.weight"].T.copy()
    message = refusal(write(tmp_path / "model.safetensors", state), CASES["dit_v1"])
    assert message.endswith(
        "of another shape: norm_out.linear.weight is [64, 128] in the file and [128, 64] in the model"
    )


def test_a_vocabulary_of_another_size(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", official_state("dit_v1"))
    message = refusal(path, replace(CASES["dit_v1"], text_num_embeds=55))
    assert "the file was trained on a vocabulary of 40 tokens, the one given has 55" in message


def test_a_model_of_another_depth(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", official_state("dit_v1"))
    message = refusal(path, replace(CASES["dit_v1"], depth=2))
    assert "unknown to the model: transformer_blocks.2." in message
    assert "more" in message  # eight names are shown, the others counted
    assert "transformer_blocks.3." in refusal(path, replace(CASES["dit_v1"], depth=4))


def test_an_architecture_of_another_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", official_state("dit_v1"))
    assert "missing from the file: layers.0.1.g" in refusal(path, CASES["unett_add"])


def test_a_vocoder_in_place_of_a_backbone(tmp_path: Path) -> None:
    _, weights, _ = vocos_files(tmp_path)
    assert "unknown to the model: backbone." in refusal(weights, CASES["dit_v1"])


def test_weights_that_are_whole_numbers(tmp_path: Path) -> None:
    state = official_state("dit_v1")
    state["proj_out.bias"] = np.arange(100)
    message = refusal(write(tmp_path / "model.safetensors", state), CASES["dit_v1"])
    assert "proj_out.bias is of type int64" in message


def test_other_rotary_frequencies(tmp_path: Path) -> None:
    state = official_state("dit_v1") | {"rotary_embed.inv_freq": (5_000.0 ** (-np.arange(16) / 16)).astype(np.float32)}
    message = refusal(write(tmp_path / "model.safetensors", state), CASES["dit_v1"])
    assert "rotary_embed.inv_freq is not the rotary frequencies of this model" in message


def test_a_vocoder_for_another_mel(tmp_path: Path) -> None:
    config, weights, state = vocos_files(tmp_path)
    state["feature_extractor.mel_spec.mel_scale.fb"] = state["feature_extractor.mel_spec.mel_scale.fb"][:, ::-1].copy()
    safetensors.numpy.save_file(state, weights)
    with pytest.raises(CheckpointError, match=r"mel_scale\.fb is not the mel filters of this model"):
        load_vocos(config, weights)


def test_the_same_weight_twice(tmp_path: Path) -> None:
    state = official_state("dit_v1")
    dressed = as_plain_weights(state) | {"ema_model.transformer.proj_out.bias": state["proj_out.bias"]}
    path = write(tmp_path / "model.safetensors", dressed, prefix="")
    assert "holds proj_out.bias twice" in refusal(path, CASES["dit_v1"])


def test_nothing_is_left_unset() -> None:
    model = backbone_from_state_dict(official_state("dit_average_upsampling"), CASES["dit_average_upsampling"])
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        assert isinstance(variable, nnx.Param), path
        value = np.asarray(variable.get_value())
        assert np.isfinite(value).all() and value.any(), path
