"""TTSEngine: four stages, each repeated by a named thread, the bounded channels between them, the state of the whole.

The life of a request:

1. `submit` checks its limits and the engine's room, and gives a ticket; refusals say when to come back.
2. request queue: it waits for its turn, then asks for its first segment, later for the next ones.
3. preprocess: the reference is decoded or found in the cache, the text cut; a segment becomes tokens and noise on the
   device (*prefill*).
4. inference: the segment gets a slot (*insert*), advances by Euler *steps* among others, and leaves (*take*).
5. postprocess: vocoded block by block, joined, encoded, put into the ticket. A segment that is to be verified is heard
   first, and goes back to preprocess, for other noise, where it does not say its text.
6. The reader takes chunks from the ticket in the event loop; the last event is `Done` or `Failed`, exactly one.

Whatever happens on the way (cancelled, expired, reader gone, failure), the ticket is ended with `Failed` by whoever
notices, and every stage drops the job when it next looks at it; the inference stage looks between any two steps.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, ClassVar

from prometheus_client.core import Metric

from f5_tts_server.byte_lru import ByteLRU
from f5_tts_server.engine.admission import Outlook
from f5_tts_server.engine.channel import Channel
from f5_tts_server.engine.cost import Ledger, whole_seconds
from f5_tts_server.engine.device import Device
from f5_tts_server.engine.events import EventBuffer
from f5_tts_server.engine.job import Assignment, End, Job, Segment, Taken
from f5_tts_server.engine.limits import Limits, check, check_parts
from f5_tts_server.engine.metrics import Metrics, counter, gauge
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.engine.scheduler import Scheduler
from f5_tts_server.engine.stages.inference import Inference
from f5_tts_server.engine.stages.postprocess import Postprocess
from f5_tts_server.engine.stages.preprocess import Preprocess
from f5_tts_server.engine.stages.request_queue import RequestQueue
from f5_tts_server.engine.stages.thread import Stage, StageThread
from f5_tts_server.inference_types import (
    AudioChunk,
    Done,
    Event,
    Failed,
    GenerationRequest,
    Listener,
    Part,
    PreparedReference,
    Programs,
    Refused,
    RequestError,
    Speech,
    Trace,
    Tracer,
)
from f5_tts_server.limits import STEPS_MAX

log = logging.getLogger("f5.engine")

_DRAIN_POLL_S = 0.05
_JOIN_S = 10.0
_SAY_S = 5.0  # between two lines of the log while programs are compiled


class EngineState(Enum):
    """Only a ready engine takes requests in."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    BROKEN = "broken"
    STOPPED = "stopped"


class TTSEngine:
    """Implements `inference_types.Engine`.

    Args:
        load: makes the model's programs; called on the inference thread, which owns the device.
        options: sizes and times.
        clock: seconds, monotonic.
        device: what it shares with the engines of other models; by default it is alone.
        metrics: where it counts, if an engine before it has counted there.
        listener: says when words are said, for models that do not plan it, and whether speech says its text.
        tracer: is told what is done for each request, and when.

    ``stages`` are what the threads repeat, by name; complete when `load` has returned.
    """

    # The two parts that decide whose turn it is. A benchmark's engine sets others, to compare with.
    queue_type: ClassVar[type[RequestQueue]] = RequestQueue
    scheduler_type: ClassVar[type[Scheduler]] = Scheduler

    def __init__(
        self,
        load: Callable[[], Programs],
        options: EngineOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        device: Device | None = None,
        metrics: Metrics | None = None,
        listener: Listener | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._make_programs = load
        self.options = options
        self._clock = clock
        self.metrics = metrics or Metrics()
        self._device = device or Device()
        self._listener = listener
        self._tracer = tracer
        self.state = EngineState.LOADING
        self.failure: str | None = None  # why the engine is broken
        self._drained_by = math.inf  # when a draining engine ends what is left
        self._state_lock = threading.Lock()
        self._programs: Programs | None = None
        self._scheduler: Scheduler | None = None
        self._compiled: tuple[int, int] | None = None  # programs of the model, while they are compiled and afterwards
        self._say_next = 0.0
        self._loaded = threading.Event()
        self._arrivals = itertools.count()
        self._ledger = Ledger(options.first_segment_s)
        self._references: ByteLRU[PreparedReference] = ByteLRU(options.reference_cache_bytes)
        active = options.max_concurrent_requests
        queue, preprocess, inference, postprocess = self._wakes = tuple(threading.Event() for _ in range(4))
        # Later segments in flight are bounded when the slots are known; until then by the channels' room.
        self._jobs: Channel[Assignment] = Channel(active + options.queue_limit, reader=preprocess, writers=(queue,))
        self._segments: Channel[Segment] = Channel(2 * active, reader=inference, writers=(preprocess,))
        self._results: Channel[Taken | End] = Channel(4 * active, reader=postprocess, writers=(inference, preprocess))
        self._retakes: Channel[Segment] = Channel(4 * active, reader=preprocess, writers=())
        self._requests = self.queue_type(
            options,
            clock=clock,
            wake=queue,
            outbox=self._jobs,
            ledger=self._ledger,
            beside=lambda: self._device.beside(self),
        )
        self.stages: dict[str, Stage] = {"request-queue": self._requests}
        self._threads = [
            StageThread("request-queue", lambda: self._requests, self.stage_died),
            StageThread("preprocess", lambda: self._when_loaded("preprocess"), self.stage_died),
            StageThread("inference", self._load_first, self.stage_died),
            StageThread("postprocess", lambda: self._when_loaded("postprocess"), self.stage_died),
        ]
        self.metrics.observe(self._collect)
        self._device.join(self)

    # life

    def start(self) -> None:
        """Start the threads; the inference thread loads the model and then makes the engine ready."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Fail what is open, end the threads and wait for them."""
        self._enter(EngineState.STOPPED)
        self.fail_open(RequestError(503, "stopped", "the server has stopped"))
        self._requests.stop()
        for channel in (self._jobs, self._segments, self._results, self._retakes):
            channel.close()
        self._loaded.set()
        self._device.leave(self)
        for thread in self._threads:
            thread.join(_JOIN_S)
            if thread.is_alive():
                log.error("the %s stage did not stop within %g s", thread.name, _JOIN_S)

    async def drain(self, grace_s: float) -> None:
        """Take nothing in any more, let what is open finish for ``grace_s`` seconds, then fail the rest."""
        if self.state in (EngineState.READY, EngineState.LOADING):
            self._enter(EngineState.DRAINING)
        self._drained_by = until = self._clock() + grace_s
        while self._requests.jobs() and self._clock() < until:  # noqa: ASYNC110 - changed by threads
            await asyncio.sleep(_DRAIN_POLL_S)
        if left := len(self._requests.jobs()):
            log.warning("%d requests were not finished within the grace period of %g s", left, grace_s)
        self.fail_open(
            RequestError(503, "shutting_down", "the server is shutting down before this request was finished")
        )

    def fail_open(self, error: RequestError) -> None:
        """End every open request with an error."""
        for job in self._requests.jobs():
            job.events.end(Failed(error))

    @property
    def ready(self) -> bool:
        return self.state is EngineState.READY

    @property
    def rows(self) -> int:
        """Segments that one step advances at most; 1 until the model is loaded."""
        return self._programs.step_sizes[-1] if self._programs else 1

    @property
    def work_ahead_s(self) -> float:
        """Seconds until everything now open would be done: what autoscalers go by."""
        return self._ledger.seconds_for_all()

    @property
    def load_failure(self) -> str | None:
        """Why the model could not be loaded, if so."""
        return self.failure if self.broken and self._programs is None else None

    @property
    def broken(self) -> bool:
        return self.state is EngineState.BROKEN

    # requests

    def submit(self, request: GenerationRequest) -> RequestTicket:
        """Take a request in, or raise `Refused` or `RequestError`; called from the event loop of its reader."""
        try:
            sample_rate = self._admit(request)
        except Refused:
            self.metrics.requests.labels("refused").inc()
            raise
        number, now = next(self._arrivals), self._clock()
        job = Job(
            request,
            arrival=number,
            now=now,
            due=now + self._due_s(request),
            events=EventBuffer(
                asyncio.get_running_loop(),
                sample_rate,
                clock=self._clock,
                on_end=lambda event: self._ended(job, event),
            ),
            trace=None if self._tracer is None else self._tracer.begin(request, now),
        )
        self._device.usage.began(request.caller)
        for part in request.parts:
            self._count_text(request.caller, part)
        self._ledger.expect(job.arrival, request.parts, request.nfe)
        self._requests.add(job)
        # A stage that died between the check and here has already failed the requests it knew of.
        if not self._takes_in and self.state is not EngineState.DRAINING:
            job.events.end(Failed(self._not_ready()))
        return RequestTicket(self, job, self._clock)

    def _count_text(self, caller: str, part: Part) -> None:
        if caller and isinstance(part, Speech):
            self.metrics.key_characters.labels(caller).inc(len(part.text))

    def _due_s(self, request: GenerationRequest) -> float:
        options = self.options
        if request.background:
            return options.background_s
        return options.first_audio_s if request.live else options.whole_clip_s

    def appended(self, job: Job, part: Part | None) -> None:
        """A ticket has taken a part, or with None the end, of an open request."""
        if part is not None:
            self._count_text(job.request.caller, part)
            self._ledger.expect(job.arrival, [part], job.request.nfe)
        self._requests.appended(job)

    def limits(self) -> Limits:
        """What a request may ask for, with the model's own limits once it is loaded."""
        steps = self._programs.max_steps if self._programs else STEPS_MAX
        return Limits(self.options.max_text_chars, self.options.max_timeout_s, steps, self._sample_rate)

    @property
    def _takes_in(self) -> bool:
        early = self.options.early_rate is not None and self.state is EngineState.LOADING
        return early or self.ready

    def _admit(self, request: GenerationRequest) -> int:
        """The sample rate of the request's audio."""
        if not self._takes_in:
            raise self._not_ready()
        check(request, self.limits())
        options, usage = self.options, self._device.usage
        refusal = usage.refusal(
            request.caller, self._clock(), concurrent=options.key_concurrent, audio_s=options.key_audio_s
        )
        if refusal is not None:
            raise refusal
        active, waiting = self._device.counts()
        if active + waiting >= self.options.max_concurrent_requests + self.options.queue_limit:
            seconds = whole_seconds(self._device.seconds_for_a_place())
            raise Refused(
                429,
                "too_many_requests",
                f"{active} requests are being served and {waiting} wait, which is the limit; "
                f"a place is expected in {seconds} s",
                seconds,
            )
        ahead = self._device.work_ahead_s
        if self._ledger.measured and ahead > request.timeout_s:
            seconds = whole_seconds(ahead - request.timeout_s)
            raise Refused(
                429,
                "too_late",
                f"what is ahead takes about {ahead:.0f} s, longer than this request's timeout_s of {request.timeout_s:g} s",
                seconds,
            )
        return self._sample_rate

    @property
    def _sample_rate(self) -> int:
        return self._programs.sample_rate if self._programs else self.options.early_rate or 0

    def _not_ready(self) -> Refused:
        if self.state is EngineState.BROKEN:
            return Refused(503, "broken", f"the server cannot serve any more: {self.failure}")
        if self.state is EngineState.LOADING:
            return Refused(503, "loading", "the model is being loaded", retry_after=5)
        # Whatever comes after this engine can be there when its last request has ended.
        left = max(self._drained_by - self._clock(), 0.0)
        seconds = whole_seconds(min(self._ledger.seconds_for_all(), left))
        return Refused(503, self.state.value, "the server is shutting down", retry_after=seconds)

    def _ended(self, job: Job, event: Done | Failed) -> None:
        request_id, caller, seconds = job.request.request_id, job.request.caller, job.events.seconds
        self._ledger.close(job.arrival)
        self._device.usage.ended(caller, seconds, self._clock(), audio_s=self.options.key_audio_s)
        if caller:
            self.metrics.key_seconds.labels(caller).inc(seconds)
            log.info("usage of %s: %.2f s of audio", caller, seconds, extra={"request_id": request_id})
        self.metrics.requests.labels(_outcome(event)).inc()
        if job.trace is not None:
            job.trace.ended(event, self._clock())
        if isinstance(event, Done):
            metadata = event.metadata
            self.metrics.audio_seconds.inc(metadata.duration)
            if metadata.duration:
                self.metrics.real_time_factor.observe(metadata.generation_time / metadata.duration)
            log.info(
                "done: %.2f s of audio in %.2f s, first audio after %.2f s",
                metadata.duration,
                metadata.generation_time,
                metadata.time_to_first_audio,
                extra={"request_id": request_id},
            )
        else:
            log.info("failed: %s (%s)", event.error.message, event.error.code, extra={"request_id": request_id})
        for wake in self._wakes:  # every stage lets go of what it holds for the request
            wake.set()

    # threads

    def load(self) -> None:
        """Load the model, make the stages and become ready, or broken; called on the inference thread."""
        with self._device.loading:
            self._load()

    def _load(self) -> None:
        started = self._clock()
        if self.state is EngineState.STOPPED:
            return
        with _collector_paused():
            try:
                programs = self._make_programs()
            except (OSError, ValueError) as error:
                # Something that the operator can cure, said in a sentence; anything else is a death with its traceback.
                self._break(f"the model could not be loaded: {error}")
                return
            programs.warm_up(self._compiling)
            if self._listener is not None:
                self._listener.load()
        self._scheduler = self.scheduler_type(
            buckets=programs.buckets,
            slots=programs.slots,
            step_sizes=programs.step_sizes,
            frame_budget=self.options.frame_budget or programs.frame_budget,
        )
        _, preprocess, inference, postprocess = self._wakes
        self.stages["preprocess"] = Preprocess(
            programs,
            self.options,
            wake=preprocess,
            requests=self._requests,
            inbox=self._jobs,
            retakes=self._retakes,
            segments=self._segments,
            ends=self._results,
            references=self._references,
            ledger=self._ledger,
            listener=self._listener,
        )
        self.stages["inference"] = Inference(
            programs,
            self._scheduler,
            clock=self._clock,
            wake=inference,
            inbox=self._segments,
            outbox=self._results,
            ledger=self._ledger,
            metrics=self.metrics,
            device=self._device,
        )
        self.stages["postprocess"] = Postprocess(
            programs,
            self.options,
            clock=self._clock,
            wake=postprocess,
            requests=self._requests,
            inbox=self._results,
            retakes=self._retakes,
            ledger=self._ledger,
            metrics=self.metrics,
            listener=self._listener,
        )
        # Enough that a turn never waits for a prefill, few enough that what is needed first is chosen late.
        self._requests.segments_ahead = programs.step_sizes[-1] + 2
        self._device.compiled = programs.compile_count
        self._programs = programs
        self._loaded.set()
        self._enter(EngineState.READY)
        self._requests.wake.set()
        log.info("ready after %.1f s, %d programs compiled", self._clock() - started, programs.compile_count)

    def _load_first(self) -> Stage | None:
        self.load()
        return self.stages.get("inference")

    def _when_loaded(self, name: str) -> Stage | None:
        self._loaded.wait()
        return self.stages.get(name)

    def stage_died(self, name: str, error: BaseException) -> None:
        """Whoever repeats a stage's turns has met an error that the stage did not handle: nothing can be served now."""
        self._break(f"the {name} stage died: {type(error).__name__}: {error}")

    def _compiling(self, done: int, total: int) -> None:
        """So many of the model's programs are compiled; said every few seconds."""
        self._compiled = (done, total)
        if done == total or self._clock() >= self._say_next:
            self._say_next = self._clock() + _SAY_S
            log.info("compiled %d of %d programs", done, total)

    def _break(self, failure: str) -> None:
        """Nothing can be served any more: everyone hears why."""
        self.failure = failure
        self._enter(EngineState.BROKEN)
        self.fail_open(RequestError(503, "stage_died", failure))
        self._loaded.set()

    def _enter(self, state: EngineState) -> None:
        """States go one way: loading, ready, draining; broken from any of them; stopped from all."""
        order = list(EngineState)
        with self._state_lock:
            if order.index(state) > order.index(self.state):
                self.state = state

    # what is open, as engines on the same device and their keeper see it

    @property
    def outlooks(self) -> tuple[Outlook, ...]:
        return self._requests.outlooks

    @property
    def places(self) -> int:
        return self._requests.places

    def counts(self) -> tuple[int, int]:
        return self._requests.counts()

    def seconds_for_a_place(self) -> float:
        return self._ledger.seconds_for_a_place()

    @property
    def nbytes(self) -> int:
        """Memory that the model holds on the device; 0 until it is loaded."""
        return self._programs.nbytes if self._programs else 0

    # reports

    def health(self) -> dict[str, Any]:
        """The engine's state for people and orchestrators."""
        active, waiting = self._requests.counts()
        return {
            "state": self.state.value,
            "failure": self.failure,
            "threads": {thread.name: thread.is_alive() for thread in self._threads},
            "queues": {
                name: {"depth": depth, "limit": limit} for name, (depth, limit) in self._queues(active, waiting).items()
            },
            "slots": self._slots(),
            "compiled": None if self._compiled is None else dict(zip(("done", "of"), self._compiled, strict=True)),
        }

    def _queues(self, active: int, waiting: int) -> dict[str, tuple[int, int]]:
        return {
            "active": (active, self.options.max_concurrent_requests),
            "waiting": (waiting, self.options.queue_limit),
            "preprocess": (len(self._jobs), self._jobs.capacity),
            "inference": (len(self._segments), self._segments.capacity),
            "postprocess": (len(self._results), self._results.capacity),
        }

    def _slots(self) -> dict[str, dict[str, int]]:
        scheduler, programs = self._scheduler, self._programs
        if scheduler is None or programs is None:
            return {}
        return {str(b): {"in_use": scheduler.slots_in_use(b), "of": scheduler.slots} for b in programs.buckets}

    def _collect(self) -> Iterable[Metric]:
        programs = (
            None if self._device.loading.locked() else self._programs
        )  # programs are counted in the whole process
        compiled = programs.compile_count - self._device.compiled if programs else 0
        queues = self._queues(*self._requests.counts())
        yield gauge("f5_ready", "1 when requests are taken in.", {"": float(self.ready)})
        yield gauge("f5_queue_depth", "What waits where.", {k: float(v[0]) for k, v in queues.items()}, "queue")
        yield gauge("f5_work_ahead_seconds", "Until all that is open would be done.", {"": self.work_ahead_s})
        yield gauge(
            "f5_slots_in_use",
            "Slots held, by bucket of padded frames.",
            {bucket: float(count["in_use"]) for bucket, count in self._slots().items()},
            "bucket",
        )
        yield counter("f5_compiles_after_ready", "Programs compiled after readiness; should stay 0.", compiled)
        yield counter("f5_reference_cache_hits", "References found prepared.", self._references.hits)
        yield counter("f5_reference_cache_misses", "References that had to be prepared.", self._references.misses)
        yield gauge("f5_reference_cache_bytes", "Prepared references held.", {"": float(self._references.nbytes)})


class RequestTicket:
    """Implements `inference_types.Ticket`."""

    def __init__(self, engine: TTSEngine, job: Job, clock: Callable[[], float]) -> None:
        self.request_id = job.id
        self._clock = clock
        self._engine = engine
        self._job = job
        self._chars = sum(len(part.text) for part in job.request.parts if isinstance(part, Speech))
        self._parts = len(job.request.parts)

    async def accepted(self) -> None:
        await self._job.events.accepted()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._job.events.read() if self._job.trace is None else self._traced(self._job.trace)

    async def _traced(self, trace: Trace) -> AsyncIterator[Event]:
        """The events; tells how long they were sent, from the first audio to the end or until nobody read on."""
        first: float | None = None
        chunks = 0
        try:
            async for event in self._job.events.read():
                if isinstance(event, AudioChunk):
                    chunks += 1
                    first = self._clock() if first is None else first
                yield event
        finally:
            now = self._clock()
            if first is not None:
                trace.stage("send", first, now, {"chunks": chunks})
            trace.close(now)

    def cancel(self) -> None:
        error = RequestError(499, "cancelled", f"request {self.request_id} was cancelled by its client")
        self._job.events.end(Failed(error), discard=True)
        if self._job.trace is not None:
            self._job.trace.close(self._clock())

    def append(self, part: Part) -> None:
        job = self._job
        if not job.alive:
            raise RequestError(409, "request_ended", f"request {self.request_id} has ended and takes no more text")
        check_parts([part], self._engine.limits(), chars_before=self._chars, parts_before=self._parts)
        with job.lock:
            if job.complete:
                raise RequestError(409, "request_finished", f"request {self.request_id} takes no more text")
            job.parts.append(part)
        if isinstance(part, Speech):
            self._chars += len(part.text)
        self._parts += 1
        self._engine.appended(job, part)

    def finish(self) -> None:
        with self._job.lock:
            if self._job.complete:
                return
            self._job.complete = True
        self._engine.appended(self._job, None)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: what loading and tracing make stays, and searching it takes a sixth of the start."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _outcome(event: Done | Failed) -> str:
    if isinstance(event, Done):
        return "done"
    by_code = {"cancelled": "cancelled", "deadline_exceeded": "expired", "reader_stalled": "stalled"}
    return by_code.get(event.error.code, "rejected" if event.error.status < 500 else "failed")
