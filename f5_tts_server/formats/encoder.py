"""The one interface of the encoders, and the table of formats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.formats.libav import AacEncoder, Mp3Encoder, OpusEncoder
from f5_tts_server.formats.pcm import PcmEncoder
from f5_tts_server.formats.sndfile import FlacEncoder, flac_with_length
from f5_tts_server.formats.wav import WavEncoder, wav_with_length


class Encoder(Protocol):
    """One clip being encoded. Used by one thread at a time; an abandoned encoder needs no closing."""

    def header(self) -> bytes:
        """What must come before the first sample; called once, first. Empty where the first samples bring it."""

    def encode(self, samples: NDArray[np.float32]) -> bytes:
        """Take `samples` [n] in -1..1 (loud ones are `limited`) and give the bytes that are ready, maybe none."""

    def finish(self) -> bytes:
        """Give the rest. Called once; the encoder is spent afterwards."""


@dataclass(frozen=True)
class FormatInfo:
    """A format's HTTP media type, and what makes its encoder from a sample rate in hertz.

    ``with_length`` puts the length into a finished stream, given as bytes and number of samples, for replies that are
    sent whole; None where the format has no place for it, or knows it anyway.
    """

    media_type: str
    open: Callable[[int], Encoder]
    with_length: Callable[[bytes, int], bytes] | None = None


FORMATS: dict[str, FormatInfo] = {
    "wav": FormatInfo("audio/wav", WavEncoder, wav_with_length),
    "pcm": FormatInfo("audio/pcm", PcmEncoder),
    "flac": FormatInfo("audio/flac", FlacEncoder, flac_with_length),
    "mp3": FormatInfo("audio/mpeg", Mp3Encoder),
    "opus": FormatInfo("audio/ogg", OpusEncoder),
    "aac": FormatInfo("audio/aac", AacEncoder),
}


def open_encoder(format: str, sample_rate: int) -> Encoder:
    """An encoder for one clip of mono samples at `sample_rate` hertz.

    Raises ValueError when the format is unknown or cannot hold that rate.
    """
    try:
        info = FORMATS[format]
    except KeyError:
        raise ValueError(f"format {format!r} is unknown; the formats are {', '.join(FORMATS)}") from None
    return info.open(sample_rate)


def whole_file(format: str, stream: bytes, samples: int) -> bytes:
    """A finished stream of that many samples as a file, which tells its length where its format can."""
    with_length = FORMATS[format].with_length
    return stream if with_length is None else with_length(stream, samples)
