"""What the evaluation listens with: two recognisers, error rates, pitch and timbre."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import pocketsphinx
import soxr
from flax import nnx
from numpy.typing import NDArray

from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES
from f5_tts_server.f5.audio import mel
from f5_tts_server.f5.config import MelConfig
from training.corpus import MEL, level
from training.ear_model import FRAMES_A_STEP, EarModel, collapse, sounds
from training.export import averaged

_RATE = 16_000  # Hz, pocketsphinx's
_ROUND_TO = 128  # frames; the ear's input is padded to a multiple of it, so that few programs compile


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


class PhonemeRecogniser:
    """The recogniser that `training.train_ear` has trained in a run's folder."""

    def __init__(self, run: Path) -> None:
        graphdef, self._params = nnx.split(averaged(run, EarModel(rngs=nnx.Rngs(0))))
        self._logits = jax.jit(lambda params, *inputs: nnx.merge(graphdef, params)(*inputs))

    def sounds(self, samples: NDArray[np.float32]) -> list[str]:
        """What it hears in a clip at 24 kHz, without stress and pauses."""
        frames = mel(level(samples, np.random.default_rng(0)), MEL)
        padded = np.pad(frames, ((0, -len(frames) % _ROUND_TO), (0, 0)))[None]
        logits = self._logits(self._params, padded, np.array([len(frames)], np.int32))
        best = np.asarray(logits)[0, : len(frames) // FRAMES_A_STEP].argmax(axis=-1)
        return collapse(best.tolist())


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


def error_rate(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Edits a symbol said, over (said, heard) pairs, all sentences pooled."""
    return sum(edits(said, heard) for said, heard in pairs) / sum(len(said) for said, _ in pairs)


def error_rates(pairs: Sequence[tuple[list[str], list[str]]]) -> tuple[float, float]:
    """Word and character error rate over (said, heard) pairs, all sentences pooled."""
    texts = [(" ".join(said), " ".join(heard)) for said, heard in pairs]
    return error_rate(pairs), error_rate(texts)


def edge_words(symbols: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sounds of the first word and of the last in what `f5.phonemes.phonemes` gives. Raises IndexError for none."""
    words: list[list[str]] = [[]]
    for symbol in symbols:
        if symbol == BOUNDARY or symbol in PAUSES:
            words.append([])
        else:
            words[-1].append(symbol)
    spoken = [sounds(word) for word in words if word]
    return spoken[0], spoken[-1]


def begins_with(heard: Sequence[str], word: Sequence[str]) -> bool:
    """Whether at least half of a word's sounds are heard, in order, at the beginning."""
    starts = (heard[:length] for length in range(len(word) + 2))
    return min(edits(word, start) for start in starts) <= len(word) / 2


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


class VoicePicker:
    """Whose voice a clip is, by pitch and timbre, in units of how sentences of one voice differ."""

    def __init__(self, templates: Mapping[str, Sequence[NDArray[np.float32]]], rate: int) -> None:
        """`templates`: a dozen clips or so of each voice, other sentences than those to be judged."""
        self._rate = rate
        described = {name: np.stack([self._describe(clip) for clip in clips]) for name, clips in templates.items()}
        self._means = {name: rows.mean(axis=0) for name, rows in described.items()}
        within = np.mean([np.cov(rows.T) for rows in described.values()], axis=0)
        self._pitch_variance, timbre_covariance = within[0, 0], within[1:, 1:]
        # So few clips do not fill a hundred dimensions: a sphere of the mean variance is added to what they vary in.
        sphere = np.eye(len(timbre_covariance)) * np.trace(timbre_covariance) / len(timbre_covariance)
        self._timbre_precision = np.linalg.inv(timbre_covariance + sphere)

    def _describe(self, clip: NDArray[np.float32]) -> NDArray[np.float64]:
        """The pitch's logarithm, then the timbre."""
        height = np.log(max(pitch(clip, self._rate), 40.0))
        return np.concatenate([[height], timbre(clip)]).astype(np.float64)

    def pick(self, clip: NDArray[np.float32]) -> str:
        """The voice whose mean is nearest (Mahalanobis' distance)."""
        made = self._describe(clip)

        def distance(name: str) -> float:
            away = made - self._means[name]
            return float(away[0] ** 2 / self._pitch_variance + away[1:] @ self._timbre_precision @ away[1:])

        return min(self._means, key=distance)
