"""A recording as it came, to samples, and when each of its words is said."""

from __future__ import annotations

import numpy as np

from f5_tts_server.f5.audio import AudioError, decode, resample
from f5_tts_server.inference_types import RequestError, Samples, SpokenWord
from f5_tts_server.recognizer.align import AlignmentError, align

SHORTEST_S = 0.5
_LEAST_SCORE = 0.1
_PCM_STEP = np.float32(32_768 / 32_767)


def read_recording(data: bytes, rate: int, longest: float) -> Samples:
    """All of an audio file's samples, mono at `rate` hertz.

    Scaled so that a sample of a 16-bit file comes out of our 16-bit formats as the integer that it was: those have full
    scale at 32767, files at 32768.

    Raises RequestError for what is no audio, too long, too short or silent.
    """
    try:
        decoded = decode(data, max_seconds=longest)
        samples = resample(decoded.samples, decoded.rate, rate)
    except AudioError as error:
        raise RequestError(422, "invalid_recording", f"reference: {error}", "reference") from error
    if len(samples) < SHORTEST_S * rate or not samples.any():
        message = f"reference: the recording is silent, or shorter than {SHORTEST_S:g} s"
        raise RequestError(422, "invalid_recording", message, "reference")
    return np.clip(samples * _PCM_STEP, -1, 1)


def spoken_words(samples: Samples, text: str) -> tuple[SpokenWord, ...]:
    """When each word of `text` is said in samples [n] at 24 kHz.

    Raises RequestError where the text is not what is said.
    """
    try:
        words = align(samples, text)
    except AlignmentError as error:
        raise RequestError(422, "text_not_aligned", f"ref_text: {error}", "ref_text") from error
    if np.median([word.score for word in words]) < _LEAST_SCORE:
        message = "ref_text is not what is said in the recording, or not in English"
        raise RequestError(422, "text_not_aligned", message, "ref_text")
    return tuple(SpokenWord(word.text, word.start, word.end) for word in words)
