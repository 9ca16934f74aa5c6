"""The HTTP and WebSocket protocols, each in a file or folder of its own, all on the same engine.

A protocol is a function ``router(services)``. Everything it works with is in `api.services.Services`, and what it shares
with others is in the modules that are no protocol; protocols do not import each other.
"""

from __future__ import annotations

from fastapi import APIRouter

from f5_tts_server.api import (
    batches,
    dubs,
    edits,
    elevenlabs,
    files,
    generate,
    jobs,
    models,
    openai_speech,
    page,
    probes,
    speech_websocket,
    voice_aliases,
    voice_consents,
    voices,
)
from f5_tts_server.api.services import Services


def routers(services: Services) -> list[APIRouter]:
    """Every router of the server, in the order of the documentation page. A new protocol is added here."""
    protocols = (
        generate,
        openai_speech,
        models,
        speech_websocket,
        voices,
        voice_aliases,
        voice_consents,
        dubs,
        edits,
        elevenlabs,
        jobs,
        files,
        batches,
        probes,
        page,
    )
    return [protocol.router(services) for protocol in protocols]
