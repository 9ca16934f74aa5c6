"""The E2-TTS backbone: a flat transformer with U-Net skips; time is a token in front of the frames.

Source: E2 TTS (arXiv 2406.18009); SWivid/F5-TTS 1.1.22, `src/f5_tts/model/backbones/unett.py` (MIT).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from f5_tts_server.f5 import loops
from f5_tts_server.f5.config import BackboneConfig
from f5_tts_server.f5.layers import (
    Attention,
    FeedForward,
    InputProjection,
    Linear,
    RMSNorm,
    TextEmbedding,
    TimeEmbedding,
)
from f5_tts_server.f5.platform import Platform
from f5_tts_server.f5.rotary import rotary

# F.normalize, on which x_transformers' RMSNorm rests, guards the norm of the whole vector, not its mean square.
_RMS_EPS = 1e-24


class UNetTBlock(nnx.Module):
    """Attention and feed-forward on RMS norms; `skip` merges the mirrored layer's input in the later half."""

    def __init__(
        self,
        config: BackboneConfig,
        later_half: bool,
        *,
        platform: Platform,
        rngs: nnx.Rngs,
        dtype: jnp.dtype = jnp.float32,
    ):
        self.attn_norm = RMSNorm(config.dim, eps=_RMS_EPS, dtype=dtype)
        self.attn = Attention(config, platform=platform, rngs=rngs, dtype=dtype)
        self.ff_norm = RMSNorm(config.dim, eps=_RMS_EPS, dtype=dtype)
        self.ff = FeedForward(config.dim, config.ff_mult, rngs=rngs, dtype=dtype)
        concat = later_half and config.skip_connect_type == "concat"
        self.skip = Linear(2 * config.dim, config.dim, rngs=rngs, bias=False, dtype=dtype) if concat else None

    def __call__(self, x: jax.Array, rotation: tuple[jax.Array, jax.Array], lengths: jax.Array) -> jax.Array:
        x = x + self.attn(self.attn_norm(x), rotation, lengths)
        return x + self.ff(self.ff_norm(x))


class UNetT(nnx.Module):
    """Predicts the flow's velocity; same interface as `DiT`. Two stacks, `first` and `later`, of depth / 2 each."""

    def __init__(
        self,
        config: BackboneConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: jnp.dtype = jnp.float32,
        platform: Platform | None = None,
    ):
        self.config = config
        self.platform = platform = platform or Platform.here()
        self.time = TimeEmbedding(config.dim, platform=platform, rngs=rngs, dtype=param_dtype)
        self.text = TextEmbedding(config, platform=platform, rngs=rngs, dtype=param_dtype)
        self.input = InputProjection(config, platform=platform, rngs=rngs, dtype=param_dtype)

        def stack(later_half: bool) -> UNetTBlock:
            build = nnx.vmap(lambda r: UNetTBlock(config, later_half, platform=platform, rngs=r, dtype=param_dtype))
            return build(rngs.split(config.depth // 2))

        self.first = stack(False)
        self.later = stack(True)
        self.norm_out = RMSNorm(config.dim, eps=_RMS_EPS, dtype=param_dtype)
        self.proj_out = Linear(config.dim, config.mel_dim, rngs=rngs, dtype=param_dtype)

    def embed_text(self, tokens: jax.Array, frames: jax.Array, drop: bool | jax.Array) -> jax.Array:
        """tokens int32 [b, n] (−1: none), frames int32 [b] → [b, n, text_dim]; drop: the null pass of guidance."""
        return self.text(tokens, frames, drop)

    def fix_inputs(self, cond: jax.Array, text: jax.Array) -> jax.Array:
        """The part of the input that no step changes. cond [b, n, mel] (zero where generated) → [b, n, d]."""
        return self.input.fixed(cond, text)

    @jax.named_scope("modulations")
    def modulations(self, t: jax.Array) -> jax.Array:
        """The time token for k times: float32 [k] → [k, 1, d]."""
        return self.time(t)[:, None]

    @jax.named_scope("velocity")
    def velocity(self, x: jax.Array, fixed: jax.Array, modulation: jax.Array, frames: jax.Array) -> jax.Array:
        """dx/dt of the flow.

        x float32 [b, n, mel]; fixed [b, n, d] from `fix_inputs`; modulation [b, 1, d], one row of `modulations` for
        each row; frames int32 [b]. Returns float32 [b, n, mel]; beyond `frames` it means nothing.
        """
        n = x.shape[1]
        valid = (jnp.arange(n)[None, :] < frames[:, None])[..., None]
        rotation = rotary(n + 1, self.config.dim_head)
        lengths = frames + 1
        x = jnp.concatenate([modulation.astype(fixed.dtype), self.input(x, fixed, valid)], axis=1)

        first_def, first = nnx.split(self.first)
        later_def, later = nnx.split(self.later)

        def down(x: jax.Array, params: nnx.State) -> tuple[jax.Array, jax.Array]:
            return nnx.merge(first_def, params)(x, rotation, lengths), x

        def up(x: jax.Array, layer: tuple[nnx.State, jax.Array]) -> tuple[jax.Array, None]:
            params, index = layer
            skip = jax.lax.dynamic_index_in_dim(skips, index, keepdims=False)  # turned round they would be a copy
            block = nnx.merge(later_def, params)
            if block.skip is not None:
                x = block.skip(jnp.concatenate([x, skip], axis=-1))
            elif self.config.skip_connect_type == "add":
                x = x + skip
            return block(x, rotation, lengths), None

        x, skips = loops.scan(down, x, first, self.platform)  # skips [depth / 2, b, n + 1, d]
        x, _ = loops.scan(up, x, (later, jnp.arange(len(skips))[::-1]), self.platform)
        return self.proj_out(self.norm_out(x)[:, 1:]).astype(jnp.float32)
