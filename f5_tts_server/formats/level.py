"""Loud samples bent below full scale instead of being cut off at it."""

import numpy as np
from numpy.typing import NDArray

KNEE = 0.95  # up to here nothing is touched


def limited(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples [n] within ±1: those beyond ±0.95 follow a tanh towards full scale, joined in value and slope.

    A model's vocoder overshoots now and then. A cut top is a click; a bent one is not. Each sample is looked at alone,
    so that pieces of a clip come out as the whole would.
    """
    size = np.abs(samples)
    if not np.any(size > KNEE):
        return samples
    room = 1.0 - KNEE
    bent = np.copysign(KNEE + room * np.tanh((size - KNEE) / room), samples)
    return np.where(size > KNEE, bent, samples).astype(np.float32)


def unlimited(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `limited` turns into `samples` [n], which are within ±1: for audio that shall come out as it is."""
    size = np.abs(samples)
    if not np.any(size > KNEE):
        return samples
    room = 1.0 - KNEE
    # Full scale itself would come from infinity; this is within a sixtieth of a 16-bit step of it.
    straight = np.copysign(KNEE + room * np.arctanh(np.clip((size - KNEE) / room, 0, 1 - 1e-5)), samples)
    return np.where(size > KNEE, straight, samples).astype(np.float32)
