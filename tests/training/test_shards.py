"""A shard's way to disk and back, and how an utterance is prepared for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from f5_tts_server.f5.audio import TARGET_RMS, mel
from training.shards import MEL, prepare, read_shard, shards, write_shard
from training.spoken import Utterance


def utterance(seed: int) -> Utterance:
    samples = np.random.default_rng(seed).normal(0, 0.3, 10_000 + 77 * seed).astype(np.float32)
    edge = len(samples) // 2
    return Utterance(samples, ("ˈA", "."), np.array([[0, edge], [edge, len(samples)]]))


def test_an_utterance_is_levelled_and_its_lengths_add_up() -> None:
    one = prepare(utterance(1), np.random.default_rng(0), loudness=0.5)
    assert len(one.mel) % 2 == 0
    assert float(one.lengths.sum()) == pytest.approx(len(one.mel), abs=2)
    assert float(np.sqrt(np.mean(np.square(one.samples)))) == pytest.approx(0.5 * TARGET_RMS, rel=0.05)
    again = mel(one.samples, MEL)
    assert len(again) == len(one.mel)
    np.testing.assert_allclose(again[2:-4], one.mel[2:-4], atol=0.02)


def test_a_shard_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    voices = ("af_heart", "af_heart", "bm_fable")
    given = [
        replace(prepare(utterance(seed), rng), session=seed // 2, voice=voice) for seed, voice in enumerate(voices)
    ]
    write_shard(tmp_path / "kokoro0000.npz", given)
    np.save(tmp_path / "kokoro0000.redrawn.npy", np.zeros(1))
    assert [path.name for path in shards(tmp_path)] == ["kokoro0000.npz"]
    for one, other in zip(given, read_shard(tmp_path / "kokoro0000.npz"), strict=True):
        assert (one.session, one.voice) == (other.session, other.voice)
        for name in ("mel", "ids", "lengths"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_allclose(one.samples, other.samples, atol=4e-5)
