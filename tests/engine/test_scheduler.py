"""The scheduler's promises, under any order of arrivals, departures and turns."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from f5_tts_server.engine.scheduler import Batch, Key, Scheduler

BUCKETS = (64, 128, 256)


def scheduler(slots: int = 4, step_sizes: tuple[int, ...] = (1, 2, 4), frame_budget: int = 256) -> Scheduler:
    return Scheduler(buckets=BUCKETS, slots=slots, step_sizes=step_sizes, frame_budget=frame_budget)


def keys(batches: list[Batch]) -> list[int]:
    return [row.key for batch in batches for row in batch.rows]


def run(machine: Scheduler) -> list[int]:
    machine.place()
    picked = keys(machine.pick())
    machine.finished()
    return picked


class Turns(RuleBasedStateMachine):
    """Random arrivals, departures and turns against a plain account of who holds what."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = scheduler()
        self.next_key = 0
        self.steps: dict[Key, int] = {}
        self.made: dict[Key, int] = {}
        self.urgent: dict[Key, bool] = {}
        self.alone: dict[Key, bool] = {}
        self.bucket: dict[Key, int] = {}
        self.slot: dict[Key, int] = {}
        self.due: dict[Key, float] = {}
        self.turns = 0
        self.ended: set[Key] = set()

    @rule(
        bucket=st.sampled_from(BUCKETS),
        steps=st.integers(1, 6),
        urgent=st.booleans(),
        alone=st.sampled_from([False, False, True]),
        within=st.integers(0, 30),
    )
    def arrive(self, bucket: int, steps: int, urgent: bool, alone: bool, within: int) -> None:
        key = Key(self.next_key)
        self.next_key += 1
        self.due[key] = self.turns + within
        self.scheduler.add(key, bucket=bucket, steps=steps, urgent=urgent, alone=alone, due=lambda: self.due[key])
        self.steps[key], self.made[key], self.urgent[key], self.bucket[key] = steps, 0, urgent, bucket
        self.alone[key] = alone

    @precondition(lambda self: self.steps)
    @rule(data=st.data())
    def depart(self, data: st.DataObject) -> None:
        self._forget(data.draw(st.sampled_from(sorted(self.steps))), by_scheduler=False)

    @rule()
    def turn(self) -> None:
        for placement in self.scheduler.place():
            assert placement.key not in self.slot
            taken = {s for k, s in self.slot.items() if self.bucket[k] == placement.bucket}
            assert placement.slot not in taken, "a slot is held twice"
            assert placement.bucket == self.bucket[placement.key]
            earlier = [
                k
                for k in self.steps
                if (self.due[k], k) < (self.due[placement.key], placement.key)
                and k not in self.slot
                and self.urgent[k] == self.urgent[placement.key]
                and self.bucket[k] == placement.bucket
            ]
            assert not earlier, "one that is needed later was placed first"
            self.slot[placement.key] = placement.slot
        batches = self.scheduler.pick()
        picked = keys(batches)
        assert len(picked) == len(set(picked))
        assert bool(picked) == bool(self.slot), "a turn with work to do did nothing"
        frames = 0
        for batch in batches:
            frames += batch.bucket * next(size for size in (1, 2, 4) if size >= len(batch.rows))
            neighbours = [row.key for other in batches if other.bucket == batch.bucket for row in other.rows]
            assert len(neighbours) == 1 or not any(self.alone[key] for key in neighbours)
            for row in batch.rows:
                assert row.slot == self.slot[row.key] and batch.bucket == self.bucket[row.key]
                assert row.index == self.made[row.key], "a step was skipped or made twice"
                self.made[row.key] += 1
        assert frames <= 256 or len(picked) == 1
        if self.slot:
            first = min(self.slot, key=lambda key: (self.due[key], key))
            assert first in picked, "the segment that is needed first was passed over"
        assert self.scheduler.full == (len(picked) < len(self.slot))
        self.turns += 1
        for done in self.scheduler.finished():
            assert self.made[done.key] == self.steps[done.key]
            assert done.slot == self.slot[done.key]
            self._forget(done.key, by_scheduler=True)

    def _forget(self, key: Key, *, by_scheduler: bool) -> None:
        assert key not in self.ended, "a segment ended twice"
        if not by_scheduler:
            self.scheduler.remove(key)
        self.ended.add(key)
        for table in (self.steps, self.made, self.urgent, self.alone, self.bucket, self.slot, self.due):
            table.pop(key, None)  # type: ignore[attr-defined]

    @invariant()
    def accounts_agree(self) -> None:
        assert len(self.scheduler) == len(self.steps)
        for bucket in BUCKETS:
            assert self.scheduler.slots_in_use(bucket) == sum(self.bucket[k] == bucket for k in self.slot)

    def teardown(self) -> None:
        """Everything that is still here ends: nothing waits for ever."""
        for _ in range(20 * (len(self.steps) + 1)):
            if not self.steps:
                return
            self.turn()
        raise AssertionError(f"never finished: {sorted(self.steps)}")


Turns.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTurns = Turns.TestCase


def test_what_is_needed_sooner_overtakes_at_the_next_step() -> None:
    machine = scheduler(frame_budget=64)
    for key in range(3):
        machine.add(Key(key), bucket=64, steps=50, urgent=False, due=lambda: 100.0)
    for _ in range(3):
        run(machine)
    machine.add(Key(9), bucket=64, steps=2, urgent=True, due=lambda: 50.0)
    assert run(machine) == [9]


def test_a_full_house_does_not_hold_up_what_is_needed_sooner() -> None:
    """Where a turn advances one row, later segments wait long for each step. When their wait gave them precedence, a
    first segment had to wait for a step of everybody else before each of its own."""
    machine = Scheduler(buckets=BUCKETS, slots=8, step_sizes=(1,), frame_budget=64)
    for key in range(18):  # six for each bucket: all slots that later segments may hold
        machine.add(Key(key), bucket=BUCKETS[key % 3], steps=10, urgent=False, due=lambda: 1000.0)
    for _ in range(100):
        run(machine)
    machine.add(Key(99), bucket=64, steps=4, urgent=True, due=lambda: 500.0)
    assert [run(machine) for _ in range(4)] == [[99]] * 4


def test_a_due_that_moves_counts_as_it_is_now() -> None:
    """A listener's silence moves everything that is to come."""
    machine = scheduler(frame_budget=64)
    due = {Key(0): 10.0, Key(1): 20.0}
    for key in due:
        machine.add(key, bucket=64, steps=5, urgent=True, due=lambda key=key: due[key])  # type: ignore[misc]
    assert run(machine) == [0]
    due[Key(0)] = 30.0
    assert run(machine) == [1]


def test_first_segments_find_a_slot_although_later_ones_wait_for_slots() -> None:
    machine = scheduler(frame_budget=1024)
    for key in range(10):
        machine.add(Key(key), bucket=64, steps=50, urgent=False, due=lambda: 0.0)
    for _ in range(15):  # however long they wait, later segments leave the reserve alone
        run(machine)
    machine.add(Key(99), bucket=64, steps=2, urgent=True, due=lambda: 1.0)
    assert 99 in run(machine)


def test_an_endless_stream_of_first_segments_starves_nobody() -> None:
    machine = scheduler(frame_budget=64)
    machine.add(Key(0), bucket=64, steps=4, urgent=False, due=lambda: 40.0)
    turns = 0
    while Key(0) in machine:
        machine.add(Key(turns + 1), bucket=64, steps=3, urgent=True, due=lambda due=turns: due + 5)  # type: ignore[misc]
        run(machine)
        turns += 1
        assert turns < 400
    assert turns > 4


def test_rows_that_fit_into_padding_ride_for_free() -> None:
    machine = scheduler(frame_budget=4 * 64)
    for key in range(3):
        machine.add(Key(key), bucket=64, steps=3, urgent=True, due=lambda: 0.0)
    machine.place()
    (batch,) = machine.pick()
    assert [row.key for row in batch.rows] == [0, 1, 2]


def test_slots_and_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        scheduler(slots=1, step_sizes=(1,))
    with pytest.raises(ValueError, match="step_sizes"):
        scheduler(slots=4, step_sizes=(1, 8))
