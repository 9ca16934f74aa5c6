"""The discriminators' convolutions against XLA's own, and their losses on verdicts made by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from training.discriminators import (
    PERIODS,
    RESOLUTIONS,
    Conv,
    Discriminators,
    adversarial_loss,
    feature_loss,
    verdict_loss,
)


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
