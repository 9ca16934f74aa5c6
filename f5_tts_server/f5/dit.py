"""The F5-TTS backbone: a diffusion transformer over frames, its layers modulated by the time step (adaLN-zero).

Source: F5-TTS (arXiv 2410.06885); SWivid/F5-TTS 1.1.22, `src/f5_tts/model/backbones/dit.py` (MIT).
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
    TextEmbedding,
    TimeEmbedding,
    modulate,
)
from f5_tts_server.f5.platform import Platform
from f5_tts_server.f5.rotary import rotary


class DiTBlock(nnx.Module):
    """Attention and feed-forward, each on a modulated norm and through a gate."""

    def __init__(self, config: BackboneConfig, *, platform: Platform, rngs: nnx.Rngs, dtype: jnp.dtype = jnp.float32):
        self.time = Linear(config.dim, 6 * config.dim, rngs=rngs, dtype=dtype)
        self.attn = Attention(config, platform=platform, rngs=rngs, dtype=dtype)
        self.ff = FeedForward(config.dim, config.ff_mult, rngs=rngs, dtype=dtype)

    def __call__(
        self, x: jax.Array, modulation: jax.Array, rotation: tuple[jax.Array, jax.Array], lengths: jax.Array
    ) -> jax.Array:
        """x [b, n, d]; modulation [b, 6, d]: shift, scale, gate of the attention, then of the feed-forward."""
        attn_shift, attn_scale, attn_gate, ff_shift, ff_scale, ff_gate = (modulation[:, i] for i in range(6))
        x = x + attn_gate[:, None] * self.attn(modulate(x, attn_scale, attn_shift), rotation, lengths)
        return x + ff_gate[:, None] * self.ff(modulate(x, ff_scale, ff_shift))


class DiT(nnx.Module):
    """Predicts the flow's velocity. The blocks are one stack: every leaf of `blocks` leads with the depth axis.

    `platform`: what it is compiled for, by default the devices that are here.
    """

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
        self.blocks = nnx.vmap(lambda r: DiTBlock(config, platform=platform, rngs=r, dtype=param_dtype))(
            rngs.split(config.depth)
        )
        self.long_skip = (
            Linear(2 * config.dim, config.dim, rngs=rngs, bias=False, dtype=param_dtype)
            if config.long_skip_connection
            else None
        )
        self.norm_out = Linear(config.dim, 2 * config.dim, rngs=rngs, dtype=param_dtype)
        self.proj_out = Linear(config.dim, config.mel_dim, rngs=rngs, dtype=param_dtype)

    def embed_text(self, tokens: jax.Array, frames: jax.Array, drop: bool | jax.Array) -> jax.Array:
        """tokens int32 [b, n] (−1: none), frames int32 [b] → [b, n, text_dim]; drop: the null pass of guidance."""
        return self.text(tokens, frames, drop)

    def fix_inputs(self, cond: jax.Array, text: jax.Array) -> jax.Array:
        """The part of the input that no step changes. cond [b, n, mel] (zero where generated) → [b, n, d]."""
        return self.input.fixed(cond, text)

    @jax.named_scope("modulations")
    def modulations(self, t: jax.Array) -> jax.Array:
        """All that depends on time alone, for k times: float32 [k] → [k, 6 · depth + 2, d]."""
        hidden = jax.nn.silu(self.time(t))  # [k, d]
        weight, bias = self.blocks.time.w[...], self.blocks.time.b[...]  # [depth, d, 6 d], [depth, 6 d]
        blocks = (
            jnp.einsum("kd,lde->kle", hidden.astype(weight.dtype), weight, preferred_element_type=hidden.dtype) + bias
        )
        k, d = hidden.shape
        return jnp.concatenate([blocks.reshape(k, -1, d), self.norm_out(hidden).reshape(k, 2, d)], axis=1)

    @jax.named_scope("velocity")
    def velocity(self, x: jax.Array, fixed: jax.Array, modulation: jax.Array, frames: jax.Array) -> jax.Array:
        """dx/dt of the flow.

        x float32 [b, n, mel]; fixed [b, n, d] from `fix_inputs`; modulation [b, 6 · depth + 2, d], one row of
        `modulations` for each row; frames int32 [b]. Returns float32 [b, n, mel]; beyond `frames` it means nothing.
        """
        config, (b, n, _) = self.config, x.shape
        valid = (jnp.arange(n)[None, :] < frames[:, None])[..., None]
        rotation = rotary(n, config.dim_head)
        x = embedded = self.input(x, fixed, valid)

        graphdef, stacked = nnx.split(self.blocks)
        by_layer = modulation[:, :-2].reshape(b, config.depth, 6, config.dim).swapaxes(0, 1)

        def block(x: jax.Array, layer: tuple[nnx.State, jax.Array]) -> tuple[jax.Array, None]:
            params, layer_modulation = layer
            return nnx.merge(graphdef, params)(x, layer_modulation, rotation, frames), None

        x, _ = loops.scan(block, x, (stacked, by_layer), self.platform)
        if self.long_skip is not None:
            x = self.long_skip(jnp.concatenate([x, embedded], axis=-1))
        x = modulate(x, scale=modulation[:, -2], shift=modulation[:, -1])
        return self.proj_out(x).astype(jnp.float32)
