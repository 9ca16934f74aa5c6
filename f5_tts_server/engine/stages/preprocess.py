"""Thread 2: from text and a reference clip to a segment that is ready for a slot.

The only thread that prepares references, so requests with the same reference prepare it once: the second finds it in
the cache. A request's whole input is looked at before its first segment goes on, so that bad input is known before
anything is answered.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque

from f5_tts_server.engine.cache import ByteLRU, content_key
from f5_tts_server.engine.channel import Channel
from f5_tts_server.engine.cost import FRAMES_PER_SECOND, Ledger
from f5_tts_server.engine.job import Assignment, End, Job, Segment, Taken, Utterance, internal_error
from f5_tts_server.engine.joiner import FADE_SECONDS
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.engine.scheduler import Key
from f5_tts_server.engine.stages.request_queue import Prepared, RequestQueue
from f5_tts_server.inference_types import (
    Failed,
    Pause,
    Plan,
    PreparedReference,
    Programs,
    RequestError,
    Speech,
    VoiceClip,
)

log = logging.getLogger("f5.engine")


class _Ended(Exception):
    """A job has ended meanwhile: nobody waits for what is being prepared."""


class Preprocess:
    """Prepares one segment of one job at a time."""

    def __init__(
        self,
        programs: Programs,
        options: EngineOptions,
        *,
        requests: RequestQueue,
        inbox: Channel[Assignment],
        segments: Channel[Segment],
        ends: Channel[Taken | End],
        references: ByteLRU[PreparedReference],
        ledger: Ledger,
    ) -> None:
        self._programs = programs
        self._options = options
        self._requests = requests
        self._inbox = inbox
        self._segments = segments
        self._ends = ends
        self._references = references
        self._ledger = ledger
        self._keys = itertools.count()

    def run(self) -> None:
        while True:
            assignment = self._inbox.get()
            job = assignment.job
            what, seconds = Prepared.NOTHING, 0.0
            try:
                if job.alive:
                    what, seconds = self._prepare(assignment)
            except _Ended:
                pass
            except RequestError as error:
                job.events.end(Failed(error))
            except Exception:
                log.exception("preprocessing failed", extra={"request_id": job.id})
                job.events.end(Failed(internal_error(job, "preprocess")))
            self._requests.prepared(assignment, what, seconds)

    def _prepare(self, assignment: Assignment) -> tuple[Prepared, float]:
        job = assignment.job
        script = job.script
        self._read_parts(job)
        while script.utterances and isinstance(pause := script.utterances[0], float):
            script.silence += pause
            script.utterances.popleft()
        if not script.utterances:
            job.events.accept()
            if not self._at_end(job):
                return Prepared.IDLE, 0.0
            self._end(job)
            return Prepared.NOTHING, 0.0
        utterance = script.utterances[0]
        assert isinstance(utterance, Utterance)  # pauses were taken off above
        segment = self._prefill(job, utterance, urgent=assignment.urgent)
        job.events.accept()
        self._segments.put(segment, urgent=segment.urgent)
        if not utterance.texts:
            script.utterances.popleft()
        seconds = segment.gen_frames / FRAMES_PER_SECOND
        if any(isinstance(item, Utterance) for item in script.utterances) or not self._at_end(job):
            return Prepared.SEGMENT, seconds
        script.silence += sum(item for item in script.utterances if isinstance(item, float))
        self._end(job)
        return Prepared.LAST, seconds

    def _at_end(self, job: Job) -> bool:
        """No text is left and none will come. Parts that came while a segment was prefilled are left for the next."""
        with job.lock:
            return job.complete and not job.parts

    def _end(self, job: Job) -> None:
        self._ends.put(End(job, job.script.segments, job.script.silence))

    def _read_parts(self, job: Job) -> None:
        """Take in the parts that have come: references prepared, texts cut, fixed lengths checked against the model."""
        script = job.script
        while (part := job.next_part()) is not None:
            self._check_alive(job)
            if isinstance(part, Pause):
                script.utterances.append(part.seconds)
            else:
                script.utterances.append(self._utterance(job, part, script.parts, first=script.parts == 0))
                script.parts += 1

    def _utterance(self, job: Job, part: Speech, number: int, *, first: bool) -> Utterance:
        reference = self._reference(part.clip)
        first_seconds = self._options.first_segment_s if first else None
        texts: deque[str] = deque()
        for text in self._programs.split(part.text, reference, speed=part.speed, first_seconds=first_seconds):
            self._check_alive(job)
            texts.append(text)
        if not texts:
            raise RequestError(422, "invalid_request", "text has nothing that this voice can speak", "text")
        utterance = Utterance(number, reference, part.speed, None, texts, deque([None] * len(texts)))
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
                self._check_alive(job)
                self._plan(text, utterance, seconds)
        return utterance

    def _check_alive(self, job: Job) -> None:
        """Between pieces of a long text, so that a job that has ended holds up the others no longer than one of them."""
        if not job.alive:
            raise _Ended

    def _reference(self, clip: VoiceClip) -> PreparedReference:
        def prepare() -> PreparedReference:
            try:
                return self._programs.prepare_reference(clip.audio, clip.text)
            except ValueError as error:
                raise RequestError(422, "invalid_reference", str(error), "reference") from error

        return self._references.get(content_key(clip), prepare)

    def _plan(self, text: str, utterance: Utterance, seconds: float | None) -> Plan:
        try:
            return self._programs.plan(text, utterance.reference, speed=utterance.speed, seconds=seconds)
        except ValueError as error:
            raise RequestError(422, "invalid_request", str(error), "text" if seconds is None else "seconds") from error

    def _prefill(self, job: Job, utterance: Utterance, *, urgent: bool) -> Segment:
        script, request = job.script, job.request
        text, seconds = utterance.texts.popleft(), utterance.seconds.popleft()
        plan = self._plan(text, utterance, seconds)
        self._ledger.plan(job.arrival, text, utterance.speed, request.nfe, plan.frames)
        segment = Segment(
            key=Key(next(self._keys)),
            job=job,
            index=script.segments,
            urgent=urgent,
            plan=plan,
            schedule=self._programs.schedule(request.nfe, request.sway),
            prefilled=self._programs.prefill(
                plan,
                utterance.reference,
                seed=request.seed,
                segment_index=script.segments,
                guided=request.cfg_strength != 0,
            ),
            gain=utterance.reference.gain,
            part=utterance.number,
            exact=utterance.exact,
            more=bool(utterance.texts),
            silence=script.silence,
        )
        script.segments += 1
        script.silence = 0.0
        return segment
