"""A clip on its way through its codec, at the codec's sample rate.

soxr resamples as a stream: the joined output is, to the bit, what it makes of the whole clip. Its default quality, "HQ",
passes 91 % of the lower rate's band; its filter and blocks hold back at most 40 ms, 75 ms for telephony's 8 kHz.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray


class Encoder(Protocol):
    """One clip being encoded. Used by one thread at a time; an abandoned encoder needs no closing."""

    def header(self) -> bytes:
        """What must come before the first sample; called once, first. Empty where the first samples bring it."""

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        """Take `samples` [n] in -1..1 (loud ones are `limited`) and give the bytes that are ready, maybe none."""

    def finish(self) -> bytes:
        """Give the rest. Called once; the encoder is spent afterwards."""


class ClipEncoder:
    """`Encoder` that takes samples at ``source`` hertz for a codec's that takes them at ``target``.

    ``samples`` counts what the codec was given: soxr rounds a length that ends in one half either way.
    """

    def __init__(self, encoder: Encoder, source: int, target: int) -> None:
        self.sample_rate = target
        self.samples = 0
        self._encoder = encoder
        self._resampler = None if source == target else soxr.ResampleStream(source, target, 1, dtype="float32")

    def header(self) -> bytes:
        return self._encoder.header()

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        return self._encode(samples, last=False)

    def finish(self) -> bytes:
        return self._encode(np.zeros(0, np.float32), last=True) + self._encoder.finish()

    def _encode(self, samples: NDArray[np.float32], *, last: bool) -> bytes:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        self.samples += len(samples)
        return self._encoder.encode(samples) if len(samples) else b""
