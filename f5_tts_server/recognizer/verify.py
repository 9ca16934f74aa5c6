"""Whether speech says its text: a score from what is heard of each word, and what lies around it.

For each word a row of evidence is taken: how much likelier the audio is with an edited text (`edits`), how well its
phonemes are heard at their best and on the whole, and how long it lasts beside what the embedded voice's lengths would give
it. A small network, trained on speech with words cut out, repeated and exchanged (`training.train_verifier`), says how
doubtful each word is; the most doubtful one decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from f5_tts_server.embedded.config import ASSETS as VOICE
from f5_tts_server.embedded.lengths import LengthModel
from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES, Said, said
from f5_tts_server.recognizer.align import AlignmentError, align_phonemes
from f5_tts_server.recognizer.edits import edits
from f5_tts_server.recognizer.network import CLASS_OF, recognizer

EVIDENCE = 24
"""Numbers in a word's row."""
_PACE = 170.0  # words a minute, of the lengths that words are compared with
_BEST = 2  # frames in which a phoneme is heard best
_CLEAR, _SHORT = 8, 11  # columns: how well phonemes are heard, and how many of them have the least length
_LEAST_CLEAR, _MOST_SHORT = -3.0, 0.5  # of 301 undamaged clips the means were -2.0 and more, and 0.32 and less
_FAR = -5.0  # of an edit that there is no room for, on the scale of `_squashed`

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verifier:
    """One hidden layer over a row of evidence; ``threshold`` is what it may say of a word that is right. Immutable."""

    mean: Array  # [e]
    scale: Array  # [e]
    hidden: Array  # [e, h]
    hidden_bias: Array  # [h]
    out: Array  # [h]
    direct: Array  # [e]
    bias: Array  # []
    threshold: Array  # []

    @classmethod
    def load(cls, path: Path) -> Verifier:
        """From a safetensors file. Raises ValueError where its tensors are not these."""
        tensors: Mapping[str, Array] = load_file(path)
        if set(tensors) != set(cls.__dataclass_fields__) or tensors["mean"].shape != (EVIDENCE,):
            raise ValueError(f"{path} is no verifier of {EVIDENCE} numbers: {sorted(tensors)}")
        return cls(**tensors)

    def doubts(self, rows: Array) -> Array:
        """How doubtful each word [n] is, given rows [n, e]; above 0 it is taken to be wrong."""
        scaled = (rows - self.mean) / self.scale
        within = np.tanh(scaled @ self.hidden + self.hidden_bias) @ self.out
        doubts: Array = (within + scaled @ self.direct + self.bias - self.threshold).astype(np.float32)
        return doubts

    def score(self, rows: Array) -> float:
        """From 0 to 1, at least 0.5 where no word is doubtful; 0 for rows that no speech with its own text has."""
        if rows[:, _SHORT].mean() > _MOST_SHORT or rows[:, _CLEAR].mean() < _LEAST_CLEAR:
            return 0.0
        return float(1 / (1 + np.exp(np.clip(self.doubts(rows).max(), -30, 30))))


@lru_cache
def verifier() -> Verifier:
    """The one that ships, loaded once."""
    return Verifier.load(Path(__file__).parent / "assets" / "verifier.safetensors")


@lru_cache
def _lengths() -> LengthModel:
    return LengthModel.load(VOICE / "lengths.safetensors")


def score(samples: Array, text: str) -> float:
    """How surely samples [n], mono float32 at 24 kHz, say an English text, from 0 to 1; at least 0.5 where they do.

    Raises AlignmentError where nothing of the text is spoken, or for more than is aligned at once.
    """
    items = said(text)
    if all(item.pause for item in items):
        raise AlignmentError(f"nothing of the text {text[:40]!r} is spoken")
    return score_heard(recognizer().listen(samples), items)


def score_heard(posteriors: Array, items: Sequence[Said]) -> float:
    """The score of `said(text)` in log-posteriors [t, classes]; 0 where there is no time for it. Raises AlignmentError."""
    return verifier().score(evidence(posteriors, items)) if has_time(posteriors, items) else 0.0


def has_time(posteriors: Array, items: Sequence[Said]) -> bool:
    """Whether there are frames for all phonemes, as `evidence` needs them."""
    return len(posteriors) >= 2 * sum(len(item.sounds) for item in items if not item.pause)


def evidence(posteriors: Array, items: Sequence[Said]) -> Array:
    """A row for each word [n, EVIDENCE] of `said(text)`, in log-posteriors [t, classes]. Raises AlignmentError."""
    words = [item.sounds for item in items if not item.pause]
    spans = align_phonemes(posteriors, words)
    found = edits(posteriors, words)
    classes = np.array([CLASS_OF[sound] for word in words for sound in word])
    top = posteriors.max(axis=1)
    best, clear = np.empty(len(classes)), np.empty(len(classes))
    for index, (start, end) in enumerate(spans):
        heard = posteriors[start:end, classes[index]]
        best[index] = np.sort(heard)[-_BEST:].mean()
        clear[index] = (heard - top[start:end]).mean()
    short = (spans[:, 1] - spans[:, 0]) <= _BEST

    last = np.cumsum([len(word) for word in words])
    first = np.concatenate([[0], last[:-1]])
    starts, ends = spans[first, 0], spans[last - 1, 1]
    planned = _planned(items)
    pace = np.log((ends - starts) / planned)
    voiced = np.maximum(posteriors[:, 1:].max(axis=1) - posteriors[:, 0], 0)
    gaps = list(zip([0, *ends], [*starts, len(posteriors)], strict=True))
    voice = _squashed(np.array([voiced[start:end].sum() for start, end in gaps]))
    silence = _squashed(np.array([end - start for start, end in gaps], float))
    swapped = np.concatenate([[_FAR], _squashed(found.swapped), [_FAR]])

    count = len(words)
    order = np.arange(count)
    inside = [slice(start, end) for start, end in zip(first, last, strict=True)]
    rows = np.stack(
        [
            _squashed(found.lost),
            _squashed(found.twice),
            np.maximum(swapped[:-1], swapped[1:]),
            _squashed(found.other),
            _squashed(found.stray[:-1]),
            _squashed(found.stray[1:]),
            [best[word].mean() for word in inside],
            [best[word].min() for word in inside],
            [clear[word].mean() for word in inside],
            [clear[word].min() for word in inside],
            [np.sort(clear[word])[:2].mean() for word in inside],
            [short[word].mean() for word in inside],
            pace - np.median(pace),
            pace,
            np.log(planned),
            [len(word) for word in words],
            [sum(sound.startswith("ˈ") for sound in word) for word in words],
            voice[:-1],
            voice[1:],
            silence[:-1],
            silence[1:],
            order == 0,
            order == count - 1,
            np.full(count, np.log(count)),
        ],
        axis=1,
    )
    return rows.astype(np.float32)


def _planned(items: Sequence[Said]) -> NDArray[np.float64]:
    """Frames that each word [n] lasts in the embedded voice's own speech."""
    symbols: list[str] = []
    owners: list[int] = []
    word = -1
    for item in items:
        pause = item.pause
        if not pause:
            word += 1
            if symbols and symbols[-1] not in PAUSES:
                symbols.append(BOUNDARY)
        symbols += item.sounds
        owners += [-1 if pause else word] * len(item.sounds)
    frames = _lengths().frames(symbols, _PACE)
    owner = np.array(owners)
    return np.array([float(frames[owner == index].sum()) for index in range(word + 1)])


def _squashed(nats: NDArray[np.floating]) -> NDArray[np.floating]:
    squashed: NDArray[np.floating] = np.sign(nats) * np.log1p(np.abs(nats))
    return squashed
