"""Thread 3: owns the device state and turns it, one Euler step of some segments at a time.

A turn: take in what is prefilled, let go of what has ended, insert into free slots, dispatch the steps that the scheduler
picked, hand on what is finished. Then wait for an earlier turn, not for this one, where the device can be kept busy that
way: on an accelerator one turn is always queued behind the one that runs. Engines that share the device take turns, see
`engine.device`.

A step that fails takes its bucket's state with it, because the state was donated. Every segment is then begun again from
its prefilled inputs, which gives the same samples: the rows of the failed call each alone from then on, so that the one
at fault fails alone and the others do not notice. When nothing succeeds any more the stage gives up.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from f5_tts_server.engine.channel import Channel
from f5_tts_server.engine.cost import Ledger
from f5_tts_server.engine.device import Device
from f5_tts_server.engine.job import End, Segment, Taken, internal_error
from f5_tts_server.engine.metrics import Metrics
from f5_tts_server.engine.scheduler import Batch, Key, Placement, Scheduler
from f5_tts_server.inference_types import Failed, Programs, StepRow

log = logging.getLogger("f5.engine")

# A single request at fault makes two failures in a row (with others, then alone); a device at fault any number.
FAILURES_IN_A_ROW = 5


@dataclass(slots=True)
class _Turn:
    """Dispatched work that has not been waited for: per bucket, the rows and the call that waits."""

    fences: dict[int, tuple[list[Key], Callable[[], object]]]
    frames: dict[int, int]  # by job
    traced: dict[int, list[Segment]]  # by bucket
    rows: int
    started: float
    full: bool


class Inference:
    """The loop around the scheduler and the compiled programs."""

    def __init__(
        self,
        programs: Programs,
        scheduler: Scheduler,
        *,
        clock: Callable[[], float],
        wake: threading.Event,
        inbox: Channel[Segment],
        outbox: Channel[Taken | End],
        ledger: Ledger,
        metrics: Metrics,
        device: Device,
    ) -> None:
        self._programs = programs
        self._scheduler = scheduler
        self._clock = clock
        self.wake = wake
        self._inbox = inbox
        self._outbox = outbox
        self._ledger = ledger
        self._metrics = metrics
        self._device = device
        self._states = {bucket: programs.new_state(bucket) for bucket in programs.buckets}
        self._segments: dict[Key, Segment] = {}
        self._turns: deque[_Turn] = deque()
        self._finished: deque[Taken] = deque()  # what the outbox had no room for
        self._failures = 0
        self._last_done = self._clock()

    def turn(self) -> float:
        self._hand_on()
        if self._finished:
            return math.inf  # nothing is advanced that could not leave
        for segment in self._inbox.drain():
            self._segments[segment.key] = segment
            self._schedule(segment, alone=False)
        self._let_go()
        if not self._segments and not self._turns:
            return math.inf
        with self._device.turn(self._scheduler.due()):
            for placement in self._scheduler.place():
                self._insert(placement)
            self._dispatch(self._scheduler.pick())
            for placement in self._scheduler.finished():
                self._take(placement)
            self._hand_on()
            while len(self._turns) > (self._programs.run_ahead if self._segments else 0):
                self._wait(self._turns.popleft())
        return 0.0

    def _schedule(self, segment: Segment, *, alone: bool) -> None:
        self._scheduler.add(
            segment.key,
            bucket=segment.prefilled.bucket,
            steps=segment.job.request.nfe,
            urgent=segment.urgent,
            due=lambda: segment.due,
            alone=alone,
        )

    def _let_go(self) -> None:
        for key, segment in list(self._segments.items()):
            if not segment.job.alive:
                self._scheduler.remove(key)
                del self._segments[key]

    def _insert(self, placement: Placement) -> None:
        if not self._scheduler.holds(placement):
            return  # an insertion before this one failed and began the bucket anew
        segment = self._segments[placement.key]
        segment.inserted, segment.stepped = self._clock(), []
        try:
            self._states[placement.bucket] = self._programs.insert(
                self._states[placement.bucket], segment.prefilled, placement.slot
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, `_failed` finds whose it is and logs it
            self._failed(placement.bucket, [placement.key], error)

    def _dispatch(self, batches: list[Batch]) -> None:
        turn = _Turn({}, {}, {}, 0, self._clock(), self._scheduler.full)
        failed: set[int] = set()
        for batch in batches:
            if batch.bucket in failed:
                continue  # its segments begin again and hold no slots yet
            rows = [
                StepRow(row.slot, segment.schedule, row.index, segment.job.request.cfg_strength)
                for row in batch.rows
                for segment in [self._segments[row.key]]
            ]
            keys = [row.key for row in batch.rows]
            try:
                state = self._programs.step(batch.bucket, self._states[batch.bucket], rows)
            except Exception as error:  # noqa: BLE001 - as above
                turn.fences.pop(batch.bucket, None)
                failed.add(batch.bucket)
                self._failed(batch.bucket, keys, error)
                continue
            self._states[batch.bucket] = state
            earlier, _ = turn.fences.get(batch.bucket, ([], None))
            turn.fences[batch.bucket] = ([*earlier, *keys], self._programs.fence(state))
            turn.rows += len(rows)
            for key in keys:
                segment = self._segments[key]
                number = segment.job.arrival
                turn.frames[number] = turn.frames.get(number, 0) + segment.plan.frames
                if segment.job.trace is not None:
                    turn.traced.setdefault(batch.bucket, []).append(segment)
        if turn.fences:
            self._turns.append(turn)

    def _wait(self, turn: _Turn) -> None:
        for bucket, (keys, wait) in turn.fences.items():
            try:
                wait()
            except Exception as error:  # noqa: BLE001 - as above
                for later in self._turns:
                    later.fences.pop(bucket, None)
                self._failed(bucket, keys, error)
                turn.traced.pop(bucket, None)
            else:
                self._failures = 0
        now = self._clock()
        seconds = now - max(turn.started, self._last_done)
        self._last_done = now
        self._ledger.advance(turn.frames, seconds, full=turn.full)
        self._metrics.turn_seconds.observe(seconds)
        self._metrics.rows.inc(turn.rows)
        for bucket in turn.fences:
            for segment in turn.traced.get(bucket, ()):
                _trace_step(segment, now)

    def _take(self, placement: Placement) -> None:
        segment = self._segments.pop(placement.key)
        try:
            mel = self._programs.take(self._states[placement.bucket], placement.slot, segment.plan)
        except Exception:
            log.exception("taking a finished segment failed", extra={"request_id": segment.job.id})
            segment.job.events.end(Failed(internal_error(segment.job, "inference")))
            return
        self._finished.append(Taken(segment, mel))

    def _hand_on(self) -> None:
        while self._finished and not self._outbox.full:
            self._outbox.put(self._finished.popleft())

    def _failed(self, bucket: int, suspects: list[Key], error: Exception) -> None:
        """Begin the bucket anew: fail the suspect if there is one, else run the suspects alone."""
        self._failures += 1
        if self._failures >= FAILURES_IN_A_ROW:
            raise RuntimeError(f"{self._failures} device calls failed in a row") from error
        log.error("a call on bucket %d failed", bucket, exc_info=error)
        self._states[bucket] = self._programs.new_state(bucket)
        for key in self._scheduler.in_bucket(bucket):
            segment = self._segments[key]
            self._scheduler.remove(key)
            if suspects == [key]:
                del self._segments[key]
                segment.job.events.end(Failed(internal_error(segment.job, "inference")))
            else:
                self._metrics.restarts.inc()
                self._schedule(segment, alone=key in suspects)


def _trace_step(segment: Segment, now: float) -> None:
    """A step of a segment is done; the last one ends the flow."""
    trace = segment.job.trace
    assert trace is not None  # or nobody would count
    segment.stepped.append(now)
    if len(segment.stepped) == segment.job.request.nfe:
        about = {"segment": segment.index, "frames": segment.plan.frames, "bucket": segment.prefilled.bucket}
        trace.stage("flow", segment.inserted, now, about, tuple(segment.stepped))
