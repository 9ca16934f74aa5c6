"""FLAC through libsndfile."""

import numpy as np
import soundfile
from numpy.typing import NDArray

from f5_tts_server.formats.pcm import int16_samples
from f5_tts_server.formats.sink import ForwardSink

# libsndfile's scale 0..1 becomes FLAC level 0: blocks of 1152 samples (48 ms at 24 kHz) instead of 4096 (171 ms).
_COMPRESSION = 0.0


# Of STREAMINFO, the first block of a FLAC file (RFC 9639, section 8.2): rate, channels and depth, then 36 bits of length.
_LENGTH_FIELD = slice(18, 26)
_LENGTH_BITS = 36


def flac_with_length(stream: bytes, samples: int) -> bytes:
    """A finished stream of `FlacEncoder` with its number of samples in its header; its checksum stays unknown."""
    field = int.from_bytes(stream[_LENGTH_FIELD], "big") >> _LENGTH_BITS << _LENGTH_BITS | samples
    return stream[: _LENGTH_FIELD.start] + field.to_bytes(8, "big") + stream[_LENGTH_FIELD.stop :]


class FlacEncoder:
    """`Encoder` of 16-bit FLAC. STREAMINFO says 0 samples and no checksum, which the format defines as unknown."""

    def __init__(self, sample_rate: int) -> None:
        self._sink = ForwardSink()
        self._file = soundfile.SoundFile(
            self._sink, "w", sample_rate, 1, "PCM_16", format="FLAC", compression_level=_COMPRESSION
        )

    def header(self) -> bytes:
        return b""

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        self._file.write(int16_samples(samples))
        return self._sink.drain()

    def finish(self) -> bytes:
        self._file.close()
        return self._sink.drain()
