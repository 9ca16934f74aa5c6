"""How long each phoneme lasts, and how many tokens it becomes.

The embedded voice's text front end does the timing: a phoneme is emitted as one token for every `FRAMES_A_TOKEN` frames
that it sounds, so that the backbone's average upsampling puts each token on its own frames.

The lengths come from a small perceptron over a phoneme, its neighbours, its place in the word and the clause, and the
speaking rate (`training.train_lengths` makes it). The rate of a reference is the one at which its own text would take
as long as its clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES, SYMBOLS
from f5_tts_server.embedded.pronunciation import VOWELS

FRAMES_A_TOKEN = 2
SLOWEST, FASTEST = 110.0, 240.0
"""Words a minute between which the model was trained; beyond them lengths are scaled."""

_ID = {symbol: index for index, symbol in enumerate(SYMBOLS)}
_NONE = len(SYMBOLS)  # beyond either end of the text
_FAR = 6  # syllables to the clause's end that are told apart
_PLACE = 12 + 3 + 2 * len(PAUSES)


def allocate(lengths: NDArray[np.floating], tokens: int) -> NDArray[np.int64]:
    """Shares `tokens` among phonemes in proportion to `lengths` (float [k], any unit), at least one each: int [k].

    Boundaries are rounded where they fall, so that errors do not add up. Raises ValueError where there are fewer
    tokens than phonemes.
    """
    count = len(lengths)
    if tokens < count:
        raise ValueError(f"{tokens} tokens cannot hold {count} phonemes")
    ends = np.rint(np.cumsum(lengths) * (tokens / np.sum(lengths))).astype(np.int64)
    order = np.arange(count)
    # Every phoneme leaves one token for each that follows it, and has one itself.
    ends = np.minimum(ends, tokens - (count - 1 - order))
    ends = np.maximum.accumulate(ends - order) + order
    ends = np.maximum(ends, order + 1)
    ends[-1] = tokens
    counts: NDArray[np.int64] = np.diff(ends, prepend=0)
    return counts


def features(symbols: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What the length of each symbol may depend on, for `embedded.phonemes.phonemes(...)` with k symbols but boundaries.

    Returns ids int64 [k, 5] (two before, itself, two after) and its place in word and clause, float32 [k, _PLACE].
    """
    spoken: list[str] = []
    starts_word: list[bool] = []
    fresh = True
    for symbol in symbols:
        if symbol == BOUNDARY:
            fresh = True
            continue
        spoken.append(symbol)
        starts_word.append(fresh or symbol in PAUSES)
        fresh = symbol in PAUSES
    count = len(spoken)
    own = np.array([_NONE, _NONE, *(_ID[symbol] for symbol in spoken), _NONE, _NONE], np.int64)
    ids = np.stack([own[offset : offset + count] for offset in range(5)], axis=1)

    place = np.zeros((count, _PLACE), np.float32)
    syllables_left, stress_seen, closing = 0, False, len(PAUSES) - 1
    for at in range(count - 1, -1, -1):  # backwards: what counts is how the clause ends
        symbol = spoken[at]
        ends_word = at + 1 == count or starts_word[at + 1]
        vowel = symbol.lstrip("ˈˌ") in VOWELS
        stressed = symbol.startswith("ˈ")
        if symbol in PAUSES:
            syllables_left, stress_seen, closing = 0, False, PAUSES.index(symbol)
        row = place[at]
        row[min(syllables_left, _FAR)] = 1
        row[7] = starts_word[at]
        row[8] = ends_word
        row[9] = vowel and stressed and not stress_seen  # where the clause's tune turns
        row[10] = at == 0
        row[11] = at == count - 1
        row[12] = stress_seen
        row[13] = vowel
        row[14] = stressed
        row[15 + closing] = 1
        if at and spoken[at - 1] in PAUSES:
            row[15 + len(PAUSES) + PAUSES.index(spoken[at - 1])] = 1
        syllables_left += vowel
        stress_seen |= stressed
    return ids, place


@dataclass(frozen=True)
class LengthModel:
    """Two hidden layers over the features. Weights float32, names as in the file."""

    embedding: NDArray[np.float32]  # [5, symbols + 1, h]: the first layer's product with each one-hot neighbour
    place: NDArray[np.float32]  # [_PLACE + 1, h], the last row for the rate
    bias: NDArray[np.float32]  # [h]
    hidden: NDArray[np.float32]  # [h, g]
    hidden_bias: NDArray[np.float32]  # [g]
    out: NDArray[np.float32]  # [g]
    out_bias: NDArray[np.float32]  # []

    @classmethod
    def load(cls, path: Path) -> LengthModel:
        """Reads a safetensors file. Raises ValueError where its tensors are not those of this model."""
        tensors: Mapping[str, NDArray[np.float32]] = load_file(path)
        expected = set(cls.__dataclass_fields__)
        if set(tensors) != expected:
            raise ValueError(f"{path} has the tensors {sorted(tensors)}; a length model has {sorted(expected)}")
        if tensors["embedding"].shape[:2] != (5, len(SYMBOLS) + 1) or tensors["place"].shape[0] != _PLACE + 1:
            raise ValueError(
                f"{path} is for {tensors['embedding'].shape[1] - 1} symbols and {tensors['place'].shape[0] - 1} "
                f"features; the front end has {len(SYMBOLS)} and {_PLACE}"
            )
        return cls(**{name: tensor.astype(np.float32) for name, tensor in tensors.items()})

    def frames(self, symbols: Sequence[str], rate: float) -> NDArray[np.float32]:
        """Length of each symbol (boundaries left out) in frames at `rate` words a minute, clipped to what was trained."""
        ids, place = features(symbols)
        first = self.bias + place @ self.place[:-1] + rate_feature(rate) * self.place[-1]
        for neighbour in range(5):
            first = first + self.embedding[neighbour][ids[:, neighbour]]
        second = np.tanh(first) @ self.hidden + self.hidden_bias
        frames: NDArray[np.float32] = np.exp(np.tanh(second) @ self.out + self.out_bias).astype(np.float32)
        return frames

    def fit_rate(self, symbols: Sequence[str], frames: int) -> tuple[float, float]:
        """The rate at which the symbols take `frames` frames, and what is left to scale their lengths by."""
        slow, fast = SLOWEST, FASTEST
        for _ in range(12):  # to a tenth of a word a minute
            middle = (slow * fast) ** 0.5
            if float(self.frames(symbols, middle).sum()) > frames:
                slow = middle
            else:
                fast = middle
        rate = (slow * fast) ** 0.5
        return rate, frames / float(self.frames(symbols, rate).sum())


def rate_feature(rate: float) -> float:
    """The rate as the model sees it: about −1 to 1."""
    return 2.5 * float(np.log(np.clip(rate, SLOWEST, FASTEST) / (SLOWEST * FASTEST) ** 0.5))
