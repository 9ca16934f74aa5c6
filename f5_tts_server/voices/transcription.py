"""The words of a reference clip that came without them: faster-whisper, an optional extra.

The package and its model are loaded on first use. Nothing else of the server needs either.
"""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f5_tts_server.f5.audio import resample
from f5_tts_server.voices.report import STORED_RATE, prepare

logger = logging.getLogger(__name__)

WHISPER_RATE = 16_000


class TranscriptionUnavailable(Exception):
    """The server cannot transcribe; the message says what the sender or the operator can do."""


class Transcriber:
    """Speech to text, one clip at a time; safe to use from several threads.

    Args:
        model: a faster-whisper model: a size ("base"), a repository, or a folder.
    """

    def __init__(self, model: str = "base") -> None:
        self._name = model
        self._lock = threading.Lock()
        self._model: Any = None

    def load(self) -> None:
        """Have the model ready: whoever cannot transcribe need not decode. Raises TranscriptionUnavailable."""
        with self._lock:
            self._loaded()

    def transcribe_clip(self, audio: bytes) -> str:
        """The words in what is used of a reference file.

        Raises:
            UnusableClip: it is no sound, or none to clone a voice from.
            TranscriptionUnavailable: faster-whisper or its model is not there.
        """
        with self._lock:
            self._loaded()
            return self._words(prepare(audio, max_speech_seconds=None).samples, STORED_RATE)

    def transcribe(self, samples: NDArray[np.float32], rate: int) -> str:
        """The words in `samples` [n], mono at `rate` Hz.

        Raises:
            TranscriptionUnavailable: faster-whisper or its model is not there.
        """
        with self._lock:
            return self._words(samples, rate)

    def _words(self, samples: NDArray[np.float32], rate: int) -> str:
        segments, _ = self._loaded().transcribe(resample(samples, rate, WHISPER_RATE), beam_size=5)
        return " ".join(segment.text.strip() for segment in segments).strip()

    def _loaded(self) -> Any:
        if self._model is None:
            self._model = self._load()
        return self._model

    def _load(self) -> Any:
        try:
            faster_whisper = importlib.import_module("faster_whisper")
        except ModuleNotFoundError as error:
            raise TranscriptionUnavailable(
                "ref_text is missing and this server cannot transcribe: send ref_text, or ask the operator to install the "
                "transcription extra (pip install -r requirements-asr.txt, or f5-tts-server[asr])"
            ) from error
        try:
            model = faster_whisper.WhisperModel(self._name, device="auto", compute_type="default")
        # The package raises what its downloader, the file system or CTranslate2 raise.
        except (OSError, RuntimeError, ValueError) as error:
            logger.exception("the transcription model %s could not be loaded", self._name)
            raise TranscriptionUnavailable(
                f"ref_text is missing and this server's transcription model {self._name!r} could not be loaded "
                f"({type(error).__name__}): send ref_text"
            ) from error
        logger.info("transcription model %s is loaded", self._name)
        return model
