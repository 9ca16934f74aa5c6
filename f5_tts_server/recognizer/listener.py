"""The engine's listener: finished segments through the aligner."""

from __future__ import annotations

import numpy as np

from f5_tts_server.embedded.phonemes import silent_letters
from f5_tts_server.f5.audio import Samples
from f5_tts_server.f5.frontend import Word
from f5_tts_server.recognizer.align import align
from f5_tts_server.recognizer.network import MEL
from f5_tts_server.recognizer.verify import score
from f5_tts_server.text.language import detect


class EnglishListener:
    """Implements `inference_types.Listener`."""

    def load(self) -> None:
        """Hear half a second of noise: reads the networks and the dictionary, so that no request waits for them."""
        noise = np.random.default_rng(0).normal(0, 0.1, MEL.sample_rate // 2).astype(np.float32)
        score(noise, "A word.")

    def knows(self, text: str) -> bool:
        """Whether a text is English, or its letters tell of no other language."""
        return not silent_letters(text) and detect(text) in ("en", None)

    def words(self, text: str, samples: Samples) -> tuple[Word, ...] | None:
        """When each word is said in samples [n] at 24 kHz; None for other languages, and where the text is not heard."""
        if not self.knows(text):
            return None
        try:
            return align(samples, text)
        except ValueError:  # AlignmentError, or sounds given for another model
            return None

    def score(self, text: str, samples: Samples) -> float | None:
        """How surely samples [n] at 24 kHz say an English text, from 0 to 1; None for other languages."""
        if not self.knows(text):
            return None
        try:
            return score(samples, text)
        except ValueError:  # as above
            return None
