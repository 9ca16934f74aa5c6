"""How far what was heard is from what was said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def edits(said: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance: words, or characters of two strings."""
    row = np.arange(len(heard) + 1)
    for index, one in enumerate(said, 1):
        before = row
        row = np.empty_like(before)
        row[0] = index
        for at, other in enumerate(heard, 1):
            row[at] = min(before[at] + 1, row[at - 1] + 1, before[at - 1] + (one != other))
    return int(row[-1])


def error_rate(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Edits a symbol said, over (said, heard) pairs, all sentences pooled."""
    return sum(edits(said, heard) for said, heard in pairs) / sum(len(said) for said, _ in pairs)
