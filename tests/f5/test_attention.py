"""f5.attention in the forms of platforms that are not here, against its formula in float64.

The TPU's kernel is interpreted: JAX imitates the core's memories on the CPU.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import AxisType
from numpy.typing import NDArray

from f5_tts_server.f5.attention import attention
from f5_tts_server.f5.layers import rotary, rotate
from f5_tts_server.f5.platform import Platform

H, D = 3, 8
CASES = [(300, (300, 17)), (128, (1, 127, 128)), (641, (600, 641))]  # frames, and how many keys each row has


def inputs(n: int, rows: int) -> NDArray[np.float32]:
    """q, k and v: [3, b, n, h, d]."""
    return np.random.default_rng(n).standard_normal((3, rows, n, H, D)).astype(np.float32)


def formula(
    q: NDArray[np.float32], k: NDArray[np.float32], v: NDArray[np.float32], lengths: NDArray[np.int32]
) -> NDArray[np.float64]:
    scores = np.einsum("bqhd,bkhd->bhqk", q.astype(np.float64), k) / np.sqrt(D)
    scores = np.where(np.arange(q.shape[1]) < lengths[:, None, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize("platform", [Platform("cpu", 1), Platform("cpu", 2), Platform("tpu", 1)])
@pytest.mark.parametrize(("n", "lengths"), CASES)
def test_equals_the_formula(platform: Platform, n: int, lengths: tuple[int, ...]) -> None:
    """All queries, those beyond a row's length too: they must be finite and not depend on what pads the keys."""
    q, k, v = inputs(n, len(lengths))
    for row, length in enumerate(lengths):
        k[row, length:], v[row, length:] = 1e4, -1e4  # what a mask that lets anything through would show
    with pltpu.force_tpu_interpret_mode() if platform.kind == "tpu" else contextlib.nullcontext():
        ours = attention(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), jnp.asarray(lengths, jnp.int32), platform)
    truth = formula(q, k, v, np.array(lengths, np.int32))
    assert ours.shape == truth.shape
    assert np.linalg.norm(ours - truth) / np.linalg.norm(truth) < 1e-5


def test_on_a_tpu_the_scores_of_all_queries_are_never_there_at_once() -> None:
    """They were 877 MB of temporaries for two guided segments of 938 frames."""
    n = 300
    shapes = [jax.ShapeDtypeStruct((2, n, H, D), jnp.bfloat16)] * 3 + [jax.ShapeDtypeStruct((2,), jnp.int32)]

    def traced(platform: Platform) -> str:
        return str(jax.make_jaxpr(lambda q, k, v, lengths: attention(q, k, v, lengths, platform))(*shapes))

    assert f"{n},{n}]" in traced(Platform("cpu", 2))
    assert f"{n},{n}]" not in traced(Platform("tpu", 1))
    assert "pallas_call" in traced(Platform("tpu", 1))


def test_several_devices_compute_their_own_rows_and_heads() -> None:
    """On a mesh of 2x4, in a process of its own; see mesh_parts.py."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.f5.mesh_parts"], cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert max(result["errors"].values()) < 1e-5, result
    assert result["gathers"] == 0, "each device convolves the rows of all"


def test_the_rotation_of_some_heads_over_several_devices_has_the_same_bits() -> None:
    """Where heads are spread, E2's one rotated head was cut out of them: twelve `all-to-all` a step over two H100."""
    x = jnp.asarray(np.random.default_rng(5).standard_normal((2, 70, H, D)), jnp.float32)
    mesh = jax.make_mesh((1, 1), ("data", "model"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:1])
    plain, split = (rotate(x, rotary(70, D), 1, Platform("cpu", 2, on)) for on in (None, mesh))
    np.testing.assert_array_equal(plain, split)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("heads", [None, 1])
def test_the_rotation_for_tpus_has_the_same_bits(heads: int | None, dtype: jnp.dtype) -> None:
    """Neighbours change places in a matrix product there: an axis of two took 128 places in memory."""
    x = jnp.asarray(np.random.default_rng(5).standard_normal((2, 70, H, D)), dtype)
    plain, product = (rotate(x, rotary(70, D), heads, Platform(kind, 1)) for kind in ("cpu", "tpu"))
    assert plain.dtype == product.dtype == dtype
    np.testing.assert_array_equal(plain, product)
