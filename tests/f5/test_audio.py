"""Audio front end against the official one (tests/golden/frontend_audio.npz) and against files that lie."""

import io
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from f5_tts_server.f5.audio import (
    MAX_SECONDS,
    AudioError,
    AudioTooLongError,
    AudioTooShortError,
    NonFiniteAudioError,
    NotAudioError,
    RefusedClips,
    SilentAudioError,
    decode,
    mel,
    normalise_rms,
    reference_samples,
    resample,
    trim_reference,
)
from f5_tts_server.f5.config import MelConfig
from tests.clips import RATE, file

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "frontend_audio.npz"))
CLIPS = sorted(name.split("/")[1] for name in GOLDEN if name.endswith("/clip"))


def tone(seconds: float, rate: int = RATE, peak: float = 0.3) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("name", CLIPS)
def test_trimming_equals_pydub(name: str) -> None:
    """Every sample of the clip the official code makes, at rates whose milliseconds are not whole samples too."""
    clip, rate, trimmed = (GOLDEN[f"trim/{name}/{key}"] for key in ("clip", "rate", "trimmed"))
    ours = trim_reference((clip / 32_768).astype(np.float32), int(rate))
    np.testing.assert_array_equal(ours * 32_768, trimmed)


def test_trimming_golden_covers_every_rule() -> None:
    """Else equality above would say little: whole clips, cuts at a silence, a cut after 12 s."""
    shares = {name: len(GOLDEN[f"trim/{name}/trimmed"]) / len(GOLDEN[f"trim/{name}/clip"]) for name in CLIPS}
    assert any(share > 1 for share in shares.values())
    assert sum(share < 0.7 for share in shares.values()) > 5
    assert len(GOLDEN["trim/no pause/trimmed"]) == 12 * RATE + 1198


@pytest.mark.parametrize("kind", ["vocos", "bigvgan"])
def test_mel_equals_official(kind: str) -> None:
    ours = mel(GOLDEN["mel/samples"], MelConfig(kind=kind))  # type: ignore[arg-type]
    assert ours.dtype == np.float32
    assert ours.shape == GOLDEN[f"mel/{kind}"].shape
    assert relative_error(ours, GOLDEN[f"mel/{kind}"]) <= 1e-5


def test_conditioning_equals_official() -> None:
    """From a quiet clip to the mel that the official sampler gives its model: RMS rule and mel together."""
    loud, gain = normalise_rms(GOLDEN["whole/samples"])
    assert relative_error(mel(loud, MelConfig()), GOLDEN["whole/cond"]) <= 1e-5
    np.testing.assert_allclose(loud * gain, GOLDEN["whole/samples"], rtol=1e-6)


def test_mel_needs_samples_to_reflect() -> None:
    with pytest.raises(AudioTooShortError, match="512"):
        mel(np.zeros(512, np.float32), MelConfig())


def test_rms_is_raised_to_a_tenth_and_never_lowered() -> None:
    loud, gain = normalise_rms(tone(1, peak=0.01))
    assert np.sqrt(np.mean(np.square(loud))) == pytest.approx(0.1, rel=1e-5)
    assert gain == pytest.approx(0.01 / np.sqrt(2) / 0.1, rel=1e-4)
    samples = tone(1, peak=0.5)
    assert normalise_rms(samples)[1] == 1.0
    np.testing.assert_array_equal(normalise_rms(samples)[0], samples)


@pytest.mark.parametrize(
    ("container", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 0),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_decodes_formats_and_mixes_channels(container: str, subtype: str, tolerance: float) -> None:
    left, right = tone(1), tone(1, peak=0.1)
    samples, rate, _ = decode(file(np.stack([left, right], 1), format=container, subtype=subtype))
    assert rate == RATE and samples.dtype == np.float32
    np.testing.assert_allclose(samples, (left + right) / 2, rtol=0, atol=tolerance + 1e-7)


@given(st.integers(1, 5_000), st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000, 192_000]))
def test_resampled_length_is_torchaudios(count: int, rate: int) -> None:
    assert len(resample(np.ones(count, np.float32), rate, RATE)) == -(-count * RATE // rate)


def test_resampling_keeps_a_tone() -> None:
    ours = resample(tone(0.5, 44_100), 44_100, RATE)
    np.testing.assert_allclose(ours[500:-500], tone(0.5)[500:-500], atol=1e-3)


def test_reference_samples_are_trimmed_raised_and_resampled() -> None:
    spoken = np.concatenate([np.zeros(44_100), tone(2, 44_100, 0.02), np.zeros(44_100)])
    samples, gain = reference_samples(file(spoken, rate=44_100, subtype="PCM_16"), RATE)
    assert len(samples) / RATE == pytest.approx(2.05, abs=0.02)
    assert np.sqrt(np.mean(np.square(samples))) == pytest.approx(0.1, rel=1e-3)
    assert gain == pytest.approx(0.02 / np.sqrt(2) * np.sqrt(2 / 2.05) / 0.1, rel=1e-2)


# Files that cannot be used


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, this is text" * 50,
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
        b"RIFF\xff\xff\xff\xffWAVEfmt ",
        b"ID3\x03\x00\x00\x00\x00\x00\x0a" + bytes(3000),
        file(tone(1), format="FLAC")[:9000],
    ],
    ids=["nothing", "text", "picture", "header only", "tag only", "truncated"],
)
def test_refuses_what_is_not_audio(data: bytes) -> None:
    with pytest.raises(NotAudioError, match="sound file"):
        decode(data)


def test_refuses_a_clip_without_samples() -> None:
    with pytest.raises(AudioTooShortError, match="no samples"):
        decode(file(tone(0)))


def test_refuses_a_long_file_by_its_header() -> None:
    with pytest.raises(AudioTooLongError, match=r"60 s.*header says 61\.0 s"):
        decode(file(tone(61)))


@contextmanager
def counted_reads() -> Iterator[list[int]]:
    """Frames of each block that is decoded meanwhile."""
    reads: list[int] = []
    original = soundfile.SoundFile.read

    def read(file: soundfile.SoundFile, *arguments: object, **options: object) -> np.ndarray:
        block = original(file, *arguments, **options)
        reads.append(len(block))
        return block

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "read", read)
        yield reads


def with_flac_frames(flac: bytes, frames: int) -> bytes:
    """The same FLAC file with another number of frames in its header (36 bits from byte 21½ on; 0 is unknown)."""
    fields = int.from_bytes(flac[18:26], "big") >> 36 << 36
    return flac[:18] + (fields | frames).to_bytes(8, "big") + flac[26:]


@pytest.mark.parametrize(("container", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS")])
def test_stops_decoding_at_the_limit(container: str, subtype: str | None) -> None:
    """The header of an MP3 file is only an estimate, and an OGG file has none: the length shows while decoding, or at the end of
    the file, and decoding must not go on. Silence makes these files small: an hour of it in Opus is 1 MB."""
    long = io.BytesIO()
    with soundfile.SoundFile(long, "w", RATE, 1, subtype, format=container) as written:
        for _ in range(150):  # libsndfile's Vorbis encoder crashes on large blocks
            written.write(np.zeros(RATE, np.int16))
    with counted_reads() as reads, pytest.raises(AudioTooLongError, match="60 s"):
        decode(long.getvalue())
    assert sum(reads) <= MAX_SECONDS * RATE + 2**15


def test_header_of_a_stream_promises_more_than_there_is() -> None:
    """A WAV header of 2³² bytes over a second of samples is what a stream leaves behind: it reads as what is there."""
    data = bytearray(file(tone(1), subtype="PCM_16"))
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFF_FFFF)
    assert len(decode(bytes(data))[0]) == RATE


def test_a_small_file_of_very_many_samples_is_refused_by_its_header() -> None:
    """92 KB of FLAC, 59 s of zeros at 192 kHz in eight channels, cost 307 MB and 1.3 s each time they were sent."""
    small = file(np.zeros((4096, 8), np.int16), rate=192_000, format="FLAC")
    with counted_reads() as reads, pytest.raises(AudioTooLongError, match="11328000 in each of 8 channels"):
        decode(with_flac_frames(small, 59 * 192_000))
    assert not reads
    with pytest.raises(AudioTooLongError, match="more samples than are decoded"):  # and where the header does not tell
        decode(with_flac_frames(file(np.zeros((4_200_000, 8), np.int16), rate=192_000, format="FLAC"), 0))


def test_memory_stays_near_that_of_what_is_kept() -> None:
    """A minute at 192 kHz is kept as a minute at 48 kHz (12 MB); judging silence made seven copies of it in doubles."""
    long = file((tone(59, 192_000) * 32_768).astype(np.int16), rate=192_000, format="FLAC")
    tracemalloc.start()
    try:
        reference_samples(long, RATE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4.5 * 59 * 48_000 * 4, f"{peak / 2**20:.0f} MiB"


def test_high_rates_come_down_to_48_khz() -> None:
    samples, rate, file_rate = decode(file(tone(1, 192_000), rate=192_000))
    assert (rate, file_rate, len(samples)) == (48_000, 192_000, 48_000)
    np.testing.assert_allclose(samples[500:-500], tone(1, 48_000)[500:-500], atol=1e-3)


def test_flac_that_does_not_know_its_length_is_read_to_its_end() -> None:
    """Encoders that stream leave the length 0, which means unknown; ours did, and this server refused its own clips."""
    flac = file(tone(3.1), format="FLAC")
    streamed = with_flac_frames(flac, 0)
    np.testing.assert_array_equal(decode(streamed).samples, decode(flac).samples)
    with pytest.raises(NotAudioError):
        decode(streamed[: len(streamed) * 2 // 3])
    with pytest.raises(AudioTooLongError, match="60 s"):
        decode(with_flac_frames(file(np.zeros(61 * RATE, np.int16), format="FLAC"), 0))


def test_a_refused_clip_is_not_decoded_again() -> None:
    silent = file(np.zeros(2 * RATE, np.float32))
    with pytest.raises(SilentAudioError) as first:
        reference_samples(silent, RATE)
    with counted_reads() as reads, pytest.raises(SilentAudioError) as second:
        reference_samples(silent, RATE)
    assert not reads and str(first.value) == str(second.value)


def test_refusals_are_forgotten_beyond_their_limit_and_apart_by_conditions() -> None:
    refused, asked = RefusedClips(AudioError, limit=2), []

    def ask(clip: bytes, condition: float) -> None:
        with pytest.raises(NotAudioError, match="no"), refused.remembered(clip, condition):
            asked.append((clip, condition))
            raise NotAudioError("no")

    for clip, condition in ((b"a", 1), (b"a", 2), (b"a", 1), (b"b", 1), (b"a", 1), (b"a", 2)):
        ask(clip, condition)
    assert asked == [(b"a", 1), (b"a", 2), (b"b", 1), (b"a", 2)]
    with pytest.raises(ZeroDivisionError), refused.remembered(b"c"):
        _ = 1 / 0
    with refused.remembered(b"c"):
        pass  # another kind of error is not remembered


def test_refuses_too_many_bytes_before_opening() -> None:
    with pytest.raises(AudioTooLongError, match=r"1001 bytes; at most 1000"):
        decode(bytes(1001), max_bytes=1000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_samples_that_are_no_numbers(value: float) -> None:
    samples = tone(1)
    samples[1234] = value
    with pytest.raises(NonFiniteAudioError, match="not finite"):
        decode(file(samples, subtype="FLOAT"))


def test_clips_what_is_beyond_full_scale() -> None:
    samples, _, _ = decode(file(np.full(RATE, 1e38, np.float32), subtype="FLOAT"))
    assert samples.max() == 1


def test_refuses_rates_and_channels_beyond_limits() -> None:
    with pytest.raises(NotAudioError, match="4000 Hz; 8000 to 192000"):
        decode(file(tone(1), rate=4_000))
    with pytest.raises(AudioTooLongError, match="9 channels; at most 8"):
        decode(file(np.zeros((100, 9))))


@pytest.mark.parametrize("samples", [np.zeros(RATE, np.float32), tone(2, peak=0.005)], ids=["zeros", "below -42 dBFS"])
def test_refuses_silence(samples: np.ndarray) -> None:
    with pytest.raises(SilentAudioError, match="-42 dBFS"):
        reference_samples(file(samples), RATE)


def test_refuses_a_click() -> None:
    with pytest.raises(AudioTooShortError, match=r"0\.\d+ s of speech.*at least 0\.5 s"):
        reference_samples(file(np.concatenate([tone(0.3), np.zeros(RATE)])), RATE)


def test_a_damaged_aiff_header_raises_nothing_in_libsndfiles_callback() -> None:
    # This byte sent libsndfile to position -1; what BytesIO raised at that, cffi printed and lost, and pytest failed
    # whichever test ran next.
    data = bytearray(file(tone(0.2), format="AIFF"))
    data[39] = 0x0F
    with pytest.raises(AudioError):
        decode(bytes(data))


@given(st.binary(max_size=400), st.integers(0, 2_000), st.sampled_from(["WAV", "FLAC", "OGG", "AIFF"]))
def test_damaged_files_never_do_worse_than_an_audio_error(noise: bytes, place: int, container: str) -> None:
    data = bytearray(file(tone(0.2), format=container))
    data[place : place + len(noise)] = noise
    try:
        samples, rate, _ = decode(bytes(data))
    except AudioError:
        return
    assert len(samples) <= MAX_SECONDS * rate
    assert np.isfinite(samples).all()
