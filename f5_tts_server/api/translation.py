"""Errors of voices and texts as the errors of requests, with fields called what the protocol calls them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from f5_tts_server.api.errors import rename_field, validation_error
from f5_tts_server.inference_types import RequestError
from f5_tts_server.text import ManuscriptError
from f5_tts_server.voices.report import UnusableClip
from f5_tts_server.voices.store import InvalidVoice, ReadOnlyVoice, StoreFull, UnknownVoice, VoiceError, VoiceExists
from f5_tts_server.voices.transcription import TranscriptionUnavailable

_VOICE_ERRORS: dict[type[VoiceError], tuple[int, str, str]] = {
    UnknownVoice: (404, "voice_not_found", "voice"),
    InvalidVoice: (422, "invalid_voice", "name"),
    VoiceExists: (409, "voice_exists", "name"),
    StoreFull: (403, "voice_store_full", "audio_sample"),
    ReadOnlyVoice: (403, "voice_read_only", "voice"),
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

FAULTS = (RequestError, VoiceError, ManuscriptError, UnusableClip, TranscriptionUnavailable, RequestValidationError)
"""What `as_request_error` takes."""


def as_request_error(error: Exception, fields: Mapping[str, str]) -> RequestError:
    """Any of `FAULTS` as the error of a request; ``fields`` maps the engine's field names to the protocol's.

    Raises `error` itself when it is none of them.
    """
    match error:
        case RequestError():
            return rename_field(error, dict(fields))
        case RequestValidationError():
            return validation_error(error)
        case ManuscriptError():
            name = fields.get("text", "text")
            return RequestError(422, "invalid_request", f"{name}: {error}", name)
        case UnusableClip():
            return RequestError(422, "unusable_clip", str(error), "audio_sample")
        case TranscriptionUnavailable():
            return RequestError(422, "transcription_unavailable", str(error), "ref_text")
        case VoiceError():
            status, code, name = _VOICE_ERRORS[type(error)]
            return RequestError(status, code, str(error), name)
    raise error


class TranslatingRoute(APIRoute):
    """A route whose handler may raise any of `FAULTS`; the application answers with the request error made of it."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def translating(request: Request) -> Response:
            try:
                return await handle(request)
            except FAULTS as error:
                return self.answer(error)

        return translating

    def answer(self, error: Exception) -> Response:
        """The reply, or raise the error that the application answers."""
        raise as_request_error(error, {}) from error
