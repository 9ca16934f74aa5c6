"""The building blocks that DiT and UNetT share.

Letters: b rows, n frames, d channels, h heads, k kernel taps. Weights are stored for `x @ w`.
`valid` is bool [b, n, 1]: frames inside a row's length. Everything that mixes frames masks by it, so that a padded
row computes what the bare row would.

Source: SWivid/F5-TTS 1.1.22, `src/f5_tts/model/modules.py` (MIT).
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from f5_tts_server.f5 import loops
from f5_tts_server.f5.attention import rotated_attention
from f5_tts_server.f5.config import BackboneConfig
from f5_tts_server.f5.platform import ROWS, WHOLE, Platform


def layer_norm(x: jax.Array, eps: float = 1e-6) -> jax.Array:
    """Normalises the last axis in float32, without scale or shift."""
    wide = x.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    return (centred * lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + eps)).astype(x.dtype)


def modulate(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """adaLN: x [b, n, d] scaled and shifted by one vector a row, scale and shift [b, d]."""
    return layer_norm(x) * (1 + scale[:, None]) + shift[:, None]


def mish(x: jax.Array) -> jax.Array:
    """x · tanh(softplus(x)), written with one exponential: with u = (1 + eˣ)², tanh(softplus x) = (u − 1)/(u + 1)."""
    e = jnp.exp(jnp.minimum(x, 20.0))
    square = e * (e + 2.0)
    return x * (square / (square + 2.0))


def shifted(x: jax.Array, taps: int) -> list[jax.Array]:
    """The `taps` views of x [b, n, d] that a centred convolution over frames multiplies, zero beyond the ends."""
    return inside(jnp.pad(x, ((0, 0), (taps // 2, taps // 2), (0, 0))), taps)


def inside(x: jax.Array, taps: int) -> list[jax.Array]:
    """The `taps` views of x [b, n + taps − 1, d] that a convolution over n frames multiplies, without padding."""
    n = x.shape[1] - taps + 1
    return [lax.slice_in_dim(x, i, i + n, axis=1) for i in range(taps)]


def matmul(x: jax.Array, w: jax.Array) -> jax.Array:
    """x @ w in x's type, of operands in w's. XLA's CPU products of bfloat16 are fast where they give float32."""
    return jnp.matmul(x.astype(w.dtype), w, preferred_element_type=x.dtype)


class Linear(nnx.Module):
    """y = x w + b; w [d_in, d_out]."""

    def __init__(self, d_in: int, d_out: int, *, rngs: nnx.Rngs, bias: bool = True, dtype: jnp.dtype = jnp.float32):
        bound = 1 / math.sqrt(d_in)
        self.w = nnx.Param(jax.random.uniform(rngs.params(), (d_in, d_out), dtype, -bound, bound))
        self.b = nnx.Param(jnp.zeros((d_out,), dtype)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = matmul(x, self.w[...])
        return y if self.b is None else y + self.b[...]


class DepthwiseConv(nnx.Module):
    """One filter a channel over frames; w [k, d]. As shifted multiplies: XLA's depthwise convolution is 50 × slower."""

    def __init__(self, dim: int, taps: int, *, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        bound = 1 / math.sqrt(taps)
        self.w = nnx.Param(jax.random.uniform(rngs.params(), (taps, dim), dtype, -bound, bound))
        self.b = nnx.Param(jnp.zeros((dim,), dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self._sum(shifted(x, self.w.shape[0]))

    def inside(self, x: jax.Array) -> jax.Array:
        """Without padding: [b, n + k − 1, d] → [b, n, d]."""
        return self._sum(inside(x, self.w.shape[0]))

    def _sum(self, views: list[jax.Array]) -> jax.Array:
        w = self.w[...]
        y = views[0] * w[0]
        for view, tap in zip(views[1:], w[1:], strict=True):
            y = y + view * tap
        return y + self.b[...]


class GroupedConv(nnx.Module):
    """A convolution over frames within groups of channels; w [k, d / groups, d]."""

    def __init__(
        self,
        dim: int,
        taps: int,
        groups: int,
        *,
        platform: Platform,
        rngs: nnx.Rngs,
        dtype: jnp.dtype = jnp.float32,
    ):
        self.platform, self.groups = platform, groups
        bound = 1 / math.sqrt(taps * dim // groups)
        self.w = nnx.Param(jax.random.uniform(rngs.params(), (taps, dim // groups, dim), dtype, -bound, bound))
        self.b = nnx.Param(jnp.zeros((dim,), dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        w = self.w[...]
        if self.platform.kind == "cpu":
            return _grouped_conv_by_group(x, w, self.groups) + self.b[...]
        convolve = partial(
            lax.conv_general_dilated,
            window_strides=(1,),
            padding="SAME",
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=self.groups,
        )
        # Left to itself, XLA gathers the rows of all GPUs on each.
        y = self.platform.on_each_device(convolve, (ROWS, WHOLE), ROWS)(x.astype(w.dtype), w)
        return y + self.b[...]


def _grouped_conv_by_group(x: jax.Array, w: jax.Array, groups: int) -> jax.Array:
    """One matrix product a group over its unrolled taps: on the CPU several times faster than XLA's grouped form."""
    b, n, d = x.shape
    taps, width, _ = w.shape
    padded = jnp.pad(x.astype(w.dtype), ((0, 0), (taps // 2, taps // 2), (0, 0)))
    by_group = padded.reshape(b, -1, groups, width).transpose(2, 0, 1, 3)  # [g, b, n + k − 1, i]
    kernels = w.reshape(taps * width, groups, d // groups).transpose(1, 0, 2)  # [g, k·i, o]
    window = jnp.arange(n)[:, None] + jnp.arange(taps)  # as one gather: compiles in a third of the time of k slices

    def one_group(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        x1, w1 = inputs
        return jnp.matmul(x1[:, window].reshape(b, n, taps * width), w1, preferred_element_type=x.dtype)

    out = loops.map_over(one_group, (by_group, kernels))  # [g, b, n, o]
    return out.transpose(1, 2, 0, 3).reshape(b, n, d)


class ConvPosition(nnx.Module):
    """Convolutional position embedding: two grouped 31-tap convolutions, each followed by Mish."""

    TAPS, GROUPS = 31, 16

    def __init__(self, dim: int, *, platform: Platform, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        self.conv1 = GroupedConv(dim, self.TAPS, self.GROUPS, platform=platform, rngs=rngs, dtype=dtype)
        self.conv2 = GroupedConv(dim, self.TAPS, self.GROUPS, platform=platform, rngs=rngs, dtype=dtype)

    @jax.named_scope("position")
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        x = jnp.where(valid, x, 0)
        x = jnp.where(valid, mish(self.conv1(x)), 0)
        return mish(self.conv2(x))


class ConvNeXtV2(nnx.Module):
    """A ConvNeXt V2 block over text positions (arXiv 2301.00808), with global response normalisation over a row."""

    def __init__(self, dim: int, *, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32, mult: int = 2):
        self.dwconv = DepthwiseConv(dim, 7, rngs=rngs, dtype=dtype)
        self.norm_scale = nnx.Param(jnp.ones((dim,), dtype))
        self.norm_shift = nnx.Param(jnp.zeros((dim,), dtype))
        self.pwconv1 = Linear(dim, dim * mult, rngs=rngs, dtype=dtype)
        self.grn_gamma = nnx.Param(jnp.zeros((dim * mult,), dtype))
        self.grn_beta = nnx.Param(jnp.zeros((dim * mult,), dtype))
        self.pwconv2 = Linear(dim * mult, dim, rngs=rngs, dtype=dtype)

    @jax.named_scope("convnext")
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        y = self.dwconv(x)
        y = layer_norm(y) * self.norm_scale[...] + self.norm_shift[...]
        y = jax.nn.gelu(self.pwconv1(y), approximate=False)
        # The response of a channel is its norm over the row's own frames: padding must not add to it.
        squares = jnp.where(valid, jnp.square(y.astype(jnp.float32)), 0.0)
        response = _safe_sqrt(jnp.sum(squares, axis=1, keepdims=True))
        response = (response / (jnp.mean(response, axis=-1, keepdims=True) + 1e-6)).astype(y.dtype)
        y = self.grn_gamma[...] * (y * response) + self.grn_beta[...] + y
        return x + self.pwconv2(y)


def _safe_sqrt(x: jax.Array) -> jax.Array:
    """√x whose gradient at 0 is 0 instead of infinite."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


class TextEmbedding(nnx.Module):
    """Tokens → one vector a frame: embedding, sinusoidal positions, ConvNeXt V2 blocks, average upsampling.

    Source: `TextEmbedding` in `backbones/dit.py`; UNetT's is the same without upsampling.
    """

    def __init__(self, config: BackboneConfig, *, platform: Platform, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        self.config = config
        self.platform = platform
        size = (config.text_num_embeds + 1, config.text_dim)  # row 0 is the filler
        self.embedding = nnx.Param(jax.random.normal(rngs.params(), size, dtype))
        self.blocks = (
            nnx.vmap(lambda r: ConvNeXtV2(config.text_dim, rngs=r, dtype=dtype))(rngs.split(config.conv_layers))
            if config.conv_layers
            else None
        )

    @jax.named_scope("text")
    def __call__(self, tokens: jax.Array, frames: jax.Array, drop: bool | jax.Array) -> jax.Array:
        """tokens int32 [b, n], −1 where there is none; frames int32 [b]; drop: the null pass. Returns [b, n, text_dim].

        A row's tokens beyond its frames are ignored, as upstream.
        """
        n = tokens.shape[1]
        valid = (jnp.arange(n)[None, :] < frames[:, None])[..., None]  # [b, n, 1]
        is_text = valid & (tokens >= 0)[..., None]
        keep = is_text if self.config.text_mask_padding else valid  # what the text encoder may look at

        ids = jnp.where(is_text[..., 0] & ~jnp.asarray(drop), tokens + 1, 0)
        text = self.embedding[...][ids]
        text = text.astype(self.platform.activation_dtype(text.dtype))
        if self.blocks is None:
            return jnp.where(valid, text, 0)

        text = jnp.where(keep, text + sinusoidal_positions(n, self.config.text_dim).astype(text.dtype), 0)
        graphdef, stacked = nnx.split(self.blocks)

        def block(x: jax.Array, params: nnx.State) -> tuple[jax.Array, None]:
            return jnp.where(keep, nnx.merge(graphdef, params)(x, valid), 0), None

        text, _ = loops.scan(block, text, stacked, self.platform)
        if self.config.text_embedding_average_upsampling:
            text = average_upsample(text, jnp.sum(is_text[..., 0], axis=1), frames)
        return text


def sinusoidal_positions(n: int, dim: int) -> jax.Array:
    """cos and sin of position × 10000^(−2i/dim), side by side: float32 [n, dim]."""
    freqs = 1.0 / (10_000.0 ** (jnp.arange(0, dim, 2, dtype=jnp.float32) / dim))
    angles = jnp.arange(n, dtype=jnp.float32)[:, None] * freqs[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def average_upsample(text: jax.Array, tokens: jax.Array, frames: jax.Array) -> jax.Array:
    """Spreads a row's first `tokens` vectors evenly over its `frames`; the last tokens take what does not divide.

    text [b, n, d], tokens and frames int32 [b]; rows without tokens come out zero.
    """
    length = jnp.maximum(tokens, 1)[:, None]
    base = jnp.maximum(frames[:, None] // length, 1)
    short = length - frames[:, None] % length  # how many leading tokens last `base` frames
    frame = jnp.arange(text.shape[1])[None, :]
    source = jnp.where(frame < short * base, frame // base, short + (frame - short * base) // (base + 1))
    spread = jnp.take_along_axis(text, jnp.minimum(source, length - 1)[..., None], axis=1)
    return jnp.where((frame < frames[:, None])[..., None] & (tokens > 0)[:, None, None], spread, 0)


class TimeEmbedding(nnx.Module):
    """t in [0, 1] → [k, dim]. In float32 up to the first product: the argument of the sines reaches 1000."""

    FREQUENCIES = 256

    def __init__(self, dim: int, *, platform: Platform, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        self.platform = platform
        self.mlp1 = Linear(self.FREQUENCIES, dim, rngs=rngs, dtype=dtype)
        self.mlp2 = Linear(dim, dim, rngs=rngs, dtype=dtype)

    @jax.named_scope("time")
    def __call__(self, t: jax.Array) -> jax.Array:
        half = self.FREQUENCIES // 2
        freqs = jnp.exp(jnp.arange(half, dtype=jnp.float32) * -(math.log(10_000) / (half - 1)))
        angles = 1000 * t.astype(jnp.float32)[:, None] * freqs[None, :]
        sines = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        dtype = self.platform.activation_dtype(self.mlp1.w[...].dtype)
        return self.mlp2(jax.nn.silu(self.mlp1(sines.astype(dtype))))


class InputProjection(nnx.Module):
    """Mixes noised mel, reference mel and text, then adds convolutional positions.

    Only the noised mel changes from step to step, so the official single product over the three side by side is kept
    as three: `fixed` is computed once a segment. w_x and w_cond [mel, d], w_text [text_dim, d].
    """

    def __init__(self, config: BackboneConfig, *, platform: Platform, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        bound = 1 / math.sqrt(2 * config.mel_dim + config.text_dim)

        def weight(d_in: int) -> nnx.Param:
            return nnx.Param(jax.random.uniform(rngs.params(), (d_in, config.dim), dtype, -bound, bound))

        self.w_x = weight(config.mel_dim)
        self.w_cond = weight(config.mel_dim)
        self.w_text = weight(config.text_dim)
        self.b = nnx.Param(jnp.zeros((config.dim,), dtype))
        self.position = ConvPosition(config.dim, platform=platform, rngs=rngs, dtype=dtype)

    def fixed(self, cond: jax.Array, text: jax.Array) -> jax.Array:
        """cond [b, n, mel], text [b, n, text_dim] → [b, n, d]."""
        cond = cond.astype(text.dtype)
        return matmul(cond, self.w_cond[...]) + matmul(text, self.w_text[...]) + self.b[...]

    @jax.named_scope("input")
    def __call__(self, x: jax.Array, fixed: jax.Array, valid: jax.Array) -> jax.Array:
        mixed = matmul(x.astype(fixed.dtype), self.w_x[...]) + fixed
        return self.position(mixed, valid) + mixed


class RMSNorm(nnx.Module):
    """x / rms(x) · scale over the last axis."""

    def __init__(self, dim: int, *, eps: float, dtype: jnp.dtype = jnp.float32):
        self.eps = eps
        self.scale = nnx.Param(jnp.ones((dim,), dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        normed = wide * lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.eps)
        return normed.astype(x.dtype) * self.scale[...]


class Attention(nnx.Module):
    """Multi-head self-attention with rotary positions on all heads or the first `pe_attn_head`."""

    def __init__(self, config: BackboneConfig, *, platform: Platform, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        self.config = config
        self.platform = platform
        inner = config.heads * config.dim_head
        self.to_q = Linear(config.dim, inner, rngs=rngs, dtype=dtype)
        self.to_k = Linear(config.dim, inner, rngs=rngs, dtype=dtype)
        self.to_v = Linear(config.dim, inner, rngs=rngs, dtype=dtype)
        self.to_out = Linear(inner, config.dim, rngs=rngs, dtype=dtype)
        normed = config.qk_norm == "rms_norm"
        self.q_norm = RMSNorm(config.dim_head, eps=1e-6, dtype=dtype) if normed else None
        self.k_norm = RMSNorm(config.dim_head, eps=1e-6, dtype=dtype) if normed else None

    @jax.named_scope("attention")
    def __call__(self, x: jax.Array, rotation: tuple[jax.Array, jax.Array], lengths: jax.Array) -> jax.Array:
        """x [b, n, dim]; rotation from `rotary`; lengths int32 [b]: keys beyond are not looked at."""
        b, n, _ = x.shape
        shape = (b, n, self.config.heads, self.config.dim_head)
        q, k, v = (project(x).reshape(shape) for project in (self.to_q, self.to_k, self.to_v))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        dtype = self.to_out.w[...].dtype
        mixed = rotated_attention(q, k, v, rotation, self.config.pe_attn_head, lengths, self.platform, dtype)
        return self.to_out(mixed.reshape(b, n, -1).astype(x.dtype))


class FeedForward(nnx.Module):
    """Linear, GELU (tanh form), Linear."""

    def __init__(self, dim: int, mult: int, *, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        self.up = Linear(dim, dim * mult, rngs=rngs, dtype=dtype)
        self.down = Linear(dim * mult, dim, rngs=rngs, dtype=dtype)

    @jax.named_scope("feed_forward")
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.down(jax.nn.gelu(self.up(x), approximate=True))
