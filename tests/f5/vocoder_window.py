"""The part of a mel that a vocoder is given for one block."""

import numpy as np

from f5_tts_server.f5.vocoder import Vocoder


def block_window(mel: np.ndarray, start: int, block: int, model: Vocoder) -> tuple[np.ndarray, int]:
    """The window for frames start … start + block, with loud rubbish where there is no clip, and its first frame."""
    first = start - model.context_left
    index = np.arange(first, start + block + model.context_right)
    outside = (index < 0) | (index >= mel.shape[1])
    window = mel[:, np.clip(index, 0, mel.shape[1] - 1)]
    return np.where(outside[None, :, None], np.float32(9), window), first
