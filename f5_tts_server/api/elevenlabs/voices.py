"""Voices as ElevenLabs' clients list, search, add and delete them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile

from f5_tts_server.api.services import Services
from f5_tts_server.api.voice_uploads import form_document, form_text, read_form, store_voice
from f5_tts_server.inference_types import RequestError
from f5_tts_server.voices.store import MAX_NAME_LENGTH, StoredVoice, VoiceExists

# Only the speed has a meaning here; the others are what ElevenLabs gives for a voice without settings of its own.
SETTINGS = {"stability": 0.5, "similarity_boost": 0.75, "style": 0.0, "use_speaker_boost": True, "speed": 1.0}

_MAX_FIELDS = 16  # of a form; those that mean nothing here are passed over, as in every body of this protocol
_UPLOAD = form_document(
    ["name", "files"],
    {
        "name": {"type": "string", "maxLength": MAX_NAME_LENGTH},
        "files": {"type": "string", "format": "binary", "description": "One file, 1 to 12 s of speech."},
        "description": {"type": "string"},
        "ref_text": {"type": "string", "description": "What is said in it; a field of ours."},
    },
)


def add(routes: APIRouter, services: Services) -> None:
    """Add the routes."""

    @routes.get("/v1/voices")
    def voices() -> dict[str, Any]:
        """The stored voices as ElevenLabs lists its own."""
        return {"voices": [_described(voice) for voice in services.voices.list()]}

    @routes.get("/v2/voices")
    def search(
        search: Annotated[str, Query(max_length=MAX_NAME_LENGTH)] = "",
        page_size: Annotated[int, Query(ge=1, le=100)] = 10,
        next_page_token: Annotated[str | None, Query(max_length=64)] = None,
        sort: Literal["name", "created_at_unix"] | None = None,
        sort_direction: Literal["asc", "desc"] = "asc",
        voice_type: str | None = None,
        category: str | None = None,
        voice_ids: Annotated[list[str] | None, Query(max_length=100)] = None,
    ) -> dict[str, Any]:
        """The voices whose name or description has the words searched for, page by page."""
        found = [
            voice
            for voice in services.voices.list()
            if search.casefold() in f"{voice.name}\n{voice.description or ''}".casefold()
            and (voice_type is None or voice_type in _types(voice))
            and (category is None or category == _category(voice))
            and (voice_ids is None or voice.id in voice_ids)
        ]
        if sort is not None:
            found.sort(key=lambda voice: voice.name.casefold() if sort == "name" else f"{voice.created:020}")
        if sort_direction == "desc":
            found.reverse()
        start = 0
        if next_page_token:
            start = 1 + next((index for index, voice in enumerate(found) if voice.id == next_page_token), -1)
            if start == 0:
                message = "next_page_token is none of this search: take it from the page before, or begin anew"
                raise RequestError(422, "invalid_request", message, "next_page_token")
        page = found[start : start + page_size]
        more = start + page_size < len(found)
        return {
            "voices": [_described(voice) for voice in page],
            "has_more": more,
            "total_count": len(found),
            "next_page_token": page[-1].id if more else None,
        }

    @routes.post("/v1/voices/add", openapi_extra=_UPLOAD)
    async def add_voice(request: Request) -> dict[str, Any]:
        """Store a voice of one recording; without `ref_text` it is transcribed, where the server can."""
        async with read_form(request, fields=_MAX_FIELDS, wanted="name and files") as form:
            recording = next((value for name, value in form.multi_items() if name.startswith("files")), None)
            if not isinstance(recording, UploadFile):
                raise RequestError(422, "invalid_request", "files is missing: send one recording as a file", "files")
            texts = {name: form_text(form, name) for name in ("name", "ref_text", "description")} | {"consent": ""}
            audio = await recording.read()
        try:
            voice = await store_voice(services, texts, audio)
        except VoiceExists as error:
            # Not 409: the Python SDK sends such a form again, and then without its texts.
            raise RequestError(422, "voice_exists", str(error), "name") from error
        return {"voice_id": voice.id, "requires_verification": False}

    @routes.get("/v1/voices/settings/default")
    def default_settings() -> dict[str, Any]:
        """What a text is spoken with whose `voice_settings` say nothing."""
        return SETTINGS

    @routes.get("/v1/voices/{voice_id}")
    def voice(voice_id: str) -> dict[str, Any]:
        """One voice, by id or name."""
        return _described(services.voices.get(voice_id))

    @routes.get("/v1/voices/{voice_id}/settings")
    def settings(voice_id: str) -> dict[str, Any]:
        """The same for every voice."""
        services.voices.get(voice_id)
        return SETTINGS

    @routes.post("/v1/voices/{voice_id}/edit", include_in_schema=False)
    @routes.post("/v1/voices/{voice_id}/settings/edit", include_in_schema=False)
    async def edit(voice_id: str) -> None:
        message = (
            f"voices are not edited here: delete {voice_id[:64]!r} and add it anew; send voice_settings with a text"
        )
        raise RequestError(501, "not_implemented", message)

    @routes.delete("/v1/voices/{voice_id}")
    async def delete(voice_id: str) -> dict[str, Any]:
        """Remove an uploaded voice, by id."""
        await to_thread.run_sync(services.voices.delete, voice_id)
        return {"status": "ok"}


def _category(voice: StoredVoice) -> str:
    return "premade" if voice.embedded else "cloned"


def _types(voice: StoredVoice) -> tuple[str, ...]:
    return ("default",) if voice.embedded else ("personal", "non-default")


def _described(voice: StoredVoice) -> dict[str, Any]:
    return {
        "voice_id": voice.id,
        "name": voice.name,
        "category": _category(voice),
        "description": voice.description,
        "labels": {},
        "samples": None,
        "preview_url": None,
        "settings": SETTINGS,
        "available_for_tiers": [],
        "high_quality_base_model_ids": [],
        "is_owner": not voice.embedded,
        "created_at_unix": voice.created or None,
    }
