"""Further names of stored voices: `/v1/audio/voice_aliases`.

Clients that know only another system's voices (`alloy`, an id of ElevenLabs') are so pointed at one of ours.
"""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Text
from f5_tts_server.voices.aliases import Alias
from f5_tts_server.voices.store import MAX_NAME_LENGTH


class AliasBody(BaseModel):
    """What a name stands for."""

    model_config = ConfigDict(extra="forbid")

    voice: Text = Field(min_length=1, max_length=MAX_NAME_LENGTH, description="A stored voice, by id or name.")


def router(services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1/audio/voice_aliases", tags=["voices"])

    @routes.get("")
    def aliases() -> dict[str, Any]:
        """All aliases; `fixed` ones are the operator's."""
        return {"aliases": [_json(alias) for alias in services.voices.aliases()]}

    @routes.put("/{name}")
    async def put(name: str, body: AliasBody) -> dict[str, Any]:
        """Let a name stand for a stored voice, whatever it stood for before."""
        return _json(await to_thread.run_sync(services.voices.set_alias, name, body.voice))

    @routes.delete("/{name}")
    async def delete(name: str) -> dict[str, Any]:
        """Forget an alias."""
        await to_thread.run_sync(services.voices.delete_alias, name)
        return {"name": name, "object": "audio.voice_alias.deleted", "deleted": True}

    return routes


def _json(alias: Alias) -> dict[str, Any]:
    return {"name": alias.name, "object": "audio.voice_alias", "voice": alias.voice, "fixed": alias.fixed}
