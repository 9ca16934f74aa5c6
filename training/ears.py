"""What the evaluation listens with: a speech recogniser, error rates, pitch and timbre."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pocketsphinx
import soxr
from numpy.typing import NDArray

from f5.audio import mel
from f5.config import MelConfig

_RATE = 16_000  # Hz, pocketsphinx's


class Recogniser:
    """pocketsphinx with the American English model that its package ships."""

    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(samprate=_RATE)

    def words(self, samples: NDArray[np.float32], rate: int) -> list[str]:
        """What it hears in a clip, in lower case."""
        low = np.clip(soxr.resample(samples, rate, _RATE), -1, 1)
        self._decoder.start_utt()
        self._decoder.process_raw((low * 32767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return re.sub(r"\(\d+\)", "", heard.hypstr).split() if heard else []


def spelt(text: str) -> list[str]:
    """The words of a written sentence as the recogniser would write them."""
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def edits(said: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance: words, or characters of two strings."""
    row = np.arange(len(heard) + 1)
    for index, one in enumerate(said, 1):
        before = row
        row = np.empty_like(before)
        row[0] = index
        for at, other in enumerate(heard, 1):
            row[at] = min(before[at] + 1, row[at - 1] + 1, before[at - 1] + (one != other))
    return int(row[-1])


def error_rates(pairs: Sequence[tuple[list[str], list[str]]]) -> tuple[float, float]:
    """Word and character error rate over (said, heard) pairs, all sentences pooled."""
    words = sum(edits(said, heard) for said, heard in pairs) / sum(len(said) for said, _ in pairs)
    texts = [(" ".join(said), " ".join(heard)) for said, heard in pairs]
    return words, sum(edits(a, b) for a, b in texts) / sum(len(a) for a, _ in texts)


def pitch(samples: NDArray[np.float32], rate: int) -> float:
    """Median fundamental frequency in Hz of the voiced frames, by autocorrelation; 0 where nothing is voiced."""
    size, hop = int(0.05 * rate), int(0.02 * rate)
    shortest, longest = int(rate / 400), int(rate / 60)
    found = []
    loud = 0.3 * float(np.sqrt(np.mean(np.square(samples))))
    for at in range(0, len(samples) - size, hop):
        frame = samples[at : at + size]
        if np.sqrt(np.mean(np.square(frame))) < loud:
            continue
        frame = frame - frame.mean()
        spectrum = np.fft.rfft(frame, 2 * size)
        correlation = np.fft.irfft(np.square(np.abs(spectrum)))[:size]
        correlation = correlation / (correlation[0] * (1 - np.arange(size) / size) + 1e-9)
        within = correlation[shortest:longest]
        if within.max() > 0.5:
            # A period's multiples correlate as well as the period itself: the first high peak is meant.
            first = int(np.argmax(within > 0.9 * within.max()))
            found.append(rate / (shortest + first + int(np.argmax(within[first : first + shortest // 2]))))
    return float(np.median(found)) if found else 0.0


def timbre(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean log-mel of the loud frames at 24 kHz, its level taken out: float32 [100]."""
    frames = mel(samples, MelConfig())
    energy = frames.mean(axis=1)
    mean = frames[energy > np.median(energy)].mean(axis=0)
    return (mean - mean.mean()).astype(np.float32)
