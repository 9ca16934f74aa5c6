"""How much likelier audio is with a single edit of its text: a word lost, said twice, exchanged with the next, or other.

Best paths over the recognizer's posteriors, as in `align`. One search forwards and one backwards give the best score of
every beginning and every end of the text at every frame; an edit is what lies between a beginning and an end, so that one
more search finds all edits of all words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.recognizer.network import CLASS_OF

FLOOR = np.float32(-7.0)
"""Log-posteriors below it count as it: a single frame that is sure of something else decides nothing."""
LOST = np.float32(0.7)
"""Nats that every frame of other sounds costs: the likeliest phonemes of each frame fit better than any text."""
_SHORTEST = 2  # frames of a phoneme of the text
_SHORTEST_EDIT = 3  # and of a word that is said in an edit: it must be heard to count
_MINUS = np.float32(-1e30)

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Edits:
    """Nats by which an edited text fits better than the text itself; negative where it fits less. n words.

    ``lost`` [n]: without the word. ``twice`` [n]: it is said again. ``swapped`` [n − 1]: the next one comes before it, with no
    pause between them.
    ``other`` [n]: other sounds in its place. ``stray`` [n + 1]: other sounds before it, and at the end.
    """

    lost: Array
    twice: Array
    swapped: Array
    other: Array
    stray: Array


def edits(posteriors: Array, words: Sequence[Sequence[str]]) -> Edits:
    """All single edits of words, given as symbols, in log-posteriors [t, classes].

    There must be frames for the words: two for each phoneme.
    """
    heard = np.maximum(posteriors, FLOOR)
    begun = _beginnings(heard, words)
    ended = _beginnings(heard[::-1], [tuple(word)[::-1] for word in words[::-1]])[::-1, ::-1]
    count, whole = len(words), begun[-1, -1]
    again = _Chains.of(words, _SHORTEST_EDIT)
    pairs = [(*words[index + 1], *words[index]) for index in range(count - 1)]
    chains = again.beside(_Chains.of(pairs, _SHORTEST_EDIT)) if pairs else again
    # A word that is said again follows its first saying; a pair comes where the first of it was.
    after = np.concatenate([np.arange(1, count + 1), np.arange(count - 1)])
    before = np.concatenate([np.arange(1, count + 1), np.arange(2, count + 1)])

    emitted = heard[:, chains.classes]
    free = heard[:, 1:].max(axis=1) - LOST
    best = np.full(len(chains.classes), _MINUS, np.float32)
    other, stray = np.full(count, _MINUS, np.float32), np.full(count + 1, _MINUS, np.float32)
    said = np.full(len(chains.first), _MINUS, np.float32)
    best_other, best_stray = other.copy(), stray.copy()
    for frame, (start, end) in enumerate(zip(begun, ended[1:], strict=False)):
        best = chains.moved(best, start[after]) + emitted[frame]
        other = np.maximum(other, start[:-1]) + free[frame]
        stray = np.maximum(stray, start) + free[frame]
        np.maximum(said, best[chains.last] + end[before], out=said)
        np.maximum(best_other, other + end[1:], out=best_other)
        np.maximum(best_stray, stray + end, out=best_stray)
    return Edits(
        lost=(begun[:, :-1] + ended[:, 1:]).max(axis=0) - whole,
        twice=said[:count] - whole,
        swapped=said[count:] - whole,
        other=best_other - whole,
        stray=best_stray - whole,
    )


def _beginnings(heard: Array, words: Sequence[Sequence[str]]) -> Array:
    """The best score of the frames before the t-th with the first i words, and silences around them: [t + 1, n + 1]."""
    chains = _Chains.of(words, _SHORTEST)
    emitted, silent = heard[:, chains.classes], heard[:, 0]
    best = np.full(len(chains.classes), _MINUS, np.float32)
    done = np.full((len(heard) + 1, len(words) + 1), _MINUS, np.float32)
    done[0, 0] = 0
    for frame in range(len(heard)):
        best = chains.moved(best, done[frame, :-1]) + emitted[frame]
        following = done[frame] + silent[frame]
        following[1:] = np.maximum(following[1:], best[chains.last])
        done[frame + 1] = following
    return done


@dataclass(frozen=True, slots=True)
class _Chains:
    """States [s] of words beside each other, some for each phoneme: the last of them may stay."""

    classes: NDArray[np.int64]
    stay: Array  # 0, or minus infinity
    first: NDArray[np.int64]  # state of each word
    last: NDArray[np.int64]

    @classmethod
    def of(cls, words: Sequence[Sequence[str]], shortest: int) -> _Chains:
        sounds = np.array([CLASS_OF[sound] for word in words for sound in word], np.int64)
        lengths = np.array([len(word) for word in words]) * shortest
        ends = np.cumsum(lengths)
        stay = np.full((len(sounds), shortest), _MINUS, np.float32)
        stay[:, -1] = 0
        return cls(np.repeat(sounds, shortest), stay.ravel(), ends - lengths, ends - 1)

    def beside(self, other: _Chains) -> _Chains:
        size = len(self.classes)
        return _Chains(
            np.concatenate([self.classes, other.classes]),
            np.concatenate([self.stay, other.stay]),
            np.concatenate([self.first, other.first + size]),
            np.concatenate([self.last, other.last + size]),
        )

    def moved(self, best: Array, entered: Array) -> Array:
        """The best scores of the states [s] at the next frame, without what is heard in it; ``entered`` [words] from outside."""
        following = np.empty_like(best)
        np.maximum(best[1:] + self.stay[1:], best[:-1], out=following[1:])
        following[self.first] = entered
        return following
