"""The one interface of the encoders, and the table of formats."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.formats.libav import AacEncoder, Mp3Encoder, OpusEncoder
from f5_tts_server.formats.pcm import PcmEncoder
from f5_tts_server.formats.sndfile import FlacEncoder
from f5_tts_server.formats.wav import WavEncoder


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
    """A format's HTTP media type and file extension, and what makes its encoder from a sample rate in hertz."""

    media_type: str
    extension: str
    open: Callable[[int], Encoder]


FORMATS: dict[str, FormatInfo] = {
    "wav": FormatInfo("audio/wav", "wav", WavEncoder),
    "pcm": FormatInfo("audio/pcm", "pcm", PcmEncoder),
    "flac": FormatInfo("audio/flac", "flac", FlacEncoder),
    "mp3": FormatInfo("audio/mpeg", "mp3", Mp3Encoder),
    "opus": FormatInfo("audio/ogg", "opus", OpusEncoder),
    "aac": FormatInfo("audio/aac", "aac", AacEncoder),
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
