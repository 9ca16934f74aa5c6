"""f5.attention in the forms of platforms that are not here, against its formula in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f5_tts_server.f5.attention import attention
from f5_tts_server.f5.platform import Platform

B, N, H, D = 2, 300, 3, 8
LENGTHS = np.array([N, 17], np.int32)


@pytest.mark.parametrize("platform", [Platform("cpu", 1), Platform("cpu", 2), Platform("tpu", 1), Platform("tpu", 4)])
def test_equals_the_formula(platform: Platform) -> None:
    rng = np.random.default_rng(11)
    q, k, v = rng.standard_normal((3, B, N, H, D)).astype(np.float32)
    scores = np.einsum("bqhd,bkhd->bhqk", q.astype(np.float64), k) / np.sqrt(D)
    scores = np.where(np.arange(N) < LENGTHS[:, None, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    truth = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)
    ours = attention(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), jnp.asarray(LENGTHS), platform)
    assert ours.shape == truth.shape
    assert np.linalg.norm(ours - truth) / np.linalg.norm(truth) < 1e-5


def test_on_a_tpu_the_scores_of_all_queries_are_never_there_at_once() -> None:
    """They were 877 MB of temporaries for two guided segments of 938 frames."""
    shapes = [jax.ShapeDtypeStruct((B, N, H, D), jnp.bfloat16)] * 3 + [jax.ShapeDtypeStruct((B,), jnp.int32)]

    def traced(platform: Platform) -> str:
        return str(jax.make_jaxpr(lambda q, k, v, lengths: attention(q, k, v, lengths, platform))(*shapes))

    assert f"{N},{N}]" in traced(Platform("cpu", 2))
    assert f"{N},{N}]" not in traced(Platform("tpu", 1))
