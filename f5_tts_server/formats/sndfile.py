"""FLAC through libsndfile."""

import numpy as np
import soundfile
from numpy.typing import NDArray

from f5_tts_server.formats.pcm import int16_samples
from f5_tts_server.formats.sink import ForwardSink

# libsndfile's scale 0..1 becomes FLAC level 0: blocks of 1152 samples (48 ms at 24 kHz) instead of 4096 (171 ms).
_COMPRESSION = 0.0


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
