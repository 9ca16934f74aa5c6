"""Thread 4: from finished mels to encoded audio in the reader's buffer, block by block.

Segments may finish in any order; a request's audio leaves in the order of its text. One vocoder block is made at a time,
for the request whose listener needs it first.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence

import numpy as np

from f5_tts_server.engine.channel import Channel
from f5_tts_server.engine.cost import Ledger
from f5_tts_server.engine.job import End, Job, Segment, Taken, internal_error
from f5_tts_server.engine.metrics import Metrics
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.engine.slicer import Slicer
from f5_tts_server.engine.splice import spliced
from f5_tts_server.engine.stages.request_queue import RequestQueue
from f5_tts_server.engine.track import Track
from f5_tts_server.formats import open_encoder, unlimited
from f5_tts_server.inference_types import (
    FITS,
    INFILL_FADE_FRAMES,
    AudioChunk,
    Done,
    Failed,
    Listener,
    Metadata,
    Programs,
    RequestError,
    Samples,
    SpokenSegment,
    TimedWord,
    VerifiedSegment,
)
from f5_tts_server.joiner import Joiner

log = logging.getLogger("f5.engine")

_AT_ONCE_S = 2.0  # of a track's audio in one turn


class _Clip:
    """A request's audio on its way out: joined, cut into pieces, encoded."""

    def __init__(
        self,
        job: Job,
        sample_rate: int,
        chunk_samples: int,
        fade: int,
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self.job = job
        self._clock = clock
        self._metrics = metrics
        self.waiting: dict[int, Taken] = {}  # by segment index
        self.end: End | None = None
        self.index = 0  # of the segment that comes next
        self.frame = 0  # of that segment, the next to vocode
        self.vocoding_since = 0.0
        self.samples = 0  # given to the encoder
        self.chunks = 0
        self._rate = sample_rate
        self._joiner = Joiner(sample_rate)
        self._part: int | None = None
        self._track: Track | None = None
        self._kept: list[Samples] = []  # of the part that is being made, which goes out as a whole
        self._fade = fade  # samples over which an infill is faded in and out
        self._slicer = Slicer(chunk_samples)
        request = job.request
        self.encoder = open_encoder(request.format, sample_rate, request.sample_rate, request.bit_rate)
        self._unsent = self.encoder.header()
        self._unsent_samples = 0
        self._given = 0  # samples handed to the slicer
        self._origin = 0  # of the part that is made, in the clip
        self._untold: list[SpokenSegment] = []  # that no chunk has named yet
        self.spoken: list[SpokenSegment] = []
        self.held: list[Samples] = []  # blocks of a segment that is heard before it is sent
        self.best: tuple[Samples, float | None] | None = None  # of the takes of that segment
        self.remade = 0  # samples of the takes after the first, of all segments
        self.verified: list[VerifiedSegment] = []

    @property
    def ready(self) -> bool:
        return self.index in self.waiting or self.complete or self.owes

    @property
    def owes(self) -> bool:
        """Whether there is audio of a track to be sent."""
        return self._track is not None and self._track.ready

    @property
    def complete(self) -> bool:
        return self.end is not None and self.end.segments == self.index

    def due(self) -> float:
        """When the listener needs the next samples."""
        return self.job.playback.due(self.samples / self._rate)

    def begin(self, segment: Segment, length: int) -> None:
        self.play(segment.recorded)
        self.pause(segment.silence)
        if segment.part != self._part:
            self._joiner = Joiner(self._rate, segment.exact)
            self._part = segment.part
            self._origin = self._given
        self._joiner.begin(length, more=segment.more)

    def tell(self, segment: Segment, length: int, words: Sequence[TimedWord] | None) -> None:
        """Say when the segment that has begun, of ``length`` samples, is heard, and its words."""
        end = self._joiner.start + length
        if segment.exact is not None:
            end = min(end, segment.exact)
        start = (self._origin + self._joiner.start) / self._rate
        told = None if words is None else tuple(words)
        spoken = SpokenSegment(segment.plan.text, start, (self._origin + end) / self._rate, told)
        self._untold.append(spoken)
        self.spoken.append(spoken)

    def verify(self, segment: Segment, score: float | None) -> None:
        """Say what was heard of the segment that has begun; without a score nothing can be told."""
        start = (self._origin + self._joiner.start) / self._rate
        self.verified.append(VerifiedSegment(segment.plan.text, start, score, segment.take))
        outcome = "unknown"
        if score is not None:
            outcome = "doubtful" if score < FITS else "fits" if segment.take == 1 else "fits_after"
        self._metrics.verified.labels(outcome).inc()

    def speak(self, samples: Samples, segment: Segment) -> None:
        joined = self._joiner.push(samples)
        if segment.cue is None and segment.infill is None:
            self._send(joined)
        else:
            self._kept.append(joined)

    def place(self, segment: Segment) -> None:
        """Put a cue, of which this is the last segment, where it belongs, and an infill into its recording."""
        if segment.more or not self._kept:
            return
        speech, self._kept = np.concatenate(self._kept), []
        if segment.infill is not None:
            self._send(spliced(segment.infill, speech, self._fade))
            self._metrics.infills.inc()
            return
        cue = segment.cue
        assert cue is not None  # nothing else is kept
        self._track = self._track or Track(self._rate)
        self._track.place(speech, cue.start, cue.end, overrun=cue.overrun, next_start=segment.next_cue)
        self._metrics.cues.inc()
        self._metrics.overruns.inc(any(late.cue == cue.number for late in segment.job.script.overruns))

    def give(self) -> None:
        """Send some of what the track owes: a long silence must not hold up other clips."""
        assert self._track is not None  # `owes` says so
        self._send(self._track.take(round(_AT_ONCE_S * self._rate)))

    def play(self, recorded: list[Samples]) -> None:
        """Send a recording's own samples."""
        for samples in recorded:
            self._send(unlimited(samples))

    def pause(self, seconds: float) -> None:
        if seconds:
            self._send(np.zeros(round(seconds * self._rate), np.float32))

    def flush(self) -> None:
        """Send what waits to fill a piece: the text's author may be pausing, and the listener is in mid-word."""
        rest = self._slicer.rest()
        if len(rest):
            self._emit(self.encoder.encode(rest), len(rest), last=False)

    def finish(self) -> None:
        """Encode and send the last piece."""
        rest = self._slicer.rest()
        data = self.encoder.encode(rest) if len(rest) else b""
        self._emit(data + self.encoder.finish(), len(rest), last=True)

    def _send(self, samples: Samples) -> None:
        self._given += len(samples)
        for piece in self._slicer.push(samples):
            self._emit(self.encoder.encode(piece), len(piece), last=False)

    def _emit(self, data: bytes, samples: int, *, last: bool) -> None:
        """Send what the encoder gave; encoders that look ahead may give nothing for a while."""
        self.samples += samples
        self._unsent_samples += samples
        if not (data or last):
            return
        segments, rate = tuple(self._untold), self.encoder.sample_rate
        chunk = AudioChunk(self._unsent + data, self._unsent_samples, self.chunks, rate, last, segments)
        self._untold.clear()
        self._unsent, self._unsent_samples = b"", 0
        self.chunks += 1
        now, playback = self._clock(), self.job.playback
        if playback.first_audio is None:
            self._metrics.first_audio.observe(now - self.job.submitted)
        if silence := playback.sent(now, chunk.samples / self._rate):
            self._metrics.underruns.inc()
            self._metrics.underrun_seconds.inc(silence)
        self._metrics.bytes_out.inc(len(chunk.data))
        self.job.events.put(chunk)


class Postprocess:
    """Makes one block of one clip at a time."""

    def __init__(
        self,
        programs: Programs,
        options: EngineOptions,
        *,
        clock: Callable[[], float],
        wake: threading.Event,
        requests: RequestQueue,
        inbox: Channel[Taken | End],
        retakes: Channel[Segment],
        ledger: Ledger,
        metrics: Metrics,
        listener: Listener | None,
    ) -> None:
        self._programs = programs
        self._listener = listener
        self._clock = clock
        self.wake = wake
        self._requests = requests
        self._inbox = inbox
        self._retakes = retakes
        self._options = options
        self._ledger = ledger
        self._metrics = metrics
        self._chunk_samples = max(1, round(options.chunk_s * programs.sample_rate))
        self._clips: dict[int, _Clip] = {}

    def turn(self) -> float:
        self._take_in()
        ready = [clip for clip in self._clips.values() if clip.ready]
        if not ready:
            return math.inf
        self._advance(min(ready, key=_Clip.due))
        return 0.0

    def _take_in(self) -> None:
        for number in [clip.job.arrival for clip in self._clips.values() if not clip.job.alive]:
            del self._clips[number]
        for item in self._inbox.drain():
            job = item.job if isinstance(item, End) else item.segment.job
            if not job.alive:
                continue
            clip = self._clips.get(job.arrival) or self._begin(job)
            if clip is None:
                continue
            if isinstance(item, End):
                clip.end = item
            else:
                clip.waiting[item.segment.index] = item

    def _begin(self, job: Job) -> _Clip | None:
        """A clip for a job's first segment; None, and the job has failed, where its encoder cannot be made."""
        try:
            rate, fade = self._programs.sample_rate, INFILL_FADE_FRAMES * self._programs.hop
            clip = _Clip(job, rate, self._chunk_samples, fade, self._clock, self._metrics)
        except Exception:
            log.exception("opening the encoder failed", extra={"request_id": job.id})
            job.events.end(Failed(internal_error(job, "postprocess")))
            return None
        self._clips[job.arrival] = clip
        return clip

    def _advance(self, clip: _Clip) -> None:
        """Make one block of a clip, or its end."""
        try:
            if clip.owes:
                clip.give()
            elif clip.complete:
                self._complete(clip)
            else:
                self._speak(clip, clip.waiting[clip.index])
        except RequestError as error:
            clip.job.events.end(Failed(error))
        except Exception:
            log.exception("postprocessing failed", extra={"request_id": clip.job.id})
            clip.job.events.end(Failed(internal_error(clip.job, "postprocess")))

    def _speak(self, clip: _Clip, taken: Taken) -> None:
        segment = taken.segment
        first, last = segment.heard_frames
        request = segment.job.request
        hear = segment.known and (request.verify or (request.timestamps and segment.plan.words is None))
        if clip.frame == 0 and not hear:
            self._begin_segment(clip, segment, segment.plan.words)
        start = first + clip.frame
        stop = min(start + self._programs.vocode_block, last)
        began = self._clock()
        if clip.frame == 0:
            clip.vocoding_since = began
        samples = self._programs.vocode(taken.mel, start, stop)
        # The first block waits for the last step of the flow.
        self._ledger.vocoded(clip.job.arrival, stop - start, self._clock() - began if clip.frame else None)
        if not np.isfinite(samples).all():
            raise RequestError(
                500,
                "not_finite",
                f"request {clip.job.id}: the model gave values that are not finite in segment {segment.index}; "
                "a smaller cfg_strength or another seed may help",
            )
        spoken = samples * np.float32(segment.reference.gain)
        if hear:
            clip.held.append(spoken)
        else:
            clip.speak(spoken, segment)
        clip.frame = stop - first
        if stop == last:
            if hear and not self._hear(clip, segment):
                return
            clip.place(segment)
            if segment.job.request.open and not segment.more:
                clip.flush()
            if clip.job.trace is not None:
                about = {"segment": segment.index, "frames": last - first}
                clip.job.trace.stage("vocoder", clip.vocoding_since, self._clock(), about)
            del clip.waiting[clip.index]
            clip.index += 1
            clip.frame = 0
            self._requests.spoken(segment)

    def _begin_segment(self, clip: _Clip, segment: Segment, words: Sequence[TimedWord] | None) -> None:
        first, last = segment.heard_frames
        whole = segment.infill is None
        length = self._programs.clip_samples(last) if whole else (last - first) * self._programs.hop
        clip.begin(segment, length)
        if segment.job.request.timestamps:
            clip.tell(segment, length, words)
        if segment.job.request.verify and whole and not segment.known:
            clip.verify(segment, None)

    def _hear(self, clip: _Clip, segment: Segment) -> bool:
        """Send a segment that has been held until it was whole, with the times of its words.

        False where it is made again instead.
        """
        listener = self._listener
        assert listener is not None  # nobody else knows a language
        spoken, clip.held = np.concatenate(clip.held), []
        request, text = segment.job.request, segment.plan.text
        words: Sequence[TimedWord] | None = segment.plan.words
        score: float | None = None
        if request.verify:
            began = self._clock()
            score = listener.score(text, spoken)
            if clip.best is None or _rank(score) > _rank(clip.best[1]):
                clip.best = (spoken, score)
            self._metrics.listening_seconds.inc(self._clock() - began)
            if self._made_again(clip, segment, len(spoken)):
                return False
            (spoken, score), clip.best = clip.best, None
        if request.timestamps and words is None:
            began = self._clock()
            words = listener.words(text, spoken)
            self._metrics.listening_seconds.inc(self._clock() - began)
        self._begin_segment(clip, segment, words)
        if request.verify:
            clip.verify(segment, score)
        clip.speak(spoken, segment)
        return True

    def _made_again(self, clip: _Clip, segment: Segment, length: int) -> bool:
        """Whether a segment, of which the best take is known, goes back; bounds count audio, so that load changes nothing."""
        assert clip.best is not None  # the caller has heard it
        options = self._options
        if (
            _rank(clip.best[1]) >= FITS
            or segment.take >= options.verify_takes
            or clip.remade + length > options.verify_extra_s * self._programs.sample_rate
        ):
            return False
        clip.remade += length
        self._metrics.remade_seconds.inc(length / self._programs.sample_rate)
        del clip.waiting[clip.index]
        clip.frame = 0
        self._retakes.put(segment)
        return True

    def _complete(self, clip: _Clip) -> None:
        assert clip.end is not None  # `complete` says so
        clip.play(clip.end.recorded)
        clip.pause(clip.end.silence)
        clip.finish()
        del self._clips[clip.job.arrival]
        job = clip.job
        playback = job.playback
        first = self._clock() if playback.first_audio is None else playback.first_audio
        model_rate = self._programs.sample_rate
        job.events.end(
            Done(
                Metadata(
                    request_id=job.id,
                    generation_time=self._clock() - job.submitted,
                    time_to_first_audio=first - job.submitted,
                    duration=clip.samples / model_rate,
                    samples=clip.encoder.samples,
                    total_chunks=clip.chunks,
                    segments=clip.index,
                    sample_rate=clip.encoder.sample_rate,
                    seed=job.request.seed,
                    underruns=playback.underruns,
                    underrun_time=playback.underrun_time,
                    overruns=tuple(job.script.overruns),
                    spoken=tuple(clip.spoken),
                    verified=tuple(clip.verified),
                )
            )
        )


def _rank(score: float | None) -> float:
    """Of what cannot be judged 1: nothing better would come."""
    return 1.0 if score is None else score
