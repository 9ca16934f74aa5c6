"""Distils the flow model to one pass a step: `python -m training.distil_flow --start FOLDER --minutes 60`.

A guided step of the teacher is two passes. The student starts from the teacher's weights and learns the guided velocity
itself (arXiv 2210.03142), at the points that it comes through when it is served: from the recommended noise, along the
recommended grid of times, by its own steps. What it gives is served without guidance (`cfg_strength` in
`embedded/config.py` is 0).
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from f5_tts_server.embedded.config import CONFIG
from f5_tts_server.f5 import sampler
from f5_tts_server.f5.dit import DiT
from training.fit import arguments_of_a_run, fit, fresh_state, stepped
from training.train_flow import Batch, Corpus, exported, guidance, masked_frames, mean_square

SHAPES = ((2, 320), (1, 800))  # rows × frames; each row is learnt from at every step of the grid
Tree = Any


def distillation_losses(student: DiT, teacher: DiT, key: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
    """How far the student's velocity is from the teacher's guided one at each step of the recommended grid, [steps].

    Mean squares over the masked frames. No gradient goes to the teacher, nor through the points to earlier steps.
    """
    frames, masked = batch["frames"], masked_frames(batch)
    cond = jnp.where(masked, 0.0, batch["mel"])
    fixed = student.fix_inputs(cond, student.embed_text(batch["tokens"], frames, False))
    told = sampler.fix_both(teacher, cond, batch["tokens"], frames)
    x = CONFIG.noise_scale * jax.random.normal(key, cond.shape)
    losses = []
    for t, after in pairwise(sampler.time_grid(CONFIG.sampling.nfe, -1.0 if CONFIG.sampling.sway else None)):
        now = jnp.full(len(frames), t)
        wanted = sampler.guided_velocity(teacher, x, told, teacher.modulations(now), frames, guidance(now))
        made = student.velocity(x, fixed, student.modulations(now), frames)
        losses.append(mean_square(made - jax.lax.stop_gradient(wanted), masked))
        x = jax.lax.stop_gradient(x + (after - t) * made)
    return jnp.stack(losses)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def distil_step(
    graphdef: nnx.GraphDef[DiT],
    teacher: Tree,
    state: Tree,
    key: jax.Array,
    rate: jax.Array,
    batch: dict[str, jax.Array],
) -> tuple[Tree, dict[str, jax.Array]]:
    """One update; returns the state, which is donated, and the losses. `teacher`: its parameters."""
    guide = nnx.merge(graphdef, jax.lax.stop_gradient(teacher))

    def loss_of(params: Tree) -> tuple[jax.Array, jax.Array]:
        own_key = jax.random.fold_in(key, state["step"])
        losses = distillation_losses(nnx.merge(graphdef, params), guide, own_key, batch)
        return jnp.mean(losses), losses

    (loss, losses), gradient = jax.value_and_grad(loss_of, has_aux=True)(state["params"])
    by_step = {f"step_{number}": one for number, one in enumerate(losses, 1)}
    return stepped(state, gradient, rate), {"loss": loss} | by_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments_of_a_run(parser, run="training/runs/distilled", minutes=60, peak=7e-4)
    arguments = parser.parse_args()
    if arguments.start is None:
        parser.error("--start: say which exported folder holds the teacher")
    graphdef, teacher = nnx.split(exported(arguments.start))
    key = jax.random.key(arguments.seed)

    def update(state: Tree, rate: float, progress: float, batch: Batch) -> tuple[Tree, dict[str, jax.Array]]:
        return distil_step(graphdef, teacher, state, key, jnp.float32(rate), vars(batch))

    def seconds_of(batch: Batch) -> float:
        return float(batch.frames.sum()) * CONFIG.mel.hop / CONFIG.mel.sample_rate

    student = jax.tree.map(jnp.copy, teacher)  # the state is donated, the teacher stays
    fit(arguments, fresh_state(student), Corpus(arguments.data, SHAPES).batches, update, seconds_of)


if __name__ == "__main__":
    main()
