"""A request inside the engine, and the pieces it falls into on its way through the stages."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from f5_tts_server.engine.events import EventBuffer
from f5_tts_server.engine.playback import Playback
from f5_tts_server.engine.scheduler import Key
from f5_tts_server.inference_types import (
    INFILL_FADE_FRAMES,
    Cue,
    GenerationRequest,
    Infill,
    Overrun,
    Part,
    Plan,
    Prefilled,
    PreparedReference,
    RequestError,
    Samples,
    Trace,
)


class Job:
    """What the stages share of a request. Fields say who may touch them.

    ``parts`` and ``complete`` are guarded by ``lock``. The fields under "request queue" are guarded by that stage's
    lock. ``script`` belongs to the preprocess thread. ``playback`` says when its audio is due.
    ``trace`` is where stages tell what they did for it, where anybody wants to know.
    ``alive`` goes from true to false once; every stage looks at it before it works for the job.
    """

    def __init__(
        self,
        request: GenerationRequest,
        *,
        arrival: int,
        now: float,
        due: float,
        events: EventBuffer,
        trace: Trace | None = None,
    ) -> None:
        self.request = request
        self.trace = trace
        self.id = request.request_id  # for people; clients choose it, so it need not be unique
        self.arrival = arrival  # the engine's own key
        self.submitted = now
        self.events = events
        self.playback = Playback(due=due, live=request.live)
        self.lock = threading.Lock()
        self.parts: deque[Part] = deque(request.parts)
        self.complete = not request.open
        self.script = Script()
        # request queue
        self.deadline = now + request.timeout_s
        self.active = False
        self.preparing = False  # is in the channel to the preprocess stage, or in that stage
        self.exhausted = False  # every segment there will ever be has been prefilled
        self.idle = False  # open, and without text to work on
        self.in_flight = 0  # segments prefilled and not yet spoken
        self.later_in_flight = 0  # those of them that were not urgent
        self.urgent = True  # the listener has nothing to listen to: the next segment goes before others
        self.seconds_planned = 0.0  # audio prefilled so far

    @property
    def alive(self) -> bool:
        return not self.events.ended

    def next_part(self) -> Part | None:
        with self.lock:
            return self.parts.popleft() if self.parts else None

    def has_input(self) -> bool:
        """Whether the preprocess stage would find anything to do: a part, or the end."""
        with self.lock:
            return bool(self.parts) or self.complete


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job whose next segment is to be prepared, and what the request queue knew of it when it said so."""

    job: Job
    urgent: bool  # its listener has nothing to listen to
    position: float  # seconds into the clip at which the segment begins
    since: float


@dataclass(slots=True)
class Utterance:
    """A spoken part, cut into the texts of its segments."""

    number: int
    reference: PreparedReference
    speed: float
    exact: int | None  # samples the part must have
    cue: Cue | None
    known: bool  # whether the listener knows its language
    texts: deque[str]
    seconds: deque[float | None]  # of each text's segment


@dataclass(slots=True)
class Filling:
    """An infill, planned."""

    number: int
    infill: Infill
    plan: Plan
    reference: PreparedReference


@dataclass(slots=True)
class Script:
    """How far the preprocess stage has come with a job's text."""

    # A float is a pause in seconds, samples are a recording.
    utterances: deque[Utterance | Filling | float | Samples] = field(default_factory=deque)
    parts: int = 0
    segments: int = 0
    silence: float = 0.0  # seconds that go before the next segment
    recorded: list[Samples] = field(default_factory=list)  # and what is heard of a recording before it
    overruns: list[Overrun] = field(default_factory=list)  # cues that are spoken beyond their end
    too_short: list[Overrun] = field(default_factory=list)  # cues that must not be, and have less time than they need


@dataclass(slots=True, eq=False)
class Segment:
    """A piece of text on its way through prefill, flow and vocoder."""

    key: Key
    job: Job
    index: int
    urgent: bool
    plan: Plan
    schedule: Any
    prefilled: Prefilled
    reference: PreparedReference
    part: int
    exact: int | None
    cue: Cue | None
    next_cue: float  # where the one after it begins, in seconds of the clip; infinite after the last
    infill: Infill | None
    recorded: list[Samples]  # go before it
    more: bool  # another segment of the same part follows
    silence: float  # seconds before it
    known: bool  # whether the listener knows its part's language
    position: float  # seconds into the clip at which it begins, as far as lengths were known
    take: int = 1  # which making of it this is
    inserted: float = 0.0  # when its flow began; of traced ones, as the next
    stepped: list[float] = field(default_factory=list)  # when each step was done

    @property
    def due(self) -> float:
        """When its listener will need it."""
        return self.job.playback.due(self.position)

    @property
    def gen_frames(self) -> int:
        return self.plan.frames - self.plan.ref_frames - self.plan.after_frames

    @property
    def heard_frames(self) -> tuple[int, int]:
        """First and one past the last of the decoded frames that are heard: of an infill, not all around it are."""
        if self.infill is None:
            return 0, self.gen_frames
        # Between the frames that are known lie the gap's and three more, whose windows hear both sides of a join.
        first = self.plan.ref_frames + 1 - INFILL_FADE_FRAMES
        return first, first + self.gen_frames - 3 + 2 * INFILL_FADE_FRAMES


@dataclass(frozen=True, slots=True)
class Taken:
    """A segment whose flow has ended; ``mel`` may still be being computed."""

    segment: Segment
    mel: Any


@dataclass(frozen=True, slots=True)
class End:
    """The job has ``segments`` segments and ends with what is ``recorded`` and ``silence`` seconds of silence."""

    job: Job
    segments: int
    silence: float
    recorded: list[Samples]


def internal_error(job: Job, stage: str) -> RequestError:
    """What the client is told when the server is at fault; the traceback is in the log under the same id."""
    return RequestError(
        500, "internal_error", f"request {job.id} failed in the {stage} stage; the server's log says why"
    )
