"""Whether a clip says its transcript, where it does not, and what to cut.

English only, as the recognizer is. It hears phonemes, not words: it can say that a text is not what it hears, and never
what the words are instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import Said, said, written_words
from f5_tts_server.inference_types import FITS
from f5_tts_server.recognizer.align import SECONDS_A_FRAME, AlignmentError, align_sounds
from f5_tts_server.recognizer.listener import EnglishListener
from f5_tts_server.recognizer.network import recognizer
from f5_tts_server.recognizer.verify import evidence, has_time, score_heard, verifier

_TRIES = 5  # cuts that are tried at each end, of the clip and of the text
_PAUSE = 8  # frames
_KEEP = 5  # frames of silence left at a cut
_LONGEST = 80  # characters of a text that is named

Posteriors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DoubtfulWord:
    """A word of the transcript that is not heard where it should be. Seconds of the clip as it is stored."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class TranscriptReport:
    """``score`` from 0 to 1; the transcript ``fits`` from 0.5 on. ``proposal``: what to cut, where a cut would do."""

    fits: bool
    score: float
    doubtful: tuple[DoubtfulWord, ...]
    proposal: str | None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def check(samples: NDArray[np.float32], text: str) -> TranscriptReport | None:
    """The transcript of a clip [n] at 24 kHz against what is heard; None for languages that the recognizer does not know."""
    if not EnglishListener().knows(text):
        return None
    try:
        items = said(text)
    except ValueError:  # sounds given for another model
        return None
    spoken = [item for item in items if not item.pause]
    if not spoken:
        return None
    posteriors = recognizer().listen(samples)
    if not has_time(posteriors, items):
        return TranscriptReport(False, 0.0, (), _proposal(posteriors, text, items, spoken))
    try:
        rows = evidence(posteriors, items)
    except AlignmentError:  # the search would be too large
        return None
    score = verifier().score(rows)
    if score >= FITS:
        return TranscriptReport(True, round(score, 3), (), None)
    doubtful = _doubtful(posteriors, text, spoken, verifier().doubts(rows))
    return TranscriptReport(False, round(score, 3), doubtful, _proposal(posteriors, text, items, spoken))


def _fits(posteriors: Posteriors, items: list[Said]) -> bool:
    try:
        return score_heard(posteriors, items) >= FITS
    except AlignmentError:
        return False


def _doubtful(
    posteriors: Posteriors, text: str, spoken: list[Said], doubts: NDArray[np.float32]
) -> tuple[DoubtfulWord, ...]:
    """What stands between blanks and has a doubtful word in it."""
    spans = align_sounds(posteriors, [item.sounds for item in spoken])
    found = []
    for first, last, indices in written_words(text, spoken):
        if max(doubts[index] for index in indices) > 0:
            start, end = spans[indices[0]].start * SECONDS_A_FRAME, spans[indices[-1]].end * SECONDS_A_FRAME
            found.append(DoubtfulWord(text[first:last], round(start, 2), round(end, 2)))
    return tuple(found)


def _proposal(posteriors: Posteriors, text: str, items: list[Said], spoken: list[Said]) -> str | None:
    """The smallest cut of the clip's end, its beginning, the text's end or its beginning that makes both fit."""
    pauses = list(_pauses(posteriors))
    for start, _ in pauses[: -_TRIES - 1 : -1]:
        if _fits(posteriors[: start + _KEEP], items):
            seconds = (start + _KEEP) * SECONDS_A_FRAME
            return f"keep the clip up to {seconds:.2f} s: what follows is not in the transcript"
    for _, end in pauses[:_TRIES]:
        if _fits(posteriors[max(end - _KEEP, 0) :], items):
            seconds = max(end - _KEEP, 0) * SECONDS_A_FRAME
            return f"keep the clip from {seconds:.2f} s on: what is before is not in the transcript"
    for dropped in range(1, min(_TRIES + 1, len(spoken) - 1)):
        end = spoken[-dropped].start
        if _fits(posteriors, said(text[:end])):
            return f"end the transcript before {text[end:].strip()[:_LONGEST]!r}: it is not heard"
        start = spoken[dropped].start
        if _fits(posteriors, said(text[start:])):
            return f"begin the transcript after {text[:start].strip()[:_LONGEST]!r}: it is not heard"
    return None


def _pauses(posteriors: Posteriors) -> Iterator[tuple[int, int]]:
    """First frame and end of each silence between two stretches of speech."""
    silent = posteriors.argmax(axis=1) == 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(np.int8), [0]])))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start >= _PAUSE and start > 0 and end < len(silent):
            yield int(start), int(end)
