"""Griffin-Lim (1984) from a log-mel: what the vocoder is measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.f5.audio import mel_filters
from f5_tts_server.f5.config import MelConfig


def griffin_lim(log_mel: NDArray[np.float32], config: MelConfig, *, rounds: int) -> NDArray[np.float32]:
    """Samples [(frames − 1) · hop] whose magnitudes fit the log-mel [frames, mels]; phases found in `rounds` rounds."""
    filters = mel_filters(config)
    magnitude = np.maximum(np.exp(log_mel.astype(np.float64)) @ np.linalg.pinv(filters), 0)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
    count = (len(log_mel) - 1) * config.hop
    weight = _overlap_add(np.broadcast_to(window**2, (len(log_mel), config.n_fft)), config)
    phase = np.exp(2j * np.pi * np.random.default_rng(0).random(magnitude.shape))
    pad = config.n_fft // 2
    samples = np.zeros(count)
    for _ in range(rounds):
        frames = np.fft.irfft(magnitude * phase, config.n_fft) * window
        whole = _overlap_add(frames, config) / np.maximum(weight, 1e-8)
        samples = whole[pad : pad + count]
        padded = np.pad(samples, pad, mode="reflect")
        views = np.lib.stride_tricks.sliding_window_view(padded, config.n_fft)[:: config.hop]
        spectrum = np.fft.rfft(views * window)
        phase = spectrum / np.maximum(np.abs(spectrum), 1e-9)
    return samples.astype(np.float32)


def _overlap_add(frames: NDArray[np.float64], config: MelConfig) -> NDArray[np.float64]:
    parts = config.n_fft // config.hop
    total = np.zeros((len(frames) + parts - 1, config.hop))
    for part in range(parts):
        total[part : part + len(frames)] += frames[:, part * config.hop : (part + 1) * config.hop]
    return total.reshape(-1)
