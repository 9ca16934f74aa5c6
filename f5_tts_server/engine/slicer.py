"""Audio cut into pieces of one size for sending."""

from __future__ import annotations

import numpy as np

from f5_tts_server.inference_types import Samples

_NOTHING = np.zeros(0, np.float32)


class Slicer:
    """Cuts a flow of samples into pieces of one size. The last piece, which is never empty, waits for `rest`.

    Piece boundaries depend on the samples alone, not on how they come in.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a piece of {size} samples")
        self._size = size
        self._waiting = _NOTHING

    def push(self, samples: Samples) -> list[Samples]:
        waiting = np.concatenate([self._waiting, samples])
        count = max((len(waiting) - 1) // self._size, 0)
        self._waiting = waiting[count * self._size :]
        return [waiting[i * self._size : (i + 1) * self._size] for i in range(count)]

    def rest(self) -> Samples:
        rest, self._waiting = self._waiting, _NOTHING
        return rest
