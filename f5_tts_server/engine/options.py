"""The engine's settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Sizes and times that the operator may choose; `main.Settings` documents each.

    ``frame_budget`` None takes the model's own. ``first_audio_s`` after a request's arrival its first audio is due,
    ``whole_clip_s`` that of a clip which nobody hears before it is whole, ``background_s`` that of one nobody waits for.
    With ``early_rate`` requests are taken in while the model, which has this sample rate, is being loaded.
    Of requests with ``verify`` a segment is made at most ``verify_takes`` times, and at most ``verify_extra_s`` seconds of
    audio are made again in all.
    ``key_concurrent`` and ``key_audio_s`` (a minute) bound each caller, see `engine.usage`.
    """

    max_concurrent_requests: int = 16
    queue_limit: int = 64
    max_text_chars: int = 10_000
    max_timeout_s: float = 600.0
    first_segment_s: float = 1.0
    chunk_s: float = 0.25
    send_buffer_s: float = 120.0
    stall_timeout_s: float = 30.0
    reference_cache_bytes: int = 64 * 2**20
    frame_budget: int | None = None
    first_audio_s: float = 0.3
    whole_clip_s: float = 10.0
    background_s: float = 600.0
    early_rate: int | None = None
    key_concurrent: int | None = None
    key_audio_s: float | None = None
    verify_takes: int = 3
    verify_extra_s: float = 30.0
