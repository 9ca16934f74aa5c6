"""The engine under its documented name; `f5_tts_server.tts_engine` is where it lives, so that the wheel has it too."""

from __future__ import annotations

from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.tts_engine import RequestTicket, TTSEngine

__all__ = ["EngineOptions", "RequestTicket", "TTSEngine"]
