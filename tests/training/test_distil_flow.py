"""What the student is asked for, against the sampler's own guided steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from f5_tts_server.embedded.config import CONFIG
from f5_tts_server.f5 import sampler
from tests.training.tiny_flow import batch, speaking
from training.distil_flow import distil_step, distillation_losses
from training.fit import fresh_state
from training.train_flow import GUIDED_UNTIL

FIRST, LAST = 16, 64


def test_the_truth_is_the_guided_velocity_at_the_students_own_points() -> None:
    """A student that is the teacher lacks v − v_null in the early steps, and nothing in the late ones."""
    model, given, key = speaking(1), batch(3, FIRST, LAST), jax.random.key(4)
    cond = given["mel"].at[:, FIRST:LAST].set(0.0)
    fixed = sampler.fix_both(model, cond, given["tokens"], given["frames"])
    expected = []

    def velocity(t: np.float32, x: jax.Array) -> jax.Array:
        own, null = (
            model.velocity(x, fixed[:, side], model.modulations(jnp.array([t, t])), given["frames"]) for side in (0, 1)
        )
        expected.append(float(jnp.mean(jnp.square(own - null)[:, FIRST:LAST])) if t < GUIDED_UNTIL else 0.0)
        return own

    start = CONFIG.noise_scale * jax.random.normal(key, cond.shape)
    list(sampler.integrate(velocity, start, sampler.time_grid(CONFIG.sampling.nfe, -1.0)))
    found = nnx.jit(distillation_losses)(model, model, key, given)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)
    np.testing.assert_array_equal(found > 1e-4, [True, True, False, False])


def test_a_student_learns_and_the_teacher_stays() -> None:
    graphdef, teacher = nnx.split(speaking(2))
    given, key = batch(5, FIRST, LAST), jax.random.key(6)
    before = jax.tree.map(np.asarray, teacher)
    state = fresh_state(jax.tree.map(jnp.copy, teacher))
    losses = []
    for _ in range(40):
        state, values = distil_step(graphdef, teacher, state, key, jnp.float32(3e-3), given)
        losses.append(float(values["loss"]))
    assert losses[-1] < 0.5 * losses[0], losses
    jax.tree.map(np.testing.assert_array_equal, teacher, before)
