"""Vocos, the vocoder that turns log-mel frames into 24 kHz samples.

Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for high-quality audio
synthesis" (arXiv:2306.00814); numerically equal to `VocosBackbone` + `ISTFTHead` of the PyPI package `vocos` 0.1.0.

Shapes: b batch, n frames, d channels, r = n_fft // hop frames that overlap at one sample.

A clip can be decoded whole (`Vocos.decode`) or in blocks (`Vocos.decode_block`). A block needs `context_left` frames
before it and `context_right` after it; with those its samples equal the whole clip's, whatever the block's size. A block
that follows another can take over what the layers still hold of the frames before it (`Vocos.next_block`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from flax import nnx

from f5_tts_server.f5.layers import DepthwiseConv, Linear, inside, layer_norm, shifted

TAPS = 7  # of every convolution
MAX_MAGNITUDE = 1e2  # the official head clips exp(log magnitude) here
SMALLEST_ENVELOPE = 1e-11  # below it no analysis frame covers the sample

# The parts a config.yaml may name.
_MEL = "vocos.feature_extractors.MelSpectrogramFeatures"
_BACKBONE = "vocos.models.VocosBackbone"
ISTFT_HEAD = "vocos.heads.ISTFTHead"


@dataclass(frozen=True)
class VocosConfig:
    """Sizes of a Vocos model; the defaults are those of `charactr/vocos-mel-24khz`.

    `hop` and `n_fft` are in samples; `n_fft` is also the window's length. `padding` says which samples the inverse
    STFT keeps: "center" (n - 1) * hop of them, as `torch.istft(center=True)`; "same" n * hop.
    """

    input_channels: int = 100
    dim: int = 512
    intermediate_dim: int = 1536
    num_layers: int = 8
    layer_scale_init: float | None = None  # None: 1 / num_layers
    n_fft: int = 1024
    hop: int = 256
    padding: Literal["center", "same"] = "center"
    sample_rate: int = 24_000

    def __post_init__(self) -> None:
        for name in ("input_channels", "dim", "intermediate_dim", "num_layers", "n_fft", "hop", "sample_rate"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"vocos {name} must be a whole number of at least 1, got {value!r}")
        if self.padding not in ("center", "same"):
            raise ValueError(f"vocos padding must be 'center' or 'same', got {self.padding!r}")
        if self.n_fft % (2 * self.hop):
            raise ValueError(f"vocos n_fft must be an even multiple of hop, got n_fft={self.n_fft} and hop={self.hop}")

    @classmethod
    def from_yaml(cls, path: str | Path, head_class: str = ISTFT_HEAD) -> VocosConfig:
        """Reads the `config.yaml` that lies next to official Vocos weights.

        Raises ValueError where the file asks for a part other than MelSpectrogramFeatures, VocosBackbone and
        `head_class`, lacks a value, has an unknown one, or where its three parts disagree.
        """
        document = _document(path)
        mel = _section(path, document, "feature_extractor", _MEL)
        backbone = _section(path, document, "backbone", _BACKBONE)
        head = _section(path, document, "head", head_class)

        mel_defaults = {"sample_rate": 24_000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "padding": "center"}
        mel = _values(path, "feature_extractor", mel, required=(), optional=mel_defaults)
        backbone = _values(
            path,
            "backbone",
            backbone,
            required=("input_channels", "dim", "intermediate_dim", "num_layers"),
            optional={"layer_scale_init_value": None, "adanorm_num_embeddings": None},
        )
        head = _values(path, "head", head, required=("dim", "n_fft", "hop_length"), optional={"padding": "same"})
        if backbone["adanorm_num_embeddings"] is not None:
            raise ValueError(f"{path}: backbone.adanorm_num_embeddings is set; only unconditional Vocos is supported")
        for left, right in (
            (("feature_extractor.n_mels", mel["n_mels"]), ("backbone.input_channels", backbone["input_channels"])),
            (("feature_extractor.hop_length", mel["hop_length"]), ("head.hop_length", head["hop_length"])),
            (("feature_extractor.n_fft", mel["n_fft"]), ("head.n_fft", head["n_fft"])),
            (("backbone.dim", backbone["dim"]), ("head.dim", head["dim"])),
        ):
            if left[1] != right[1]:
                raise ValueError(f"{path}: {left[0]}={left[1]} and {right[0]}={right[1]} must be equal")
        return cls(
            input_channels=backbone["input_channels"],
            dim=backbone["dim"],
            intermediate_dim=backbone["intermediate_dim"],
            num_layers=backbone["num_layers"],
            layer_scale_init=backbone["layer_scale_init_value"] or None,  # the official class reads 0 as "not given"
            n_fft=head["n_fft"],
            hop=head["hop_length"],
            padding=head["padding"],
            sample_rate=mel["sample_rate"],
        )

    def write_yaml(self, path: str | Path, head_class: str = ISTFT_HEAD) -> None:
        """Writes the `config.yaml` that `from_yaml` and, with its own head, the official package read."""
        mel = {"sample_rate": self.sample_rate, "n_fft": self.n_fft, "hop_length": self.hop, "padding": self.padding}
        backbone: dict[str, float] = {
            "input_channels": self.input_channels,
            "dim": self.dim,
            "intermediate_dim": self.intermediate_dim,
            "num_layers": self.num_layers,
        }
        if self.layer_scale_init is not None:
            backbone["layer_scale_init_value"] = self.layer_scale_init
        head = {"dim": self.dim, "n_fft": self.n_fft, "hop_length": self.hop, "padding": self.padding}
        document = {
            "feature_extractor": {"class_path": _MEL, "init_args": {**mel, "n_mels": self.input_channels}},
            "backbone": {"class_path": _BACKBONE, "init_args": backbone},
            "head": {"class_path": head_class, "init_args": head},
        }
        Path(path).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def head_class(path: str | Path) -> str | None:
    """The class of the head that a `config.yaml` names, if it names one. Raises ValueError for what is not YAML."""
    document = _document(path)
    head = document.get("head") if isinstance(document, dict) else None
    return head.get("class_path") if isinstance(head, dict) else None


def _document(path: str | Path) -> Any:
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML file: {error}") from error


def _section(path: str | Path, document: Any, name: str, class_path: str) -> dict[str, Any]:
    section = document.get(name) if isinstance(document, dict) else None
    if not isinstance(section, dict):
        raise ValueError(f"{path} has no section {name!r}; expected the config.yaml of a Vocos model")
    if section.get("class_path") != class_path:
        raise ValueError(f"{path}: {name}.class_path is {section.get('class_path')!r}; only {class_path} is supported")
    values = section.get("init_args", {})
    if not isinstance(values, dict):
        raise ValueError(f"{path}: {name}.init_args must be a mapping, got {type(values).__name__}")
    return values


def _values(
    path: str | Path, section: str, values: dict[str, Any], *, required: tuple[str, ...], optional: dict[str, Any]
) -> dict[str, Any]:
    missing = [name for name in required if name not in values]
    unknown = sorted(set(values) - set(required) - set(optional))
    if missing or unknown:
        raise ValueError(
            f"{path}: {section}.init_args lacks {missing or 'nothing'}, has unknown {unknown or 'nothing'}"
        )
    return {**optional, **values}


def hann_window(length: int) -> np.ndarray:
    """The periodic Hann window of an STFT, float32 [length]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


class ConvNeXtBlock(nnx.Module):
    """Depthwise convolution, norm and a two-layer perceptron, scaled per channel and added: [b, n, d] -> [b, n, d]."""

    def __init__(self, config: VocosConfig, *, rngs: nnx.Rngs, dtype: jnp.dtype) -> None:
        dim = config.dim
        self.dwconv = DepthwiseConv(dim, TAPS, rngs=rngs, dtype=dtype)
        self.norm_scale = nnx.Param(jnp.ones((dim,), dtype))
        self.norm_shift = nnx.Param(jnp.zeros((dim,), dtype))
        self.pwconv1 = Linear(dim, config.intermediate_dim, rngs=rngs, dtype=dtype)
        self.pwconv2 = Linear(config.intermediate_dim, dim, rngs=rngs, dtype=dtype)
        self.gamma = nnx.Param(jnp.full((dim,), config.layer_scale_init or 1 / config.num_layers, dtype))

    @jax.named_scope("convnext")
    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self._branch(self.dwconv(x))

    @jax.named_scope("convnext")
    def inside(self, x: jax.Array) -> jax.Array:
        """Without padding: [b, n + TAPS − 1, d] -> [b, n, d]."""
        return x[:, TAPS // 2 : -(TAPS // 2)] + self._branch(self.dwconv.inside(x))

    def _branch(self, mixed: jax.Array) -> jax.Array:
        hidden = layer_norm(mixed) * self.norm_scale[...] + self.norm_shift[...]
        hidden = self.pwconv2(jax.nn.gelu(self.pwconv1(hidden), approximate=False))
        return self.gamma[...] * hidden


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Carry:
    """What the layers still hold of the frames before a block, zero where a frame is outside the clip."""

    features: jax.Array  # [b, receptive radius, feature_channels], the last that were read
    layers: jax.Array  # [num_layers, b, TAPS - 1, d], the last that each block of the backbone read
    frames: jax.Array  # [b, contexts of the iSTFT, n_fft], the last time-domain frames, windowed


class Vocos(nnx.Module):
    """The vocoder. `blocks` holds every ConvNeXt block's parameters with a leading depth axis and is run by a scan.

    `embed` is the first convolution, unrolled: its `w` [7 * read_channels, d] leads with the tap.
    Parameters are of `param_dtype` and the backbone computes in it; spectrum and samples are float32.
    """

    def __init__(self, config: VocosConfig, *, rngs: nnx.Rngs, param_dtype: jnp.dtype = jnp.float32) -> None:
        self.config = config
        dim = config.dim
        self.embed = Linear(TAPS * self.read_channels, dim, rngs=rngs, dtype=param_dtype)
        self.norm_scale = nnx.Param(jnp.ones((dim,), param_dtype))
        self.norm_shift = nnx.Param(jnp.zeros((dim,), param_dtype))
        self.blocks = nnx.vmap(lambda r: ConvNeXtBlock(config, rngs=r, dtype=param_dtype))(
            rngs.split(config.num_layers)
        )
        self.final_scale = nnx.Param(jnp.ones((dim,), param_dtype))
        self.final_shift = nnx.Param(jnp.zeros((dim,), param_dtype))
        self.out = Linear(dim, config.n_fft + 2, rngs=rngs, dtype=param_dtype)

    @property
    def analyses(self) -> bool:
        """Whether `prepare` needs what `analyse` finds: the log-mel is all that Vocos reads."""
        return False

    @property
    def feature_channels(self) -> int:
        """Channels of a frame as `decode` and `decode_block` read it."""
        return self.config.input_channels

    @property
    def read_channels(self) -> int:
        """How many of them, from the first on, the backbone reads."""
        return self.config.input_channels

    def clip_samples(self, frames: int) -> int:
        """Samples of a clip of this many frames, one hop short of them all for "center" padding."""
        return (frames - 1 if self.config.padding == "center" else frames) * self.config.hop

    def analyse(self, mel: jax.Array, frames: jax.Array) -> Any:
        """See `f5.vocoder.Vocoder`."""
        raise TypeError("a Vocos does not analyse whole clips")

    def prepare(self, mel: np.ndarray, analysis: Any) -> np.ndarray:
        """See `f5.vocoder.Vocoder`: the log-mel as it is."""
        return mel

    @property
    def _receptive_radius(self) -> int:
        """Frames to either side that one frame of the backbone's output depends on."""
        return (TAPS // 2) * (self.config.num_layers + 1)

    @property
    def _istft_left(self) -> int:
        """Earlier frames whose windows reach into a frame's own samples."""
        return (self.config.n_fft - 1 - self._trim) // self.config.hop

    @property
    def _istft_right(self) -> int:
        """Later frames whose windows reach into a frame's own samples."""
        return (self._trim + self.config.hop - 1) // self.config.hop

    @property
    def _trim(self) -> int:
        """Samples of the overlap-add dropped at the clip's start."""
        config = self.config
        return config.n_fft // 2 if config.padding == "center" else (config.n_fft - config.hop) // 2

    @property
    def context_left(self) -> int:
        """Frames before a block that `decode_block` needs: 28 for 8 layers, "center"."""
        return self._receptive_radius + self._istft_left

    @property
    def context_right(self) -> int:
        """Frames after a block that `decode_block` needs: 29 for 8 layers, "center"."""
        return self._receptive_radius + self._istft_right

    def decode(self, mel: jax.Array) -> jax.Array:
        """Decodes whole clips.

        mel: [b, n, feature_channels] of features. Returns float32 samples, [b, (n - 1) * hop] for "center" padding
        and [b, n * hop] for "same".
        """
        n = mel.shape[1]
        hidden, _ = self._backbone(mel, None)
        frames = self._synthesised(hidden, mel, jnp.arange(n)[None])
        return self._overlap_add(frames, jnp.ones((1, n), bool), self._trim, self.clip_samples(n))

    def decode_block(self, window: jax.Array, first: jax.Array | int, frames: jax.Array | int) -> jax.Array:
        """Decodes the middle of a window of frames; equal to the same samples of `decode` over the whole clip.

        window: [b, context_left + block + context_right, feature_channels] of features; what it holds for positions
            outside the clip does not matter, so long as it is finite.
        first: the clip's frame number at the window's frame 0, int32, scalar or [b]; negative near the clip's start.
        frames: the clip's length in frames, int32, scalar or [b].

        Returns float32 samples [b, block * hop], those of the clip's frames first + context_left and on. Samples past
        the clip's end (the whole of the last frame, for "center") are zero. `first` and `frames` may be traced: one
        compiled program serves every block of every clip.
        """
        return self.open_block(window, first, frames)[0]

    def open_block(self, window: jax.Array, first: jax.Array | int, frames: jax.Array | int) -> tuple[jax.Array, Carry]:
        """As `decode_block`, and what `next_block` goes on from."""
        width = window.shape[1]
        block = width - self.context_left - self.context_right
        if block < 1:
            raise ValueError(
                f"window has {width} frames; context_left={self.context_left} and context_right={self.context_right} "
                "leave no frame to decode"
            )
        first = jnp.atleast_1d(jnp.asarray(first, jnp.int32))
        frames = jnp.atleast_1d(jnp.asarray(frames, jnp.int32))
        index = first[:, None] + jnp.arange(width)
        valid = (index >= 0) & (index < frames[:, None])  # [b or 1, width]

        radius = self._receptive_radius
        kept = slice(radius, width - radius)
        hidden, read = self._backbone(window, valid)
        made = self._synthesised(hidden[:, kept], window[:, kept], index[:, kept])
        samples = self._overlap_add(
            made, valid[:, kept], self._istft_left * self.config.hop + self._trim, block * self.config.hop
        )
        # Each layer knows three frames less at the window's end than the one before.
        ends = [width - TAPS // 2 * (layer + 1) for layer in range(self.config.num_layers)]
        carry = Carry(
            jnp.where(valid[..., None], window, 0)[:, width - radius :],
            jnp.stack([read[layer, :, end - TAPS + 1 : end] for layer, end in enumerate(ends)]),
            made[:, made.shape[1] - self._istft_left - self._istft_right :],
        )
        return self._within_clip(samples, index[:, self.context_left : self.context_left + block], frames), carry

    def next_block(
        self, carry: Carry, features: jax.Array, first: jax.Array | int, frames: jax.Array | int
    ) -> tuple[jax.Array, Carry]:
        """Decodes the block that follows another without computing any frame again.

        carry: what `open_block` or `next_block` gave for the block before.
        features: [b, block, feature_channels] of the frames that come next, `context_right` ahead of the samples.
        first: the clip's frame number of the first of them. frames: as in `decode_block`.

        Returns the samples [b, block * hop] of the frames first - context_right and on, and the next carry.
        """
        first = jnp.atleast_1d(jnp.asarray(first, jnp.int32))
        frames = jnp.atleast_1d(jnp.asarray(frames, jnp.int32))
        block, radius, overlap = features.shape[1], self._receptive_radius, carry.frames.shape[1]

        def numbered(behind: int | jax.Array, count: int = block) -> tuple[jax.Array, jax.Array]:
            """Frame numbers from `behind` frames before `first` on, and which of them are in the clip."""
            index = first[:, None] - behind + jnp.arange(count)
            return index, (index >= 0) & (index < frames[:, None])

        def clip(x: jax.Array, behind: int | jax.Array) -> jax.Array:
            return jnp.where(numbered(behind)[1][..., None], x, 0)

        read = jnp.concatenate([carry.features, clip(features, 0)], axis=1)
        mel = read[:, radius - TAPS + 1 :, : self.read_channels].astype(self.embed.w[...].dtype)
        x = layer_norm(self.embed(jnp.concatenate(inside(mel, TAPS), axis=-1)))
        x = clip(x * self.norm_scale[...] + self.norm_shift[...], TAPS // 2)
        graph, parameters = nnx.split(self.blocks)

        def layer(
            before: tuple[jax.Array, jax.Array], own: tuple[nnx.State[Any, Any], jax.Array]
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            (x, behind), (weights, held) = before, own
            x = jnp.concatenate([held, x], axis=1)
            behind = behind + TAPS // 2
            return (clip(nnx.merge(graph, weights).inside(x), behind), behind), x[:, block:]

        (x, _), layers = jax.lax.scan(layer, (x, jnp.int32(TAPS // 2)), (parameters, carry.layers))
        hidden = layer_norm(x) * self.final_scale[...] + self.final_shift[...]
        made = self._synthesised(hidden, read[:, :block], numbered(radius)[0])
        made = jnp.concatenate([carry.frames, made], axis=1)
        index, valid = numbered(radius + overlap, block + overlap)
        samples = self._overlap_add(
            made, valid, self._istft_left * self.config.hop + self._trim, block * self.config.hop
        )
        samples = self._within_clip(samples, index[:, self._istft_left : self._istft_left + block], frames)
        return samples, Carry(read[:, block:], layers, made[:, block:])

    def _within_clip(self, samples: jax.Array, index: jax.Array, frames: jax.Array) -> jax.Array:
        """Samples [b, n * hop] of frames of these numbers [b or 1, n], zero outside the clip."""
        last = frames - 1 if self.config.padding == "center" else frames
        inside_clip = (index >= 0) & (index < last[:, None])
        return jnp.where(jnp.repeat(inside_clip, self.config.hop, axis=1), samples, 0.0)

    def _synthesised(self, hidden: jax.Array, features: jax.Array, index: jax.Array) -> jax.Array:
        """Windowed time-domain frames [b, n, n_fft] of the backbone's output [b, n, d] for frames with these
        features [b, n, feature_channels] and numbers [b or 1, n]."""
        return self._analysis_frames(hidden)

    @jax.named_scope("backbone")
    def _backbone(self, features: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """[b, n, feature_channels] -> [b, n, d], and what each block read, [num_layers, b, n, d].

        Where `valid` [b, n] is false every convolution sees zeros, which is what its padding shows it beyond the ends
        of a whole clip.
        """

        def clip(x: jax.Array) -> jax.Array:
            return x if valid is None else jnp.where(valid[..., None], x, 0)

        graph, parameters = nnx.split(self.blocks)

        def block(x: jax.Array, layer: nnx.State[Any, Any]) -> tuple[jax.Array, jax.Array]:
            return clip(nnx.merge(graph, layer)(x)), x

        mel = clip(features[..., : self.read_channels].astype(self.embed.w[...].dtype))
        x = layer_norm(self.embed(jnp.concatenate(shifted(mel, TAPS), axis=-1)))
        x, read = jax.lax.scan(block, clip(x * self.norm_scale[...] + self.norm_shift[...]), parameters)
        return layer_norm(x) * self.final_scale[...] + self.final_shift[...], read

    def _analysis_frames(self, hidden: jax.Array) -> jax.Array:
        """[b, n, d] -> windowed time-domain frames [b, n, n_fft], float32."""
        log_magnitude, phase = jnp.split(self.out(hidden).astype(jnp.float32), 2, axis=-1)
        magnitude = jnp.minimum(jnp.exp(log_magnitude), MAX_MAGNITUDE)
        # A real signal's first and last bins are real. FFT libraries differ in what they make of an imaginary part.
        edge = np.ones(self.config.n_fft // 2 + 1, np.float32)
        edge[[0, -1]] = 0
        spectrum = jax.lax.complex(magnitude * jnp.cos(phase), magnitude * jnp.sin(phase) * edge)
        return jnp.fft.irfft(spectrum, self.config.n_fft, axis=-1) * hann_window(self.config.n_fft)

    @jax.named_scope("overlap_add")
    def _overlap_add(self, frames: jax.Array, valid: jax.Array, start: int, count: int) -> jax.Array:
        """Sums windowed frames [b, n, n_fft] a hop apart, leaving out those not `valid` [b or 1, n], divides by the
        squared windows that were there, and returns `count` samples from `start` on, [b, count]."""
        envelope = jnp.where(valid[..., None], jnp.square(hann_window(self.config.n_fft)), 0.0)
        total = self._sum_hops(jnp.where(valid[..., None], frames, 0.0))[:, start : start + count]
        weight = self._sum_hops(envelope)[:, start : start + count]
        # Guarded inside the division too: a zero there would turn gradients into NaN.
        covered = weight > SMALLEST_ENVELOPE
        return jnp.where(covered, total / jnp.where(covered, weight, 1.0), 0.0)

    def _sum_hops(self, frames: jax.Array) -> jax.Array:
        """[b, n, n_fft] -> [b, (n + r - 1) * hop]: part q of a frame falls q hops after the frame's start."""
        hop, overlap = self.config.hop, self.config.n_fft // self.config.hop
        batch, n, _ = frames.shape
        parts = frames.reshape(batch, n, overlap, hop)
        shifted = [jnp.pad(parts[:, :, q], ((0, 0), (q, overlap - 1 - q), (0, 0))) for q in range(overlap)]
        return sum(shifted[1:], shifted[0]).reshape(batch, -1)
