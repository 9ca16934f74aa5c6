"""Recordings of consent to a voice, `/v1/audio/voice_consents`, in the shape of OpenAI's API for custom voices.

They are kept and named by voices; nobody compares what is said in them, or who says it, with the voice.
"""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from f5_tts_server.api.forms import form_document, form_text, read_form
from f5_tts_server.api.pages import page_of
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Text
from f5_tts_server.inference_types import invalid_field
from f5_tts_server.voices.consents import RECORDING_MAX, Consent
from f5_tts_server.voices.report import prepare
from f5_tts_server.voices.store import MAX_NAME_LENGTH

_LANGUAGE_MAX = 35  # characters
_UPLOAD = form_document(
    ["name", "language", "recording"],
    {
        "name": {"type": "string", "maxLength": MAX_NAME_LENGTH},
        "language": {"type": "string", "maxLength": _LANGUAGE_MAX, "description": "such as en-US"},
        "recording": {"type": "string", "format": "binary"},
    },
)


class NameBody(BaseModel):
    """A recording's other label."""

    name: Text = Field(min_length=1, max_length=MAX_NAME_LENGTH)


def router(services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1/audio/voice_consents", tags=["voices"])
    kept = services.consents

    @routes.post("", status_code=201, openapi_extra=_UPLOAD)
    async def add(request: Request) -> dict[str, Any]:
        """Keep a recording of consent. It must be sound; what is said in it is not checked."""
        async with read_form(request, fields=3, wanted="name, language and recording") as form:
            recording = form.get("recording")
            if not isinstance(recording, UploadFile):
                raise invalid_field("recording", "recording is missing: send it as a file")
            name, language = (_short(form_text(form, field), field) for field in ("name", "language"))
            audio = await recording.read()
        if len(audio) > RECORDING_MAX:
            raise invalid_field("recording", f"recording has {len(audio)} bytes; the limit is {RECORDING_MAX}")

        def store() -> Consent:
            prepare(audio, max_speech_seconds=None)
            return kept.add(name, language, audio)

        return _json(await to_thread.run_sync(store, limiter=services.measuring))

    @routes.get("")
    def consents(
        after: Annotated[str | None, Query(max_length=64)] = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> dict[str, Any]:
        """The recordings by age, page by page."""
        return page_of(kept.list(), after, limit, _json)

    @routes.get("/{consent_id}")
    def consent(consent_id: str) -> dict[str, Any]:
        """What is known of a recording."""
        return _json(kept.get(consent_id))

    @routes.post("/{consent_id}")
    def rename(consent_id: str, body: NameBody) -> dict[str, Any]:
        """Give a recording another label."""
        return _json(kept.rename(consent_id, body.name))

    @routes.delete("/{consent_id}")
    def delete(consent_id: str) -> dict[str, Any]:
        """Remove a recording; voices that name it stay."""
        kept.remove(consent_id)
        return {"id": consent_id, "object": "audio.voice_consent", "deleted": True}

    return routes


def _json(consent: Consent) -> dict[str, Any]:
    return {
        "id": consent.id,
        "object": "audio.voice_consent",
        "name": consent.name,
        "language": consent.language,
        "created_at": consent.created,
    }


def _short(text: str, field: str) -> str:
    limit = MAX_NAME_LENGTH if field == "name" else _LANGUAGE_MAX
    text = text.strip()
    if not text or len(text) > limit or not text.isprintable():
        raise invalid_field(field, f"{field} has {len(text)} characters; 1 to {limit} that can be printed are accepted")
    return text
