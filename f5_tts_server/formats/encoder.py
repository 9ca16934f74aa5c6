"""The table of formats, and what makes a clip's encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from f5_tts_server.formats.clip import ClipEncoder, Encoder
from f5_tts_server.formats.libav import (
    MP3_RATES,
    OPUS_RATES,
    AacEncoder,
    Mp3Encoder,
    OpusEncoder,
    aac_bit_rates,
    mp3_bit_rates,
    opus_bit_rates,
)
from f5_tts_server.formats.pcm import PcmEncoder
from f5_tts_server.formats.sndfile import G711_RATE, FlacEncoder, G711Encoder, flac_with_length
from f5_tts_server.formats.wav import WavEncoder, wav_with_length

PCM_RATES = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class UnknownFormat(ValueError):
    """A format that is not made."""


class UnknownRate(ValueError):
    """A rate that a format cannot have; ``field`` is ``sample_rate`` or ``bit_rate``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class FormatInfo:
    """A format's HTTP media type, and what makes its encoder from a sample rate in hertz and bits a second.

    ``rates``: the sample rates that it can have, ascending. ``bit_rates``: those it can have at a sample rate, ascending;
    None where they follow from the samples. ``with_length`` puts the length into a finished stream, given as bytes and
    number of samples, for replies that are sent whole; None where the format has no place for it, or knows it anyway.
    """

    media_type: str
    open: Callable[[int, int | None], Encoder]
    rates: tuple[int, ...] = PCM_RATES
    bit_rates: Callable[[int], Sequence[int]] | None = None
    with_length: Callable[[bytes, int], bytes] | None = None


FORMATS: dict[str, FormatInfo] = {
    "wav": FormatInfo("audio/wav", lambda rate, _: WavEncoder(rate), with_length=wav_with_length),
    "pcm": FormatInfo("audio/pcm", lambda rate, _: PcmEncoder(rate)),
    "flac": FormatInfo("audio/flac", lambda rate, _: FlacEncoder(rate), with_length=flac_with_length),
    "mp3": FormatInfo("audio/mpeg", Mp3Encoder, MP3_RATES, mp3_bit_rates),
    "opus": FormatInfo("audio/ogg", OpusEncoder, OPUS_RATES, opus_bit_rates),
    "aac": FormatInfo("audio/aac", AacEncoder, bit_rates=aac_bit_rates),
    "ulaw": FormatInfo("audio/basic", lambda *_: G711Encoder("ULAW"), (G711_RATE,)),
    "alaw": FormatInfo("audio/x-alaw-basic", lambda *_: G711Encoder("ALAW"), (G711_RATE,)),
}


def default_rate(format: str, model_rate: int) -> int:
    """The sample rate of a clip that asks for none: the model's, or the format's that loses least of it."""
    rates = FORMATS[format].rates
    return min((rate for rate in rates if rate >= model_rate), default=rates[-1])


def check_rates(format: str, sample_rate: int | None, bit_rate: int | None, model_rate: int) -> int:
    """The sample rate of a clip of this format; for None, `default_rate`.

    Raises UnknownFormat, or UnknownRate where the format cannot have these rates; the messages say which it can.
    """
    try:
        info = FORMATS[format]
    except KeyError:
        raise UnknownFormat(f"format {format!r} is unknown; the formats are {', '.join(FORMATS)}") from None
    if sample_rate is None:
        sample_rate = default_rate(format, model_rate)
    if sample_rate not in info.rates:
        rates = ", ".join(map(str, info.rates))
        raise UnknownRate("sample_rate", f"sample_rate {sample_rate} is none that {format} has here: {rates}")
    if bit_rate is None:
        return sample_rate
    if info.bit_rates is None:
        raise UnknownRate("bit_rate", f"bit_rate is given, but {format} has none to choose; leave it out")
    possible = info.bit_rates(sample_rate)
    if bit_rate not in possible:
        told = f"{possible[0]} to {possible[-1]}" if isinstance(possible, range) else ", ".join(map(str, possible))
        raise UnknownRate("bit_rate", f"bit_rate {bit_rate} is none that {format} has at {sample_rate} Hz: {told}")
    return sample_rate


def open_encoder(
    format: str, model_rate: int, sample_rate: int | None = None, bit_rate: int | None = None
) -> ClipEncoder:
    """An encoder for one clip of mono samples at `model_rate` hertz, heard at `sample_rate`, by default `default_rate`.

    Raises ValueError, as `check_rates`, when the format is unknown or cannot have those rates.
    """
    sample_rate = check_rates(format, sample_rate, bit_rate, model_rate)
    return ClipEncoder(FORMATS[format].open(sample_rate, bit_rate), model_rate, sample_rate)


def whole_file(format: str, stream: bytes, samples: int) -> bytes:
    """A finished stream of that many samples, at its own rate, as a file that tells its length where its format can."""
    with_length = FORMATS[format].with_length
    return stream if with_length is None else with_length(stream, samples)
