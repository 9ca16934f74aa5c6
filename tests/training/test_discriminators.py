"""The discriminators' convolutions against XLA's own, and their losses on verdicts made by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax

from f5_tts_server.f5.audio import TARGET_RMS
from training import discriminators
from training.discriminators import (
    PERIODS,
    RESOLUTIONS,
    Conv,
    Discriminators,
    adversarial_loss,
    feature_loss,
    verdict_loss,
)
from training.vowels import vowel


@pytest.mark.parametrize(
    ("kernel", "stride"), [((5, 1), (3, 1)), ((3, 16), (1, 8)), ((3, 5), (1, 2)), ((3, 3), (1, 1))]
)
def test_a_convolution_is_one(kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    conv = Conv(4, 6, kernel, stride, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, 31, 40, 4))
    expected = lax.conv_general_dilated(
        x,
        conv.linear.w[...].reshape(*kernel, 4, 6),
        stride,
        [(side // 2, side // 2) for side in kernel],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(conv(x), expected, atol=1e-4)


def test_every_one_of_them_judges() -> None:
    found = Discriminators(rngs=nnx.Rngs(0))(jax.random.normal(jax.random.key(0), (2, 4096)) * 0.1)
    assert len(found) == len(PERIODS) + len(RESOLUTIONS)
    assert all(layers[-1].shape[-1] == 1 and bool(jnp.isfinite(layers[-1]).all()) for layers in found)


def test_losses() -> None:
    """Hinge: a verdict beyond ± 1 costs nothing more. Features: their distance in units of their size."""
    true = [[jnp.full((1, 2), 2.0), jnp.array([3.0, 0.5])]]
    made = [[jnp.full((1, 2), 1.0), jnp.array([-4.0, 0.0])]]
    assert float(verdict_loss(true, made)) == pytest.approx(0.25 + 0.5)
    assert float(adversarial_loss(made)) == pytest.approx(2.0)
    assert float(feature_loss(true, made)) == pytest.approx(0.5, rel=1e-4)


def test_verdicts_begin_at_the_size_that_the_losses_are_made_for() -> None:
    """They began at 0.0014 of hinges at ± 1: each layer handed on two fifths of what it was given."""
    samples = TARGET_RMS * jax.random.normal(jax.random.key(1), (2, 4096))
    for layers in Discriminators(rngs=nnx.Rngs(0))(samples):
        for found in layers:
            assert 0.2 < float(jnp.sqrt(jnp.mean(jnp.square(found)))) < 5


def test_they_learn_to_tell_a_rough_voice_from_a_clean_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 600 steps against a vocoder the loss of all seven stayed at 13.97 of 14: a coin. One of each kind here."""
    monkeypatch.setattr(discriminators, "PERIODS", PERIODS[1:2])
    monkeypatch.setattr(discriminators, "RESOLUTIONS", RESOLUTIONS[:1])
    rng = np.random.default_rng(0)
    clean = jnp.asarray(np.stack([vowel(13, rng)[0] for _ in range(2)]))
    rough = clean + 0.2 * TARGET_RMS * jax.random.normal(jax.random.key(2), clean.shape)
    graphdef, params = nnx.split(Discriminators(rngs=nnx.Rngs(0)))
    adam = optax.adam(3e-4, b1=0.9, b2=0.99)

    @jax.jit
    def step(params: nnx.State, state: optax.OptState) -> tuple[nnx.State, optax.OptState, jax.Array]:
        def loss_of(params: nnx.State) -> jax.Array:
            judge = nnx.merge(graphdef, params)
            return verdict_loss(judge(clean), judge(rough))

        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, state = adam.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, loss

    state, losses = adam.init(params), []
    for _ in range(30):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    assert losses[-1] < 2, losses  # of 4
