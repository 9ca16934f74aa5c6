"""The HTTP and WebSocket protocols, one file each, all on the same engine.

Routers are made from what they work with: `settings.Settings` and `api.services.Services`. The engine's own state, which
probes report, is on ``request.app.state``.
"""

from __future__ import annotations

from fastapi import APIRouter

from f5_tts_server.api import elevenlabs, generate, openai_speech, page, probes, speech_websocket, voices
from f5_tts_server.api.services import Services
from f5_tts_server.settings import Settings


def routers(settings: Settings, services: Services) -> list[APIRouter]:
    """Every router of the server, in the order of the documentation page. A new protocol is added here."""
    return [
        generate.router(settings, services.defaults),
        openai_speech.router(settings, services),
        speech_websocket.router(services),
        voices.router(services),
        elevenlabs.router(settings, services),
        probes.routes,
        page.router(),
    ]
