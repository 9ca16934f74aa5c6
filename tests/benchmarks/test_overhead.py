"""The accounts of the profile, on reports made up by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest

from benchmarks.overhead import PARTS, difference, shares
from benchmarks.timed_server import Times


def report(**changes: Any) -> dict[str, Any]:
    return {
        "covered": 1.0,
        "process": 10.0,
        "native": 6.0,
        "threads": {"1": ["MainThread", 1.0], "2": ["inference", 2.0], "3": ["workers", 0.5]},
        "in calls": {"inference": 1.5},
        "calls": {"step": [10, 5.0, 1.5]},
        **changes,
    }


def test_processor_time_is_the_models_or_a_threads_or_the_rest() -> None:
    after = report(
        covered=3.0,
        process=20.0,
        native=14.0,  # 8 more
        threads={
            "1": ["MainThread", 1.3],  # 0.3 more
            "2": ["inference", 3.0],  # 1 more, of which 0.9 in calls
            "4": ["workers", 0.2],  # new; the worker before it has ended, with 0.1 that nobody saw
        },
        **{"in calls": {"inference": 2.4}, "calls": {"step": [30, 8.0, 2.4], "take": [1, 0.1, 0.0]}},
    )
    spent = difference(report(), after)
    assert spent["covered"] == 2.0
    assert spent["calls"] == {"step": [20, 3.0, pytest.approx(0.9)], "take": [1, 0.1, 0.0]}
    account = shares(spent)
    assert account["the model"] == pytest.approx(0.89)
    assert account[PARTS["MainThread"]] == pytest.approx(0.03)
    assert account[PARTS["inference"]] == pytest.approx(0.01)
    assert account[PARTS["workers"]] == pytest.approx(0.02)
    assert account[PARTS["postprocess"]] == 0
    assert account["the rest"] == pytest.approx(0.05)
    assert account["outside of the model"] == pytest.approx(0.11)


def test_calls_inside_one_another_are_covered_once() -> None:
    times = Times()
    inner = times.timed("inner", lambda: time.sleep(0.02))
    times.timed("outer", lambda: (inner(), inner()))()
    spent = times.report()
    wall = {name: entry[1] for name, entry in spent["calls"].items()}
    assert spent["covered"] == wall["outer"] >= wall["inner"] >= 0.04
    assert [entry[0] for entry in spent["calls"].values()] == [2, 1]
