"""Other sample rates and bit rates: soxr's own result whatever the cuts, FFmpeg hears what went in, G.711 is G.711."""

from __future__ import annotations

import io
import warnings
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from f5_tts_server.formats import FORMATS, UnknownRate, check_rates, default_rate, open_encoder
from f5_tts_server.formats.pcm import int16_samples
from tests.clips import RATE, pieces, speechlike
from tests.ffmpeg import DELAY, decode

RATES = FORMATS["pcm"].rates
EVERY = [(name, rate) for name, info in sorted(FORMATS.items()) for rate in info.rates]
TELEPHONY = ("ulaw", "alaw")


def encode(
    name: str, parts: list[NDArray[np.float32]], rate: int | None = None, bit_rate: int | None = None
) -> list[bytes]:
    encoder = open_encoder(name, RATE, rate, bit_rate)
    return [encoder.header(), *(encoder.encode(part) for part in parts), encoder.finish()]


def tone(seconds: float, hertz: float = 1000.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(samples: NDArray[np.float32], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_stream_is_what_soxr_makes_of_the_whole(rate: int, seed: int) -> None:
    clip = speechlike(50_003)
    wanted = soxr.resample(clip, RATE, rate)
    data = b"".join(encode("pcm", pieces(clip, seed), rate))
    assert np.array_equal(np.frombuffer(data, "<i2"), int16_samples(wanted))


@pytest.mark.parametrize("rate", RATES)
def test_the_encoder_counts_the_samples_of_the_clip(rate: int) -> None:
    """240 samples at 24 kHz are 220.5 at 22.05 kHz, of which soxr makes 220; 720 are 661.5, of which it makes 661."""
    for count in (0, 1, 2, 3, 80, 239, 240, 400, 720, 12_345):
        encoder = open_encoder("pcm", RATE, rate)
        data = encoder.encode(np.zeros(count, np.float32)) + encoder.finish()
        assert len(data) == 2 * encoder.samples
        assert abs(encoder.samples - count * rate / RATE) <= 0.5


@pytest.mark.parametrize("rate", RATES)
def test_resampling_holds_back_little(rate: int) -> None:
    encoder = open_encoder("pcm", RATE, rate)
    sent = b"".join(encoder.encode(piece) for piece in np.split(speechlike(RATE // 2), 50))
    assert len(sent) / 2 / rate > 0.5 - (0.08 if rate == 8000 else 0.04)


@pytest.mark.parametrize(("name", "rate"), EVERY)
def test_every_format_at_each_of_its_rates(name: str, rate: int) -> None:
    """Decoded at the rate the file itself names, the tone has its pitch, and the clip its length."""
    clip = tone(1.5)
    decoded = decode(name, b"".join(encode(name, pieces(clip, seed=rate), rate)), rate)
    frame = {"mp3": 1152 if rate >= 32_000 else 576, "aac": 1024, "ulaw": 80, "alaw": 80}.get(name, 0)
    count = round(len(clip) * rate / RATE)
    assert 0 <= len(decoded) - DELAY[name] - count <= 2 * frame, f"{len(decoded)} samples of {count}"
    middle = decoded[rate // 4 : rate // 4 + rate]
    assert pitch(middle, rate) == pytest.approx(1000, abs=1)
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("rate", RATES)
def test_a_wav_header_names_the_rate(rate: int) -> None:
    data = b"".join(encode("wav", [tone(0.1)], rate))
    with wave.open(io.BytesIO(data)) as reader:
        assert reader.getframerate() == rate
    assert int.from_bytes(data[28:32], "little") == 2 * rate  # bytes a second


@pytest.mark.parametrize(
    ("rate", "bit_rate"),
    [(22_050, 32_000), (24_000, 48_000), *((44_100, 1000 * kbits) for kbits in (32, 64, 96, 128, 192))],
)
def test_mp3_has_the_bit_rate_asked_for(rate: int, bit_rate: int) -> None:
    clip = speechlike(4 * RATE)
    data = b"".join(encode("mp3", [clip], rate, bit_rate))
    frame_s = (1152 if rate >= 32_000 else 576) / rate
    assert len(data) * 8 == pytest.approx(bit_rate * 4, abs=4 * frame_s * bit_rate)


@pytest.mark.parametrize("name", ["opus", "aac"])
def test_more_bits_make_a_larger_file(name: str) -> None:
    clip = np.random.default_rng(4).normal(0, 0.1, 2 * RATE).astype(np.float32)
    sizes = [len(b"".join(encode(name, [clip], 48_000, bit_rate))) for bit_rate in (32_000, 64_000, 128_000, 192_000)]
    # Each near its rate: libopus and FFmpeg's AAC vary it with the content.
    assert [8 * size / 2 for size in sizes] == pytest.approx([32_000, 64_000, 128_000, 192_000], rel=0.25)


@pytest.mark.parametrize(
    ("name", "rate", "bit_rate", "field", "told"),
    [
        ("ulaw", 16_000, None, "sample_rate", "ulaw has here: 8000"),
        ("mp3", 11_025, None, "sample_rate", "8000, 12000, 16000, 22050, 24000, 32000, 44100, 48000"),
        ("mp3", 44_100, 33_000, "bit_rate", "at 44100 Hz: 32000, 40000, 48000"),
        ("mp3", 22_050, 192_000, "bit_rate", "at 22050 Hz: 8000, 16000"),
        ("opus", 48_000, 300_000, "bit_rate", "6000 to 256000"),
        ("wav", 24_000, 64_000, "bit_rate", "wav has none to choose"),
    ],
)
def test_what_a_format_cannot_have_is_refused_with_what_it_can(
    name: str, rate: int, bit_rate: int | None, field: str, told: str
) -> None:
    with pytest.raises(UnknownRate, match=told) as caught:
        check_rates(name, rate, bit_rate, RATE)
    assert caught.value.field == field


@pytest.mark.parametrize(("model_rate", "wanted"), [(24_000, 24_000), (44_100, 48_000), (96_000, 48_000)])
def test_a_model_at_a_rate_that_opus_lacks_is_heard_at_the_next(model_rate: int, wanted: int) -> None:
    assert default_rate("opus", model_rate) == wanted
    assert default_rate("ulaw", model_rate) == 8000


# G.711


def standard(law: str) -> tuple[Callable[..., bytes], Callable[..., bytes]]:
    """Encoder and decoder of Python's standard library, which had them up to 3.12."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop: Any = pytest.importorskip("audioop")
    return getattr(audioop, f"lin2{law}"), getattr(audioop, f"{law}2lin")


@pytest.mark.parametrize("law", TELEPHONY)
def test_g711_of_every_value_is_the_standard_librarys(law: str) -> None:
    """Values that lie on the border of two codes may get either; all others get the same."""
    to_code, to_value = standard(law)
    values = np.arange(-32767, 32768).astype(np.int16)
    values = np.concatenate([values, np.zeros(-len(values) % 160, np.int16)])
    encoder = open_encoder(law, 8000)
    data = encoder.encode(values.astype(np.float32) / np.float32(32767) * np.float32(0.949)) + encoder.finish()
    given = np.rint(values.astype(np.float32) / np.float32(32767) * np.float32(0.949) * np.float32(32767))
    wanted = to_code(given.astype("<i2").tobytes(), 2)
    assert len(data) == len(values)
    assert np.mean(np.frombuffer(data, np.uint8) != np.frombuffer(wanted, np.uint8)) < 0.01
    heard, heard_there = (np.frombuffer(to_value(codes, 2), "<i2").astype(int) for codes in (data, wanted))
    step = np.maximum(
        (np.abs(given) + 132) / 16, 16
    )  # codes are 1/16 to 1/32 of a value apart, with mu-law's bias of 132
    assert np.all(np.abs(heard - heard_there) <= step)


@pytest.mark.parametrize("law", TELEPHONY)
def test_telephony_leaves_in_packets_of_20_ms(law: str) -> None:
    encoder = open_encoder(law, RATE)
    sent = [encoder.encode(piece) for piece in pieces(speechlike(30_011), seed=6, longest=900)]
    assert all(len(data) % 160 == 0 for data in sent) and sum(map(bool, sent)) > 10
    sent.append(encoder.finish())
    count = encoder.samples
    assert count == round(30_011 / 3)
    joined = b"".join(sent)
    assert len(joined) == -(-count // 160) * 160
    _, to_value = standard(law)
    padding = np.frombuffer(to_value(joined[count:], 2), "<i2")
    assert np.abs(padding).max() <= 8  # A-law has no zero; this is its smallest value


@pytest.mark.parametrize("law", TELEPHONY)
def test_telephony_does_not_depend_on_the_cuts(law: str) -> None:
    clip = speechlike(20_000)
    assert b"".join(encode(law, pieces(clip, seed=1))) == b"".join(encode(law, [clip]))
