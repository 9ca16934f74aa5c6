"""Error replies: one description of what went wrong, said in the shape and with the field names of the caller's protocol.

Which protocol that is follows from the path, so that replies made before any router is reached (no key, a body over its
limit, no such path) have the right shape too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.types import Scope

from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.inference_types import CuesTooShort, Refused, RequestError


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="a sentence: which field, what is wrong with it, and the limit")
    type: str = Field(description="invalid_request_error, rate_limit_error or server_error")
    code: str = Field(description="a word for programs")
    param: str | None = Field(description="the field at fault")
    request_id: str = Field(description="the reply's X-Request-ID; the server's log has it in every line")


class ErrorBody(BaseModel):
    """The body of every reply with a status of 400 and above."""

    error: ErrorDetail


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "the body is not JSON"},
    404: {"model": ErrorBody, "description": "the voice or the model is unknown"},
    408: {"model": ErrorBody, "description": "the body did not come in time"},
    413: {"model": ErrorBody, "description": "the body is too large"},
    422: {"model": ErrorBody, "description": "a field is missing, wrong or over its limit"},
    429: {"model": ErrorBody, "description": "too much to do; Retry-After says when to come back"},
    500: {"model": ErrorBody, "description": "the server is at fault; its log has the request id"},
    503: {"model": ErrorBody, "description": "loading, shutting down or broken"},
    504: {"model": ErrorBody, "description": "not finished within timeout_s"},
}
"""For the OpenAPI document of routes that speak."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a protocol says what went wrong: in OpenAI's shape, unless a subclass has another.

    ``fields`` maps the engine's names of fields to the protocol's; ``invalid`` is the status of a wrong value.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    invalid: int = 422

    def translate(self, error: RequestError) -> RequestError:
        """The same error with the protocol's status and names."""
        status = self.invalid if error.status == 422 else error.status
        name = self.fields.get(error.field, error.field) if error.field is not None else None
        if isinstance(error, Refused) or (status == error.status and name == error.field):
            return error
        message = error.message
        if name is not None and error.field is not None and name != error.field:
            rest = message.removeprefix(error.field)
            message = f"{name}{rest}" if rest != message else f"{name}: {message}"
        if isinstance(error, CuesTooShort):
            return CuesTooShort(error.overruns, message, name)
        return RequestError(status, error.code, message, name)

    def body(self, error: RequestError) -> dict[str, Any]:
        """The JSON for an error; the names in it are left as they are."""
        return error_body(error)


class _ElevenLabs(Dialect):
    def body(self, error: RequestError) -> dict[str, Any]:
        return {"detail": {"status": error.code, "message": error.message, "param": error.field}}


class _Dubs(Dialect):
    def body(self, error: RequestError) -> dict[str, Any]:
        body = super().body(error)
        if isinstance(error, CuesTooShort):
            body["error"]["cues"] = [asdict(overrun) for overrun in error.overruns]
        return body


OWN = Dialect()
GENERATE = Dialect(
    {
        "text": "gen_text",
        "reference": "ref_audio_base64",
        "nfe": "num_inference_steps",
        "cfg_strength": "guidance_scale",
        "speed": "speed_factor",
        "sway": "use_sway_sampling",
        "seconds": "duration",
        "format": "response_format",
        "pause": "gen_text",
    }
)
SPEECH_SOCKET = Dialect(
    {
        "pause": "text",
        "nfe": "num_inference_steps",
        "cfg_strength": "guidance_scale",
        "seconds": "duration",
        "format": "response_format",
        "reference": "voice",
    }
)
# OpenAI answers 400 where a value is wrong; its SDK has an exception of its own for that status.
OPENAI = Dialect({**SPEECH_SOCKET.fields, "text": "input", "pause": "input"}, invalid=400)
ELEVENLABS = _ElevenLabs(
    {
        "nfe": "num_inference_steps",
        "cfg_strength": "guidance_scale",
        "seconds": "duration",
        "format": "output_format",
        "pause": "text",
        "speed": "voice_settings.speed",
        "reference": "voice_id",
        "voice": "voice_id",
        "model": "model_id",
    }
)
VOICES = Dialect({"reference": "audio_sample"})
CONSENTS = Dialect({"reference": "recording"})
ELEVENLABS_UPLOAD = _ElevenLabs({"reference": "files", "audio_sample": "files", "voice": "voice_id"})

DUBS = _Dubs({**GENERATE.fields, "text": "subtitles", "cue": "subtitles", "speed": "max_rate"})

EDITS = GENERATE

_BY_PATH = {
    "/v1/generate": GENERATE,
    "/v1/audio/speech": OPENAI,
    "/v1/files": OPENAI,
    "/v1/batches": OPENAI,
    "/v1/audio/voices": VOICES,
    "/v1/audio/voice_consents": CONSENTS,
    "/v1/audio/dubs": DUBS,
    "/v1/audio/edits": EDITS,
    "/v1/text-to-speech": ELEVENLABS,
    "/v1/text-to-dialogue": ELEVENLABS,
    "/v1/voices/add": ELEVENLABS_UPLOAD,
    "/v1/voices": ELEVENLABS,
    "/v2/voices": ELEVENLABS,
    "/v1/user": ELEVENLABS,
    "/v1/pronunciation-dictionaries": ELEVENLABS,
}


def dialect_of(scope: Scope) -> Dialect:
    """The dialect of a call."""
    path = scope["path"]
    if path.startswith("/v1/voices/") and path.endswith("/edit"):
        return ELEVENLABS_UPLOAD
    for prefix, dialect in _BY_PATH.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return dialect
    return ELEVENLABS if path == "/v1/models" and is_elevenlabs(Headers(scope=scope)) else OWN


def is_elevenlabs(headers: Headers) -> bool:
    """Whether a client of ElevenLabs' API calls: its SDKs name themselves, and only they send this key header."""
    names = (headers.get("user-agent", ""), headers.get("x-fern-sdk-name", ""))
    return "xi-api-key" in headers or any("elevenlabs" in name.lower() for name in names)


def error_body(error: RequestError) -> dict[str, Any]:
    """OpenAI's shape with a request id: ``{"error": {message, type, code, param, request_id}}``."""
    kinds = {429: "rate_limit_error"}
    kind = kinds.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    detail = ErrorDetail(
        message=error.message, type=kind, code=error.code, param=error.field, request_id=current_request_id()
    )
    return {"error": detail.model_dump()}


def error_response(error: RequestError, scope: Scope, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The reply for a request that was not served, in the caller's dialect."""
    dialect = dialect_of(scope)
    told = dialect.translate(error)
    headers = dict(headers or {})
    if isinstance(error, Refused) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse(dialect.body(told), status_code=told.status, headers=headers)
