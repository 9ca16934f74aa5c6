"""The flow's loss against its closed form, the learning rate, and a checkpoint's way to disk and back."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from f5_tts_server.embedded.config import CONFIG
from f5_tts_server.f5 import sampler
from tests.training.tiny_flow import TINY, batch, speaking
from training.checkpoints import load_checkpoint, save_checkpoint
from training.export import export_flow
from training.fit import WARM_UP_STEPS, fresh_state, learning_rate
from training.shards import MEL, Spoken, write_shard
from training.train_flow import GUIDED_UNTIL, MASKED, Corpus, build, exported, flow_loss

loss_of = nnx.jit(flow_loss)


def test_the_untrained_loss_is_the_size_of_the_flow() -> None:
    """A model whose output layer is zero predicts no velocity, so its loss is the mean square of x1 − x0."""
    given = batch(0, 16, 64)
    key = jax.random.key(3)
    noise = jax.random.normal(jax.random.split(key, 3)[0], given["mel"].shape)
    expected = float(jnp.mean(jnp.square(given["mel"] - noise)[:, 16:64]))
    assert float(loss_of(build(0, TINY), key, given)) == pytest.approx(expected, rel=1e-5)


def test_frames_outside_the_span_do_not_count_as_targets() -> None:
    """Whatever stands there is only context: with the output at zero it cannot change the loss."""
    given = batch(1, 16, 48)
    other = dict(given, mel=given["mel"].at[:, 48:].set(9.0))
    key = jax.random.key(4)
    model = build(0, TINY)
    assert float(loss_of(model, key, given)) == pytest.approx(float(loss_of(model, key, other)), rel=1e-6)


def test_a_guided_truth_is_moved_by_what_guidance_would_add() -> None:
    """And not where it is late; the model here predicts no velocity, so its loss is the mean square of the truth."""
    given, key, guide = batch(2, 16, 64), jax.random.key(5), speaking(3)
    noise_key, time_key, _ = jax.random.split(key, 3)
    noise = jax.random.normal(noise_key, given["mel"].shape)
    rows = len(noise)
    t = 1 - jnp.cos(jnp.pi / 2 * ((jax.random.uniform(time_key) + jnp.arange(rows) / rows) % 1.0))
    x = (1 - t)[:, None, None] * noise + t[:, None, None] * given["mel"]
    both = sampler.fix_both(guide, given["mel"].at[:, 16:64].set(0.0), given["tokens"], given["frames"])
    strength = np.where(t < GUIDED_UNTIL / 2, 1.0, np.maximum(0.0, 2 - 2 * t / GUIDED_UNTIL))
    assert strength.max() > 0 and strength.min() < 1, (t, strength)
    guided, own = (
        sampler.guided_velocity(guide, x, both, guide.modulations(t), given["frames"], jnp.asarray(cfg))
        for cfg in (strength, np.zeros(rows))
    )
    truth = (given["mel"] - noise + guided - own)[:, 16:64]
    assert float(loss_of(build(0, TINY), key, given, guide)) == pytest.approx(
        float(jnp.mean(jnp.square(truth))), rel=1e-4
    )


def test_learning_rate() -> None:
    assert learning_rate(0, 0.0, 1e-3) == pytest.approx(1e-3 / WARM_UP_STEPS)
    assert learning_rate(10_000, 0.5, 1e-3) == pytest.approx(1e-3 * (0.02 + 0.98 * 0.5))
    assert learning_rate(10_000, 1.0, 1e-3) == pytest.approx(2e-5)
    assert learning_rate(10_000, 7.0, 1e-3) == pytest.approx(2e-5)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    state = {"params": nnx.split(build(5, TINY))[1], "step": jnp.int32(7)}
    save_checkpoint(tmp_path / "c.npz", state, {"spent": 1.5})
    blank = jax.tree.map(jnp.zeros_like, state)
    loaded, progress = load_checkpoint(tmp_path / "c.npz", blank)
    assert progress == {"spent": 1.5}
    jax.tree.map(np.testing.assert_array_equal, loaded, state)
    with pytest.raises(ValueError, match="another model"):
        load_checkpoint(tmp_path / "c.npz", {"step": jnp.int32(0)})


def test_an_exported_model_can_be_trained_on(tmp_path: Path) -> None:
    """But for float16 it is the run's average, also in its table of symbols, to which export adds a row."""
    params = nnx.split(build(6))[1]
    rng = np.random.default_rng(6)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.05, leaf.shape), jnp.float32), params)
    save_checkpoint(tmp_path / "checkpoint.npz", fresh_state(params), {"spent": 1.0})
    export_flow(tmp_path, tmp_path)
    again = nnx.split(exported(tmp_path))[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), again, params)


def test_batches_keep_tokens_on_their_frames(tmp_path: Path) -> None:
    """Each mel frame here holds its phoneme's number, so tokens and mel can be compared."""
    rng = np.random.default_rng(2)
    spoken = []
    for session in range(3):
        for _ in range(10):
            own, took = rng.integers(0, 109, 20), 2 * rng.integers(1, 12, 20)
            mel = np.repeat(own, took)[:, None] * np.ones((1, MEL.n_mels))
            silence = np.zeros((len(mel) - 1) * MEL.hop, np.float32)
            one = Spoken(
                mel.astype(np.float16), own.astype(np.int16), took.astype(np.float32), silence, session, "af_heart"
            )
            spoken.append(one)
    write_shard(tmp_path / "kokoro0000.npz", spoken)
    stream = Corpus(tmp_path).batches(0)
    for _ in range(4):
        made = next(stream)
        for row, frames in enumerate(made.frames):
            said = np.repeat(made.tokens[row, : frames // 2], 2)
            sounding = made.mel[row, :frames, 0] / CONFIG.mel_scale - CONFIG.mel_offset
            np.testing.assert_allclose(said, sounding, atol=0.1)
            assert (made.tokens[row, frames // 2 :] == -1).all()
            share = (made.last[row] - made.first[row]) / frames
            assert MASKED[0] - 0.01 <= share <= MASKED[1]
            assert 0 <= made.first[row] <= made.last[row] <= frames


def test_no_shards_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"training\.corpus"):
        Corpus(tmp_path)


def test_the_cosine_is_smooth() -> None:
    rates = [learning_rate(10_000, p, 1.0) for p in np.linspace(0, 1, 50)]
    assert all(math.isfinite(rate) for rate in rates)
    assert all(a >= b for a, b in zip(rates, rates[1:], strict=False))
