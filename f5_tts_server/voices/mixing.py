"""Several stored voices as one, `ada(2)+ben(1)`: their clips one after another, as one reference.

F5-TTS has no vector of a speaker that could be averaged: a voice is a clip and its words. A reference in which both are
heard, each for its share of the time, gives a voice between them (measured: docs/voices.md).
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soundfile

from f5_tts_server.f5.audio import reference_samples
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.report import MAX_SPEECH_SECONDS, STORED_RATE

MOST_VOICES = 4
MOST_REPEATS = 9

_GAP_S = 0.2  # between two clips
_GOOD_ERROR, _MOST_ERROR = 0.07, 0.15  # of a voice's share of the time: what is as good as none, what is refused
_PART = re.compile(r"\s*(?P<name>[^+]*?)\s*(?:\(\s*(?P<weight>\d{1,3}(?:\.\d{1,3})?)\s*\))?\s*")
_ENDS = (".", "!", "?", "…", "。", "！", "？")


class InvalidMix(ValueError):
    """What cannot be mixed; the message says why."""


@dataclass(frozen=True, slots=True)
class MixedClip(VoiceClip):
    """A reference made of those of several voices."""

    parts: tuple[VoiceClip, ...]


def parts_of(mix: str) -> list[tuple[str, float]]:
    """The names and weights of a mix. Raises InvalidMix."""
    parts = []
    for written in mix.split("+"):
        match = _PART.fullmatch(written)
        weight = 0.0 if match is None else float(match["weight"] or 1)
        if match is None or not match["name"] or not weight:
            raise InvalidMix(
                f"{written.strip()[:40]!r} is no part of a mix: a voice and its weight, as in ada(2)+ben(1)"
            )
        parts.append((match["name"], weight))
    if len(parts) > MOST_VOICES:
        raise InvalidMix(f"{len(parts)} voices are mixed; at most {MOST_VOICES} are")
    return parts


@lru_cache(maxsize=16)
def mixed(clips: tuple[VoiceClip, ...], weights: tuple[float, ...]) -> MixedClip:
    """The reference of a mix: each clip as often as its share of the time needs.

    Raises InvalidMix where no such reference lasts at most as long as what the model hears of one.
    """
    heard = [reference_samples(clip.audio, STORED_RATE) for clip in clips]
    counts = _repeats([len(samples) / STORED_RATE for samples, _ in heard], weights)
    # The clips are equally loud in the reference; what is spoken has the level of all of them.
    gain = np.float32(np.average([gain for _, gain in heard], weights=weights))
    order = [index for turn in range(MOST_REPEATS) for index, count in enumerate(counts) if turn < count]
    gap = np.zeros(int(_GAP_S * STORED_RATE), np.float32)
    pieces = [piece for index in order for piece in (heard[index][0] * gain, gap)]
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(pieces[:-1]), STORED_RATE, format="WAV", subtype="PCM_16")
    return MixedClip(file.getvalue(), " ".join(_sentence(clips[index].text) for index in order), clips)


def _repeats(seconds: Sequence[float], weights: Sequence[float]) -> tuple[int, ...]:
    """How often each clip is heard: the shortest reference whose shares are good, else the one whose are best."""
    wanted = np.asarray(weights) / sum(weights)
    best: tuple[bool, float, tuple[int, ...]] | None = None
    for counts in itertools.product(range(1, MOST_REPEATS + 1), repeat=len(seconds)):
        lengths = np.multiply(counts, seconds)
        total = float(lengths.sum()) + _GAP_S * (sum(counts) - 1)
        error = float(np.abs(lengths / lengths.sum() - wanted).max())
        if total > MAX_SPEECH_SECONDS or error > _MOST_ERROR:
            continue
        good = error <= _GOOD_ERROR
        found = (not good, total if good else error, counts)
        best = found if best is None else min(best, found)
    if best is None:
        clips = ", ".join(f"{one:.1f}" for one in seconds)
        raise InvalidMix(
            f"clips of {clips} s cannot be mixed with these weights in {MAX_SPEECH_SECONDS:g} s, the most that is heard of "
            "a reference: take weights that are closer to each other, or shorter clips"
        )
    return best[2]


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith(_ENDS) else f"{text}."
