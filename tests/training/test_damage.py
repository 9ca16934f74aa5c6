"""Damaged speech, of words that each sound like a number of their own: what is heard says what was done."""

from __future__ import annotations

import random

import numpy as np
import pytest

from training.damage import Damaged, damaged

LENGTH = 2_400  # samples of a word
SOUNDS = [["k", "æ", "t"], ["ə"], ["s", "i"], ["d", "ɔ", "ɡ"], ["t", "u"]]


def words_of(samples: np.ndarray) -> list[int]:
    """The numbers that are heard, each once for a word's length of it; what lies in the cross-fades is left out."""
    numbers, counts = np.unique(samples.round(6), return_counts=True)
    whole = {float(number) for number, count in zip(numbers, counts, strict=True) if count > LENGTH // 2}
    heard: list[float] = []
    lengths: list[int] = []
    for value in samples.round(6).tolist():
        if value in whole:
            if heard and heard[-1] == value:
                lengths[-1] += 1
            else:
                heard.append(value)
                lengths.append(1)
    return [int(value) for value, length in zip(heard, lengths, strict=True) for _ in range(round(length / LENGTH))]


@pytest.mark.parametrize("seed", range(4))
def test_each_kind_is_done_to_different_words(seed: int) -> None:
    count = len(SOUNDS)
    samples = np.repeat(np.arange(count, dtype=np.float32), LENGTH)
    spans = [(index * LENGTH, (index + 1) * LENGTH) for index in range(count)]
    found: list[Damaged] = list(damaged(samples, spans, SOUNDS, random.Random(seed), each=3))
    assert [one.kind for one in found] == ["lost"] * 3 + ["twice"] * 3 + ["swapped"] * 3 + ["replaced"] * 3
    for kind in ("lost", "twice", "swapped", "replaced"):
        assert len({one.words for one in found if one.kind == kind}) == 3
    for one in found:
        at, plain, heard = one.words[0], list(range(count)), words_of(one.samples)
        if one.kind == "lost":
            assert heard == plain[:at] + plain[at + 1 :]
        elif one.kind == "twice":
            assert heard == plain[: at + 1] + plain[at:]
        elif one.kind == "swapped":
            assert one.words == (at, at + 1) and heard == [*plain[:at], at + 1, at, *plain[at + 2 :]]
        else:
            others = [heard[:at] + heard[at + 1 :], heard[at]] if len(heard) == count else [heard, None]
            assert others[0] == plain[:at] + plain[at + 1 :] and others[1] != at
        assert one.phonemes == max(len(SOUNDS[word]) for word in one.words)
