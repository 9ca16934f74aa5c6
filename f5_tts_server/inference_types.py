"""What travels between the HTTP layer, the engine's stages and the model's compiled programs.

No JAX, no HTTP and no threads here, and no import of any other module of this project. Arrays that live on a device
are opaque to everything that is typed by this file: only the programs that made them look inside.

Words: a *frame* is ``hop`` samples (256 at 24 kHz), a *segment* is a piece of text synthesised in one flow, a *step* is
one Euler step of that flow, ``nfe`` is the number of steps, ``ref``/``gen`` are the reference and the generated part of
a segment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono audio, float32 in about [-1, 1], shape ``[n]``."""


# What a client asks for ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoiceClip:
    """A reference as it was given: an audio file in any format libsndfile reads, and the words spoken in it."""

    audio: bytes = field(repr=False)
    text: str

    def digest(self) -> bytes:
        """A key of the content: of the audio's bytes and the transcript."""
        digest = sha256(len(self.audio).to_bytes(8, "little"))
        digest.update(self.audio)
        digest.update(self.text.encode())
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Cue:
    """When a part is to be heard: from ``start`` to ``end``, in seconds of the clip.

    Where the time is short the part is spoken faster, up to ``fastest`` times. If that is not enough the request is
    refused, or, with ``overrun``, the speech goes on beyond ``end``. ``number`` is what people call the cue.
    """

    number: int
    start: float
    end: float
    fastest: float = 1.0
    overrun: bool = False


@dataclass(frozen=True, slots=True)
class Speech:
    """Text to be spoken in the voice of ``clip``.

    ``speed`` above 1 speaks faster. ``seconds`` fixes the length of this part's audio, to the sample. With a ``cue`` the
    first sound is heard at the cue's start; silence around the speech is taken off.
    """

    text: str
    clip: VoiceClip
    speed: float = 1.0
    seconds: float | None = None
    cue: Cue | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence of the given length."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of a recording, and when it is said, in seconds from the recording's beginning."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Samples, at the model's rate, that go out as they are."""

    samples: Samples = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Infill:
    """``text`` spoken in place of samples ``first`` to ``last`` of a recording at the model's rate, in its voice.

    ``before`` and ``after`` are the words that stay, nearest to the gap; the samples are those around them. The part's
    audio begins `INFILL_FADE_FRAMES` before the gap, over which it is faded in, and ends as many after it, faded out: it
    goes between recorded parts.
    """

    samples: Samples = field(repr=False)
    first: int
    last: int
    before: tuple[SpokenWord, ...]
    text: str
    after: tuple[SpokenWord, ...]


INFILL_FADE_FRAMES = 2
"""Frames over which an infill is faded in, and out, within the recording around it."""

Part = Speech | Pause | Recorded | Infill


@dataclass(frozen=True, slots=True)
class SamplingDefaults:
    """Values a model recommends for requests that do not say otherwise."""

    nfe: int = 50
    cfg_strength: float = 2.0
    sway: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request to the engine.

    The parts are spoken one after another; segments inside a part are cross-faded, parts are set end to end. Parts with
    cues, which all of a request's have or none, are mixed where they overlap, with zeros where nobody speaks. An
    ``open`` request takes further parts through its ticket until the ticket is finished. ``live``: somebody listens
    while the audio is made, so that it must not come too late;
    ``background``: nobody waits for it, so that all others go first. ``caller`` is the
    name of who asks, empty where nobody is told apart. Equal ``parts`` and ``seed`` give equal samples, whatever
    else the engine is doing. ``timeout_s`` runs from the submission, and again from every part appended to an open
    request. ``sample_rate`` in hertz and ``bit_rate`` in bits a second are those of the encoded clip; None is what suits
    the model and the format. ``model`` is the name of one of several models, None the default.
    ``timestamps``: its chunks say when what is said in them. ``verify``: each segment is heard before it leaves, and made
    again where it does not say its text.
    """

    parts: tuple[Part, ...]
    request_id: str
    seed: int
    nfe: int = 50
    cfg_strength: float = 2.0
    sway: bool = False
    format: str = "wav"
    sample_rate: int | None = None
    bit_rate: int | None = None
    timeout_s: float = 300.0
    open: bool = False
    live: bool = True
    background: bool = False
    model: str | None = None
    timestamps: bool = False
    verify: bool = False
    caller: str = ""


# What a client gets ----------------------------------------------------------------------------------------------


class TimedWord(Protocol):
    """A word of a segment: characters ``first`` to ``last`` of its text, and when it is said, in seconds."""

    @property
    def text(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """A segment's text, and from when to when it is heard, in seconds of the joined clip.

    ``words`` count from ``start``; None where it is not known when they are said, since their language is not.
    """

    text: str
    start: float
    end: float
    words: tuple[TimedWord, ...] | None


FITS = 0.5
"""The least score, from 0 to 1, of speech that says its text."""


@dataclass(frozen=True, slots=True)
class VerifiedSegment:
    """A segment that was heard before it left: the ``score`` of what was sent, and how many times it was made.

    ``start`` in seconds of the clip. A score of None: its language is not known to the listener.
    """

    text: str
    start: float
    score: float | None
    takes: int


class Listener(Protocol):
    """What hears finished speech, on the postprocess thread, of parts whose language it knows."""

    def load(self) -> None:
        """Read what it needs and take it into use, before the engine is ready; called once more for each further engine."""

    def knows(self, text: str) -> bool:
        """Whether it knows the language of a part's text. Called on the preprocess thread."""

    def words(self, text: str, samples: Samples) -> Sequence[TimedWord] | None:
        """When each word of a segment's text is said in its samples at the model's rate; None where that is not known."""

    def score(self, text: str, samples: Samples) -> float | None:
        """How surely a segment's samples say its text, from 0 to 1, see `FITS`; None where that cannot be told."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Encoded audio; the ``data`` of all chunks of a request, joined, is one valid file.

    ``samples`` is how many samples of the model's were put into the encoder for this chunk, ``sample_rate`` that of the
    encoded clip. ``last`` marks the chunk after which nothing but `Done` follows (and follows at once). ``segments``, for
    requests with ``timestamps``: those of which the first audio is in this chunk or in the next ones.
    """

    data: bytes = field(repr=False)
    samples: int
    index: int
    sample_rate: int
    last: bool = False
    segments: tuple[SpokenSegment, ...] = ()


@dataclass(frozen=True, slots=True)
class Overrun:
    """A cue, by its number, that has less time than its text needs at the cue's fastest. Seconds."""

    cue: int
    needed: float
    available: float


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a request when it is complete. Times in seconds.

    ``samples``: of the clip, at ``sample_rate``, its own; what a codec adds is not counted.
    ``underruns``: how often, and ``underrun_time`` for how long in all, a listener who plays from the first chunk on was
    without audio before the end. ``overruns``: the cues that are spoken beyond their end. ``spoken``: of a request
    with ``timestamps``, all segments of its chunks. ``verified``: of a request with ``verify``, all its segments of text.
    """

    request_id: str
    generation_time: float
    time_to_first_audio: float
    duration: float
    samples: int
    total_chunks: int
    segments: int
    sample_rate: int
    seed: int
    underruns: int
    underrun_time: float
    overruns: tuple[Overrun, ...] = ()
    spoken: tuple[SpokenSegment, ...] = ()
    verified: tuple[VerifiedSegment, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The terminal event of a request that has delivered all of its audio."""

    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Failed:
    """The terminal event of every other request: refused input, cancelled, expired, server at fault."""

    error: RequestError


Event = AudioChunk | Done | Failed


class RequestError(Exception):
    """Why a request cannot be served, in words for the person who sent it.

    Args:
        status: the HTTP status that fits.
        code: a word for programs, such as ``"invalid_reference"``.
        message: a sentence; it names the field, what is wrong and the limit.
        field: the engine's name of the field at fault: ``reference.audio``, ``reference.text``, ``text``, ``nfe``, ...
            Routers translate it to the name that their protocol uses.
    """

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field


def invalid_field(field: str, message: str) -> RequestError:
    """A field whose value cannot be used."""
    return RequestError(422, "invalid_request", message, field)


class CuesTooShort(RequestError):
    """Cues that must end in time cannot; ``overruns`` are all of them."""

    def __init__(self, overruns: tuple[Overrun, ...], message: str, field: str | None = "cue") -> None:
        super().__init__(422, "cues_too_short", message, field)
        self.overruns = overruns


class Refused(RequestError):
    """The engine will not take the request now; ``retry_after`` is the computed wait in whole seconds, if there is one."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(status, code, message)
        self.retry_after = retry_after


class Ticket(Protocol):
    """A request in the engine, seen by the one who submitted it. Used from one event loop, by one reader."""

    request_id: str

    async def accepted(self) -> None:
        """Wait until the input is known to be good and the first segment is on its way.

        Raises:
            RequestError: the request has already failed; nothing more will come.
        """

    def __aiter__(self) -> AsyncIterator[Event]:
        """Events in order: audio chunks, then exactly one `Done` or `Failed`."""

    def cancel(self) -> None:
        """Give up: the request leaves its slots at the next step boundary. Harmless when it has already ended."""

    def append(self, part: Part) -> None:
        """Add a part to an open request.

        Raises:
            RequestError: the request was not opened for appending, is finished, has ended, or the part is over a limit.
        """

    def finish(self) -> None:
        """Say that no part will follow; the request ends when what it has is spoken. Harmless when repeated."""


class Trace(Protocol):
    """What is told of a request while it is worked on, from any thread. Times are the engine's clock's, in seconds."""

    def stage(
        self,
        name: str,
        start: float,
        end: float,
        attributes: Mapping[str, int | float] | None = None,
        steps: tuple[float, ...] = (),
    ) -> None:
        """A stage that has ended; ``steps`` are when each step of a flow was done."""

    def ended(self, event: Done | Failed, now: float) -> None:
        """The engine has nothing more to do for it."""

    def close(self, now: float) -> None:
        """Its reader has read all of it, or will not. Harmless when repeated."""


class Tracer(Protocol):
    """Makes traces."""

    def begin(self, request: GenerationRequest, now: float) -> Trace:
        """Of a request that is taken in; called in the task that submits it."""


class Engine(Protocol):
    """What routers use."""

    def submit(self, request: GenerationRequest) -> Ticket:
        """Take a request in, without waiting.

        Raises:
            Refused: 429 when full, 503 when loading, draining or broken.
            RequestError: the request breaks a limit.
        """


# What the engine asks of the model -------------------------------------------------------------------------------


class PreparedReference(Protocol):
    """A reference after decoding, trimming and the mel transform; held in the engine's cache.

    ``nbytes`` is its size in memory, ``gain`` the factor that undoes the loudness normalisation in the output.
    """

    @property
    def nbytes(self) -> int: ...
    @property
    def gain(self) -> float: ...


class Plan(Protocol):
    """Tokens and lengths of one segment. ``frames`` counts reference and generated frames together.

    ``quiet_frames`` of the generated ones are planned as silence at the segment's two ends. ``after_frames`` at its end
    are not generated but heard, as those of the reference are; they, and what an infill has before, are decoded too.
    """

    @property
    def text(self) -> str: ...
    @property
    def ref_frames(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def quiet_frames(self) -> int: ...
    @property
    def words(self) -> tuple[TimedWord, ...] | None:
        """When each word is said after the segment's beginning, where that is planned."""

    @property
    def after_frames(self) -> int: ...


class Prefilled(Protocol):
    """A segment's fixed inputs on the device, ready to be inserted into a slot of ``bucket``."""

    @property
    def bucket(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StepRow:
    """One slot's part in a step: advance ``slot`` by step ``index`` of ``schedule`` (as `Programs.schedule` made it)."""

    slot: int
    schedule: Any
    index: int
    cfg_strength: float


class Frontend(Protocol):
    """What a model does with texts and references before the device: host work, on the preprocess thread."""

    def prepare_reference(self, clip: bytes, text: str) -> PreparedReference:
        """Raises ValueError, in a sentence for the client, when the clip or its text cannot be used."""

    def split(self, text: str, reference: Any, *, speed: float, first_seconds: float | None) -> Iterator[str]:
        """Cut text into segments; the first lasts about ``first_seconds`` if given, later ones fill the model's budget.

        The text is read only as far as segments are taken, so that a long one holds nobody up.
        """

    def plan(self, text: str, reference: Any, *, speed: float, seconds: float | None) -> Plan:
        """Tokens and total length of a segment. Raises ValueError when it does not fit the largest bucket."""

    def plan_infill(
        self,
        samples: Samples,
        first: int,
        last: int,
        *,
        before: Sequence[SpokenWord],
        text: str,
        after: Sequence[SpokenWord],
    ) -> tuple[Any, Any]:
        """The plan of an infill's segment, and its reference. Raises ValueError as `plan` does."""


class Programs(Protocol):
    """A model, compiled: everything the engine knows about it.

    ``State``, ``Schedule`` and ``Mel`` are opaque (``Any`` here). Which thread calls what is part of the contract; the
    verbs of one group are never called at the same time.
    """

    @property
    def sample_rate(self) -> int: ...
    @property
    def hop(self) -> int: ...
    @property
    def buckets(self) -> tuple[int, ...]:
        """Padded lengths in frames, ascending; a segment lives in the smallest one that holds it."""

    @property
    def slots(self) -> int:
        """Slots in each bucket's state."""

    @property
    def step_sizes(self) -> tuple[int, ...]:
        """Numbers of rows that one step program advances, ascending; the largest is at most ``slots``."""

    @property
    def frame_budget(self) -> int:
        """Padded frames beyond which a longer turn gains no throughput on this device."""

    @property
    def run_ahead(self) -> int:
        """Turns to dispatch before waiting for the oldest: 1 on an accelerator, 0 where host and device share cores."""

    @property
    def max_steps(self) -> int: ...
    @property
    def vocode_block(self) -> int:
        """Frames that one vocoder call makes."""

    @property
    def compile_count(self) -> int:
        """Programs compiled so far."""

    @property
    def nbytes(self) -> int:
        """Memory held on the device by weights and slots."""

    @property
    def frontend(self) -> Frontend: ...

    # preprocess thread
    def schedule(self, nfe: int, sway: bool) -> Any:
        """The time grid and its table of modulations on the device; cached. Called from the preprocess thread."""

    def prefill(self, plan: Any, reference: Any, *, seed: int, segment_index: int, guided: bool) -> Prefilled:
        """Compute what no step of a segment changes; ``guided``: whether any of its steps will be."""

    # device work, inference thread
    def new_state(self, bucket: int) -> Any: ...

    def insert(self, state: Any, prefilled: Any, slot: int) -> Any:
        """Put a segment into a slot. Donates ``state``; ``prefilled`` stays valid."""

    def step(self, bucket: int, state: Any, rows: Sequence[StepRow]) -> Any:
        """Advance at most ``step_sizes[-1]`` rows by one step. Donates ``state``; returns without waiting."""

    def fence(self, state: Any) -> Callable[[], object]:
        """A call that waits until the work dispatched on ``state`` so far is done; valid after ``state`` is donated.

        The call raises what that work raised.
        """

    def take(self, state: Any, slot: int, plan: Any) -> Any:
        """The generated frames of a slot, still on the device. Does not wait."""

    # postprocess thread
    def vocode(self, mel: Any, start: int, stop: int) -> Samples:
        """Samples of frames ``start..stop`` of the segment, equal to the whole-clip decode; waits for them.

        A hop a frame; the block that ends with the last frame may be shorter, see ``clip_samples``.
        """

    def clip_samples(self, frames: int) -> int:
        """Samples that a segment of so many generated frames has in all: a hop for each, or one hop less."""

    # inference thread, before anything else
    def warm_up(self, progress: Callable[[int, int], None]) -> None:
        """Compile everything; nothing compiles afterwards. ``progress`` hears how many of how many, from any thread."""
