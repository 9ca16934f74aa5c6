"""Edits of a text: against a search of every division of the frames, and on words cut out of clips that ship."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from f5_tts_server.recognizer.align import align_phonemes, align_sounds
from f5_tts_server.recognizer.edits import LOST, edits
from f5_tts_server.recognizer.network import CLASS_OF, CLASSES

FRAMES = 10
WORDS = [["k"], ["t"]]
OTHER = "other sounds"


def exhaustive(posteriors: np.ndarray, words: list[list[tuple[str, int]]]) -> float:
    """The best score of words: phonemes or `OTHER`, each with its shortest length; silences are around words only."""
    silence = posteriors[:, 0]
    other = posteriors[:, 1:].max(axis=1) - LOST
    rows, shortest = [silence], [0]
    for word in words:
        rows += [*(other if sound == OTHER else posteriors[:, CLASS_OF[sound]] for sound, _ in word), silence]
        shortest += [*(least for _, least in word), 0]
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    best = -np.inf
    for cuts in itertools.combinations_with_replacement(range(len(posteriors) + 1), len(rows) - 1):
        edges = [0, *cuts, len(posteriors)]
        if all(b - a >= least for a, b, least in zip(edges, edges[1:], shortest, strict=False)):
            best = max(best, sum(row[b] - row[a] for row, a, b in zip(sums, edges, edges[1:], strict=False)))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_every_edit_is_the_best_there_is(seed: int) -> None:
    posteriors = np.random.default_rng(seed).uniform(-4, 0, (FRAMES, len(CLASSES))).astype(np.float32)
    posteriors[:, [0, CLASS_OF["k"], CLASS_OF["t"]]] += 1.5  # so that the text has a chance
    found = edits(posteriors, WORDS)
    k, t = ("k", 2), ("t", 2)
    whole = exhaustive(posteriors, [[k], [t]])

    def by_hand(*words: tuple[str, int]) -> float:
        return exhaustive(posteriors, [[word] for word in words]) - whole

    assert found.lost == pytest.approx([by_hand(t), by_hand(k)], abs=1e-4)
    assert found.twice == pytest.approx([by_hand(k, ("k", 3), t), by_hand(k, t, ("t", 3))], abs=1e-4)
    assert found.swapped == pytest.approx([exhaustive(posteriors, [[("t", 3), ("k", 3)]]) - whole], abs=1e-4)
    assert found.other == pytest.approx([by_hand((OTHER, 1), t), by_hand(k, (OTHER, 1))], abs=1e-4)
    stray = [by_hand((OTHER, 1), k, t), by_hand(k, (OTHER, 1), t), by_hand(k, t, (OTHER, 1))]
    assert found.stray == pytest.approx(stray, abs=1e-4)


def test_phonemes_lie_within_their_words() -> None:
    posteriors = np.random.default_rng(3).normal(0, 1, (40, len(CLASSES))).astype(np.float32)
    words = [["k", "ˈæ", "t"], ["s"], ["ə", "t"]]
    spans, phonemes = align_sounds(posteriors, words), align_phonemes(posteriors, words)
    assert len(phonemes) == 6 and (phonemes[:, 1] - phonemes[:, 0] >= 2).all()
    for span, inside in zip(spans, (phonemes[:3], phonemes[3:4], phonemes[4:]), strict=True):
        assert (span.start, span.end) == (inside[0, 0], inside[-1, 1])
        assert (inside[1:, 0] == inside[:-1, 1]).all()
