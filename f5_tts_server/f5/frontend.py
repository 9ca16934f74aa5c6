"""What a front end is asked for: a reference made ready, how a text is cut, and what one segment of it costs.

A front end belongs to a voice model: the released F5-TTS models read characters and pinyin and guess lengths from
bytes (`f5.text.PinyinFrontend`), the embedded voice reads phonemes and has lengths for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.f5 import audio
from f5_tts_server.f5.config import MelConfig


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

    @abstractmethod
    def split(self, text: str, reference: Reference, *, speed: float, first_seconds: float | None) -> Iterator[str]:
        """The segments of a text, in order; none for a blank text. The text is read as far as segments are taken.

        With `first_seconds` the first segment is about that long when spoken, so that it can be heard early, and the
        following ones grow to the longest that the model speaks well.
        """

    @abstractmethod
    def plan(self, text: str, reference: Reference, *, speed: float, seconds: float | None) -> SegmentPlan:
        """Tokens and length of one segment. `seconds`: how long it shall be when spoken, reference not counted."""
