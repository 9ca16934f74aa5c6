"""When each word of a known English text is said in audio: a forced alignment over the recognizer's posteriors.

Every phoneme lasts two frames (21 ms) or more; between any two words, and at both ends, there may be silence or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import Said, said, written_words
from f5_tts_server.f5.frontend import Word
from f5_tts_server.recognizer.network import CLASS_OF, MEL, Recognizer, recognizer

LARGEST = 24_000_000
"""Frames × states of an alignment: a minute of speech with 2,100 phonemes, worked out in about 24 MB."""

SECONDS_A_FRAME = MEL.hop / MEL.sample_rate

Array = NDArray[np.float32]


class AlignmentError(ValueError):
    """A text that cannot be laid along the audio; the message says why."""


def align(samples: Array, text: str, *, network: Recognizer | None = None) -> tuple[Word, ...]:
    """The words of ``text`` in order, in samples [n], mono float32 at 24 kHz. Words that have no sound are left out.

    Raises AlignmentError for a text without sounds, one that has more of them than the audio has time for, and more
    work than `LARGEST`.
    """
    items = said(text)
    spoken = [item for item in items if not item.pause]
    if not spoken:
        raise AlignmentError(f"nothing of the text {text[:40]!r} is spoken")
    spans = align_sounds((network or recognizer()).listen(samples), [item.sounds for item in spoken])
    length = len(samples) / MEL.sample_rate  # the last frame is centred on it
    return tuple(replace(word, end=min(word.end, length)) for word in words_of(text, spoken, spans))


@dataclass(frozen=True, slots=True)
class Span:
    """Frames [start, end) of a word, and the sum of the log-posteriors of its classes over them."""

    start: int
    end: int
    total: float


def align_sounds(posteriors: Array, words: Sequence[Sequence[str]]) -> list[Span]:
    """The frames of each word, given as symbols, in log-posteriors [t, classes].

    Raises AlignmentError as `align`.
    """
    path, states = _aligned(posteriors, words)
    owners = states.owners[path]
    scores = posteriors[np.arange(len(posteriors)), states.classes[path]]
    spans = []
    for index in range(len(words)):
        frames = np.flatnonzero(owners == index)
        spans.append(Span(int(frames[0]), int(frames[-1]) + 1, float(scores[frames].sum())))
    return spans


def align_phonemes(posteriors: Array, words: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """The first frame and the end of each phoneme [k, 2] of words as `align_sounds` takes them. Raises as it does."""
    path, states = _aligned(posteriors, words)
    phonemes = np.cumsum(~states.stays) - 1  # of a state of a word: the first of a phoneme's two may not stay
    spoken = states.owners[path] >= 0
    found = np.where(spoken, phonemes[path], -1)
    frames = np.arange(len(path))
    return np.array([(inside[0], inside[-1] + 1) for inside in (frames[found == k] for k in range(phonemes[-1] + 1))])


def _aligned(posteriors: Array, words: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], _States]:
    states = _States.of(words)
    count = len(posteriors)
    if count * len(states.classes) > LARGEST:
        raise AlignmentError(
            f"{count * SECONDS_A_FRAME:.0f} s of audio with {sum(map(len, words))} phonemes are more than is aligned at once"
        )
    if count < states.shortest:
        raise AlignmentError(
            f"the text has {sum(map(len, words))} phonemes, more than {count * SECONDS_A_FRAME:.2f} s of audio can hold"
        )
    return _best_path(posteriors, states), states


def words_of(text: str, spoken: Sequence[Said], spans: Sequence[Span]) -> tuple[Word, ...]:
    """What stands between spaces, out of the spoken words in it and their frames."""
    words = []
    for first, last, indices in written_words(text, spoken):
        inside = [spans[index] for index in indices]
        frames = sum(span.end - span.start for span in inside)
        score = float(np.exp(sum(span.total for span in inside) / frames))
        words.append(Word(text[first:last], first, last, _seconds(inside[0].start), _seconds(inside[-1].end), score))
    return tuple(words)


def _seconds(frame: int) -> float:
    """Where a frame begins: it is centred on its first sample."""
    return max(frame - 0.5, 0.0) * SECONDS_A_FRAME


@dataclass(frozen=True, slots=True)
class _States:
    """A chain of states [s]: two for each phoneme, which is its shortest length, and silences that may be skipped.

    ``owners``: the word of each state, −1 for silence. ``stays``: whether it may last more than one frame.
    """

    classes: NDArray[np.int64]
    owners: NDArray[np.int64]
    stays: NDArray[np.bool_]
    skips: NDArray[np.bool_]  # may be entered from two states before, past a silence
    shortest: int  # frames

    @classmethod
    def of(cls, words: Sequence[Sequence[str]]) -> _States:
        classes, owners, stays, skips = [0], [-1], [True], [False]
        for index, sounds in enumerate(words):
            for number, sound in enumerate(sounds):
                classes += [CLASS_OF[sound]] * 2
                owners += [index] * 2
                stays += [False, True]
                skips += [number == 0, False]
            classes.append(0)
            owners.append(-1)
            stays.append(True)
            skips.append(False)
        shortest = 2 * sum(len(sounds) for sounds in words)
        return cls(np.array(classes), np.array(owners), np.array(stays), np.array(skips), shortest)


def _best_path(posteriors: Array, states: _States) -> NDArray[np.int64]:
    """The state of each frame [t]: Viterbi's path from the first silence or word to the last."""
    count, size = len(posteriors), len(states.classes)
    minus = np.float32(-1e30)
    stay = np.where(states.stays, np.float32(0), minus)
    skip = np.where(states.skips, np.float32(0), minus)
    came = np.empty((count, size), np.int8)  # how many states before
    best = np.full(size, minus, np.float32)
    emitted = posteriors[0, states.classes]
    best[:2] = emitted[:2]
    came[0] = 0
    padded = np.full(size + 2, minus, np.float32)
    columns = np.arange(size)
    choices = np.empty((3, size), np.float32)
    for frame in range(1, count):
        padded[2:] = best
        np.add(best, stay, out=choices[0])
        choices[1] = padded[1:-1]
        np.add(padded[:-2], skip, out=choices[2])
        which = choices.argmax(axis=0)
        came[frame] = which
        best = choices[which, columns] + posteriors[frame, states.classes]
    path = np.empty(count, np.int64)
    state = size - 1 if best[-1] >= best[-2] else size - 2
    for frame in range(count - 1, -1, -1):
        path[frame] = state
        state -= int(came[frame, state])
    return path
