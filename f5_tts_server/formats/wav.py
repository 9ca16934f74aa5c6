"""RIFF WAVE, 16-bit mono, with a header that can be sent before the length is known."""

import struct

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.formats.pcm import int16_samples

HEADER_BYTES = 44
# The value ffmpeg, libsndfile and browsers read as "until the end of the stream".
UNKNOWN_SIZE = 0xFFFFFFFF


def wav_header(sample_rate: int, data_bytes: int | None = None) -> bytes:
    """The 44 bytes before 16-bit mono samples; `data_bytes` None means a stream of unknown length."""
    data = UNKNOWN_SIZE if data_bytes is None else data_bytes
    riff = UNKNOWN_SIZE if data_bytes is None else data_bytes + HEADER_BYTES - 8
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        riff,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        sample_rate,
        sample_rate * 2,
        2,
        16,
        b"data",
        data,
    )


def wav_with_length(stream: bytes, samples: int) -> bytes:
    """A finished stream of `WavEncoder` with the true sizes in its header."""
    (sample_rate,) = struct.unpack_from("<I", stream, 24)
    return wav_header(sample_rate, 2 * samples) + stream[HEADER_BYTES:]


class WavEncoder:
    """`Encoder` of a WAVE stream: one header, then s16le samples."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate

    def header(self) -> bytes:
        return wav_header(self._sample_rate)

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        return int16_samples(samples).astype("<i2").tobytes()

    def finish(self) -> bytes:
        return b""
