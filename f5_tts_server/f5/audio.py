"""Reference audio: from the bytes of a file to what the model hears.

The order is that of the official `preprocess_ref_audio_text` and `infer_batch_process` (SWivid/F5-TTS 1.1.22,
`infer/utils_infer.py`): decode, mono, trim, RMS, 24 kHz, log-mel. Trimming reproduces the arithmetic of pydub 0.25.1
(`silence.py`), which cuts at whole milliseconds and compares integer RMS values of 16-bit samples.

Three differences are meant: silence is judged on the mono mix, which is what the model hears (pydub judges the
interleaved channels), resampling is soxr's, and files above 48 kHz are resampled to that before they are trimmed.
"""

from __future__ import annotations

import hashlib
import io
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from f5_tts_server.f5.config import MelConfig

Samples = NDArray[np.float32]

MAX_SECONDS = 60.0  # of a file; what remains after trimming is at most 12.05 s
MAX_VALUES = 2**25  # samples of a file, all channels together: 60 s of stereo at 192 kHz, of eight channels at 48 kHz
MAX_BYTES = 32 * 2**20
MIN_SECONDS = 0.5  # after trimming
SAMPLE_RATES = (8_000, 192_000)  # Hz, lowest and highest
MAX_CHANNELS = 8
TARGET_RMS = 0.1

_BLOCK_FRAMES = 1 << 15
_HIGHEST_RATE = 48_000  # Hz, of what is kept of a file: the trimming needs no more, and the mel hears half of it
_UNKNOWN_FRAMES = 2**62  # libsndfile says 2**63 - 1
_FULL_SCALE = 32_768  # of 16-bit samples
_CLIP_MS = 12_000  # longest reference
_ENOUGH_MS = 6_000  # a reference this long may end at the next silence
_KEEP_MS = 1_000  # silence left at a cut
_SEEK_MS = 10
_EDGE_DBFS = -42.0
_LOG_FLOOR = 1e-5  # of the mel, before the logarithm


class AudioError(ValueError):
    """A reference that cannot be used; the message says why and names the limit."""


class NotAudioError(AudioError):
    """Not a sound file, or one that is damaged."""


class AudioTooLongError(AudioError):
    """More bytes, seconds or channels than are decoded."""


class AudioTooShortError(AudioError):
    """Less speech than a voice can be learned from."""


class SilentAudioError(AudioError):
    """Nothing in it is loud enough to be speech."""


class NonFiniteAudioError(AudioError):
    """Floating-point samples that are NaN or infinite."""


class Decoded(NamedTuple):
    """A sound file: samples [n], mono, within ±1, their rate in Hz, and the rate that the file has."""

    samples: Samples
    rate: int
    file_rate: int


def decode(data: bytes, *, max_seconds: float = MAX_SECONDS, max_bytes: int = MAX_BYTES) -> Decoded:
    """Decodes any file that libsndfile reads; rates above 48 kHz come down to it.

    Work and memory are bounded whatever the file claims: length, rate and channels are looked at before the first
    sample is decoded, and decoding goes block by block, mixes and resamples each, and stops at the limit.
    """
    if len(data) > max_bytes:
        raise AudioTooLongError(f"the audio has {len(data)} bytes; at most {max_bytes} are accepted")
    try:
        with _ForwardFile(_Bytes(data)) as file:
            return _read(file, max_seconds)
    except soundfile.LibsndfileError as error:
        raise NotAudioError(f"not a readable sound file: {error.error_string}") from error


class _Bytes(io.BytesIO):
    """Bytes as libsndfile reads them: where a damaged header sends it to before the first byte, it stays.

    Its callback cannot raise: an exception there is printed, and lost.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from beginning to end: soundfile seeks after each block, which FLAC of unknown length does not allow."""

    def seekable(self) -> bool:
        return False


def _read(file: soundfile.SoundFile, max_seconds: float) -> Decoded:
    """All samples of an open file, mixed to mono."""
    rate, channels = file.samplerate, file.channels
    lowest, highest = SAMPLE_RATES
    if not lowest <= rate <= highest:
        raise NotAudioError(f"the audio's sample rate is {rate} Hz; {lowest} to {highest} Hz are accepted")
    if channels > MAX_CHANNELS:
        raise AudioTooLongError(f"the audio has {channels} channels; at most {MAX_CHANNELS} are accepted")
    # The header of an MP3 file without a Xing frame is an estimate, off by a factor of three for variable bit rates; a
    # FLAC stream may not know its length.
    announced = None if file.format == "MP3" or file.frames >= _UNKNOWN_FRAMES else file.frames
    if announced is not None:
        _check_size(announced, rate, channels, max_seconds, by_header=True)
    to_lower = soxr.ResampleStream(rate, _HIGHEST_RATE, 1, dtype="float32") if rate > _HIGHEST_RATE else None
    pieces: list[Samples] = []

    def keep(piece: Samples, *, last: bool = False) -> None:
        # Resampling rings a little beyond full scale.
        pieces.append(piece if to_lower is None else np.clip(to_lower.resample_chunk(piece, last=last), -1, 1))

    total = 0
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        total += len(block)
        _check_size(total, rate, channels, max_seconds)
        if not np.isfinite(block).all():
            raise NonFiniteAudioError("the audio has samples that are not finite numbers (NaN or infinity)")
        # Clipped as every player does; decoded MP3 and float files go a little or, if broken, far beyond full scale.
        keep(np.clip(block, -1, 1).mean(axis=1))
    if not total:
        raise AudioTooShortError("the audio holds no samples")
    if announced is not None and total < announced:
        raise NotAudioError(f"the audio ends after {total / rate:.1f} s of the {announced / rate:.1f} s it announces")
    keep(np.empty(0, np.float32), last=True)
    return Decoded(np.concatenate(pieces), min(rate, _HIGHEST_RATE), rate)


def _check_size(frames: int, rate: int, channels: int, max_seconds: float, *, by_header: bool = False) -> None:
    """Raises AudioTooLongError for more seconds, or more samples of all channels, than are decoded."""
    if frames > int(max_seconds * rate):
        detail = f" (its header says {frames / rate:.1f} s)" if by_header else ""
        raise AudioTooLongError(f"the audio is longer than the {max_seconds:g} s that are accepted{detail}")
    if frames * channels > MAX_VALUES:
        raise AudioTooLongError(
            f"the audio has more samples than are decoded: {frames} in each of {channels} channels, {MAX_VALUES} are "
            "accepted in all; send it with one channel or a lower sample rate"
        )


class RefusedClips:
    """Why the last refused clips were refused, so that one sent again costs a hash and not a decoding. Thread-safe.

    Args:
        kind: the errors that are remembered.
        limit: how many; the least recently sent are forgotten.
    """

    def __init__(self, kind: type[ValueError], limit: int = 256) -> None:
        self._kind = kind
        self._limit = limit
        self._lock = threading.Lock()
        self._errors: OrderedDict[bytes, ValueError] = OrderedDict()

    @contextmanager
    def remembered(self, data: bytes, *conditions: object) -> Iterator[None]:
        """Raises what was raised the last time with this clip and these conditions, or else remembers what is raised."""
        key = hashlib.blake2b(data).digest() + repr(conditions).encode()
        with self._lock:
            known = self._errors.get(key)
            if known is not None:
                self._errors.move_to_end(key)
        if known is not None:
            raise type(known)(*known.args)
        try:
            yield
        except self._kind as error:
            with self._lock:
                self._errors[key] = type(error)(*error.args)  # without the traceback, which holds the samples
                while len(self._errors) > self._limit:
                    self._errors.popitem(last=False)
            raise


def resample(samples: Samples, rate: int, target: int) -> Samples:
    """[n] at `rate` Hz to [ceil(n · target / rate)] at `target` Hz.

    The length is the one torchaudio gives, since durations are counted from it.
    """
    if rate == target:
        return samples
    length = -(-len(samples) * target // rate)
    resampled: Samples = soxr.resample(samples, rate, target).astype(np.float32, copy=False)
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))


def normalise_rms(samples: Samples) -> tuple[Samples, float]:
    """Raises quiet samples [n] to an RMS of 0.1; loud ones stay. Second: the factor that undoes it."""
    rms = math.sqrt(np.square(samples, dtype=np.float64).mean())
    if rms >= TARGET_RMS:
        return samples, 1.0
    if rms == 0:
        raise SilentAudioError("the audio is silent: every sample is zero")
    return (samples * np.float32(TARGET_RMS / rms)).astype(np.float32, copy=False), rms / TARGET_RMS


class _Loudness:
    """Integer RMS of any stretch of a signal, as pydub takes it: on 16-bit samples, rounded down."""

    def __init__(self, samples: Samples, rate: int) -> None:
        self.milliseconds = _milliseconds(len(samples), rate)
        self._places = (np.arange(self.milliseconds + 1) * (rate / 1000)).astype(np.int64)
        # The last millisecond may be a rounded-up one: what is missing counts as zeros.
        self._energy = _energy_before(samples, np.minimum(self._places, len(samples)))

    def rms(self, starts: NDArray[np.int64], length: int) -> NDArray[np.float64]:
        """Of the stretches of `length` ms at `starts` ms; one that leaves the signal is shorter."""
        stops = np.minimum(starts + length, self.milliseconds)
        count = self._places[stops] - self._places[starts]
        rms: NDArray[np.float64] = np.floor(
            np.sqrt((self._energy[stops] - self._energy[starts]) / np.maximum(count, 1))
        )
        return rms


def _energy_before(samples: Samples, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of the squares of the 16-bit samples before each of the ascending places."""
    energy = np.zeros(len(places), np.int64)
    total = 0
    for start in range(0, len(samples), _BLOCK_FRAMES):
        block = samples[start : start + _BLOCK_FRAMES].astype(np.float64)
        integers = np.clip(np.rint(block * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int64)
        sums = np.cumsum(np.square(integers))
        first, last = np.searchsorted(places, (start, start + len(block)), side="right")
        energy[first:last] = total + sums[places[first:last] - start - 1]
        total += int(sums[-1])
    return energy


def _milliseconds(count: int, rate: int) -> int:
    return round(1000 * (count / rate))


def _cut(samples: Samples, rate: int, start: int, end: int) -> Samples:
    """From `start` to `end` ms. A rounded-up last millisecond is filled with zeros."""
    milliseconds = _milliseconds(len(samples), rate)
    first, last = (int(min(time, milliseconds) * (rate / 1000)) for time in (start, end))
    piece = samples[first:last]
    return np.pad(piece, (0, last - first - len(piece)))


def _threshold(dbfs: float) -> float:
    return float(10 ** (dbfs / 20) * _FULL_SCALE)


def _spoken(loudness: _Loudness, silence_ms: int, dbfs: float) -> list[tuple[int, int]]:
    """Stretches in ms between silences of at least `silence_ms`, each with up to a second of silence around it."""
    total = loudness.milliseconds
    if total < silence_ms:
        starts = np.empty(0, np.int64)
    else:
        last = total - silence_ms
        starts = np.unique(np.append(np.arange(0, last + 1, _SEEK_MS), last))
        starts = starts[loudness.rms(starts, silence_ms) <= _threshold(dbfs)]
    if not len(starts):
        spoken = [(0, total)]
    else:
        runs = np.split(starts, np.flatnonzero(np.diff(starts) > silence_ms) + 1)
        silences = [(int(run[0]), int(run[-1]) + silence_ms) for run in runs]
        edges = [0, *(edge for silence in silences for edge in silence), total]
        spoken = list(zip(edges[::2], edges[1::2], strict=True))
        if spoken[-1][0] == total:
            spoken.pop()
        if spoken and spoken[0] == (0, 0):
            spoken.pop(0)
    ranges = [[start - _KEEP_MS, end + _KEEP_MS] for start, end in spoken]
    for left, right in pairwise(ranges):
        if right[0] < left[1]:  # a silence shorter than what both sides keep is shared
            left[1] = right[0] = (left[1] + right[0]) // 2
    return [(max(start, 0), min(end, total)) for start, end in ranges]


def _join_spoken(samples: Samples, rate: int, silence_ms: int, dbfs: float) -> Samples:
    """The spoken stretches one after the other, as many as make 12 s once there are 6."""
    joined = samples[:0]
    for start, end in _spoken(_Loudness(samples, rate), silence_ms, dbfs):
        longer = np.concatenate((joined, _cut(samples, rate, start, end)))
        if _milliseconds(len(joined), rate) > _ENOUGH_MS and _milliseconds(len(longer), rate) > _CLIP_MS:
            break
        joined = longer
    return joined


def _leading_silence(samples: Samples, rate: int) -> int:
    """Its length in ms."""
    loudness = _Loudness(samples, rate)
    starts = np.arange(0, loudness.milliseconds, _SEEK_MS)
    loud = np.flatnonzero(loudness.rms(starts, _SEEK_MS) >= _threshold(_EDGE_DBFS))
    return int(starts[loud[0]]) if len(loud) else loudness.milliseconds


def _without_silent_edges(samples: Samples, rate: int) -> Samples:
    speech = _cut(samples, rate, _leading_silence(samples, rate), _milliseconds(len(samples), rate))
    silence = _leading_silence(speech[::-1], rate)
    # Counted from the start even here: a millisecond need not be a whole number of samples.
    return _cut(speech, rate, 0, _milliseconds(len(speech), rate) - silence) if silence else speech


def trim_reference(samples: Samples, rate: int) -> Samples:
    """[n] at `rate` Hz to its first 12 s of speech without silent edges, and 50 ms of silence.

    Cut at a silence of a second below -50 dBFS, else of 100 ms below -40 dBFS, else after 12 s; edges are what is
    below -42 dBFS. Equal to the official result sample for sample on mono 16-bit audio of 11,025 Hz to 48 kHz.
    """
    speech = _join_spoken(samples, rate, silence_ms=1000, dbfs=-50)
    if _milliseconds(len(speech), rate) > _CLIP_MS:
        speech = _join_spoken(samples, rate, silence_ms=100, dbfs=-40)
    if _milliseconds(len(speech), rate) > _CLIP_MS:
        speech = _cut(speech, rate, 0, _CLIP_MS)
    speech = _without_silent_edges(speech, rate)
    if not len(speech):
        raise SilentAudioError(f"the audio is silent: nothing in it is louder than {_EDGE_DBFS:g} dBFS")
    # pydub makes 50 ms at 11,025 Hz (551 samples) and converts them to the clip's rate.
    return np.pad(speech, (0, 550 * rate // 11_025 + 1))


def reference_samples(data: bytes, sample_rate: int, *, max_seconds: float = MAX_SECONDS) -> tuple[Samples, float]:
    """A reference file as the model hears it: samples [n], mono at `sample_rate` Hz, and the gain that undoes its RMS.

    Raises an `AudioError` for what is not a sound, too long, too short, silent or not finite.
    """
    with _refused.remembered(data, max_seconds):
        samples, rate, _ = decode(data, max_seconds=max_seconds)
        trimmed = trim_reference(samples, rate)
        if len(trimmed) < MIN_SECONDS * rate:
            raise AudioTooShortError(
                f"the audio has {len(trimmed) / rate:.2f} s of speech once silent edges are cut; "
                f"at least {MIN_SECONDS:g} s are needed"
            )
        loud, gain = normalise_rms(trimmed)
    return resample(loud, rate, sample_rate), gain


_refused = RefusedClips(AudioError)


def mel(samples: Samples, config: MelConfig) -> NDArray[np.float32]:
    """Log-mel [frames, n_mels] of samples [n] at `config.sample_rate`.

    "vocos": magnitudes of centred frames through HTK triangles of height one (torchaudio `MelSpectrogram` with
    `power=1`); n // hop + 1 frames. "bigvgan": librosa's area-normalised Slaney triangles over frames that start at
    `hop` steps of the signal padded by (n_fft - hop) / 2; n // hop frames.
    """
    pad = config.n_fft // 2 if config.kind == "vocos" else (config.n_fft - config.hop) // 2
    if len(samples) <= pad:
        raise AudioTooShortError(f"the audio has {len(samples)} samples; a mel needs more than {pad}")
    padded = np.pad(samples.astype(np.float64), pad, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, config.n_fft)[:: config.hop]
    window = np.zeros(config.n_fft)
    start = (config.n_fft - config.win) // 2
    window[start : start + config.win] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win) / config.win)
    spectrum = np.fft.rfft(frames * window)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    magnitude = np.sqrt(power if config.kind == "vocos" else power + 1e-9)
    return np.log(np.maximum(magnitude @ mel_filters(config), _LOG_FLOOR)).astype(np.float32)


@lru_cache
def mel_filters(config: MelConfig) -> NDArray[np.float64]:
    """Triangles [n_fft // 2 + 1, n_mels] from 0 Hz to half the sample rate."""
    top = config.sample_rate / 2
    frequencies = np.linspace(0, top, config.n_fft // 2 + 1)
    points = config.n_mels + 2
    if config.kind == "vocos":
        corners = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + top / 700), points) / 2595) - 1)
    else:
        corners = _slaney_hertz(np.linspace(0, _slaney_mel(top), points))
    widths = np.diff(corners)
    distance = corners[None, :] - frequencies[:, None]
    triangles = np.maximum(0, np.minimum(-distance[:, :-2] / widths[:-1], distance[:, 2:] / widths[1:]))
    if config.kind == "bigvgan":
        triangles *= 2 / (corners[2:] - corners[:-2])
    return triangles


# Slaney's scale (Auditory Toolbox): 66.7 Hz a mel up to 1 kHz, from there 27 mels to a factor of 6.4.
_LINEAR_HERTZ = 200 / 3
_KNEE_HERTZ = 1000.0
_KNEE_MEL = _KNEE_HERTZ / _LINEAR_HERTZ
_LOG_STEP = math.log(6.4) / 27


def _slaney_mel(hertz: float) -> float:
    """Of a frequency above the knee."""
    return _KNEE_MEL + math.log(hertz / _KNEE_HERTZ) / _LOG_STEP


def _slaney_hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < _KNEE_MEL, mels * _LINEAR_HERTZ, _KNEE_HERTZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL)))
