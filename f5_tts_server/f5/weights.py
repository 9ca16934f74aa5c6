"""Official checkpoints into our modules and back: one table of which key is which leaf.

A row of the table names an official key, the leaves of ours that it fills, and how the arrays are turned. `{i}` in a
key counts the layers that are stacked along a leaf's leading axis. Loading accounts for every key of the file and
every leaf of the model: what is missing, unknown or of another shape is an error that lists the names.

Memory: leaves are filled one at a time, the largest first, each from as many reads as it has layers. Next to the
model itself there is never more than one leaf's copy and one layer's array.

Source of the names: SWivid/F5-TTS 1.1.22 `src/f5_tts/model/backbones/` and `modules.py`; `vocos` 0.1.0 `models.py`;
`bigvgan` 2.4.1 `bigvgan.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import safetensors.numpy
from flax import nnx

from f5_tts_server.f5.audio import mel_filters
from f5_tts_server.f5.bigvgan import BigVGAN, BigVGANConfig, low_pass
from f5_tts_server.f5.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from f5_tts_server.f5.config import BackboneConfig, MelConfig
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.unett import UNetT
from f5_tts_server.f5.vocos import TAPS, Vocos, VocosConfig, hann_window

SHOWN_KEYS = 8  # of each kind of fault, in an error
_ALIGNMENT = 64  # bytes

# ---- how an official array and ours differ in layout


class Layout(NamedTuple):
    """Turns one layer's array. The two functions undo each other and only move axes, so that they work on views."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_official: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda x: x, lambda x: x)
LINEAR = Layout(np.transpose, np.transpose)  # [out, in] <-> [in, out]
DEPTHWISE = Layout(lambda x: x[:, 0].T, lambda x: x.T[:, None])  # [d, 1, taps] <-> [taps, d]
CONV = Layout(np.transpose, np.transpose)  # [out, in / groups, taps] <-> [taps, in / groups, out]
UNROLLED_CONV = Layout(  # [out, in, taps] <-> [taps * in, out]
    lambda x: x.transpose(2, 1, 0).reshape(-1, x.shape[0]),
    lambda x: x.reshape(TAPS, -1, x.shape[1]).transpose(2, 1, 0),
)
UPSAMPLING = Layout(  # [in, out, 2 u] <-> [2, in, u, out]
    lambda x: x.reshape(*x.shape[:2], 2, -1).transpose(2, 0, 3, 1),
    lambda x: x.transpose(1, 3, 0, 2).reshape(x.shape[1], x.shape[3], -1),
)
CHANNELS = Layout(lambda x: x.reshape(-1), lambda x: x.reshape(1, 1, -1))  # [1, 1, d] <-> [d]


@dataclass(frozen=True)
class Row:
    """An official key and the leaves it fills, by dotted path.

    Several leaves share a key's input rows in order. With `{i}` in `key` the leaves are stacks whose layer j is the
    key of i = first + j.
    """

    key: str
    leaves: tuple[str, ...]
    layout: Layout = SAME
    first: int = 0

    @property
    def stacked(self) -> bool:
        return "{i}" in self.key

    def keys(self, layers: int) -> list[str]:
        return [self.key.replace("{i}", str(self.first + layer)) for layer in range(layers)]


def affine(key: str, leaf: str, layout: Layout = LINEAR, first: int = 0) -> list[Row]:
    """A product and its bias."""
    return [Row(f"{key}.weight", (f"{leaf}.w",), layout, first), Row(f"{key}.bias", (f"{leaf}.b",), first=first)]


def norm(key: str, scale: str, shift: str) -> list[Row]:
    return [Row(f"{key}.weight", (scale,)), Row(f"{key}.bias", (shift,))]


def _attention(key: str, leaf: str, first: int = 0) -> list[Row]:
    return [
        *affine(f"{key}.to_q", f"{leaf}.to_q", first=first),
        *affine(f"{key}.to_k", f"{leaf}.to_k", first=first),
        *affine(f"{key}.to_v", f"{leaf}.to_v", first=first),
        *affine(f"{key}.to_out.0", f"{leaf}.to_out", first=first),
        Row(f"{key}.q_norm.weight", (f"{leaf}.q_norm.scale",), first=first),
        Row(f"{key}.k_norm.weight", (f"{leaf}.k_norm.scale",), first=first),
    ]


def _feed_forward(key: str, leaf: str, first: int = 0) -> list[Row]:
    return [*affine(f"{key}.ff.0.0", f"{leaf}.up", first=first), *affine(f"{key}.ff.2", f"{leaf}.down", first=first)]


_TEXT_BLOCK = "text_embed.text_blocks.{i}"
_EMBEDDINGS = [
    *affine("time_embed.time_mlp.0", "time.mlp1"),
    *affine("time_embed.time_mlp.2", "time.mlp2"),
    Row("text_embed.text_embed.weight", ("text.embedding",)),
    *affine(f"{_TEXT_BLOCK}.dwconv", "text.blocks.dwconv", DEPTHWISE),
    *norm(f"{_TEXT_BLOCK}.norm", "text.blocks.norm_scale", "text.blocks.norm_shift"),
    *affine(f"{_TEXT_BLOCK}.pwconv1", "text.blocks.pwconv1"),
    Row(f"{_TEXT_BLOCK}.grn.gamma", ("text.blocks.grn_gamma",), CHANNELS),
    Row(f"{_TEXT_BLOCK}.grn.beta", ("text.blocks.grn_beta",), CHANNELS),
    *affine(f"{_TEXT_BLOCK}.pwconv2", "text.blocks.pwconv2"),
    Row("input_embed.proj.weight", ("input.w_x", "input.w_cond", "input.w_text"), LINEAR),
    Row("input_embed.proj.bias", ("input.b",)),
    *affine("input_embed.conv_pos_embed.conv1d.0", "input.position.conv1", CONV),
    *affine("input_embed.conv_pos_embed.conv1d.2", "input.position.conv2", CONV),
]

_DIT = [
    *_EMBEDDINGS,
    *affine("transformer_blocks.{i}.attn_norm.linear", "blocks.time"),
    *_attention("transformer_blocks.{i}.attn", "blocks.attn"),
    *_feed_forward("transformer_blocks.{i}.ff", "blocks.ff"),
    Row("long_skip_connection.weight", ("long_skip.w",), LINEAR),
    *affine("norm_out.linear", "norm_out"),
    *affine("proj_out", "proj_out"),
]


def _unett(depth: int) -> list[Row]:
    """Each layer is a list of skip projection, norm, attention, norm, feed-forward; halves are stacks of their own."""

    def half(leaf: str, first: int) -> list[Row]:
        return [
            Row("layers.{i}.0.weight", (f"{leaf}.skip.w",), LINEAR, first),
            Row("layers.{i}.1.g", (f"{leaf}.attn_norm.scale",), first=first),
            *_attention("layers.{i}.2", f"{leaf}.attn", first),
            Row("layers.{i}.3.g", (f"{leaf}.ff_norm.scale",), first=first),
            *_feed_forward("layers.{i}.4", f"{leaf}.ff", first),
        ]

    return [
        *_EMBEDDINGS,
        *half("first", 0),
        *half("later", depth // 2),
        Row("norm_out.g", ("norm_out.scale",)),
        *affine("proj_out", "proj_out"),
    ]


VOCOS_ROWS = [
    *affine("backbone.embed", "embed", UNROLLED_CONV),
    *norm("backbone.norm", "norm_scale", "norm_shift"),
    *affine("backbone.convnext.{i}.dwconv", "blocks.dwconv", DEPTHWISE),
    *norm("backbone.convnext.{i}.norm", "blocks.norm_scale", "blocks.norm_shift"),
    *affine("backbone.convnext.{i}.pwconv1", "blocks.pwconv1"),
    *affine("backbone.convnext.{i}.pwconv2", "blocks.pwconv2"),
    Row("backbone.convnext.{i}.gamma", ("blocks.gamma",)),
    *norm("backbone.final_layer_norm", "final_scale", "final_shift"),
    *affine("head.out", "out"),
]


def _bigvgan_rows(config: BigVGANConfig) -> list[Row]:
    rows = [*affine("conv_pre", "conv_pre", CONV), *affine("conv_post", "conv_post", CONV)]
    rows += _snake("activation_post", "activation_post")
    for stage in range(len(config.upsample_rates)):
        rows += affine(f"ups.{stage}.0", f"stages.{stage}.up", UPSAMPLING)
        for block, dilations in enumerate(config.resblock_dilation_sizes):
            key = f"resblocks.{stage * len(config.resblock_dilation_sizes) + block}"
            leaf = f"stages.{stage}.blocks.{block}"
            for layer in range(len(dilations)):
                for convs in ("convs1", "convs2"):
                    rows += affine(f"{key}.{convs}.{layer}", f"{leaf}.{convs}.{layer}", CONV)
            for layer in range(2 * len(dilations)):
                rows += _snake(f"{key}.activations.{layer}", f"{leaf}.activations.{layer}")
    return rows


def _snake(key: str, leaf: str) -> list[Row]:
    return [Row(f"{key}.act.{name}", (f"{leaf}.{name}",)) for name in ("alpha", "beta")]


# ---- what a file may hold besides parameters


class Buffer(NamedTuple):
    """An array of the official model that follows from its configuration. Absent from a file or equal to this."""

    key: str
    value: np.ndarray
    meaning: str


# Training state, and the mel front end that early releases stored; the official loader drops the same names.
_DROPPED = frozenset(
    {"initted", "step", "mel_spec.mel_stft.mel_scale.fb", "mel_spec.mel_stft.spectrogram.window"},
)
_PREFIXES = ("ema_model.", "transformer.")


def _backbone_buffers(config: BackboneConfig) -> list[Buffer]:
    frequencies = 1.0 / 10_000.0 ** (np.arange(0, config.dim_head, 2) / config.dim_head)
    return [Buffer("rotary_embed.inv_freq", frequencies.astype(np.float32), "rotary frequencies")]


def _vocos_buffers(config: VocosConfig) -> list[Buffer]:
    window = hann_window(config.n_fft)
    mel = MelConfig(config.sample_rate, config.n_fft, config.hop, config.n_fft, config.input_channels)
    return [
        Buffer("head.istft.window", window, "synthesis window"),
        Buffer("feature_extractor.mel_spec.spectrogram.window", window, "analysis window"),
        Buffer("feature_extractor.mel_spec.mel_scale.fb", mel_filters(mel).astype(np.float32), "mel filters"),
    ]


def _bigvgan_buffers(rows: Iterable[Row]) -> list[Buffer]:
    """The two filters of each activation."""
    activations = [row.key.removesuffix(".act.alpha") for row in rows if row.key.endswith(".act.alpha")]
    return [
        Buffer(f"{activation}.{place}.filter", low_pass()[None, None], "low-pass filter")
        for activation in activations
        for place in ("upsample", "downsample.lowpass")
    ]


# ---- loading


class _Source(Protocol):
    """Official names and shapes, and the arrays behind them."""

    @property
    def name(self) -> str: ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    def read(self, key: str) -> np.ndarray: ...


class _Arrays:
    """A state dict in memory as a source."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.name = "the state dict"
        self.shapes = {key: array.shape for key, array in arrays.items()}
        self._arrays = arrays

    def read(self, key: str) -> np.ndarray:
        return self._arrays[key]


class _File:
    """A checkpoint file as a source, its keys freed of the prefixes that training puts before them."""

    def __init__(self, checkpoint: Checkpoint, prefixes: Sequence[str]) -> None:
        self.name = str(checkpoint.path)
        self._checkpoint = checkpoint
        self._stored: dict[str, str] = {}
        for stored in checkpoint.tensors:
            key = stored
            for prefix in prefixes:
                key = key.removeprefix(prefix)
            if key in _DROPPED:
                continue
            if key in self._stored:
                raise CheckpointError(f"{self.name} holds {key} twice, as {self._stored[key]} and as {stored}")
            self._stored[key] = stored
        self.shapes = {key: checkpoint.tensors[stored].shape for key, stored in self._stored.items()}

    def read(self, key: str) -> np.ndarray:
        return self._checkpoint.read(self._stored[key])


class _WithoutWeightNorm:
    """A source whose weights g · v / ‖v‖, kept as `weight_g` and `weight_v`, read as `weight` again."""

    def __init__(self, source: _Source) -> None:
        self.name, self._source = source.name, source
        shapes, self._normed = dict(source.shapes), set[str]()
        for key in source.shapes:
            weight = key.removesuffix("_v")
            if key.endswith(".weight_v") and f"{weight}_g" in shapes and weight not in shapes:
                rows = (shapes[key][0], *(1,) * (len(shapes[key]) - 1))
                if shapes[f"{weight}_g"] != rows:
                    gains = list(shapes[f"{weight}_g"])
                    raise CheckpointError(f"{self.name}: {weight}_g is {gains} where {list(rows)} was expected")
                shapes[weight] = shapes.pop(key)
                del shapes[f"{weight}_g"]
                self._normed.add(weight)
        self.shapes: Mapping[str, tuple[int, ...]] = shapes

    def read(self, key: str) -> np.ndarray:
        if key not in self._normed:
            return self._source.read(key)
        gain, direction = (_as_floats(self._source, f"{key}_{part}").astype(np.float32) for part in "gv")
        squares = np.square(direction, dtype=np.float64).sum(axis=tuple(range(1, direction.ndim)), keepdims=True)
        return (direction * (gain / np.sqrt(squares))).astype(np.float32)


Module = TypeVar("Module", bound=nnx.Module)


def load_backbone(path: str | Path, config: BackboneConfig, dtype: Any = jnp.float32) -> DiT | UNetT:
    """Loads an official F5-TTS or E2-TTS checkpoint (`.safetensors`, `.pt`); parameters become `dtype`.

    Raises CheckpointError naming every key that is missing, unknown or of the wrong shape, and both numbers where the
    vocabulary's size does not fit; OSError where there is no such file.
    """
    with open_checkpoint(path) as checkpoint:
        return _load_backbone(_File(checkpoint, _PREFIXES), config, dtype)


def backbone_from_state_dict(
    arrays: Mapping[str, np.ndarray], config: BackboneConfig, dtype: Any = jnp.float32
) -> DiT | UNetT:
    """`load_backbone` for a state dict of the official transformer that is in memory already."""
    return _load_backbone(_Arrays(arrays), config, dtype)


def load_vocos(config_path: str | Path, weights_path: str | Path, dtype: Any = jnp.float32) -> Vocos:
    """Loads Vocos weights, official (`pytorch_model.bin`) or ours (`.safetensors`), for the model of a `config.yaml`.

    Raises ValueError for a configuration that is not supported, CheckpointError as `load_backbone`.
    """
    config = VocosConfig.from_yaml(config_path)
    return fill_vocos(lambda: Vocos(config, rngs=nnx.Rngs(0), param_dtype=dtype), VOCOS_ROWS, config, weights_path)


VocosModule = TypeVar("VocosModule", bound=Vocos)


def fill_vocos(
    build: Callable[[], VocosModule], rows: Iterable[Row], config: VocosConfig, weights_path: str | Path
) -> VocosModule:
    """Fills the Vocos that `build` makes, which is never allocated, from a file whose names `rows` explain."""
    with open_checkpoint(weights_path) as checkpoint:
        return _load(build, rows, _vocos_buffers(config), _File(checkpoint, ()))


def load_bigvgan(config_path: str | Path, weights_path: str | Path) -> BigVGAN:
    """Loads official BigVGAN weights (`bigvgan_generator.pt`), weight norm folded or not, for a `config.json`.

    Raises ValueError for a configuration that is not supported, CheckpointError as `load_backbone`.
    """
    config = BigVGANConfig.from_json(config_path)
    rows = _bigvgan_rows(config)
    with open_checkpoint(weights_path) as checkpoint:
        source = _WithoutWeightNorm(_File(checkpoint, ()))
        return _load(lambda: BigVGAN(config, rngs=nnx.Rngs(0)), rows, _bigvgan_buffers(rows), source)


def _load_backbone(source: _Source, config: BackboneConfig, dtype: Any) -> DiT | UNetT:
    return _load(lambda: _new_backbone(config, dtype), _backbone_rows(config), _backbone_buffers(config), source)


def _new_backbone(config: BackboneConfig, dtype: Any) -> DiT | UNetT:
    return (DiT if config.backbone == "DiT" else UNetT)(config, rngs=nnx.Rngs(0), param_dtype=dtype)


def _backbone_rows(config: BackboneConfig) -> list[Row]:
    return _DIT if config.backbone == "DiT" else _unett(config.depth)


def _load(build: Callable[[], Module], rows: Iterable[Row], buffers: Iterable[Buffer], source: _Source) -> Module:
    """Fills the model that `build` makes, which is never allocated, from the source."""
    model: Module = nnx.eval_shape(build)
    variables, leaves = _leaves(model)
    rows = _rows_of(rows, leaves)
    _check_keys(source, rows, leaves, buffers)
    _check_buffers(source, buffers)
    # The largest first: the copy next to the finished leaves is then at its largest while these are fewest.
    for row in sorted(rows, key=lambda row: -sum(_size(leaves[leaf]) for leaf in row.leaves)):
        for leaf, array in _read_row(source, row, leaves, variables[row.leaves[0]].get_value().dtype).items():
            # Waiting lets go of the host's copy before the next leaf is read.
            variables[leaf].set_value(jax.device_put(array).block_until_ready())
    return model


def _leaves(model: nnx.Module) -> tuple[dict[str, nnx.Variable[Any]], dict[str, tuple[int, ...]]]:
    """A model's variables by dotted path, and their shapes."""
    variables = {
        ".".join(map(str, path)): value for path, value in nnx.iter_graph(model) if isinstance(value, nnx.Variable)
    }
    return variables, {leaf: tuple(variable.get_value().shape) for leaf, variable in variables.items()}


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _rows_of(rows: Iterable[Row], leaves: Mapping[str, tuple[int, ...]]) -> list[Row]:
    """The rows of a table that this model has the leaves for; together they must name each leaf once."""
    rows = [row for row in rows if row.leaves[0] in leaves]
    named = sorted(itertools.chain.from_iterable(row.leaves for row in rows))
    if named != sorted(leaves):
        raise RuntimeError(f"the table and the model differ in the leaves {sorted(set(named) ^ set(leaves))}")
    return rows


def _official_shapes(rows: list[Row], leaves: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of all official keys that fill the given leaves."""
    shapes: dict[str, tuple[int, ...]] = {}
    for row in rows:
        parts = [leaves[leaf][1:] if row.stacked else leaves[leaf] for leaf in row.leaves]
        ours = (sum(part[0] for part in parts), *parts[0][1:])
        official = row.layout.to_official(np.broadcast_to(np.float32(0), ours)).shape
        shapes |= dict.fromkeys(row.keys(_layers(row, leaves)), official)
    return shapes


def _layers(row: Row, leaves: Mapping[str, tuple[int, ...]]) -> int:
    return leaves[row.leaves[0]][0] if row.stacked else 1


def _check_keys(
    source: _Source, rows: list[Row], leaves: Mapping[str, tuple[int, ...]], buffers: Iterable[Buffer]
) -> None:
    needed = _official_shapes(rows, leaves)
    known = {**needed, **{buffer.key: buffer.value.shape for buffer in buffers}}
    faults = []
    missing = [key for key in needed if key not in source.shapes]
    unknown = [key for key in source.shapes if key not in known]
    if missing:
        faults.append(f"missing from the file: {_listed(missing)}")
    if unknown:
        faults.append(f"unknown to the model: {_listed(unknown)}")
    wrong = [
        _wrong_shape(key, source.shapes[key], shape)
        for key, shape in known.items()
        if key in source.shapes and source.shapes[key] != shape
    ]
    if wrong:
        faults.append(f"of another shape: {_listed(wrong)}")
    if faults:
        raise CheckpointError(f"{source.name} does not fit the model; {'; '.join(faults)}")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_KEYS} more" if len(names) > SHOWN_KEYS else ""
    return ", ".join(names[:SHOWN_KEYS]) + more


def _wrong_shape(key: str, stored: tuple[int, ...], needed: tuple[int, ...]) -> str:
    sentence = f"{key} is {list(stored)} in the file and {list(needed)} in the model"
    if key == "text_embed.text_embed.weight" and len(stored) == 2 and stored[1] == needed[1]:
        # One row more than tokens: row 0 is the filler.
        sentence += (
            f" (the file was trained on a vocabulary of {stored[0] - 1} tokens, the one given has {needed[0] - 1})"
        )
    return sentence


def _check_buffers(source: _Source, buffers: Iterable[Buffer]) -> None:
    for buffer in buffers:
        if buffer.key in source.shapes:
            stored = _as_floats(source, buffer.key)
            # Wide enough for float32 formulas and files in half precision; another formula differs by far more.
            if not np.allclose(stored.astype(np.float32), buffer.value, rtol=1e-2, atol=1e-3):
                raise CheckpointError(f"{source.name}: {buffer.key} is not the {buffer.meaning} of this model")


def _as_floats(source: _Source, key: str) -> np.ndarray:
    array = source.read(key)
    if array.dtype != ml_dtypes.bfloat16 and not np.issubdtype(array.dtype, np.floating):
        raise CheckpointError(f"{source.name}: {key} is of type {array.dtype}; numbers with a fraction were expected")
    return array


def _read_row(
    source: _Source, row: Row, leaves: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]
) -> dict[str, np.ndarray]:
    """The leaves of one row, each an array of its own in the model's dtype."""
    arrays = {leaf: _aligned(leaves[leaf], dtype) for leaf in row.leaves}
    for layer, key in enumerate(row.keys(_layers(row, leaves))):
        ours = row.layout.to_ours(_as_floats(source, key))
        begin = 0
        for array in arrays.values():
            target = array[layer] if row.stacked else array
            _copy(target, ours[begin : begin + len(target)])
            begin += len(target)
    return arrays


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """An empty array at an address that JAX on the CPU can take over as it is, without a copy."""
    size = _size(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)


def _copy(target: np.ndarray, values: np.ndarray) -> None:
    """target[...] = values, five times as fast where `values` is a transposed view: in strips of a cache line."""
    strip = values.shape[-1] if values.flags.c_contiguous else 16
    for begin in range(0, values.shape[-1], strip):
        target[..., begin : begin + strip] = values[..., begin : begin + strip]


def backbone_shapes(config: BackboneConfig) -> dict[str, tuple[int, ...]]:
    """The official transformer's parameters: shapes by key, without making a model."""
    _, leaves = _leaves(nnx.eval_shape(lambda: _new_backbone(config, jnp.float32)))
    return _official_shapes(_rows_of(_backbone_rows(config), leaves), leaves)


def bigvgan_shapes(config: BigVGANConfig) -> dict[str, tuple[int, ...]]:
    """The official parameters without weight norm: shapes by key, without making a model."""
    _, leaves = _leaves(nnx.eval_shape(lambda: BigVGAN(config, rngs=nnx.Rngs(0))))
    return _official_shapes(_rows_of(_bigvgan_rows(config), leaves), leaves)


# ---- saving


def backbone_state_dict(model: DiT | UNetT) -> dict[str, np.ndarray]:
    """The parameters and buffers of the official transformer class, in the model's dtype; own contiguous arrays."""
    return _state_dict(model, _backbone_rows(model.config), _backbone_buffers(model.config))


def vocos_state_dict(model: Vocos, rows: Iterable[Row] = VOCOS_ROWS) -> dict[str, np.ndarray]:
    """The parameters and buffers of the official Vocos class, by the names in `rows`; own contiguous arrays."""
    return _state_dict(model, rows, _vocos_buffers(model.config))


def save_backbone(path: str | Path, model: DiT | UNetT) -> None:
    """Writes a `.safetensors` file as the released ones are: `load_backbone` and the official loader read it."""
    prefix = "".join(_PREFIXES)
    arrays = backbone_state_dict(model)
    safetensors.numpy.save_file({prefix + key: array for key, array in arrays.items()}, path)


def save_vocos(config_path: str | Path, weights_path: str | Path, model: Vocos) -> None:
    """Writes a `config.yaml` and a `.safetensors` file that `load_vocos` reads."""
    model.config.write_yaml(config_path)
    safetensors.numpy.save_file(vocos_state_dict(model), weights_path)


def save_bigvgan(config_path: str | Path, weights_path: str | Path, model: BigVGAN) -> None:
    """Writes a `config.json` and a `.safetensors` file that `load_bigvgan` reads."""
    rows = _bigvgan_rows(model.config)
    model.config.write_json(config_path)
    safetensors.numpy.save_file(_state_dict(model, rows, _bigvgan_buffers(rows)), weights_path)


def _state_dict(model: nnx.Module, rows: Iterable[Row], buffers: Iterable[Buffer]) -> dict[str, np.ndarray]:
    variables, leaves = _leaves(model)
    arrays = {}
    for row in _rows_of(rows, leaves):
        values = [np.asarray(variables[leaf].get_value()) for leaf in row.leaves]
        for layer, key in enumerate(row.keys(_layers(row, leaves))):
            ours = np.concatenate([value[layer] if row.stacked else value for value in values])
            arrays[key] = np.ascontiguousarray(row.layout.to_official(ours))
    return arrays | {buffer.key: buffer.value for buffer in buffers}
