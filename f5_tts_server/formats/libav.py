"""MP3, Opus in Ogg and AAC in ADTS through PyAV (FFmpeg's libraries).

MP3 is not made by libsndfile, although it could: it opens with a blank frame that it fills in with the clip's length when
it closes, and in a stream that frame plays as silence.
"""

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from f5_tts_server.formats.level import limited

OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_OPUS_BITRATE = 64_000
_OPUS_FRAME_MS = 20
# Two Opus frames a page: half the page headers of one, and no more than 40 ms held back.
_OGG_PAGE_US = 2 * _OPUS_FRAME_MS * 1000
_AAC_BITRATE = 96_000
_AAC_BITS_PER_SAMPLE = 4  # at most by default; the format allows 6
_MP3_BITRATE = 128_000
# Of the three kinds of MP3 (MPEG-1, MPEG-2 and 2.5), the bit rates in kbit/s that a frame's header can name.
_MP3_FULL = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MP3_HALF = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_KBITS = {
    **dict.fromkeys((48000, 44100, 32000), _MP3_FULL),
    **dict.fromkeys((24000, 22050, 16000), _MP3_HALF),
    **dict.fromkeys((12000, 8000), _MP3_HALF[:8]),
}
MP3_RATES = tuple(sorted(_MP3_KBITS))


def mp3_bit_rates(sample_rate: int) -> tuple[int, ...]:
    """The bit rates that MP3 has at a sample rate, ascending, in bits a second."""
    return tuple(1000 * kbits for kbits in _MP3_KBITS[sample_rate])


def opus_bit_rates(sample_rate: int) -> range:
    """The bit rates of Opus in one channel (RFC 7845 leaves them to the encoder; libopus takes these)."""
    del sample_rate
    return range(6_000, 256_001)


def aac_bit_rates(sample_rate: int) -> range:
    """The bit rates of AAC-LC in one channel: a frame of 1024 samples has at most 6144 bits."""
    return range(8_000, 6 * sample_rate + 1)


class _Pipe:
    """What a container writes to: a file object without `seek`, so that FFmpeg treats it as a stream."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def write(self, data: bytes) -> int:
        self._pending += data
        return len(data)

    def drain(self) -> bytes:
        data = bytes(self._pending)
        self._pending.clear()
        return data


class _LibavEncoder:
    """A codec and a muxer with one mono stream."""

    def __init__(
        self,
        sample_rate: int,
        *,
        container: str,
        codec: str,
        sample_format: str,
        bit_rate: int,
        codec_options: dict[str, str],
        container_options: dict[str, str],
    ) -> None:
        self._pipe = _Pipe()
        # flush_packets: each packet leaves at once instead of waiting for a 32 KiB buffer to fill
        self._container = av.open(
            self._pipe, "w", format=container, options={"flush_packets": "1", **container_options}
        )
        stream = self._container.add_stream(codec, rate=sample_rate, options=codec_options, layout="mono")
        assert isinstance(stream, AudioStream)  # an audio codec makes an audio stream; this tells the type checker
        self._stream = stream
        self._stream.codec_context.format = av.AudioFormat(sample_format)
        self._stream.bit_rate = bit_rate
        self._sample_rate = sample_rate
        self._sample_format = sample_format
        self._position = 0

    def header(self) -> bytes:
        self._container.start_encoding()
        return self._pipe.drain()

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        if len(samples):
            frame = av.AudioFrame.from_ndarray(limited(samples)[None, :], format=self._sample_format, layout="mono")
            frame.sample_rate = self._sample_rate
            frame.pts = self._position
            self._position += len(samples)
            self._container.mux(self._stream.encode(frame))
        return self._pipe.drain()

    def finish(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._pipe.drain()


class OpusEncoder(_LibavEncoder):
    """`Encoder` of Opus in Ogg: 20 ms frames, at most 40 ms held back."""

    def __init__(self, sample_rate: int, bit_rate: int | None = None) -> None:
        super().__init__(
            sample_rate,
            container="ogg",
            codec="libopus",
            sample_format="flt",
            bit_rate=bit_rate or _OPUS_BITRATE,
            codec_options={"application": "audio", "frame_duration": str(_OPUS_FRAME_MS)},
            container_options={"page_duration": str(_OGG_PAGE_US)},
        )


class AacEncoder(_LibavEncoder):
    """`Encoder` of AAC-LC in ADTS frames of 1024 samples."""

    def __init__(self, sample_rate: int, bit_rate: int | None = None) -> None:
        super().__init__(
            sample_rate,
            container="adts",
            codec="aac",
            sample_format="fltp",
            bit_rate=bit_rate or min(_AAC_BITRATE, _AAC_BITS_PER_SAMPLE * sample_rate),
            # FFmpeg's default search ("twoloop") spoils the first 1024 samples of a clip that starts loud: a click
            codec_options={"aac_coder": "fast"},
            container_options={},
        )


class Mp3Encoder(_LibavEncoder):
    """`Encoder` of constant-rate MP3 frames, without tags: each would tell a length not known yet."""

    def __init__(self, sample_rate: int, bit_rate: int | None = None) -> None:
        super().__init__(
            sample_rate,
            container="mp3",
            codec="libmp3lame",
            sample_format="fltp",
            bit_rate=bit_rate or min(_MP3_BITRATE, mp3_bit_rates(sample_rate)[-1]),
            codec_options={},
            container_options={"write_xing": "0", "id3v2_version": "0"},
        )
