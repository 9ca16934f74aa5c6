"""What routers are given."""

from __future__ import annotations

from dataclasses import dataclass, field

from f5_tts_server.inference_types import Engine, SamplingDefaults
from f5_tts_server.voices.store import VoiceStore
from f5_tts_server.voices.transcription import Transcriber


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that routers work with; made once by `main`.

    ``sample_rate`` is the model's, in hertz. ``timeout_s`` is the deadline of requests that set none,
    ``send_timeout_s`` how long a reader may not read.
    """

    engine: Engine
    voices: VoiceStore
    model_name: str
    transcriber: Transcriber
    defaults: SamplingDefaults = field(default_factory=SamplingDefaults)
    sample_rate: int = 24_000
    timeout_s: float = 300.0
    send_timeout_s: float = 30.0
