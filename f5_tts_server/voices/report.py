"""What an uploaded clip is worth as a voice: measurements, remarks, what was done to it, or why it cannot be used."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import asdict, dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from f5_tts_server.f5.audio import AudioError, RefusedClips, decode, resample, trim_reference

STORED_RATE = 24_000  # Hz; what the model hears, so nothing above it is worth keeping
MAX_SPEECH_SECONDS = 12.0  # what `trim_reference` keeps
MIN_SPEECH_SECONDS = 1.0

_SILENCE_DBFS = -42.0  # as `f5.audio` judges edges
_QUIETEST_DBFS = -120.0
_DIGITAL_SILENCE_DBFS = -100.0
_FRAME_SECONDS = 0.02
_FULL_SCALE = 0.999
_CLIPPED_REMARK = 0.001  # fraction of samples at full scale
_CLIPPED_REFUSED = 0.05
_NOISE_REMARK_DB = 20.0  # speech this little above the noise floor is called noisy
# Characters a second: what people read at, and what no transcript of the clip can have. Ideographs carry a syllable
# each, alphabets about a third of one.
_ALPHABETIC_PACE = (6.0, 26.0)
_IDEOGRAPHIC_PACE = (2.0, 9.0)
_IMPOSSIBLE = 2.0  # this many times beyond either end


class UnusableClip(ValueError):
    """A clip that no voice can be made of; the message says why and what would do."""


@dataclass(frozen=True, slots=True)
class ClipReport:
    """Measurements of a clip as it was uploaded. Times in seconds, levels in dB below full scale."""

    duration: float
    sample_rate: int
    speech_duration: float
    leading_silence: float
    trailing_silence: float
    clipped_fraction: float
    noise_floor_db: float
    speech_level_db: float
    characters_per_second: float
    plausible_characters_per_second: tuple[float, float]
    actions: tuple[str, ...]
    """What was done to the clip before it was stored."""
    remarks: tuple[str, ...]
    """What could be better about it; the voice works all the same."""

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PreparedClip:
    """A clip ready to be stored: `samples` [n] mono at `STORED_RATE`, and what was found in the upload."""

    samples: NDArray[np.float32]
    duration: float
    sample_rate: int
    leading_silence: float
    trailing_silence: float
    clipped_fraction: float
    noise_floor_db: float
    speech_level_db: float
    actions: tuple[str, ...]

    @property
    def speech_duration(self) -> float:
        return len(self.samples) / STORED_RATE

    def wav(self) -> bytes:
        """The stored file: 16-bit WAVE."""
        file = io.BytesIO()
        soundfile.write(file, self.samples, STORED_RATE, format="WAV", subtype="PCM_16")
        return file.getvalue()


def prepare(audio: bytes, *, max_speech_seconds: float | None = MAX_SPEECH_SECONDS) -> PreparedClip:
    """Decode, measure and trim an uploaded file.

    `max_speech_seconds` refuses longer speech instead of cutting it: a transcript that came with the clip would not
    fit what is left. None cuts (the transcript is made afterwards). Raises UnusableClip.
    """
    with _refused.remembered(audio, max_speech_seconds):
        return _prepare(audio, max_speech_seconds)


_refused = RefusedClips(UnusableClip)


def _prepare(audio: bytes, max_speech_seconds: float | None) -> PreparedClip:
    try:
        samples, rate, file_rate = decode(audio)
        leading, trailing = _edges(samples, rate)
        speech = len(samples) / rate - leading - trailing
        if max_speech_seconds is not None and speech > max_speech_seconds:
            raise UnusableClip(
                f"the clip has {speech:.1f} s of speech; at most {max_speech_seconds:g} s are used, and the transcript "
                "would not fit them: send a shorter part and what is said in it"
            )
        trimmed = trim_reference(samples, rate)
    except AudioError as error:
        raise UnusableClip(str(error)) from error
    if len(trimmed) < MIN_SPEECH_SECONDS * rate:
        raise UnusableClip(
            f"the clip has {len(trimmed) / rate:.2f} s of speech; a voice needs at least {MIN_SPEECH_SECONDS:g} s "
            "(3 to 10 s are best)"
        )
    clipped = float(np.mean(np.abs(samples) >= _FULL_SCALE))
    if clipped > _CLIPPED_REFUSED:
        raise UnusableClip(
            f"{clipped:.0%} of the clip's samples are at full scale, at most {_CLIPPED_REFUSED:.0%} are accepted: "
            "record it again with less gain"
        )
    levels = _levels(samples, rate)
    levels = levels[levels > _DIGITAL_SILENCE_DBFS]  # what an editor has padded with says nothing about the room
    actions = []
    cut = len(samples) / rate - len(trimmed) / rate
    if cut > 0.05:
        actions.append(f"cut {cut:.2f} s of silence" if speech <= MAX_SPEECH_SECONDS else f"cut {cut:.2f} s")
    if file_rate != STORED_RATE:
        actions.append(f"resampled from {file_rate} to {STORED_RATE} Hz")
    return PreparedClip(
        samples=resample(trimmed, rate, STORED_RATE),
        duration=len(samples) / rate,
        sample_rate=file_rate,
        leading_silence=leading,
        trailing_silence=trailing,
        clipped_fraction=clipped,
        noise_floor_db=float(np.percentile(levels, 5)),
        speech_level_db=float(np.percentile(_levels(trimmed, rate), 75)),
        actions=tuple(actions),
    )


def report(clip: PreparedClip, text: str) -> ClipReport:
    """Judge a clip with its transcript. Raises UnusableClip when the text cannot be what is said in it."""
    characters = sum(1 for c in text if unicodedata.category(c)[0] in "LNM")
    if not characters:
        raise UnusableClip("the transcript has no words")
    ideographs = sum(1 for c in text if unicodedata.category(c) == "Lo")
    pace = characters / clip.speech_duration
    lowest, highest = plausible = _IDEOGRAPHIC_PACE if ideographs > characters / 2 else _ALPHABETIC_PACE
    if not lowest / _IMPOSSIBLE <= pace <= highest * _IMPOSSIBLE:
        raise UnusableClip(
            f"the transcript does not fit the clip: {characters} characters in {clip.speech_duration:.1f} s of speech "
            f"are {pace:.1f} a second, where speech has {lowest:g} to {highest:g}"
        )
    remarks = []
    if not lowest <= pace <= highest:
        remarks.append(
            f"{pace:.1f} characters a second is outside of the usual {lowest:g} to {highest:g}: check the transcript"
        )
    if clip.clipped_fraction > _CLIPPED_REMARK:
        remarks.append(f"{clip.clipped_fraction:.1%} of the samples are clipped: record with less gain")
    if clip.speech_level_db - clip.noise_floor_db < _NOISE_REMARK_DB:
        remarks.append(
            f"speech is only {clip.speech_level_db - clip.noise_floor_db:.0f} dB above the quietest moments: "
            "background noise becomes part of the voice"
        )
    if clip.speech_duration < 3:
        remarks.append(f"{clip.speech_duration:.1f} s is little; 3 to 10 s of speech are best")
    if clip.sample_rate < STORED_RATE:
        remarks.append(f"a sample rate of {clip.sample_rate} Hz makes a dull voice; {STORED_RATE} Hz or more are best")
    return ClipReport(
        duration=round(clip.duration, 3),
        sample_rate=clip.sample_rate,
        speech_duration=round(clip.speech_duration, 3),
        leading_silence=round(clip.leading_silence, 3),
        trailing_silence=round(clip.trailing_silence, 3),
        clipped_fraction=round(clip.clipped_fraction, 5),
        noise_floor_db=round(clip.noise_floor_db, 1),
        speech_level_db=round(clip.speech_level_db, 1),
        characters_per_second=round(pace, 1),
        plausible_characters_per_second=plausible,
        actions=clip.actions,
        remarks=tuple(remarks),
    )


def _levels(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """RMS level in dB of each whole frame of 20 ms."""
    frame = int(rate * _FRAME_SECONDS)
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    energy = np.einsum("ij,ij->i", frames, frames, dtype=np.float64)  # in doubles without a copy of the clip in doubles
    power = np.maximum(energy / frame, 10 ** (_QUIETEST_DBFS / 10))
    levels: NDArray[np.float64] = 10 * np.log10(power)
    return levels


def _edges(samples: NDArray[np.float32], rate: int) -> tuple[float, float]:
    """Seconds of silence before and after what is loud; the whole clip counts as leading where nothing is."""
    loud = np.flatnonzero(_levels(samples, rate) >= _SILENCE_DBFS)
    if not len(loud):
        return len(samples) / rate, 0.0
    return float(loud[0] * _FRAME_SECONDS), max(0.0, len(samples) / rate - float(loud[-1] + 1) * _FRAME_SECONDS)
