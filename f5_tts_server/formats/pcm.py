"""Raw 16-bit samples: little endian, mono, no header."""

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.formats.level import limited


def int16_samples(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Float samples [n] as 16-bit integers; full scale is 32767 on both sides, loud ones are `limited`."""
    scaled: NDArray[np.int16] = np.rint(limited(samples) * np.float32(32767)).astype(np.int16)
    return scaled


class PcmEncoder:
    """`Encoder` of s16le samples."""

    def __init__(self, sample_rate: int) -> None:
        del sample_rate  # raw samples carry no rate

    def header(self) -> bytes:
        return b""

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        return int16_samples(samples).astype("<i2").tobytes()

    def finish(self) -> bytes:
        return b""
