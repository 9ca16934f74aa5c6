"""The lists of models that clients ask for before they speak.

OpenAI's and ElevenLabs' clients ask at the same address for lists of different shapes: `errors.is_elevenlabs` tells them
apart.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from f5_tts_server.api.errors import is_elevenlabs
from f5_tts_server.api.services import Services


def router(services: Services) -> APIRouter:
    """The lists' routes."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])
    entries, names = services.models.entries, services.models.names

    @routes.get("/models")
    async def models(request: Request) -> JSONResponse:
        """The models by all their names; each once, in a bare list of ElevenLabs' shape, for ElevenLabs' clients."""
        if is_elevenlabs(request.headers):
            most = services.settings.max_text_chars
            return JSONResponse([_elevenlabs(entry.name, most) for entry in entries])
        return JSONResponse({"object": "list", "data": [_openai(name) for name in names]})

    @routes.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One of them; 404 for a name that is none of theirs."""
        services.models.find(name)
        return _openai(name)

    @routes.get("/audio/models")
    async def audio_models() -> dict[str, Any]:
        """The same list, as Open WebUI asks for it."""
        return {"models": [{"id": name, "name": name} for name in names]}

    return routes


def _openai(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "f5-tts"}


def _elevenlabs(name: str, most_characters: int) -> dict[str, Any]:
    """The model as https://elevenlabs.io/docs/api-reference/models/list describes one."""
    return {
        "model_id": name,
        "name": name,
        "description": "F5-TTS",
        "can_be_finetuned": False,
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_use_style": False,
        "can_use_speaker_boost": False,
        "serves_pro_voices": False,
        "requires_alpha_access": False,
        "token_cost_factor": 1.0,
        "max_characters_request_free_user": most_characters,
        "max_characters_request_subscribed_user": most_characters,
        "maximum_text_length_per_request": most_characters,
        "languages": [{"language_id": "en", "name": "English"}],
        "concurrency_group": "standard",
    }
