"""Every architecture option computes what the official code computes, bare, padded and among others.

The truth is tests/golden/backbones.npz, made by the official classes from the same random weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from f5_tts_server.f5 import sampler
from f5_tts_server.f5.weights import backbone_from_state_dict
from tests.golden.backbone_cases import CASES, FRAMES, REF_FRAMES, SAMPLER, SEED, TIMES, VOCAB
from tests.golden.random_weights import draw

GOLDEN = Path(__file__).parent.parent / "golden"
VELOCITY_TOLERANCE, SAMPLE_TOLERANCE = 1e-5, 1e-4
BFLOAT16_TOLERANCE = 3e-2  # eight bits of mantissa in every operand; the official code in bfloat16 is further off


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "backbones.npz") as arrays:
        return dict(arrays)


def relative_error(ours: object, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(ours) - theirs) / np.linalg.norm(theirs))


def pad(array: np.ndarray, frames: int, value: float = 0) -> np.ndarray:
    widths = [(0, 0), (0, frames - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, widths, constant_values=value)


class Case:
    """The golden segment as one row of a batch: alone and bare, or padded between a shorter and a longer row."""

    def __init__(self, name: str, golden: dict[str, Any], among_others: bool, dtype: jnp.dtype = jnp.float32) -> None:
        shapes = json.loads((GOLDEN / "backbone_shapes.json").read_text())[name]
        config = CASES[name]
        model = backbone_from_state_dict(draw({k: tuple(v) for k, v in shapes.items()}, SEED), config, dtype)
        n = 64 if among_others else FRAMES
        cond: Any = np.zeros((1, n, 100), np.float32)
        cond[:, :REF_FRAMES] = golden["ref"]
        self.x, self.noise = pad(golden["x"], n), pad(golden["noise"][None], n)
        tokens: Any = pad(golden["tokens"], n, -1)
        frames: Any = np.array([FRAMES], np.int32)
        if among_others:
            rng = np.random.default_rng(SEED)

            def surround(row: Any) -> Any:
                """Rows of 21 and 64 frames around the golden one; what lies in padding is junk on purpose."""
                others: list[Any]
                if row.dtype.kind == "i":
                    others = [rng.integers(-1, VOCAB, row.shape), rng.integers(0, VOCAB, row.shape)]
                else:
                    others = [rng.standard_normal(row.shape), rng.standard_normal(row.shape)]
                return np.concatenate([others[0], row, others[1]]).astype(row.dtype)

            self.x, self.noise, cond, tokens = (surround(a) for a in (self.x, self.noise, cond, tokens))
            frames = np.array([21, FRAMES, 64], np.int32)
        self.row = 1 if among_others else 0
        self.rows = len(frames)
        graph, parameters = nnx.split(model)
        fixed = jax.jit(lambda p: sampler.fix_both(nnx.merge(graph, p), cond, tokens, frames))(parameters)

        @jax.jit
        def both_passes(p: nnx.State, x: jax.Array, t: jax.Array) -> jax.Array:
            backbone = nnx.merge(graph, p)
            modulation = jnp.repeat(backbone.modulations(t[None]), 2 * self.rows, axis=0)
            b, _, length, d = fixed.shape
            return backbone.velocity(
                jnp.repeat(x, 2, axis=0), fixed.reshape(2 * b, length, d), modulation, jnp.repeat(frames, 2)
            ).reshape(b, 2, length, -1)

        self.both_passes: Callable[..., jax.Array] = lambda x, t: both_passes(parameters, x, np.float32(t))
        self.program = both_passes.lower(parameters, self.x, np.float32(0))

    def guided(self, cfg: float) -> Callable[[np.float32, jax.Array], jax.Array]:
        def velocity(t: np.float32, x: jax.Array) -> jax.Array:
            passes = self.both_passes(x, t)
            return passes[:, 0] + cfg * (passes[:, 0] - passes[:, 1])

        return velocity


@pytest.mark.parametrize(
    ("name", "among_others"),
    [(name, True) for name in CASES] + [(name, False) for name in ("dit_v1", "dit_average_upsampling", "unett_concat")],
)
def test_equals_the_official_backbone(name: str, among_others: bool, golden: dict[str, np.ndarray]) -> None:
    """Users of the official batched runtime lose the last words of the shorter request (F5-TTS #1179, #1039)."""
    case = Case(name, golden, among_others)
    for time in TIMES:
        passes = case.both_passes(case.x, time)[case.row, :, :FRAMES]
        for index, kind in enumerate(("cond", "null")):
            error = relative_error(passes[index], golden[f"{name}/velocity/{time}/{kind}"][0])
            assert error <= VELOCITY_TOLERANCE, f"{kind} pass at t = {time}"
    for nfe, cfg, sway in SAMPLER:
        *_, x = sampler.integrate(case.guided(cfg), jnp.asarray(case.noise), sampler.time_grid(nfe, sway))
        truth = golden[f"{name}/sample/{nfe}/{cfg}/{sway}"][0, REF_FRAMES:]
        error = relative_error(x[case.row, REF_FRAMES:FRAMES], truth)
        assert error <= SAMPLE_TOLERANCE, f"{nfe} steps, guidance {cfg}, sway {sway}"


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_stays_near_the_official_backbone(name: str, golden: dict[str, np.ndarray]) -> None:
    case = Case(name, golden, among_others=True, dtype=jnp.bfloat16)
    for time in TIMES:
        passes = case.both_passes(case.x, time)[case.row, :, :FRAMES]
        for index, kind in enumerate(("cond", "null")):
            error = relative_error(passes[index], golden[f"{name}/velocity/{time}/{kind}"][0])
            assert error <= BFLOAT16_TOLERANCE, f"{kind} pass at t = {time}"


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="a fault of XLA's CPU backend")
@pytest.mark.parametrize("name", ["dit_v1", "unett_concat"])
def test_bfloat16_weights_are_not_widened(name: str, golden: dict[str, np.ndarray]) -> None:
    """XLA turned all layers' weights into float32 before the loop and each back within it: a third of a step's time."""
    case = Case(name, golden, among_others=False, dtype=jnp.bfloat16)
    stack = CASES[name].depth // (2 if CASES[name].backbone == "UNetT" else 1)
    dim = CASES[name].dim
    program = case.program.compile().as_text()
    assert program is not None
    assert f"f32[{stack},{dim},{dim}]" not in program


def test_midpoint_equals_the_official_sampler(golden: dict[str, np.ndarray]) -> None:
    case = Case("dit_v1", golden, among_others=False)
    *_, x = sampler.integrate(
        case.guided(2.0), jnp.asarray(case.noise), sampler.time_grid(6, -1.0, epss=False), "midpoint"
    )
    assert relative_error(x[0, REF_FRAMES:], golden["midpoint"][0, REF_FRAMES:]) <= SAMPLE_TOLERANCE
