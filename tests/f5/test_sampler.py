"""The integrator against closed forms, the grids against their papers, the noise against its promise."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from f5_tts_server.f5 import sampler


def test_euler_and_midpoint_converge_at_their_order() -> None:
    """dx/dt = −x from 1 ends at 1/e; halving the step halves Euler's error and quarters midpoint's."""

    def error(nfe: int, method: sampler.Method) -> float:
        times = sampler.time_grid(nfe, None, epss=False)
        *_, x = sampler.integrate(lambda _t, x: -x, jnp.ones(()), times, method)
        return abs(float(x) - float(np.exp(-1)))

    assert error(64, "euler") / error(128, "euler") == pytest.approx(2, rel=0.05)
    assert error(8, "midpoint") / error(16, "midpoint") == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("sway", [None, -1.0])
@pytest.mark.parametrize("nfe", [1, 5, 6, 7, 9, 10, 12, 16, 32, 64])
def test_a_grid_goes_from_noise_to_speech_without_turning_back(nfe: int, sway: float | None) -> None:
    grid = sampler.time_grid(nfe, sway)
    assert grid.dtype == np.float32 and len(grid) == nfe + 1
    assert grid[0] == pytest.approx(0, abs=1e-7) and grid[-1] == pytest.approx(1, abs=1e-6)
    assert np.all(np.diff(grid) > 0)


def test_sway_spends_its_steps_near_the_noise() -> None:
    """With −1 the map is 1 − cos(πt/2): half way through the steps, time is 1 − √½."""
    assert sampler.time_grid(32, -1.0)[16] == pytest.approx(1 - np.sqrt(0.5), abs=1e-6)


def test_no_step_is_refused() -> None:
    with pytest.raises(ValueError, match="nfe must be at least 1, not 0"):
        sampler.time_grid(0, None)


def test_noise_does_not_depend_on_padding_but_on_seed_and_segment() -> None:
    short, long = sampler.noise(7, 3, 40), sampler.noise(7, 3, 512)
    assert np.array_equal(short, long[:40])
    assert not np.array_equal(short, sampler.noise(8, 3, 40))
    assert not np.array_equal(short, sampler.noise(7, 4, 40))
    values = np.asarray(sampler.noise(2**32 - 1, 0, 512))
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1) < 0.02
