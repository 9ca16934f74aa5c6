"""The loop that every training shares: it learns, stops when its time is over, and goes on where it stopped."""

from __future__ import annotations

import argparse
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp

from training.checkpoints import load_checkpoint, save_checkpoint
from training.fit import LOG_EVERY, Tree, fit, fresh_state, stepped


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A number is led to 3. The second start sees the seeds that follow the first one's steps."""
    seeds: list[int] = []

    def batches(seed: int) -> Iterator[float]:
        seeds.append(seed)
        return itertools.repeat(3.0)

    @jax.jit
    def one(state: Tree, rate: jax.Array, truth: jax.Array) -> tuple[Tree, dict[str, jax.Array]]:
        loss, gradient = jax.value_and_grad(lambda p: jnp.square(p["x"] - truth))(state["params"])
        return stepped(state, gradient, rate), {"loss": loss}

    def update(state: Tree, rate: float, progress: float, batch: float) -> tuple[Tree, dict[str, jax.Array]]:
        assert 0 <= progress < 1
        return one(state, jnp.float32(rate), jnp.float32(batch))

    def start(minutes: float) -> Tree:
        arguments = argparse.Namespace(run=tmp_path, minutes=minutes, peak=0.05, seed=7)
        return fit(arguments, fresh_state({"x": jnp.float32(0)}), batches, update, lambda batch: 36.0)

    one(fresh_state({"x": jnp.float32(0)}), jnp.float32(0), jnp.float32(0))  # compiles, so that the time is for steps
    first = start(0.03)
    steps = int(first["step"])
    assert steps > LOG_EVERY
    saved, progress = load_checkpoint(tmp_path / "checkpoint.npz", first)
    assert int(saved["step"]) == progress["step"] == steps
    assert progress["spent"] >= 1.8
    second = start(0.06)
    assert seeds == [7, 7 + steps]
    assert int(second["step"]) > steps
    assert abs(float(second["params"]["x"]) - 3) < abs(float(first["params"]["x"]) - 3) + 1e-3
    with (tmp_path / "log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) % LOG_EVERY for row in rows] == [0] * len(rows)
    assert float(rows[-1]["hours_heard"]) == int(rows[-1]["step"]) * 0.01
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_a_part_of_a_checkpoint(tmp_path: Path) -> None:
    state = {"vocoder": {"x": jnp.float32(1)}, "critics": {"x": jnp.float32(2)}}
    save_checkpoint(tmp_path / "c.npz", state, {"spent": 1.0})
    part, _ = load_checkpoint(tmp_path / "c.npz", {"x": jnp.float32(0)}, "critics")
    assert float(part["x"]) == 2
