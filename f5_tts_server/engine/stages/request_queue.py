"""Thread 1: which requests are being worked on, and whose next segment is prepared.

Requests wait here until fewer than ``max_concurrent_requests`` need work and the next one can be begun without its
listener, or one who listens already, running out of audio (`engine.admission`). A request that rests needs no work: its
reader has much left to read or reads nothing, or its text is still being written; one that is far ahead of its listener
goes on, but holds nobody up. Requests with the least work begin first, and a long one only if there will be room for those
that come after it; not for ever. The first segment of a request is asked for at once; later ones while fewer than
``segments_ahead`` are in flight, the listener nearest to running out of audio first.
Time limits, readers that stopped reading and a bound on unread audio are kept here as well.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum

from f5_tts_server.engine.admission import Outlook, can_begin
from f5_tts_server.engine.channel import Channel, Closed
from f5_tts_server.engine.cost import Ledger, Piece
from f5_tts_server.engine.device import Work
from f5_tts_server.engine.job import Assignment, Job, Segment
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.inference_types import Failed, RequestError

_TICK_S = 0.1  # how late a deadline may be noticed
_PASSED_FOR_S = 5.0  # nobody who came later begins before a request that has waited for so long
_AHEAD_S = 10.0  # a request that is so far ahead of its listener leaves its place to others
_RESTS_AFTER_S = 2.0  # a reader that takes nothing for so long is not listening now


class Prepared(Enum):
    """What the preprocess stage did with a job that it was handed."""

    SEGMENT = "prefilled a segment; more may follow"
    LAST = "prefilled the last segment"
    IDLE = "found no text: the request is open"
    NOTHING = "found the end, or the job ended"


class RequestQueue:
    """Order of work among requests. Methods but `turn` may be called from any thread.

    Args:
        clock: seconds, monotonic.
        wake: set when there may be something to do.
        outbox: jobs whose next segment is to be prepared; room for every request that is taken in.
        ledger: what requests cost.
        beside: the work of other engines on the same device.

    ``segments_ahead``, later segments in flight over all requests, is set when the model's slots are known, and is 0 until
    then: nothing begins.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        clock: Callable[[], float],
        wake: threading.Event,
        outbox: Channel[Assignment],
        ledger: Ledger,
        beside: Callable[[], Sequence[Work]] = tuple,
    ) -> None:
        self._options = options
        self._clock = clock
        self.wake = wake
        self._outbox = outbox
        self._ledger = ledger
        self._beside = beside
        self.segments_ahead = 0
        self.outlooks: tuple[Outlook, ...] = ()  # of what is worked on, for the engines beside; replaced as a whole
        self.places = 0  # taken by it
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._active: dict[int, Job] = {}
        self._stopping = False
        self._looked = clock()

    def turn(self) -> float:
        with self._lock:
            if self._stopping:
                raise Closed
            overdue = self._overdue(self._clock())
        for job, error in overdue:
            job.events.end(Failed(error), discard=error.code == "reader_stalled")
        with self._lock:
            for job in [j for j in self._all() if not j.alive]:
                self._forget(job)
            chosen, now = self._activate() + self._later(), self._clock()
            assignments = [Assignment(job, job.urgent, job.seconds_planned, now) for job in chosen]
            quiet = not self._active and not self._waiting
        for assignment in assignments:
            # There is room: a job is in this channel at most once.
            self._outbox.put(assignment)
        return math.inf if quiet else _TICK_S

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
        self.wake.set()

    # seen from outside

    def counts(self) -> tuple[int, int]:
        """Active and waiting requests, without those that have ended and are not forgotten yet."""
        with self._lock:
            return sum(job.alive for job in self._active.values()), sum(job.alive for job in self._waiting)

    def jobs(self) -> list[Job]:
        """Requests that have not ended."""
        with self._lock:
            return [job for job in self._all() if job.alive]

    def add(self, job: Job) -> None:
        with self._lock:
            self._waiting.append(job)
        self.wake.set()

    def appended(self, job: Job) -> None:
        """A part has come, or the end of an open request."""
        with self._lock:
            now = self._clock()
            if job.idle:
                job.playback.text_came(now + self._options.first_audio_s, job.seconds_planned)
            job.idle = False
            job.deadline = now + job.request.timeout_s
        self.wake.set()

    def prepared(self, assignment: Assignment, what: Prepared, seconds: float = 0.0) -> None:
        """The preprocess stage is done with a job it was handed; ``seconds`` of audio were planned."""
        job = assignment.job
        if job.trace is not None and what in (Prepared.SEGMENT, Prepared.LAST):
            job.trace.stage("preprocess", assignment.since, self._clock(), {"segment": job.script.segments - 1})
        with self._lock:
            job.preparing = False
            if what in (Prepared.SEGMENT, Prepared.LAST):
                job.in_flight += 1
                job.later_in_flight += not assignment.urgent
                job.urgent = False
                job.seconds_planned += seconds
            job.exhausted = job.exhausted or what in (Prepared.LAST, Prepared.NOTHING)
            # Text that came in the meantime must not be slept on.
            job.idle = what is Prepared.IDLE and not job.has_input()
        self.wake.set()

    def spoken(self, segment: Segment) -> None:
        """A segment has left the last stage."""
        job = segment.job
        with self._lock:
            job.in_flight -= 1
            job.later_in_flight -= not segment.urgent
            if job.idle and not job.in_flight:
                job.urgent = True  # the next text of an open request finds its listener waiting
        self.wake.set()

    # under the lock

    def _all(self) -> list[Job]:
        return [*self._active.values(), *self._waiting]

    def _forget(self, job: Job) -> None:
        if job.active:
            del self._active[job.arrival]
        else:
            self._waiting.remove(job)

    def _overdue(self, now: float) -> list[tuple[Job, RequestError]]:
        since_last, self._looked = now - self._looked, now
        overdue = []
        for job in self._all():
            timeout, stall = job.request.timeout_s, self._options.stall_timeout_s
            if job.events.unread_seconds >= self._options.send_buffer_s:
                job.deadline += since_last  # it is the reader who takes his time: he may be listening
            if now >= job.deadline:
                message = f"request {job.id} was not finished within its timeout_s of {timeout:g} s"
                overdue.append((job, RequestError(504, "deadline_exceeded", message, "timeout_s")))
            elif job.events.stalled_for(now) >= stall:
                message = f"the reader of request {job.id} took nothing for {stall:g} s"
                overdue.append((job, RequestError(408, "reader_stalled", message)))
        return overdue

    def _activate(self) -> list[Job]:
        started: list[Job] = []
        if not self.segments_ahead:
            return started
        beside = self._beside()
        if not (self._waiting or beside):
            return started  # nobody needs to know how the others stand
        now = self._clock()
        working = [job for job in self._active.values() if not self._rests(job, now)]
        outlooks = [self._outlook(job) for job in working]
        others = [outlook for work in beside for outlook in work.outlooks]
        taken = sum(not self._well_ahead(job, now) for job in working)
        places = self._options.max_concurrent_requests - taken - sum(work.places for work in beside)
        for job, outlook, waited in self._candidates(now):
            if places <= 0:
                break
            patience = max(1 - waited / _PASSED_FOR_S, 0.0)
            if (outlooks or others) and not can_begin(now, outlooks + others, outlook, patience=patience):
                if waited > _PASSED_FOR_S:
                    break
                continue
            self._waiting.remove(job)
            self._active[job.arrival] = job
            job.active = job.preparing = True
            if job.trace is not None:
                job.trace.stage("queue", job.submitted, now)
            started.append(job)
            places -= 1
            taken += 1
            outlooks.append(outlook)
        self.outlooks, self.places = tuple(outlooks), taken
        return started

    def _candidates(self, now: float) -> Iterator[tuple[Job, Outlook, float]]:
        """Who waits and for how long: first those who have waited for long, as they came, then the least work."""
        fresh = []
        for job in list(self._waiting):
            waited = now - job.submitted
            if waited > _PASSED_FOR_S:
                yield job, self._outlook(job), waited
            else:
                fresh.append((job, self._outlook(job), waited))
        yield from sorted(fresh, key=lambda candidate: candidate[1].work)

    def _outlook(self, job: Job) -> Outlook:
        left, playback = self._ledger.open(job.arrival), job.playback
        sent = playback.seconds
        # Pauses of the text, and what is joined and not sent yet, lie between.
        between = job.seconds_planned - sent - sum(piece.audio for piece in left.planned)
        return Outlook(
            due=playback.due(sent),
            pieces=(*left.planned, *([Piece(0.0, between)] if between > 0 else []), *left.expected),
            heard=playback.first_audio is not None,
            live=playback.live,
        )

    def _rests(self, job: Job, now: float) -> bool:
        """Whether a request needs no work now, so that another may be worked on in its place."""
        return not (job.preparing or job.in_flight) and (job.idle or self._reader_has_enough(job, now))

    def _well_ahead(self, job: Job, now: float) -> bool:
        playback = job.playback
        return playback.live and playback.due(job.seconds_planned) - now > _AHEAD_S

    def _reader_has_enough(self, job: Job, now: float) -> bool:
        events = job.events
        return events.unread_seconds >= self._options.send_buffer_s or events.stalled_for(now) >= _RESTS_AFTER_S

    def _later(self) -> list[Job]:
        now = self._clock()
        later = sum(job.later_in_flight + (job.preparing and not job.urgent) for job in self._active.values())
        wanting = [
            job
            for job in self._active.values()
            if not (job.preparing or job.exhausted or job.idle or self._reader_has_enough(job, now))
        ]

        wanting.sort(key=lambda job: job.playback.due(job.seconds_planned))
        chosen = [job for job in wanting if job.urgent]
        chosen += [job for job in wanting if not job.urgent][: max(self.segments_ahead - later, 0)]
        for job in chosen:
            job.preparing = True
        return chosen
