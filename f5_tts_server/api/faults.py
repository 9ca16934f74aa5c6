"""Everything that a caller can do wrong, as the error of a request. The application answers with it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from f5_tts_server.api.errors import error_response
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.files import DiskFull
from f5_tts_server.inference_types import RequestError, invalid_field
from f5_tts_server.text import TextError
from f5_tts_server.voices.archive import InvalidArchive
from f5_tts_server.voices.consents import ConsentsFull, UnknownConsent
from f5_tts_server.voices.dictionaries import DictionariesFull
from f5_tts_server.voices.report import UnusableClip
from f5_tts_server.voices.store import (
    AliasesFull,
    DamagedVoice,
    InvalidMixture,
    InvalidVoice,
    ReadOnlyVoice,
    StorageFailed,
    StoreFull,
    UnknownAlias,
    UnknownVoice,
    VoiceError,
    VoiceExists,
)
from f5_tts_server.voices.transcription import TranscriptionUnavailable

_CODES = {
    400: "invalid_body",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
}

_VOICE_ERRORS: dict[type[VoiceError], tuple[int, str, str | None]] = {
    UnknownVoice: (404, "voice_not_found", "voice"),
    InvalidVoice: (422, "invalid_voice", "name"),
    InvalidMixture: (422, "invalid_voice_mix", "voice"),
    VoiceExists: (409, "voice_exists", "name"),
    StoreFull: (403, "voice_store_full", "audio_sample"),
    ReadOnlyVoice: (403, "voice_read_only", "voice"),
    DamagedVoice: (500, "voice_damaged", "voice"),
    StorageFailed: (500, "storage_failed", "voice"),
    UnknownConsent: (404, "voice_consent_not_found", "consent_id"),
    ConsentsFull: (403, "consents_full", None),
    DictionariesFull: (403, "dictionaries_full", None),
    InvalidArchive: (422, "invalid_voice_file", "file"),
    UnknownAlias: (404, "voice_alias_not_found", "name"),
    AliasesFull: (403, "voice_aliases_full", None),
}

FAULTS = (RequestError, VoiceError, TextError, UnusableClip, TranscriptionUnavailable, ValidationError, DiskFull)
"""What `as_request_error` takes."""

QUOTED = 200
"""Characters of a value that an error quotes at most."""


def as_request_error(error: Exception) -> RequestError:
    """Any of `FAULTS` as the error of a request, with the engine's names of fields.

    Raises ``error`` itself when it is none of them.
    """
    match error:
        case RequestError():
            return error
        case ValidationError():
            return _first_fault(error.errors()[0])
        case TextError():
            return invalid_field("text", f"text: {error}")
        case UnusableClip():
            return RequestError(422, "unusable_clip", f"reference: {error}", "reference")
        case TranscriptionUnavailable():
            return RequestError(422, "transcription_unavailable", str(error), "ref_text")
        case DiskFull():
            return RequestError(507, "disk_full", str(error))
        case VoiceError():
            status, code, field = _VOICE_ERRORS[type(error)]
            return RequestError(status, code, str(error), field)
    raise error


def install(app: FastAPI) -> None:
    """Make the application answer every fault in the caller's dialect."""

    async def fault(request: Request, error: Exception) -> JSONResponse:
        return error_response(as_request_error(error), request.scope)

    for kind in FAULTS:
        if kind is not ValidationError:  # one that comes up here is our own fault, not the caller's
            app.exception_handler(kind)(fault)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(_first_fault(error.errors()[0]), request.scope)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "http_error")
        message = str(error.detail)
        if error.status_code in (404, 405) and message == HTTPStatus(error.status_code).phrase:  # the router's own
            path = request.url.path[:QUOTED]
            allowed = (error.headers or {}).get("Allow")
            message = f"there is no path {path}; /docs shows all"
            if allowed:
                message = f"{request.method} is not for {path}; {allowed} is"
        told = RequestError(error.status_code, code, message)
        return error_response(told, request.scope, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, _: Exception) -> JSONResponse:
        # Nobody reads this reply; without it the log would have a traceback, as if the server were at fault.
        return error_response(
            RequestError(400, "client_left", "the client left before its body was whole"), request.scope
        )

    @app.exception_handler(Exception)
    async def at_fault(request: Request, _: Exception) -> JSONResponse:
        # Starlette re-raises it after this reply, and uvicorn logs the traceback.
        request_id = current_request_id()
        error = RequestError(500, "internal_error", f"request {request_id} failed; the server's log says why")
        # This reply is made outside the middleware that adds the header to all others.
        return error_response(error, request.scope, headers={"X-Request-ID": request_id})


def _first_fault(fault: ErrorDetails) -> RequestError:
    """A fault of a body as a sentence that names the field and the limit."""
    parts = [str(part) for part in fault["loc"] if part not in ("body", "query", "path", "header")]
    where = [part[:QUOTED] for part in parts if not part.startswith("function-")]  # pydantic's name of a union's branch
    if fault["type"] == "json_invalid":
        return RequestError(400, "invalid_json", f"the body is not JSON: {fault['ctx']['error']}")
    name, value = ".".join(where), fault["input"]
    if not where and isinstance(value, bytes):
        message = f"body: {len(value)} bytes were not read as JSON: send them with Content-Type: application/json"
        return RequestError(422, "invalid_request", message)
    shown = "" if fault["type"] in ("missing", "extra_forbidden") else f", not {_quoted(value)}"
    return RequestError(422, "invalid_request", f"{name or 'body'}: {_words(fault)}{shown}", name or None)


def _words(fault: ErrorDetails) -> str:
    """What is wrong. pydantic's own words, but where those are about Python."""
    match fault["type"], fault["input"]:
        case "too_long" | "too_short" as kind, str(value):
            limit = (
                f"at most {fault['ctx']['max_length']}"
                if kind == "too_long"
                else f"at least {fault['ctx']['min_length']}"
            )
            return f"{len(value)} characters are given, {limit} are accepted"
        case "extra_forbidden", _:
            return "there is no such field"
        case "model_type" | "model_attributes_type" | "dict_type", _:
            return "input should be a JSON object"
        case "none_required", _:
            return "input should be null"
        case "literal_error", _:
            return f"input should be {fault['ctx']['expected'].replace('False', 'false')}"
    message = fault["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _quoted(value: Any) -> str:
    """A value, or its beginning, in printable ASCII; the cost is bounded whatever its size."""
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case bytes():
            return f"{len(value)} bytes that are not JSON"
        case str():
            text, whole = json.dumps(value[:QUOTED]), len(value) <= QUOTED
        case _:
            text, whole = json.dumps(value, default=str), True
    return text if whole and len(text) <= QUOTED else f"{text[:QUOTED]}..."
