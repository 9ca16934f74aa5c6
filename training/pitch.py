"""The pitch of the teacher's audio, frame by frame: what the vocoder's pitch tracker learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.embedded.source_vocos import HIGHEST, LOWEST
from training.shards import MEL

WINDOW = 1536  # samples, three periods of the lowest voices
FFT = 4096
STRONG = 0.5  # correlation above which a frame is voiced
LOUD = 0.02  # share of the loudest frame's energy below which nothing is voiced


@dataclass(frozen=True)
class Track:
    """One clip, n frames. hertz float32 [n] and voiced bool [n]; cycles float32 [n], the fundamental's phase / 2π."""

    hertz: NDArray[np.float32]
    voiced: NDArray[np.bool_]
    cycles: NDArray[np.float32]


def track(samples: NDArray[np.float32], frames: int) -> Track:
    """Pitch by autocorrelation around each frame's centre, and the fundamental's phase there."""
    half = WINDOW // 2
    padded = np.pad(samples, (half, half + MEL.hop))
    cuts = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:: MEL.hop][:frames]
    cuts = cuts - cuts.mean(axis=1, keepdims=True)
    window = np.hanning(WINDOW + 1)[:-1]
    windowed = cuts * window
    power = np.square(np.abs(np.fft.rfft(windowed, FFT, axis=1)))
    # Divided by the window's own, so that long lags are not at a disadvantage (Boersma 1993).
    own = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, FFT))))
    shortest, longest = int(MEL.sample_rate / HIGHEST), int(MEL.sample_rate / LOWEST)
    correlation = np.fft.irfft(power, axis=1)[:, : longest + 2]
    energy = correlation[:, :1]
    correlation = correlation / (energy + 1e-9) / (own[: longest + 2] / own[0])
    within = correlation[:, shortest - 1 :]
    peaks = (within[:, 1:-1] >= within[:, :-2]) & (within[:, 1:-1] > within[:, 2:])
    heights = np.where(peaks, within[:, 1:-1], -1.0)
    best = heights.max(axis=1, keepdims=True)
    # A period's multiples correlate as well as the period itself: the first high peak is meant.
    first = np.argmax(heights > 0.9 * best, axis=1)
    rows = np.arange(len(cuts))
    left, middle, right = (within[rows, first + i] for i in range(3))
    curve = left - 2 * middle + right
    summit = 0.5 * (left - right) / np.where(curve < 0, curve, -1.0)
    # Where nothing is periodic there may be no peak: the first lag then stands in, and the frame is not voiced.
    hertz = MEL.sample_rate / (shortest + first + np.where(best[:, 0] > 0, np.clip(summit, -0.5, 0.5), 0.0))
    voiced = (best[:, 0] > STRONG) & (energy[:, 0] > LOUD**2 * energy.max())
    time = np.arange(-half, half) / MEL.sample_rate
    turn = np.exp(-2j * np.pi * hertz[:, None] * time)
    cycles = np.angle((windowed * turn).sum(axis=1)) / (2 * np.pi)
    return Track(hertz.astype(np.float32), voiced, cycles.astype(np.float32))
