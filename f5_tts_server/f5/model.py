"""A loaded model: from text, a reference and parameters to samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.f5 import sampler
from f5_tts_server.f5.config import ModelConfig, Sampling
from f5_tts_server.f5.dit import DiT
from f5_tts_server.f5.frontend import Frontend, Reference, SegmentPlan
from f5_tts_server.f5.unett import UNetT
from f5_tts_server.f5.vocoder import Vocoder
from f5_tts_server.joiner import Joiner

Number = TypeVar("Number", bound=np.number[Any])

_ROUND_TO = 64  # frames; lengths are padded to it, so that few different shapes are compiled


@dataclass(frozen=True)
class SpeechModel:
    """Everything one voice model needs. Safe to use from several threads."""

    config: ModelConfig
    backbone: DiT | UNetT
    vocoder: Vocoder
    frontend: Frontend

    def speak(
        self,
        text: str,
        reference: Reference,
        *,
        sampling: Sampling | None = None,
        speed: float = 1.0,
        seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Samples [n] at the model's rate: segments of the text, cross-faded over 0.15 s as upstream.

        `progress` is called after each step with the number of steps done and their total. Raises ValueError for a
        text without anything to say.
        """
        sampling = sampling or self.config.sampling
        segments = list(self.frontend.split(text, reference, speed=speed, first_seconds=None))
        if not segments:
            raise ValueError("the text is empty; there is nothing to say")
        joiner, clip = Joiner(self.config.mel.sample_rate), []
        for index, segment in enumerate(segments):
            plan = self.frontend.plan(segment, reference, speed=speed, seconds=None)
            for step, x in enumerate(self.flow(plan, reference, sampling, seed=seed, segment_index=index), 1):
                if progress:
                    x.block_until_ready()
                    progress(index * sampling.nfe + step, len(segments) * sampling.nfe)
            samples = self.decode(self.generated(x, plan)) * np.float32(reference.gain)
            joiner.begin(len(samples), more=index + 1 < len(segments))
            clip.append(joiner.push(samples))
        return np.concatenate(clip)

    def flow(
        self, plan: SegmentPlan, reference: Reference, sampling: Sampling, *, seed: int, segment_index: int = 0
    ) -> Iterator[jax.Array]:
        """The flow of one segment, after each step: float32 [1, n, mel] in the backbone's scale, padded."""
        n = -(-plan.frames // _ROUND_TO) * _ROUND_TO
        tokens, cond, frames = backbone_inputs(self.config, plan, reference, n)
        cfg = (
            np.array([sampling.cfg_strength], np.float32) if sampling.cfg_strength else None
        )  # None: one pass is enough
        fixed = self._fix(tokens, cond, frames)
        start = sampler.noise(seed, segment_index, n, self.config.backbone.mel_dim, self.config.noise_scale)[None]
        times = sampler.time_grid(sampling.nfe, -1.0 if sampling.sway else None, sampling.epss)
        yield from sampler.integrate(
            lambda t, x: self._velocity(x, fixed, frames, np.array([t], np.float32), cfg),
            start,
            times,
            sampling.method,
        )

    def generated(self, x: jax.Array, plan: SegmentPlan) -> NDArray[np.float32]:
        """The log-mel that a finished flow [1, n, mel] has added to the reference: [generated frames, mel]."""
        return cut_generated(np.asarray(from_backbone_scale(self.config, x[0])), plan)

    def decode(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """All samples of a clip of log-mel [frames, mel]; see `Vocoder.clip_samples`."""
        width = -(-len(mel) // _ROUND_TO) * _ROUND_TO
        left, right = self.vocoder.context_left, self.vocoder.context_right
        analysis = None
        if self.vocoder.analyses:
            found = self._analyse(padded([mel], width), np.array([len(mel)], np.int32))
            analysis = jax.tree.map(lambda array: np.asarray(array)[0, : len(mel)], found)
        window = np.pad(self.vocoder.prepare(mel, analysis), ((left, right + width - len(mel)), (0, 0)))[None]
        samples = self._decode_block(window, np.int32(-left), np.int32(len(mel)))
        return np.asarray(samples)[0, : self.vocoder.clip_samples(len(mel))]

    @cached_property
    def _fix(self) -> Callable[..., jax.Array]:
        graph, parameters = nnx.split(self.backbone)
        compiled = jax.jit(lambda p, *inputs: sampler.fix_both(nnx.merge(graph, p), *inputs))
        return lambda tokens, cond, frames: compiled(parameters, cond, tokens, frames)

    @cached_property
    def _velocity(self) -> Callable[..., jax.Array]:
        graph, parameters = nnx.split(self.backbone)

        @jax.jit
        def velocity(
            p: nnx.State, x: jax.Array, fixed: jax.Array, frames: jax.Array, t: jax.Array, cfg: jax.Array | None
        ) -> jax.Array:
            backbone = nnx.merge(graph, p)
            modulation = backbone.modulations(t)
            if cfg is None:
                return backbone.velocity(x, fixed[:, 0], modulation, frames)
            return sampler.guided_velocity(backbone, x, fixed, modulation, frames, cfg)

        return lambda *inputs: velocity(parameters, *inputs)

    @cached_property
    def _analyse(self) -> Callable[..., Any]:
        graph, parameters = nnx.split(self.vocoder)
        compiled = jax.jit(lambda p, *inputs: nnx.merge(graph, p).analyse(*inputs))
        return lambda *inputs: compiled(parameters, *inputs)

    @cached_property
    def _decode_block(self) -> Callable[..., jax.Array]:
        graph, parameters = nnx.split(self.vocoder)
        compiled = jax.jit(lambda p, *inputs: nnx.merge(graph, p).decode_block(*inputs))
        return lambda *inputs: compiled(parameters, *inputs)


def backbone_inputs(
    config: ModelConfig, plan: SegmentPlan, reference: Reference, n: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
    """One segment as a batch of one, padded to n frames: tokens [1, n] (−1: none), cond [1, n, mel], frames [1].

    `cond` is what is heard, in the backbone's scale, and zero where speech is to be made.
    """
    tokens = padded([plan.tokens[: plan.frames]], n, fill=-1)
    cond = padded([to_backbone_scale(config, reference.mel[: plan.frames])], n)
    if plan.after_frames:
        cond[0, plan.frames - plan.after_frames : plan.frames] = to_backbone_scale(config, plan.after)
    return tokens, cond, np.array([plan.frames], np.int32)


def padded(rows: Sequence[NDArray[Number]], n: int, *, fill: int = 0) -> NDArray[Number]:
    """Rows [n_i, ...] of one type as a batch [b, n, ...], filled up at their ends."""
    batch = np.full((len(rows), n, *rows[0].shape[1:]), fill, rows[0].dtype)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    return batch


def to_backbone_scale(config: ModelConfig, mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the backbone hears from log-mel; any shape."""
    return (mel + np.float32(config.mel_offset)) * np.float32(config.mel_scale)


def from_backbone_scale(config: ModelConfig, x: jax.Array) -> jax.Array:
    """Log-mel from what the backbone speaks in; any shape."""
    return x / jnp.float32(config.mel_scale) - jnp.float32(config.mel_offset)


def cut_generated(mel: NDArray[np.float32], plan: SegmentPlan) -> NDArray[np.float32]:
    """The speech of a segment [generated frames, mel] out of its padded log-mel [n, mel], its overhang put back.

    Of an infill: with the recording's own frames around it, which the vocoder needs for the joins.
    """
    generated = mel[plan.ref_frames : plan.frames - plan.after_frames].copy()
    generated[: len(plan.overhang)] = plan.overhang
    return np.concatenate([plan.before, generated, plan.after]) if plan.after_frames else generated
