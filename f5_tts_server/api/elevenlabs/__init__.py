"""ElevenLabs' text to speech: whole texts over HTTP, and text that is still being written over WebSockets.

After https://elevenlabs.io/docs/api-reference/text-to-speech and what its SDKs and the plugins of LiveKit and Pipecat
send and read. Settings that describe another model (stability, style, ...) have no effect.
"""

from __future__ import annotations

from fastapi import APIRouter

from f5_tts_server.api.elevenlabs import account, dictionaries, multi_stream_input, stream_input, voices, whole
from f5_tts_server.api.services import Services


def router(services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(tags=["ElevenLabs"])
    whole.add(routes, services)
    voices.add(routes, services)
    dictionaries.add(routes, services)
    account.add(routes, services)
    stream_input.add(routes, services)
    multi_stream_input.add(routes, services)
    return routes
