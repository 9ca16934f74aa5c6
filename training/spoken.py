"""What a teacher reads, and what it has spoken: our phonemes as misaki's letters, and audio with each phoneme's span.

The teachers' alphabet is misaki's, as ours is, so a symbol is a few of their letters, and the lengths that their
networks predict, in units of 600 samples at 24 kHz, give each symbol its span without any alignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES

SAMPLE_RATE = 24_000
UNIT = 600  # samples in the teachers' unit of length
AHEAD = 2 * UNIT
"""Samples by which the teachers' audio runs ahead of their lengths: moved by so much, symbols explain most of the mel."""
MOST_LETTERS = 400
_LEAD, _TAIL, _LONGEST_PAUSE = 0.02, 0.16, 0.4  # seconds of silence that are left

SHIPPED = ("af_heart", "af_bella", "am_michael", "am_fenrir", "bf_emma", "bf_isabella", "bm_george", "bm_fable")
"""Kokoro's voices that ship: American and British women and men. The first one is the default, and Hibari's too."""
UNSEEN = ("af_nova", "af_sky", "am_eric", "am_puck", "bf_lily", "bm_daniel")
"""Kokoro's English voices that are kept out of training, for the cloning test."""
OTHERS = (
    "af_alloy", "af_aoede", "af_jessica", "af_kore", "af_nicole", "af_river", "af_sarah", "am_adam", "am_echo", "am_liam",
    "am_onyx", "am_santa", "bf_alice", "bm_lewis",
)  # fmt: skip
"""The rest of Kokoro's English voices."""

_LETTERS = {"ɚ": "əɹ", "ɝ": "ɜɹ", "Iɚ": "Iəɹ", "Wɚ": "Wəɹ", "n̩": "ᵊn"}


@dataclass(frozen=True)
class Utterance:
    """samples float32 at 24 kHz; `spans[k]` = (first, end) sample of `symbols[k]`, which hold no BOUNDARY."""

    samples: NDArray[np.float32]
    symbols: tuple[str, ...]
    spans: NDArray[np.int64]  # [len(symbols), 2]


class TooLong(ValueError):
    """More sounds than a teacher speaks at once."""


def letters(symbols: Sequence[str]) -> tuple[str, list[int]]:
    """What a teacher reads for the symbols of `phonemes(...)`, and for each letter the index of its symbol.

    Indices count symbols but boundaries; a space between words has −1.
    """
    text, index = "", -1
    owners: list[int] = []
    for at, symbol in enumerate(symbols):
        if symbol == BOUNDARY:
            text, owners = text + " ", [*owners, -1]
            continue
        index += 1
        stress = symbol[: len(symbol) - len(symbol.lstrip("ˈˌ"))]
        base = symbol[len(stress) :]
        spelt = _LETTERS.get(base, base)
        following = symbols[at + 1] if at + 1 < len(symbols) else ""
        if following == "ɹ" and spelt.endswith("ɹ"):
            spelt = spelt[:-1]  # "memory" repeats it in our symbols, and once is what is said
        spelt = stress + spelt
        if symbol in PAUSES and following:
            spelt += " "  # as written text has one
        text += spelt
        owners += [index] * len(spelt)
    return text, owners


def spans_of(lengths: NDArray[np.int64], owners: Sequence[int], count: int) -> NDArray[np.int64]:
    """Spans [count, 2] in samples, out of the letters' lengths in units with the silent edges' first and last.

    A space between words is split between its neighbours.
    """
    edges = np.maximum(np.concatenate([[0], np.cumsum(lengths)]) * UNIT - AHEAD, 0)
    starts = np.full(count, -1, np.int64)
    for letter, owner in enumerate(owners):
        begin = int(edges[letter + 1])
        if owner == -1:
            middle = (begin + int(edges[letter + 2])) // 2
            starts[owners[letter + 1]] = middle
        elif starts[owner] < 0:
            starts[owner] = begin
    ends = np.append(starts[1:], edges[-1])
    return np.stack([starts, ends], axis=1)


def trimmed(utterance: Utterance) -> Utterance:
    """With the silence before the first symbol, in pauses and after the last one cut short."""
    pieces, spans, at = [], [], 0
    for index, (symbol, (start, end)) in enumerate(zip(utterance.symbols, utterance.spans, strict=True)):
        begin = max(0, int(start) - round(_LEAD * SAMPLE_RATE)) if index == 0 else int(start)
        stop = int(end)
        if symbol in PAUSES:
            last = index == len(utterance.symbols) - 1
            stop = min(stop, begin + round((_TAIL if last else _LONGEST_PAUSE) * SAMPLE_RATE))
        pieces.append(utterance.samples[begin:stop])
        spans.append((at, at + stop - begin))
        at += stop - begin
    return Utterance(np.concatenate(pieces), utterance.symbols, np.array(spans, np.int64))
