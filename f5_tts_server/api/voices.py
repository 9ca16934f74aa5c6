"""Stored voices: `/v1/audio/voices`.

The shape is OpenAI's for custom voices where it has one (`name`, `audio_sample`, `consent`), with the transcript and
our report beside it. Uploads are bounded by the server's limit of a body and never touch the disk before they are checked.
"""

from __future__ import annotations

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Body, Request
from fastapi.responses import Response
from starlette.datastructures import FormData, UploadFile

from f5_tts_server.api.forms import form_document, form_text, read_form
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Text
from f5_tts_server.api.voice_uploads import store_voice
from f5_tts_server.inference_types import RequestError, invalid_field
from f5_tts_server.text import Lexicon, TextError
from f5_tts_server.voices.archive import packed, unpacked
from f5_tts_server.voices.consents import CONSENT_ID, UnknownConsent
from f5_tts_server.voices.store import MAX_NAME_LENGTH, StoredVoice

_FIELDS = frozenset({"name", "ref_text", "consent", "description", "audio_sample"})

_UPLOAD = form_document(
    ["name", "audio_sample"],
    {
        "name": {"type": "string", "maxLength": MAX_NAME_LENGTH},
        "audio_sample": {"type": "string", "format": "binary", "description": "1 to 12 s of one speaker."},
        "ref_text": {"type": "string", "description": "What is said in the clip."},
        "description": {"type": "string"},
        "consent": {"type": "string", "description": "Kept with the voice, not checked."},
    },
)

_IMPORT = form_document(
    ["file"],
    {
        "file": {"type": "string", "format": "binary", "description": "What `export` gave."},
        "name": {"type": "string", "maxLength": MAX_NAME_LENGTH, "description": "Instead of the name in the file."},
    },
)


def router(services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1/audio/voices", tags=["voices"])

    @routes.post("", status_code=201, openapi_extra=_UPLOAD)
    async def add(request: Request) -> dict[str, Any]:
        """Store a voice. Answers with a report on the clip; clips that no voice can be made of are refused."""
        async with read_form(request, fields=len(_FIELDS), wanted="name and audio_sample") as form:
            texts, audio = await _upload(form)
        if CONSENT_ID.fullmatch(texts["consent"]):
            try:
                await to_thread.run_sync(services.consents.get, texts["consent"])
            except UnknownConsent as error:
                raise RequestError(404, "voice_consent_not_found", f"consent: {error}", "consent") from error
        return _json(await store_voice(services, texts, audio), full=True)

    @routes.get("")
    def voices() -> dict[str, Any]:
        """All voices, the id of the one that requests without a voice get, and the stored ones that are damaged."""
        stored = services.voices.list()
        default = services.voices.default.id if stored else None
        damaged = [{"id": one.id, "name": one.name, "reason": one.reason} for one in services.voices.damaged()]
        return {"voices": [_json(voice) for voice in stored], "default": default, "damaged": damaged}

    @routes.get("/{voice_id}")
    def voice(voice_id: str) -> dict[str, Any]:
        """One voice, by id or name, with the report of its upload."""
        return _json(services.voices.get(voice_id), full=True)

    @routes.get("/{voice_id}/audio", response_class=Response)
    def clip(voice_id: str) -> Response:
        """The voice's reference clip."""
        audio = services.voices.get(voice_id).clip.audio
        return Response(audio, media_type="audio/flac" if audio.startswith(b"fLaC") else "audio/wav")

    @routes.get("/{voice_id}/export", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
    def export(voice_id: str) -> Response:
        """The voice as a file, for `import` of this server or another: clip, transcript, labels, settings, lexicon."""
        voice = services.voices.get(voice_id)
        headers = {"Content-Disposition": f'attachment; filename="{voice.id}.zip"'}
        return Response(packed(voice), media_type="application/zip", headers=headers)

    @routes.post("/import", status_code=201, openapi_extra=_IMPORT)
    async def take_in(request: Request) -> dict[str, Any]:
        """Store an exported voice, under its name or another. It speaks the same samples as the one that was exported."""
        async with read_form(request, fields=1, wanted="file") as form:
            file, name = form.get("file"), form_text(form, "name")
            if not isinstance(file, UploadFile):
                raise invalid_field("file", "file is missing: send an exported voice as a file")
            data = await file.read()

        def store() -> StoredVoice:
            facts, clip = unpacked(data)
            return services.voices.add(
                name or facts.name,
                clip,
                description=facts.description,
                labels=facts.labels,
                settings=facts.settings.given(),
                words=facts.lexicon,
            )

        try:
            voice = await to_thread.run_sync(store, limiter=services.measuring)
        except TextError as error:
            raise RequestError(422, "invalid_voice_file", f"file: voice.json: lexicon: {error}", "file") from error
        return _json(voice, full=True)

    @routes.put("/{voice_id}/lexicon")
    async def set_lexicon(voice_id: str, words: Annotated[dict[Text, Text], Body()]) -> dict[str, Any]:
        """How an uploaded voice, by id, says words: IPA, pinyin or a respelling by word, in place of what was there."""
        try:
            Lexicon.of(words, services.check_transcription)
        except TextError as error:
            raise invalid_field("lexicon", f"lexicon: {error}") from error
        return _json(await to_thread.run_sync(services.voices.set_words, voice_id, words), full=True)

    @routes.delete("/{voice_id}")
    async def delete(voice_id: str) -> dict[str, Any]:
        """Remove an uploaded voice, by id."""
        await to_thread.run_sync(services.voices.delete, voice_id)
        return {"id": voice_id, "object": "audio.voice.deleted", "deleted": True}

    return routes


async def _upload(form: FormData) -> tuple[dict[str, str], bytes]:
    """The texts of a form by field, and its sound file. Raises RequestError."""
    for field in form:
        if field not in _FIELDS:
            raise invalid_field(field[:40], f"{field[:40]!r} is no field of a voice")
    sample = form.get("audio_sample")
    if not isinstance(sample, UploadFile):
        raise invalid_field("audio_sample", "audio_sample is missing: send it as a file")
    return {name: form_text(form, name) for name in _FIELDS - {"audio_sample"}}, await sample.read()


def _json(voice: StoredVoice, *, full: bool = False) -> dict[str, Any]:
    facts = {
        "id": voice.id,
        "object": "audio.voice",
        "name": voice.name,
        "created_at": voice.created,
        "embedded": voice.embedded,
        "description": voice.description,
    }
    return (
        facts
        | {
            "ref_text": voice.clip.text,
            "consent": voice.consent,
            "report": voice.report,
            "lexicon": voice.words,
            "labels": voice.labels,
            "settings": voice.settings,
        }
        if full
        else facts
    )
