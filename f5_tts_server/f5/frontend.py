"""What a front end is asked for: a reference made ready, how a text is cut, and what one segment of it costs.

A front end belongs to a voice model: the released F5-TTS models read characters and pinyin and guess lengths from
bytes (`f5.text.PinyinFrontend`), the embedded voice reads phonemes and has lengths for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.f5 import audio
from f5_tts_server.f5.config import MelConfig


def _no_frames() -> NDArray[np.float32]:
    return np.zeros((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Reference:
    """A voice as the model hears it. Shared between requests: nobody writes to its arrays.

    `mel` may be one frame longer than `len(samples) // hop`: a centred analysis (`MelConfig.kind="vocos"`) has
    `len(samples) // hop + 1` frames, and F5-TTS conditions on all of them, yet cuts its output at the former.
    """

    samples: NDArray[np.float32]  # [n], mono, 24 kHz, after the RMS rule
    mel: NDArray[np.float32]  # [frames, 100]
    text: str  # what is said in it
    gain: float  # multiply generated samples by this to undo the RMS rule
    nbytes: int  # memory it holds


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text and when it is said, in seconds from the beginning of the audio.

    ``text`` is ``source[first:last]`` of the text: what stands between two spaces, its punctuation included. ``score``
    from 0 to 1: how sure it is that the word is heard there.
    """

    text: str
    first: int
    last: int
    start: float
    end: float
    score: float = 1.0


@dataclass(frozen=True, eq=False)
class SegmentPlan:
    """One piece of text, ready for the model.

    A centred mel has one frame more than the reference has whole hops. Upstream cuts its output at the whole hops and
    puts the reference's own frames back, so the first frame of the speech is the reference's last: the `overhang`.
    """

    text: str
    tokens: NDArray[np.int32]  # [n_tokens], reference and generated text together, no padding
    ref_frames: int  # generated speech starts at this frame: `len(reference.samples) // hop`
    frames: int  # reference and generated speech together
    # [k, 100], mel frames of the reference at `ref_frames` and beyond: known, so the output keeps them.
    overhang: NDArray[np.float32]
    quiet_frames: int = 0  # of the speech, planned as silence at its two ends
    words: tuple[Word, ...] | None = None  # where the front end plans when each one is said
    # [ref_frames, 100] and [k, 100] of an infill: the recording's own frames around the speech, which ends with the last k.
    before: NDArray[np.float32] = field(default_factory=_no_frames)
    after: NDArray[np.float32] = field(default_factory=_no_frames)

    @property
    def after_frames(self) -> int:
        return len(self.after)


class SpokenWord(Protocol):
    """A word of a recording, and when it is said, in seconds."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


@dataclass(frozen=True)
class Gap:
    """Where an infill's text is to be spoken, in frames. The gap begins at frame `left` and may have any length.

    Of the recording there are `left - 1` frames before, and `right` from the second frame after the gap on: the mel
    windows of those between hear both sides of a join. `before` and `after` are words with their beginnings and ends,
    counted from the first frame and from the gap's end.
    """

    left: int
    right: int
    before: list[tuple[str, float, float]]
    after: list[tuple[str, float, float]]

    def frames(self, length: int) -> int:
        """Of the whole segment, where the gap has `length`."""
        return self.left + length + 2 + self.right


class Frontend(ABC):
    """All calls are pure host work and may run in any thread. Errors are `ValueError`s that name the fault."""

    _mel: MelConfig

    def prepare_reference(self, clip: bytes, text: str) -> Reference:
        """A reference from an audio file's bytes and what is said in it.

        Raises ValueErrors for a clip that is not audio, too long, too short, silent or not finite, and for empty text.
        """
        if not text.strip():
            raise ValueError("the reference's text is empty; it must say what is spoken in the clip")
        samples, gain = audio.reference_samples(clip, self._mel.sample_rate)
        mel = audio.mel(samples, self._mel)
        return Reference(samples, mel, text, gain, nbytes=samples.nbytes + mel.nbytes)

    def plan_infill(
        self,
        samples: NDArray[np.float32],
        first: int,
        last: int,
        *,
        before: Sequence[SpokenWord],
        text: str,
        after: Sequence[SpokenWord],
    ) -> tuple[SegmentPlan, Reference]:
        """`text` to be spoken in place of samples `first` … `last` of a recording [n], whose other words are given.

        F5-TTS's own training task: the model hears the recording on both sides of a gap and fills it (arXiv 2410.06885,
        section 3). There must be two frames of samples before the gap and four after it. Raises ValueErrors for a text
        that cannot be spoken and a segment beyond the longest.
        """
        samples, gain = audio.normalise_rms(samples)
        rate, hop = self._mel.sample_rate, self._mel.hop
        start = first % hop
        heard = audio.mel(samples[start : first + 2 * hop], self._mel)[: (first - start) // hop - 1]
        following = audio.mel(samples[last:], self._mel)[2:]
        gap = Gap(
            len(heard) + 1,
            len(following),
            [(word.text, (word.start * rate - start) / hop, (word.end * rate - start) / hop) for word in before],
            [(word.text, (word.start * rate - last) / hop, (word.end * rate - last) / hop) for word in after],
        )
        tokens, length = self._fill(gap, text)
        reference = Reference(samples, heard, text, gain, nbytes=samples.nbytes + heard.nbytes)
        plan = SegmentPlan(
            text,
            tokens,
            ref_frames=len(heard),
            frames=gap.frames(length),
            overhang=heard[:0],
            before=heard,
            after=following,
        )
        return plan, reference

    @abstractmethod
    def _fill(self, gap: Gap, text: str) -> tuple[NDArray[np.int32], int]:
        """The tokens of a whole infilled segment, and how many frames its gap is long."""

    @abstractmethod
    def split(self, text: str, reference: Reference, *, speed: float, first_seconds: float | None) -> Iterator[str]:
        """The segments of a text, in order; none for a blank text. The text is read as far as segments are taken.

        With `first_seconds` the first segment is about that long when spoken, so that it can be heard early, and the
        following ones grow to the longest that the model speaks well.
        """

    @abstractmethod
    def plan(self, text: str, reference: Reference, *, speed: float, seconds: float | None) -> SegmentPlan:
        """Tokens and length of one segment. `seconds`: how long it shall be when spoken, reference not counted."""


def too_long_to_fill(text: str, seconds: str, most: str) -> ValueError:
    """The error of an infill beyond the longest segment."""
    return ValueError(
        f"the new words {text[:40]!r} need {seconds} s with the recording around them; at most {most} s fit one change"
    )
