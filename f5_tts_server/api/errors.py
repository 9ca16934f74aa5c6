"""The one shape of error replies, which is OpenAI's with a request id: ``{"error": {message, type, code, param}}``."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.inference_types import Refused, RequestError

_CODES = {
    400: "invalid_body",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


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
    413: {"model": ErrorBody, "description": "the body is too large"},
    422: {"model": ErrorBody, "description": "a field is missing, wrong or over its limit"},
    429: {"model": ErrorBody, "description": "too much to do; Retry-After says when to come back"},
    500: {"model": ErrorBody, "description": "the server is at fault; its log has the request id"},
    503: {"model": ErrorBody, "description": "loading, shutting down or broken"},
    504: {"model": ErrorBody, "description": "not finished within timeout_s"},
}
"""For the OpenAPI document of routes that speak."""


def error_body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error reply, or of an error event in a stream."""
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    detail = ErrorDetail(message=message, type=kind, code=code, param=param, request_id=current_request_id())
    return {"error": detail.model_dump()}


def error_response(error: RequestError) -> JSONResponse:
    """The reply for a request that was not served."""
    headers = {}
    if isinstance(error, Refused) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    body = error_body(error.status, error.code, error.message, error.field)
    return JSONResponse(body, status_code=error.status, headers=headers)


def rename_field(error: RequestError, names: dict[str, str]) -> RequestError:
    """The error in the words of a protocol: ``names`` maps the engine's field names to the protocol's."""
    if error.field is None or error.field not in names or isinstance(error, Refused):
        return error
    name = names[error.field]
    rest = error.message.removeprefix(error.field)
    message = f"{name}{rest}" if rest != error.message else f"{name}: {error.message}"
    return RequestError(error.status, error.code, message, name)


def install(app: FastAPI) -> None:
    """Make every error reply of the app have this shape."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(validation_error(error))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "http_error")
        body = error_body(error.status_code, code, str(error.detail))
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def at_fault(_: Request, error: Exception) -> JSONResponse:
        # Starlette re-raises it after this reply, and uvicorn logs the traceback.
        request_id = current_request_id()
        message = f"request {request_id} failed; the server's log says why"
        # This reply is made outside the middleware that adds the header to all others.
        headers = {"X-Request-ID": request_id}
        return JSONResponse(error_body(500, "internal_error", message), status_code=500, headers=headers)


def validation_error(error: RequestValidationError) -> RequestError:
    """The first fault of a body, as a sentence that names the field and the limit."""
    fault = error.errors()[0]
    where = [str(part) for part in fault["loc"] if part not in ("body", "query", "path", "header")]
    if fault["type"] == "json_invalid":
        return RequestError(400, "invalid_json", f"the body is not JSON: {fault['ctx']['error']}")
    name = ".".join(where)
    message = fault["msg"][:1].lower() + fault["msg"][1:]
    shown = "" if fault["type"] == "missing" else f", not {_shortened(fault['input'])}"
    return RequestError(422, "invalid_request", f"{name or 'body'}: {message}{shown}", name or None)


def _shortened(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."
