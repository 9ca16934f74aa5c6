"""Thread 2: from text and a reference clip to a segment that is ready for a slot.

The only thread that prepares references, so requests with the same reference prepare it once: the second finds it in
the cache. A request's whole input is looked at before its first segment goes on, so that bad input is known before
anything is answered. Preparing goes piece by piece, so that a long text holds up neither others nor its own end.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from f5_tts_server.byte_lru import ByteLRU
from f5_tts_server.engine.channel import Channel
from f5_tts_server.engine.cost import FRAMES_PER_SECOND, Ledger
from f5_tts_server.engine.job import Assignment, End, Filling, Job, Script, Segment, Taken, Utterance, internal_error
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.engine.scheduler import Key
from f5_tts_server.engine.stages.request_queue import Prepared, RequestQueue
from f5_tts_server.inference_types import (
    Cue,
    CuesTooShort,
    Failed,
    Infill,
    Listener,
    Overrun,
    Pause,
    Plan,
    Prefilled,
    PreparedReference,
    Programs,
    Recorded,
    RequestError,
    Speech,
    VoiceClip,
    invalid_field,
)
from f5_tts_server.joiner import FADE_SECONDS
from f5_tts_server.limits import SEED_MAX

log = logging.getLogger("f5.engine")

# Pieces after which a preparation lets those that have had fewer go first: a usual request needs less than a dozen.
_PIECES = 16
_TRIES = 4  # at the speed that a cue needs
_WHOLE_FRAMES_S = 0.02  # by which a segment may be longer than asked: lengths are whole frames
_NAMED = 5  # cues that an error's sentence names

_Outcome = tuple[Prepared, float]  # and the seconds of audio that were planned
_Steps = Generator[None, None, _Outcome]


@dataclass(slots=True)
class _Preparation:
    """An assignment under way: its generator is advanced by one piece at a time."""

    assignment: Assignment
    steps: _Steps
    order: int
    pieces: int = 0

    def rank(self) -> tuple[int, float, int]:
        """Sorts by when the audio is needed; but whoever has taken long goes behind those who have taken less."""
        assignment = self.assignment
        return self.pieces // _PIECES, assignment.job.playback.due(assignment.position), self.order


class Preprocess:
    """Prepares the segments of all assignments, each turn a piece of the one that is needed first."""

    def __init__(
        self,
        programs: Programs,
        options: EngineOptions,
        *,
        wake: threading.Event,
        requests: RequestQueue,
        inbox: Channel[Assignment],
        retakes: Channel[Segment],
        segments: Channel[Segment],
        ends: Channel[Taken | End],
        references: ByteLRU[PreparedReference],
        ledger: Ledger,
        listener: Listener | None,
    ) -> None:
        self._programs = programs
        self._options = options
        self.wake = wake
        self._requests = requests
        self._inbox = inbox
        self._retakes = retakes
        self._segments = segments
        self._ends = ends
        self._references = references
        self._ledger = ledger
        self._listener = listener
        self._keys = itertools.count()
        self._order = itertools.count()
        self._under_way: list[_Preparation] = []
        self._again: deque[Segment] = deque()

    def turn(self) -> float:
        for assignment in self._inbox.drain():
            steps = self._prepare(assignment)
            self._under_way.append(_Preparation(assignment, steps, next(self._order)))
        self._again += self._retakes.drain()
        if not (self._under_way or self._again) or self._segments.full or self._ends.full:
            return math.inf
        if self._again:  # their listeners have waited once already
            self._make_again(self._again.popleft())
            return 0.0
        self._advance(min(self._under_way, key=_Preparation.rank))
        return 0.0

    def _advance(self, preparation: _Preparation) -> None:
        job = preparation.assignment.job
        what, seconds = Prepared.NOTHING, 0.0
        try:
            if job.alive:
                next(preparation.steps)
                preparation.pieces += 1
                return
        except StopIteration as end:
            what, seconds = end.value
        except RequestError as error:
            job.events.end(Failed(error))
        except Exception:
            log.exception("preprocessing failed", extra={"request_id": job.id})
            job.events.end(Failed(internal_error(job, "preprocess")))
        self._under_way.remove(preparation)
        self._requests.prepared(preparation.assignment, what, seconds)

    def _make_again(self, segment: Segment) -> None:
        """Prefill a segment with the next seed's noise."""
        job = segment.job
        if not job.alive:
            return
        try:
            prefilled = self._noised(job, segment.plan, segment.reference, segment.index, take=segment.take + 1)
        except Exception:
            log.exception("preprocessing failed", extra={"request_id": job.id})
            job.events.end(Failed(internal_error(job, "preprocess")))
            return
        self._ledger.again(job.arrival, segment.plan.frames, segment.gen_frames)
        self._segments.put(replace(segment, key=Key(next(self._keys)), prefilled=prefilled, take=segment.take + 1))

    def _noised(self, job: Job, plan: Plan, reference: PreparedReference, index: int, *, take: int) -> Prefilled:
        request = job.request
        seed = (request.seed + take - 1) % (SEED_MAX + 1)
        return self._programs.prefill(plan, reference, seed=seed, segment_index=index, guided=request.cfg_strength != 0)

    def _prepare(self, assignment: Assignment) -> _Steps:
        job = assignment.job
        script = job.script
        yield from self._read_parts(job)
        self._take_sound(script)
        if not script.utterances:
            job.events.accept()
            if not self._at_end(job):
                return Prepared.IDLE, 0.0
            self._end(job)
            return Prepared.NOTHING, 0.0
        utterance = script.utterances[0]
        if isinstance(utterance, Filling):
            segment = self._prefill_infill(assignment, utterance)
        else:
            assert isinstance(utterance, Utterance)  # pauses and recordings were taken off above
            segment = self._prefill(assignment, utterance)
        job.events.accept()
        self._segments.put(segment)
        if not segment.more:
            script.utterances.popleft()
        recorded = sum(map(len, segment.recorded)) / self._programs.sample_rate
        seconds = segment.silence + recorded + segment.gen_frames / FRAMES_PER_SECOND
        if segment.cue is not None:
            seconds += max(segment.cue.start - assignment.position, 0.0)
        if any(isinstance(item, (Utterance, Filling)) for item in script.utterances) or not self._at_end(job):
            return Prepared.SEGMENT, seconds
        self._take_sound(script)
        self._end(job)
        return Prepared.LAST, seconds

    def _take_sound(self, script: Script) -> None:
        """Take off what is heard before the next segment without being made."""
        while script.utterances and isinstance(item := script.utterances[0], (float, np.ndarray)):
            script.utterances.popleft()
            if isinstance(item, float):
                script.silence += item
            else:
                script.recorded.append(item)

    def _at_end(self, job: Job) -> bool:
        """No text is left and none will come. Parts that came while a segment was prefilled are left for the next."""
        with job.lock:
            return job.complete and not job.parts

    def _end(self, job: Job) -> None:
        script = job.script
        self._ends.put(End(job, script.segments, script.silence, script.recorded))

    def _read_parts(self, job: Job) -> Generator[None, None, None]:
        """Take in the parts that have come: references prepared, texts cut, fixed lengths checked against the model."""
        script = job.script
        while (part := job.next_part()) is not None:
            if isinstance(part, Pause):
                script.utterances.append(part.seconds)
            elif isinstance(part, Recorded):
                script.utterances.append(part.samples)
            elif isinstance(part, Infill):
                script.utterances.append(self._filling(part, script.parts))
                script.parts += 1
            else:
                utterance = yield from self._utterance(part, script, heard=job.request.timestamps or job.request.verify)
                script.utterances.append(utterance)
                script.parts += 1
            yield
        if script.too_short:
            raise _too_short(script.too_short)

    def _utterance(self, part: Speech, script: Script, *, heard: bool) -> Generator[None, None, Utterance]:
        reference = self._reference(part.clip)
        first = script.parts == 0
        # A cue is heard when all of it is made.
        first_seconds = self._options.first_segment_s if first and part.cue is None else None
        texts: deque[str] = deque()
        try:
            for text in self._programs.frontend.split(
                part.text, reference, speed=part.speed, first_seconds=first_seconds
            ):
                texts.append(text)
                yield
        except ValueError as error:
            raise invalid_field("text", str(error)) from error
        if not texts:
            raise invalid_field("text", "text has nothing that this voice can speak")
        known = heard and self._listener is not None and self._listener.knows(part.text)
        free: deque[float | None] = deque([None] * len(texts))
        utterance = Utterance(script.parts, reference, part.speed, None, part.cue, known, texts, free)
        if part.cue is not None:
            yield from self._fit(utterance, part.cue, script)
        if part.seconds is not None:
            rate, hop = self._programs.sample_rate, self._programs.hop
            utterance.exact = round(part.seconds * rate)
            weights = [len(text.encode()) for text in texts]
            overlaps = FADE_SECONDS * (len(texts) - 1)
            # Two frames more than the share: lengths are whole frames, and the surplus is cut off at the part's end.
            utterance.seconds = deque(
                (part.seconds + overlaps) * weight / sum(weights) + 2 * hop / rate for weight in weights
            )
            for text, seconds in zip(texts, utterance.seconds, strict=True):
                self._plan(text, utterance, seconds)
                yield
        return utterance

    def _fit(self, utterance: Utterance, cue: Cue, script: Script) -> Generator[None, None, None]:
        """Set the speed at which a cue's text takes no more time than it has, or the cue's fastest."""
        available = cue.end - cue.start
        fastest = utterance.speed * cue.fastest
        needed = yield from self._seconds(utterance)
        for _ in range(_TRIES):
            if needed <= available or utterance.speed >= fastest:
                break
            # Silence inside the cue does not get shorter: the first guess may be too slow.
            utterance.speed = min(fastest, utterance.speed * needed / available)
            needed = yield from self._seconds(utterance)
        if needed > available + _WHOLE_FRAMES_S:
            late = Overrun(cue.number, round(needed, 3), round(available, 3))
            (script.overruns if cue.overrun else script.too_short).append(late)

    def _seconds(self, utterance: Utterance) -> Generator[None, None, float]:
        """How long an utterance is spoken, from its first sound to its last, as planned."""
        frames, quiet = 0, 0
        for text in utterance.texts:
            plan = self._plan(text, utterance, None)
            frames, quiet = frames + plan.frames - plan.ref_frames, plan.quiet_frames
            yield
        seconds = (frames - quiet) * self._programs.hop / self._programs.sample_rate
        return seconds - FADE_SECONDS * (len(utterance.texts) - 1)

    def _filling(self, part: Infill, number: int) -> Filling:
        try:
            plan, reference = self._programs.frontend.plan_infill(
                part.samples, part.first, part.last, before=part.before, text=part.text, after=part.after
            )
        except ValueError as error:
            raise invalid_field("text", str(error)) from error
        return Filling(number, part, plan, reference)

    def _reference(self, clip: VoiceClip) -> PreparedReference:
        def prepare() -> PreparedReference:
            try:
                return self._programs.frontend.prepare_reference(clip.audio, clip.text)
            except ValueError as error:
                raise RequestError(422, "invalid_reference", str(error), "reference") from error

        return self._references.get(clip.digest(), prepare)

    def _plan(self, text: str, utterance: Utterance, seconds: float | None) -> Plan:
        try:
            return self._programs.frontend.plan(text, utterance.reference, speed=utterance.speed, seconds=seconds)
        except ValueError as error:
            if seconds is None:
                raise invalid_field("text", str(error)) from error
            message = f"seconds: a piece of the text has {seconds:.2f} s of it, which cannot be: {error}"
            raise invalid_field("seconds", message) from error

    def _prefill(self, assignment: Assignment, utterance: Utterance) -> Segment:
        job = assignment.job
        text, seconds = utterance.texts.popleft(), utterance.seconds.popleft()
        plan = self._plan(text, utterance, seconds)
        self._ledger.plan(job.arrival, text, utterance.speed, plan.frames, plan.frames - plan.ref_frames)
        return self._segment(
            assignment,
            plan,
            utterance.reference,
            part=utterance.number,
            exact=utterance.exact,
            cue=utterance.cue,
            more=bool(utterance.texts),
            known=utterance.known,
        )

    def _prefill_infill(self, assignment: Assignment, filling: Filling) -> Segment:
        plan = filling.plan
        generated = plan.frames - plan.ref_frames - plan.after_frames
        self._ledger.plan(assignment.job.arrival, filling.infill.text, 1.0, plan.frames, generated)
        return self._segment(
            assignment, filling.plan, filling.reference, part=filling.number, infill=filling.infill, more=False
        )

    def _segment(
        self,
        assignment: Assignment,
        plan: Plan,
        reference: PreparedReference,
        *,
        part: int,
        more: bool,
        known: bool = False,
        exact: int | None = None,
        cue: Cue | None = None,
        infill: Infill | None = None,
    ) -> Segment:
        job = assignment.job
        script, request = job.script, job.request
        segment = Segment(
            key=Key(next(self._keys)),
            job=job,
            index=script.segments,
            urgent=assignment.urgent,
            plan=plan,
            schedule=self._programs.schedule(request.nfe, request.sway),
            prefilled=self._noised(job, plan, reference, script.segments, take=1),
            reference=reference,
            part=part,
            exact=exact,
            cue=cue,
            next_cue=_next_cue(script),
            infill=infill,
            recorded=script.recorded,
            more=more,
            silence=script.silence,
            known=known,
            position=assignment.position,
        )
        script.segments += 1
        script.silence, script.recorded = 0.0, []
        return segment


def _next_cue(script: Script) -> float:
    """Where the cue after the one that is being spoken begins; all parts of a request with cues have been read."""
    following = itertools.islice(script.utterances, 1, None)
    starts = (item.cue.start for item in following if isinstance(item, Utterance) and item.cue is not None)
    return next(starts, math.inf)


def _too_short(cues: list[Overrun]) -> CuesTooShort:
    named = "; ".join(f"cue {o.cue} needs {o.needed:.2f} s and has {o.available:.2f} s" for o in cues[:_NAMED])
    more = f"; and {len(cues) - _NAMED} more" if len(cues) > _NAMED else ""
    return CuesTooShort(
        tuple(cues), f"cue: what is said does not fit its time, at the fastest that is allowed: {named}{more}"
    )
