"""f5.vocos against the official package's output (tests/golden/make_vocos_golden.py)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import yaml
from flax import nnx

from f5_tts_server.f5.vocos import Vocos, VocosConfig
from f5_tts_server.f5.weights import load_vocos
from tests.f5.vocoder_window import block_window

GOLDEN = Path(__file__).parents[1] / "golden" / "vocos.npz"
CONFIGS = {
    "center": VocosConfig(input_channels=100, dim=12, intermediate_dim=20, num_layers=3),
    "same": VocosConfig(10, 16, 40, num_layers=2, n_fft=64, hop=16, padding="same"),
}

decode = jax.jit(Vocos.decode)
decode_block = jax.jit(Vocos.decode_block)
open_block = jax.jit(Vocos.open_block)
next_block = jax.jit(Vocos.next_block)


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def load(name: str, folder: Path) -> tuple[Vocos, np.ndarray, np.ndarray]:
    """A model with the official weights, mel [2, n, mel] and what the official model made of it [2, samples]."""
    prefix = f"{name}/state/"
    state = {key.removeprefix(prefix): value for key, value in golden().items() if key.startswith(prefix)}
    safetensors.numpy.save_file(state, folder / "vocos.safetensors")
    CONFIGS[name].write_yaml(folder / "config.yaml")
    model = load_vocos(folder / "config.yaml", folder / "vocos.safetensors")
    return model, golden()[f"{name}/mel"], golden()[f"{name}/samples"]


@pytest.fixture(params=CONFIGS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Vocos, np.ndarray, np.ndarray]:
    return load(request.param, tmp_path)


def test_whole_clips_equal_the_official_model(case: tuple[Vocos, np.ndarray, np.ndarray]) -> None:
    model, mel, expected = case
    samples = decode(model, mel)
    assert samples.shape == expected.shape
    assert samples.dtype == jnp.float32
    assert np.linalg.norm(samples - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("block", [1, 2, 7, 40])
def test_blocks_of_any_size_equal_the_official_clip(case: tuple[Vocos, np.ndarray, np.ndarray], block: int) -> None:
    model, mel, expected = case
    n = mel.shape[1]
    blocks = []
    for start in range(0, n, block):
        window, first = block_window(mel, start, block, model)
        blocks.append(decode_block(model, window, np.int32(first), np.int32(n)))
    samples = np.concatenate(blocks, axis=1)
    count = expected.shape[1]
    assert np.abs(samples[:, :count] - expected).max() <= 1e-5
    assert not samples[:, count:].any()  # past the clip's end


@pytest.mark.parametrize("block", [1, 2, 7, 40])
def test_blocks_that_go_on_from_each_other_equal_the_official_clip(
    case: tuple[Vocos, np.ndarray, np.ndarray], block: int
) -> None:
    model, mel, expected = case
    n = mel.shape[1]
    window, first = block_window(mel, 0, block, model)
    samples, carry = open_block(model, window, np.int32(first), np.int32(n))
    blocks = [samples]
    for start in range(block, n, block):
        window, first = block_window(mel, start, block, model)
        ahead = window[:, model.context_left + model.context_right :]
        first = start + model.context_right
        samples, carry = next_block(model, carry, ahead, np.int32(first), np.int32(n))
        blocks.append(samples)
    made = np.concatenate(blocks, axis=1)
    count = expected.shape[1]
    assert np.abs(made[:, :count] - expected).max() <= 1e-5
    assert not made[:, count:].any()  # past the clip's end


def test_rows_may_have_their_own_place_and_length(tmp_path: Path) -> None:
    """A batch of blocks from clips of different length: each row equals its clip decoded alone."""
    model, mel, _ = load("center", tmp_path)
    starts, lengths = (0, 9), (mel.shape[1], 12)
    windows, firsts, expected = [], [], []
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        clip = mel[row : row + 1, :length]
        window, first = block_window(clip, start, 4, model)
        windows.append(window)
        firsts.append(first)
        whole = np.asarray(decode(model, clip))
        hop = model.config.hop
        expected.append(np.pad(whole, ((0, 0), (0, 4 * hop)))[:, start * hop : (start + 4) * hop])
    samples = decode_block(model, np.concatenate(windows), np.array(firsts), np.array(lengths))
    assert np.abs(samples - np.concatenate(expected)).max() <= 1e-5


def test_one_program_serves_every_block(tmp_path: Path) -> None:
    model, _, _ = load("same", tmp_path)
    program = jax.jit(lambda model, *inputs: model.decode_block(*inputs))
    window = np.zeros((1, model.context_left + 4 + model.context_right, 10), np.float32)
    for first, frames in ((-11, 3), (0, 1000), (90, 100)):
        program(model, window, np.int32(first), np.int32(frames))
    assert program._cache_size() == 1  # type: ignore[attr-defined]


def test_context_of_the_released_model() -> None:
    model = nnx.eval_shape(lambda: Vocos(VocosConfig(), rngs=nnx.Rngs(0)))
    assert (model.context_left, model.context_right) == (28, 29)


def test_a_window_without_a_block_is_refused() -> None:
    model = nnx.eval_shape(lambda: Vocos(CONFIGS["same"], rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="window has 22 frames; context_left=11 and context_right=11"):
        model.decode_block(jnp.zeros((1, 22, 10)), 0, 22)


def test_gradients_are_finite_at_the_edges_of_a_clip(tmp_path: Path) -> None:
    """Samples that no frame covers have a zero envelope; dividing by it would make every gradient NaN."""
    model, mel, _ = load("same", tmp_path)

    @jax.jit
    @jax.grad
    def gradient(model: Vocos, mel: np.ndarray) -> jax.Array:
        return jnp.square(model.decode_block(jnp.asarray(mel), -11, 1)).sum()

    leaves = jax.tree.leaves(gradient(model, mel))
    assert len(leaves) == 17
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in leaves)


# ---- config.yaml

OFFICIAL = """
feature_extractor:
  class_path: vocos.feature_extractors.MelSpectrogramFeatures
  init_args: {sample_rate: 24000, n_fft: 1024, hop_length: 256, n_mels: 100, padding: center}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args: {input_channels: 100, dim: 512, intermediate_dim: 1536, num_layers: 8}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {dim: 512, n_fft: 1024, hop_length: 256, padding: center}
"""


def test_config_of_the_released_model(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(OFFICIAL)
    assert VocosConfig.from_yaml(path) == VocosConfig()


@pytest.mark.parametrize("config", [VocosConfig(), CONFIGS["same"], VocosConfig(layer_scale_init=0.3, num_layers=2)])
def test_config_written_and_read(tmp_path: Path, config: VocosConfig) -> None:
    path = tmp_path / "config.yaml"
    config.write_yaml(path)
    assert VocosConfig.from_yaml(path) == config


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        ("feature_extractor", "n_mels", 80, "n_mels=80 and backbone.input_channels=100 must be equal"),
        ("feature_extractor", "hop_length", 300, "hop_length=300 and head.hop_length=256"),
        ("head", "dim", 256, "backbone.dim=512 and head.dim=256"),
        ("head", "padding", "edge", "padding must be 'center' or 'same', got 'edge'"),
        ("backbone", "num_layers", 0, "num_layers must be a whole number of at least 1, got 0"),
        ("backbone", "dropout", 0.1, "unknown ['dropout']"),
        ("backbone", "adanorm_num_embeddings", 4, "only unconditional Vocos"),
    ],
)
def test_config_that_does_not_fit(tmp_path: Path, section: str, key: str, value: object, sentence: str) -> None:
    document = yaml.safe_load(OFFICIAL)
    document[section]["init_args"][key] = value
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValueError) as caught:
        VocosConfig.from_yaml(path)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "is not a YAML file"),
        ("hello", "no section 'feature_extractor'"),
        (OFFICIAL.replace("ISTFTHead", "IMDCTCosHead"), "only vocos.heads.ISTFTHead is supported"),
        (OFFICIAL.replace("num_layers: 8", "depth: 8"), "lacks ['num_layers']"),
    ],
)
def test_config_that_is_something_else(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        VocosConfig.from_yaml(path)
    assert sentence in str(caught.value)
