"""FLAC and G.711 through libsndfile."""

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


# G.711 (ITU-T): 8 bits a sample at 8 kHz. Telephony sends it in packets of 20 ms.
G711_RATE = 8_000
G711_FRAME = 160  # bytes
_G711_SILENCE = {"ULAW": b"\xff", "ALAW": b"\xd5"}


class G711Encoder:
    """`Encoder` of G.711 without a header; ``subtype`` is libsndfile's name of the law, ``ULAW`` or ``ALAW``.

    It gives whole frames of 20 ms only, which can be put into packets as they are; silence fills the last one.
    """

    def __init__(self, subtype: str) -> None:
        self._silence = _G711_SILENCE[subtype]
        self._sink = ForwardSink()
        self._file = soundfile.SoundFile(self._sink, "w", G711_RATE, 1, subtype, format="RAW")
        self._held = b""

    def header(self) -> bytes:
        return b""

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        self._file.write(int16_samples(samples))
        data = self._held + self._sink.drain()
        whole = len(data) // G711_FRAME * G711_FRAME
        self._held = data[whole:]
        return data[:whole]

    def finish(self) -> bytes:
        self._file.close()
        rest = self._held + self._sink.drain()
        return rest + self._silence * (-len(rest) % G711_FRAME)
