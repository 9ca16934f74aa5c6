"""Speech with a word lost, said twice, exchanged with the next, or replaced: cut and joined where the teacher says it lies."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import Said
from training.spoken import SAMPLE_RATE

Samples = NDArray[np.float32]
Kind = Literal["lost", "twice", "swapped", "replaced"]

_FADE = round(0.005 * SAMPLE_RATE)  # samples of a join


@dataclass(frozen=True)
class Damaged:
    """``words``: which are wrong; ``phonemes``: of the longest of them."""

    kind: Kind
    samples: Samples
    words: tuple[int, ...]
    phonemes: int


def word_spans(items: Sequence[Said], spans: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First sample and end of each word of `said(text)`, given those of all symbols."""
    found, at = [], 0
    for item in items:
        if not item.pause:
            found.append((int(spans[at][0]), int(spans[at + len(item.sounds) - 1][1])))
        at += len(item.sounds)
    return found


def damaged(
    samples: Samples,
    words: Sequence[tuple[int, int]],
    sounds: Sequence[Sequence[str]],
    rng: random.Random,
    each: int = 3,
) -> Iterator[Damaged]:
    """``each`` of each kind, of different words drawn at random; ``words`` are their samples and ``sounds`` their symbols."""
    count = len(words)

    def cut(start: int, end: int) -> Samples:
        return samples[start:end]

    for at in rng.sample(range(count), min(each, count)):
        start, end = words[at]
        yield Damaged("lost", joined(cut(0, start), cut(end, len(samples))), (at,), len(sounds[at]))

    for at in rng.sample(range(count), min(each, count)):
        start, end = words[at]
        yield Damaged("twice", joined(cut(0, end), cut(start, end), cut(end, len(samples))), (at,), len(sounds[at]))

    unlike = [at for at in range(count - 1) if sounds[at] != sounds[at + 1]]
    for at in rng.sample(unlike, min(each, len(unlike))):
        (start, end), (following, stop) = words[at], words[at + 1]
        swapped = joined(cut(0, start), cut(following, stop), cut(start, end), cut(stop, len(samples)))
        yield Damaged("swapped", swapped, (at, at + 1), max(len(sounds[at]), len(sounds[at + 1])))

    for at in rng.sample(range(count), min(each, count)):
        start, end = words[at]
        other = rng.choice([word for word in range(count) if sounds[word] != sounds[at]])
        replaced = joined(cut(0, start), cut(*words[other]), cut(end, len(samples)))
        yield Damaged("replaced", replaced, (at,), len(sounds[at]))


def joined(*pieces: Samples) -> Samples:
    """Pieces end to end, over short cross-fades; those too short for one are left out."""
    kept = [piece for piece in pieces if len(piece) > _FADE]
    whole, ramp = kept[0], np.linspace(0, 1, _FADE, dtype=np.float32)
    for piece in kept[1:]:
        mixed = whole[-_FADE:] * (1 - ramp) + piece[:_FADE] * ramp
        whole = np.concatenate([whole[:-_FADE], mixed, piece[_FADE:]])
    return whole
