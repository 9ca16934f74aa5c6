"""How long each phoneme lasts, and how many tokens it becomes.

The embedded voice's text front end does the timing: a phoneme is emitted as one token for every `FRAMES_A_TOKEN` frames
that it sounds, so that the backbone's average upsampling puts each token on its own frames.
"""

from __future__ import annotations

import numpy as np

FRAMES_A_TOKEN = 2


def allocate(lengths: np.ndarray, tokens: int) -> np.ndarray:
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
    return np.diff(ends, prepend=0)
