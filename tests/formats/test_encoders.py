"""Every format, decoded by FFmpeg's command line: nothing lost at either end, sample counts as documented."""

import gc
import io
import wave

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from f5_tts_server.f5.audio import decode as decode_reference
from f5_tts_server.formats import FORMATS, open_encoder, whole_file
from f5_tts_server.formats.wav import HEADER_BYTES
from tests.clips import RATE, pieces, speechlike
from tests.ffmpeg import DELAY, MOST_PADDING, decode

# LAME scales by 0.95, hence its figure: the largest normalised spectral difference from the original that a codec may make
SPECTRAL_ERROR = {"wav": 1e-3, "pcm": 1e-3, "flac": 1e-3, "opus": 0.15, "mp3": 0.07, "aac": 0.05}

ALL = sorted(name for name, info in FORMATS.items() if RATE in info.rates)


def encode(name: str, parts: list[NDArray[np.float32]]) -> list[bytes]:
    encoder = open_encoder(name, RATE)
    return [encoder.header(), *(encoder.encode(part) for part in parts), encoder.finish()]


def spectrum(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::512] * np.hanning(1024)
    return np.abs(np.fft.rfft(frames))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", [2400, 30_000, 72_137])
def test_joined_bytes_are_one_file_with_every_sample(name: str, count: int) -> None:
    clip = speechlike(count)
    decoded = decode(name, b"".join(encode(name, pieces(clip, seed=count))))
    extra = len(decoded) - count - DELAY[name]
    assert 0 <= extra <= MOST_PADDING[name], f"{len(decoded)} samples decoded of {count}"


@pytest.mark.parametrize("name", ALL)
def test_spectrum_is_the_clips_from_the_first_frame_to_the_last(name: str) -> None:
    clip = speechlike(60_001)
    decoded = decode(name, b"".join(encode(name, pieces(clip, seed=3))))
    aligned = decoded[DELAY[name] : DELAY[name] + len(clip)]
    wanted, got = spectrum(clip), spectrum(aligned)
    error = np.linalg.norm(got - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    worst = int(np.argmax(error))
    assert error[worst] <= SPECTRAL_ERROR[name], f"frame {worst} of {len(error)}: {error[worst]:.3f}"


@pytest.mark.parametrize("name", ALL)
def test_silence_stays_silent_from_the_first_sample(name: str) -> None:
    """Guards against clicks: a header taken for samples, or a codec that starts with a burst."""
    clip = np.zeros(24_000, np.float32)
    decoded = decode(name, b"".join(encode(name, pieces(clip, seed=5))))
    assert np.abs(decoded).max() < 2e-4


@pytest.mark.parametrize("name", ["wav", "pcm", "flac"])
def test_lossless_formats_keep_sixteen_bits(name: str) -> None:
    clip = speechlike(10_000)
    decoded = decode(name, b"".join(encode(name, [clip])))
    np.testing.assert_allclose(decoded, clip, atol=1.01 / 32768 + 0.4 / 32768)


@pytest.mark.parametrize("name", ALL)
def test_cuts_do_not_change_the_bytes(name: str) -> None:
    clip = speechlike(20_000)
    assert decode(name, b"".join(encode(name, pieces(clip, seed=1)))).tobytes() == (
        decode(name, b"".join(encode(name, [clip]))).tobytes()
    )


@pytest.mark.parametrize("name", ALL)
def test_audio_leaves_before_the_clip_is_whole(name: str) -> None:
    """Half a second in must be at least 300 ms out, whatever the codec holds back."""
    encoder = open_encoder(name, RATE)
    sent = encoder.header() + encoder.encode(speechlike(RATE // 2))
    assert len(decode(name, sent)) - DELAY[name] >= 0.3 * RATE


@pytest.mark.parametrize("name", ALL)
def test_loud_samples_are_limited_not_wrapped(name: str) -> None:
    clip = np.full(12_000, 3.0, np.float32) * np.sign(np.sin(np.arange(12_000) / 40)).astype(np.float32)
    decoded = decode(name, b"".join(encode(name, [clip])))
    middle = decoded[DELAY[name] + 4000 : DELAY[name] + 8000]
    assert np.corrcoef(middle, clip[4000:8000])[0, 1] > 0.95


@pytest.mark.parametrize("name", ALL)
def test_a_clip_without_samples_ends_cleanly(name: str) -> None:
    assert isinstance(b"".join(encode(name, [])), bytes)


@pytest.mark.parametrize("name", ALL)
def test_an_abandoned_encoder_is_collected_silently(name: str) -> None:
    """A client that goes away leaves its encoder where it is; warnings are errors in this suite."""
    encoder = open_encoder(name, RATE)
    encoder.header()
    encoder.encode(speechlike(5000))
    del encoder
    gc.collect()


def test_wav_stream_is_read_by_other_readers() -> None:
    clip = speechlike(7001)
    data = b"".join(encode("wav", pieces(clip, seed=2)))
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert (len(samples), rate) == (7001, RATE)
    with wave.open(io.BytesIO(data)) as reader:
        assert (reader.getframerate(), reader.getsampwidth(), reader.getnchannels()) == (RATE, 2, 1)
        assert np.array_equal(np.frombuffer(reader.readframes(7001), np.int16), samples)


def test_a_whole_wav_file_states_its_sizes() -> None:
    data = whole_file("wav", b"".join(encode("wav", [speechlike(500)])), 500)
    assert len(data) == HEADER_BYTES + 1000
    with wave.open(io.BytesIO(data)) as reader:
        assert reader.getnframes() == 500
    assert int.from_bytes(data[4:8], "little") == len(data) - 8


@pytest.mark.parametrize("count", [500, 72_137])
def test_a_whole_flac_file_states_its_length(count: int) -> None:
    """Without it soundfile, which reads a file by its announced length, could not read what /v1/generate had made."""
    clip = speechlike(count)
    data = whole_file("flac", b"".join(encode("flac", pieces(clip, seed=2))), count)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == RATE and soundfile.info(io.BytesIO(data)).frames == count
    assert np.array_equal(samples, np.rint(clip * np.float32(32767)).astype(np.int16))


@pytest.mark.parametrize("name", ["pcm", "mp3", "opus", "aac"])
def test_other_formats_stay_as_they_were_streamed(name: str) -> None:
    data = b"".join(encode(name, [speechlike(5000)]))
    assert whole_file(name, data, 5000) == data


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "opus"])
@pytest.mark.parametrize("whole", [False, True])
def test_what_the_server_makes_it_takes_as_a_reference(name: str, whole: bool) -> None:
    """Its streamed FLAC, whose length is unknown, was refused."""
    clip = speechlike(48_000)
    data = b"".join(encode(name, pieces(clip, seed=2)))
    decoded = decode_reference(whole_file(name, data, len(clip)) if whole else data)
    seconds = len(decoded.samples) / decoded.rate
    assert seconds == pytest.approx(len(clip) / RATE, abs=0.12)


def test_unknown_format_is_named() -> None:
    with pytest.raises(ValueError, match="'ogg' is unknown; the formats are wav, pcm"):
        open_encoder("ogg", RATE)


def test_opus_refuses_a_rate_it_lacks() -> None:
    with pytest.raises(ValueError, match="22050 is none that opus has here: 8000, 12000, 16000, 24000, 48000"):
        open_encoder("opus", RATE, 22_050)
