"""What travels to and from the engine, under its documented name; it lives in `f5_tts_server.inference_types`."""

from __future__ import annotations

from f5_tts_server.inference_types import (
    AudioChunk,
    Done,
    Event,
    Failed,
    GenerationRequest,
    Metadata,
    Part,
    Pause,
    Refused,
    RequestError,
    Speech,
    Ticket,
    VoiceClip,
)

__all__ = [
    "AudioChunk",
    "Done",
    "Event",
    "Failed",
    "GenerationRequest",
    "Metadata",
    "Part",
    "Pause",
    "Refused",
    "RequestError",
    "Speech",
    "Ticket",
    "VoiceClip",
]
