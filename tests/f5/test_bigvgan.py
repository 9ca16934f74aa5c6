"""f5.bigvgan against the official package's output (tests/golden/make_bigvgan_golden.py)."""

from __future__ import annotations

import io
import json
import pickletools
import zipfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from f5_tts_server.f5.bigvgan import BigVGAN, BigVGANConfig, low_pass
from f5_tts_server.f5.checkpoint import CheckpointError
from f5_tts_server.f5.weights import bigvgan_shapes, load_bigvgan
from tests.f5.vocoder_window import block_window
from tests.golden.bigvgan_cases import CASES, CHECKPOINT_CASE, draw_all

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-5  # relative, of whole clips

# Most of the time is the compiler's; unhurried code is enough here.
COMPILER: Any = {"xla_backend_optimization_level": 0}
decode = jax.jit(BigVGAN.decode, compiler_options=COMPILER)
decode_block = jax.jit(BigVGAN.decode_block, compiler_options=COMPILER)


@cache
def golden() -> tuple[dict[str, np.ndarray], dict[str, dict[str, tuple[int, ...]]]]:
    shapes = json.loads((GOLDEN / "bigvgan_shapes.json").read_text())
    with np.load(GOLDEN / "bigvgan.npz") as arrays:
        return dict(arrays), {name: {key: tuple(shape) for key, shape in keys.items()} for name, keys in shapes.items()}


def official_state(name: str) -> dict[str, np.ndarray]:
    """What the official model's state dict held: drawn parameters with weight norm, and the filters."""
    shapes = golden()[1][name]
    drawn = draw_all({key: shape for key, shape in shapes.items() if not key.endswith(".filter")})
    filters = {key: low_pass()[None, None] for key in shapes if key.endswith(".filter")}
    return {**drawn, **filters}


def write(folder: Path, name: str, **changes: Any) -> tuple[Path, Path]:
    config, weights = folder / "config.json", folder / "weights.safetensors"
    CASES[name].write_json(config)
    safetensors.numpy.save_file({**official_state(name), **changes}, weights)
    return config, weights


def load(folder: Path, name: str) -> tuple[BigVGAN, np.ndarray, np.ndarray]:
    """A model with the official weights, mel [2, n, mel] and what the official model made of it [2, samples]."""
    return load_bigvgan(*write(folder, name)), golden()[0][f"{name}/mel"], golden()[0][f"{name}/samples"]


def relative_error(ours: object, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(ours) - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("name", CASES)
def test_whole_clips_equal_the_official_model(tmp_path: Path, name: str) -> None:
    """The truth in float64 too: both float32 results are within the tolerance of it."""
    model, mel, expected = load(tmp_path, name)
    samples = np.asarray(decode(model, mel))
    assert samples.shape == expected.shape == (2, mel.shape[1] * model.config.hop_size)
    assert np.abs(expected).mean() > 0.02 and np.mean(np.abs(expected) >= 1) < 0.05  # neither silent nor all clipped
    assert relative_error(samples, expected) <= TOLERANCE
    assert relative_error(samples, golden()[0][f"{name}/samples64"]) <= TOLERANCE


def test_a_checkpoint_that_torch_wrote_is_read_without_torch(tmp_path: Path) -> None:
    """The released file is a pickle of {"generator": weights}; here it is the official class's own, weight norm and all."""
    CASES[CHECKPOINT_CASE].write_json(tmp_path / "config.json")
    model = load_bigvgan(tmp_path / "config.json", GOLDEN / "bigvgan_generator.pt")
    mel, expected = golden()[0][f"{CHECKPOINT_CASE}/mel"], golden()[0][f"{CHECKPOINT_CASE}/samples"]
    assert relative_error(decode(model, mel), expected) <= TOLERANCE


def test_a_checkpoint_that_asks_for_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    """The same file with a call in its pickle, as a malicious one would have; the call would leave a file behind."""
    mark = tmp_path / "ran"
    call = b"cbuiltins\nopen\n(V" + str(mark).encode() + b"\nVw\ntR0"
    with (
        zipfile.ZipFile(GOLDEN / "bigvgan_generator.pt") as given,
        zipfile.ZipFile(tmp_path / "generator.pt", "w") as made,
    ):
        for name in given.namelist():
            data = given.read(name)
            if name.endswith("data.pkl"):
                data = data[:2] + call + data[2:]  # behind the protocol
                pickletools.dis(data, out=io.StringIO())
            made.writestr(name, data)
    CASES[CHECKPOINT_CASE].write_json(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="open"):
        load_bigvgan(tmp_path / "config.json", tmp_path / "generator.pt")
    assert not mark.exists()


@pytest.mark.parametrize(("name", "block"), [("v2", 40), ("v1", 7)])
def test_blocks_of_any_size_equal_the_official_clip(tmp_path: Path, name: str, block: int) -> None:
    """Beside the clip the windows hold loud rubbish, and a clip is shorter than the context of a block."""
    model, mel, expected = load(tmp_path, name)
    n, hop = mel.shape[1], model.config.hop_size
    made = []
    for start in range(0, n, block):
        window, first = block_window(mel, start, block, model)
        made.append(decode_block(model, window, np.int32(first), np.int32(n)))
    samples = np.concatenate(made, axis=1)
    assert np.abs(samples[:, : n * hop] - expected).max() <= 1e-5
    assert not samples[:, n * hop :].any()  # past the clip's end


def test_rows_may_have_their_own_place_and_length(tmp_path: Path) -> None:
    """A batch of blocks from clips of different length: each row equals its clip decoded alone."""
    model, mel, _ = load(tmp_path, "v2")
    starts, lengths = (0, 9), (mel.shape[1], 12)
    windows, firsts, expected = [], [], []
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        clip = mel[row : row + 1, :length]
        window, first = block_window(clip, start, 4, model)
        windows.append(window)
        firsts.append(first)
        hop = model.config.hop_size
        expected.append(np.pad(decode(model, clip), ((0, 0), (0, 4 * hop)))[:, start * hop : (start + 4) * hop])
    samples = decode_block(model, np.concatenate(windows), np.array(firsts), np.array(lengths))
    assert np.abs(samples - np.concatenate(expected)).max() <= 1e-5


def test_the_context_is_what_a_sample_depends_on_and_no_more(tmp_path: Path) -> None:
    """Frames beyond the context do not matter, and the outermost of it do, by the gradient of one frame's samples."""
    model, _, _ = load(tmp_path, "v2")
    left, right, far = model.context_left, model.context_right, 3
    mel = np.random.default_rng(0).standard_normal((1, left + right + 1 + 2 * far, 12)).astype(np.float32)
    frame, hop = left + far, model.config.hop_size

    @partial(jax.jit, compiler_options=COMPILER)
    @jax.grad
    def gradient_of(mel: jax.Array) -> jax.Array:
        return model.decode(mel)[:, frame * hop : (frame + 1) * hop].sum()

    gradient = gradient_of(mel)
    touched = np.flatnonzero(np.abs(np.asarray(gradient)[0]).sum(axis=-1))
    assert (touched[0], touched[-1]) == (frame - left, frame + right)


def test_sizes_of_the_released_model() -> None:
    model = nnx.eval_shape(lambda: BigVGAN(BigVGANConfig(), rngs=nnx.Rngs(0)))
    assert (model.context_left, model.context_right, model.feature_channels) == (38, 38, 100)
    official = golden()[1]["released"]
    folded = {key.removesuffix("_v"): shape for key, shape in official.items() if not key.endswith(".weight_g")}
    assert bigvgan_shapes(BigVGANConfig()) == folded


def test_a_window_without_a_block_is_refused() -> None:
    model = nnx.eval_shape(lambda: BigVGAN(BigVGANConfig(), rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="window has 76 frames; context_left=38 and context_right=38"):
        model.decode_block(np.zeros((1, 76, 100), np.float32), 0, 76)


# ---- files


def test_weights_whose_norm_was_folded_are_read_as_well(tmp_path: Path) -> None:
    model, _, _ = load(tmp_path, "v2")
    state = official_state("v2")
    for key in [key for key in state if key.endswith(".weight_v")]:
        direction, gain = state.pop(key), state.pop(key.removesuffix("_v") + "_g")
        norm = np.sqrt(np.square(direction).sum(axis=(1, 2), keepdims=True))
        state[key.removesuffix("_v")] = gain * direction / norm
    safetensors.numpy.save_file(state, tmp_path / "folded.safetensors")
    folded = load_bigvgan(tmp_path / "config.json", tmp_path / "folded.safetensors")
    for ours, theirs in zip(jax.tree.leaves(nnx.state(model)), jax.tree.leaves(nnx.state(folded)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_pre.weight_g": np.ones((24,), np.float32)}, r"conv_pre\.weight_g is \[24\] where \[24, 1, 1\]"),
        ({"conv_pre.bias": np.ones((23,), np.float32)}, r"conv_pre\.bias is \[23\] in the file and \[24\]"),
        ({"speaker": np.ones((2,), np.float32)}, "unknown to the model: speaker"),
        (
            {"activation_post.upsample.filter": np.ones((1, 1, 12), np.float32)},
            r"activation_post\.upsample\.filter is not the low-pass filter",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_bigvgan(*write(tmp_path, "v2", **changes))


def test_config_written_and_read(tmp_path: Path) -> None:
    for config in (BigVGANConfig(), *CASES.values()):
        config.write_json(tmp_path / "config.json")
        assert BigVGANConfig.from_json(tmp_path / "config.json") == config


def test_what_training_alone_needs_is_passed_over_and_old_files_end_in_tanh_and_bias(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    BigVGANConfig().write_json(path)
    document = {**json.loads(path.read_text()), "learning_rate": 0.1, "fmax": None}
    del document["use_tanh_at_final"], document["use_bias_at_final"]
    path.write_text(json.dumps(document))
    read = BigVGANConfig.from_json(path)
    assert read.use_tanh_at_final
    assert read.use_bias_at_final


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resblock": "2"}, "resblock is '2'; only '1' is supported"),
        ({"activation": "snake"}, "activation is 'snake'; only 'snakebeta'"),
        ({"snake_logscale": False}, "snake_logscale is False"),
        ({"num_mels": 0}, "whole numbers of at least 1, got 0"),
        ({"upsample_rates": [4, 4, 2, 2, 2, "2"]}, "whole numbers of at least 1, got '2'"),
        ({"upsample_rates": 4}, "upsample_rates must be a list of whole numbers, got 4"),
        ({"upsample_kernel_sizes": [9, 8, 4, 4, 4, 4]}, "must be twice the upsample_rates"),
        ({"hop_size": 512}, "must multiply to hop_size, got 512"),
        ({"upsample_initial_channel": 100}, "must divide by 64"),
        ({"resblock_kernel_sizes": [3, 7, 10]}, "must be odd"),
        ({"resblock_kernel_sizes": [3, 7]}, "must be of one length"),
        ({"resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1]]}, "must all be of one length"),
    ],
)
def test_config_that_is_not_supported(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "config.json"
    BigVGANConfig().write_json(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message):
        BigVGANConfig.from_json(path)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not a JSON file"), ("[]", "holds a list"), ("{}", "lacks num_mels")]
)
def test_config_that_is_something_else(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        BigVGANConfig.from_json(path)
