"""Voices as ElevenLabs' clients list, search, add, edit and delete them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from starlette.datastructures import FormData, UploadFile

from f5_tts_server.api.forms import form_document, form_text, read_form
from f5_tts_server.api.pages import start_after
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import encodable
from f5_tts_server.api.voice_uploads import edit_voice, store_voice
from f5_tts_server.inference_types import RequestError, invalid_field
from f5_tts_server.voices.kept_settings import KeptSettings
from f5_tts_server.voices.store import MAX_LABEL_LENGTH, MAX_LABELS, MAX_NAME_LENGTH, StoredVoice, VoiceExists

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
        "labels": {"type": "string", "description": "A JSON object of words, such as its language and accent."},
    },
)
_EDIT = form_document(["name"], _UPLOAD["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"])


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
        start = start_after(found, next_page_token, "next_page_token")
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
            recording = _recording(form)
            if recording is None:
                raise invalid_field("files", "files is missing: send one recording as a file")
            texts = {name: form_text(form, name) for name in ("name", "ref_text", "description")} | {"consent": ""}
            labels = _labels(form)
            audio = await recording.read()
        try:
            voice = await store_voice(services, texts, audio, labels=labels)
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
        """What the voice's texts are spoken with whose `voice_settings` say nothing."""
        return _settings(services.voices.get(voice_id))

    @routes.post("/v1/voices/{voice_id}/edit", openapi_extra=_EDIT)
    async def edit(voice_id: str, request: Request) -> dict[str, Any]:
        """Change an uploaded voice; what the form does not have stays. A new recording takes the place of the old one."""
        async with read_form(request, fields=_MAX_FIELDS, wanted="name") as form:
            recording = _recording(form)
            texts = {name: form_text(form, name) for name in ("name", "ref_text", "description")}
            labels = _labels(form)
            audio = None if recording is None else await recording.read()
        if audio is None and texts["ref_text"]:
            message = "ref_text says what is said in a new recording: send that as files"
            raise invalid_field("ref_text", message)
        try:
            await edit_voice(services, voice_id, texts, audio, labels=labels)
        except VoiceExists as error:
            raise RequestError(422, "voice_exists", str(error), "name") from error  # as in `add_voice`
        return {"status": "ok"}

    @routes.post("/v1/voices/{voice_id}/settings/edit")
    async def edit_settings(voice_id: str, body: KeptSettings) -> dict[str, Any]:
        """Keep what an uploaded voice's texts are spoken with whose `voice_settings` say nothing."""
        await to_thread.run_sync(lambda: services.voices.edit(voice_id, settings=body.given()))
        return {"status": "ok"}

    @routes.delete("/v1/voices/{voice_id}")
    async def delete(voice_id: str) -> dict[str, Any]:
        """Remove an uploaded voice, by id."""
        await to_thread.run_sync(services.voices.delete, voice_id)
        return {"status": "ok"}


def _recording(form: FormData) -> UploadFile | None:
    found = next((value for name, value in form.multi_items() if name.startswith("files")), None)
    return found if isinstance(found, UploadFile) else None


def _labels(form: FormData) -> dict[str, str] | None:
    """The labels of a form, None where it has none. Raises RequestError."""
    written = form_text(form, "labels")
    try:
        labels = json.loads(written) if written else None
    except (ValueError, RecursionError):
        labels = written
    if labels is None:
        return None
    message = f"labels must be a JSON object of at most {MAX_LABELS} texts of up to {MAX_LABEL_LENGTH} characters"
    if not isinstance(labels, dict) or len(labels) > MAX_LABELS:
        raise invalid_field("labels", message)
    for text in (*labels, *labels.values()):
        if not isinstance(text, str) or len(text) > MAX_LABEL_LENGTH:
            raise invalid_field("labels", message)
        try:
            encodable(text)
        except ValueError as error:
            raise invalid_field("labels", f"labels: {error}") from error
    return labels


def _settings(voice: StoredVoice) -> dict[str, Any]:
    return SETTINGS | voice.settings


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
        "labels": voice.labels,
        "samples": None,
        "preview_url": None,
        "settings": _settings(voice),
        "available_for_tiers": [],
        "high_quality_base_model_ids": [],
        "is_owner": not voice.embedded,
        "created_at_unix": voice.created or None,
    }
