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

from f5_tts_server.f5.attention import rotated_attention
from f5_tts_server.f5.platform import Platform
from f5_tts_server.f5.rotary import rotary, rotate

H, D = 3, 8
CASES = [(300, (300, 17)), (128, (1, 127, 128)), (641, (600, 641))]  # frames, and how many keys each row has
PLATFORMS = [Platform("cpu", 1), Platform("cpu", 2), Platform("tpu", 1)]


def inputs(n: int, rows: int, h: int = H, d: int = D) -> NDArray[np.float32]:
    """q, k and v: [3, b, n, h, d]."""
    return np.random.default_rng(n).standard_normal((3, rows, n, h, d)).astype(np.float32)


def turned(x: NDArray[np.float32], heads: int) -> NDArray[np.float64]:
    """Pairs of channels as complex numbers, multiplied by e^(i · position · frequency) in the first heads."""
    n, d = x.shape[1], x.shape[-1]
    pairs = np.ascontiguousarray(x, np.float64).view(np.complex128)  # [b, n, h, d / 2]
    angles = np.arange(n)[:, None, None] / 10_000 ** (np.arange(0, d, 2) / d)
    return np.where(np.arange(x.shape[2])[:, None] < heads, pairs * np.exp(1j * angles), pairs).view(np.float64)


def formula(
    q: NDArray[np.float32], k: NDArray[np.float32], v: NDArray[np.float32], lengths: NDArray[np.int32], heads: int
) -> NDArray[np.float64]:
    scores = np.einsum("bqhd,bkhd->bhqk", turned(q, heads), turned(k, heads)) / np.sqrt(q.shape[-1])
    scores = np.where(np.arange(q.shape[1]) < lengths[:, None, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)


def attended(
    platform: Platform, q: NDArray[np.float32], k: NDArray[np.float32], v: NDArray[np.float32],
    lengths: NDArray[np.int32], rotated: int | None,
) -> jax.Array:  # fmt: skip
    rotation, kind = rotary(q.shape[1], q.shape[-1]), jnp.dtype(jnp.float32)
    with pltpu.force_tpu_interpret_mode() if platform.kind == "tpu" else contextlib.nullcontext():
        queries, keys, values, counts = map(jnp.asarray, (q, k, v, lengths))
        return rotated_attention(queries, keys, values, rotation, rotated, counts, platform, kind)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(("n", "lengths"), CASES)
def test_equals_the_formula(platform: Platform, n: int, lengths: tuple[int, ...]) -> None:
    """All queries, those beyond a row's length too: they must be finite and not depend on what pads the keys."""
    q, k, v = inputs(n, len(lengths))
    for row, length in enumerate(lengths):
        k[row, length:], v[row, length:] = 1e4, -1e4  # what a mask that lets anything through would show
    ours = attended(platform, q, k, v, np.array(lengths, np.int32), None)
    truth = formula(q, k, v, np.array(lengths, np.int32), H)
    assert ours.shape == truth.shape
    assert np.linalg.norm(ours - truth) / np.linalg.norm(truth) < 1e-5


@pytest.mark.parametrize("rotated", [None, 1, 3])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_heads_of_the_released_size_each_with_its_own_rotation(platform: Platform, rotated: int | None) -> None:
    """On a TPU two heads of 64 channels share a block, of which one may be rotated and the other not."""
    (q, k, v), lengths = inputs(150, 2, h=4, d=64), np.array([150, 90], np.int32)
    ours = attended(platform, q, k, v, lengths, rotated)
    truth = formula(q, k, v, lengths, 4 if rotated is None else rotated)
    assert np.linalg.norm(ours - truth) / np.linalg.norm(truth) < 1e-5


def traced(platform: Platform, n: int, h: int, d: int) -> str:
    shapes = [jax.ShapeDtypeStruct((2, n, h * d), jnp.bfloat16)] * 3 + [jax.ShapeDtypeStruct((2,), jnp.int32)]

    def attend(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array) -> jax.Array:
        q, k, v = (x.reshape(2, n, h, d) for x in (q, k, v))
        return rotated_attention(q, k, v, rotary(n, d), None, lengths, platform, jnp.dtype(jnp.bfloat16))

    return str(jax.make_jaxpr(attend)(*shapes))


def test_on_a_tpu_the_scores_of_all_queries_are_never_there_at_once() -> None:
    """They were 877 MB of temporaries for two guided segments of 938 frames."""
    n = 300
    assert f"{n},{n}]" in traced(Platform("cpu", 2), n, H, D)
    on_a_tpu = traced(Platform("tpu", 1), n, H, D).split("pallas_call")
    assert len(on_a_tpu) == 2
    assert f"[2,{H},{n},{n}]" not in "".join(on_a_tpu)


def test_on_a_tpu_heads_are_not_taken_apart_in_memory() -> None:
    """Queries, keys and values were each transposed, widened to float32 and padded for JAX's kernel: eight copies of the
    hidden state a layer."""
    outside = traced(Platform("tpu", 1), 300, 4, 64).split("pallas_call")[0]
    assert "transpose" not in outside
    assert "pad[" not in outside
    assert "f32[2,300" not in outside


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
