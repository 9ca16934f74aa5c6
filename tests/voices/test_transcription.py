"""Transcription where faster-whisper is not installed, as in this project's test environment."""

import pytest

from f5_tts_server.voices.transcription import Transcriber, TranscriptionUnavailable


def test_a_server_that_cannot_transcribe_decodes_nothing() -> None:
    """Clips without their words were decoded and trimmed before the server said that it cannot transcribe."""
    with pytest.raises(TranscriptionUnavailable, match=r"requirements-asr\.txt"):
        Transcriber().transcribe_clip(b"not even audio")
