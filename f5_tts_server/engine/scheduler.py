"""Which segments hold slots, and which of them advance by one Euler step in a turn. Touches no tensor, reads no clock.

A *turn* is one pass of the inference thread: `place` gives free slots to waiting segments, `pick` chooses the rows of
this turn's steps, `finished` names the segments whose flow ended with them.

Segments go in the order in which their listeners need them. Dues are moments, so nobody starves: whoever comes later is
due later, in the end. Others than urgent segments, whose listener has nothing to listen to, never hold the last
``reserve`` slots of a bucket, so that an urgent one finds a slot at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NewType

Key = NewType("Key", int)


@dataclass(frozen=True, slots=True)
class Placement:
    """A segment gets a slot."""

    key: Key
    bucket: int
    slot: int


@dataclass(frozen=True, slots=True)
class Row:
    """A segment advances by its step ``index``."""

    key: Key
    slot: int
    index: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one bucket that advance in one call."""

    bucket: int
    rows: tuple[Row, ...]


@dataclass(slots=True)
class _Segment:
    key: Key
    bucket: int
    steps: int
    urgent: bool
    alone: bool
    due: Callable[[], float]
    slot: int | None = None
    index: int = 0


class Scheduler:
    """Slots, order and frame budget.

    Args:
        buckets: padded lengths in frames, ascending.
        slots: slots in each bucket.
        step_sizes: numbers of rows one call can advance, ascending; a call is padded to the next size.
        frame_budget: padded frames a turn may advance; one row may always go.
    """

    def __init__(self, *, buckets: Sequence[int], slots: int, step_sizes: Sequence[int], frame_budget: int) -> None:
        if slots < 2:
            raise ValueError(f"slots is {slots}; at least 2 are needed so that one can be kept for first segments")
        if not step_sizes or list(step_sizes) != sorted(step_sizes) or step_sizes[0] < 1 or step_sizes[-1] > slots:
            raise ValueError(f"step_sizes {tuple(step_sizes)} must ascend from at least 1 to at most slots ({slots})")
        self.slots = slots
        self.reserve = max(1, slots // 4)
        self._step_sizes = tuple(step_sizes)
        self._frame_budget = frame_budget
        self._free = {bucket: list(range(slots))[::-1] for bucket in buckets}
        self._segments: dict[Key, _Segment] = {}  # in order of arrival: a dict keeps it
        self._finished: list[Key] = []
        self.full = False  # whether the last turn left out a segment that held a slot

    def __len__(self) -> int:
        return len(self._segments)

    def __contains__(self, key: Key) -> bool:
        return key in self._segments

    def add(
        self, key: Key, *, bucket: int, steps: int, urgent: bool, due: Callable[[], float], alone: bool = False
    ) -> None:
        """Let a segment wait for a slot; ``due`` gives the moment at which it is needed, which may change. With ``alone``
        no other of its bucket advances in its turns."""
        if key in self._segments:
            raise ValueError(f"segment {key} is already scheduled")
        if bucket not in self._free:
            raise ValueError(f"no bucket of {bucket} frames; there are {tuple(self._free)}")
        if steps < 1:
            raise ValueError(f"segment {key} has {steps} steps; at least 1 is needed")
        self._segments[key] = _Segment(key, bucket, steps, urgent, alone, due)

    def remove(self, key: Key) -> None:
        """Forget a segment, wherever it is; its slot is free for the next `place`."""
        segment = self._segments.pop(key)
        if segment.slot is not None:
            self._free[segment.bucket].append(segment.slot)
        if key in self._finished:
            self._finished.remove(key)

    def in_bucket(self, bucket: int) -> list[Key]:
        """Segments that hold a slot of the bucket."""
        return [s.key for s in self._segments.values() if s.bucket == bucket and s.slot is not None]

    def holds(self, placement: Placement) -> bool:
        """Whether the placement is still true."""
        segment = self._segments.get(placement.key)
        return segment is not None and segment.slot == placement.slot

    def slots_in_use(self, bucket: int) -> int:
        return self.slots - len(self._free[bucket])

    def due(self) -> float:
        """When the first of all segments is needed; infinity when there is none."""
        return min((segment.due() for segment in self._segments.values()), default=math.inf)

    def place(self) -> list[Placement]:
        """Give free slots to waiting segments."""
        placements = []
        others = dict.fromkeys(self._free, 0)  # slots held by segments that are not urgent
        for segment in self._segments.values():
            others[segment.bucket] += segment.slot is not None and not segment.urgent
        for segment in self._ordered([s for s in self._segments.values() if s.slot is None]):
            free = self._free[segment.bucket]
            if free and (segment.urgent or others[segment.bucket] < self.slots - self.reserve):
                segment.slot = free.pop()
                others[segment.bucket] += not segment.urgent
                placements.append(Placement(segment.key, segment.bucket, segment.slot))
        return placements

    def pick(self) -> list[Batch]:
        """Choose this turn's rows and count their steps as made. Ends the turn."""
        running = self._ordered([s for s in self._segments.values() if s.slot is not None])
        chosen: dict[int, list[list[_Segment]]] = {}  # bucket -> calls
        budget = self._frame_budget
        for segment in running:
            calls = chosen.setdefault(segment.bucket, [])
            if calls and (segment.alone or calls[0][0].alone):
                continue
            call = next((c for c in calls if len(c) < self._step_sizes[-1]), None)
            # A row that fits into a call's padding is free; any other pays for the frames by which the call grows.
            grown = self._padded(1 if call is None else len(call) + 1) - (
                0 if call is None else self._padded(len(call))
            )
            price = grown * segment.bucket
            if price > budget and budget < self._frame_budget:
                continue
            budget -= price
            if call is None:
                calls.append([segment])
            else:
                call.append(segment)
        batches = [
            Batch(bucket, tuple(self._advance(s) for s in call)) for bucket, calls in chosen.items() for call in calls
        ]
        self.full = sum(len(batch.rows) for batch in batches) < len(running)
        return batches

    def finished(self) -> list[Placement]:
        """Segments whose last step was in the turns since the last call; they have given up their slots."""
        done = []
        for key in list(self._finished):
            segment = self._segments[key]
            assert segment.slot is not None  # only a segment in a slot is advanced
            done.append(Placement(key, segment.bucket, segment.slot))
            self.remove(key)
        return done

    def _ordered(self, segments: list[_Segment]) -> list[_Segment]:
        """By when they are needed; those that are needed at the same time as they came."""
        return sorted(segments, key=lambda segment: segment.due())

    def _padded(self, rows: int) -> int:
        return next(size for size in self._step_sizes if size >= rows)

    def _advance(self, segment: _Segment) -> Row:
        assert segment.slot is not None  # `pick` looks at segments in slots only
        row = Row(segment.key, segment.slot, segment.index)
        segment.index += 1
        if segment.index == segment.steps:
            self._finished.append(segment.key)
        return row
