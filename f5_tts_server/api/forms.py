"""Bodies that are forms: one file and some texts, held in memory and bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from f5_tts_server.inference_types import RequestError, invalid_field
from f5_tts_server.voices.store import MAX_TEXT_LENGTH

_MAX_SHORT_TEXT = 500  # characters of every text but the transcript


class _InMemoryParser(MultiPartParser):
    """Starlette's parser without its temporary files: the server's limit of a body bounds what is held."""

    spool_max_size = 2**40

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        except BaseException:  # Starlette closes its files for its own kind of error only
            for file in self._files_to_close_on_error:
                file.close()
            raise


def form_document(required: Sequence[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """For the OpenAPI document of a route that reads a form: schemas of its fields by name."""
    schema = {"type": "object", "required": list(required), "properties": dict(properties)}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@asynccontextmanager
async def read_form(request: Request, *, fields: int, wanted: str) -> AsyncIterator[FormData]:
    """The parts of a multipart body: one file, and at most so many texts; ``wanted`` names them for the error.

    Raises RequestError.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RequestError(415, "unsupported_media_type", f"the body must be multipart/form-data with {wanted}")
    parser = _InMemoryParser(
        request.headers,
        request.stream(),
        max_files=1,
        max_fields=fields,
        max_part_size=4 * MAX_TEXT_LENGTH,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(422, "invalid_multipart", f"the multipart body is not valid: {error.message}") from error
    try:
        yield form
    finally:
        await form.close()


def form_text(form: FormData, field: str) -> str:
    """A text of a form, empty where it has none. Raises RequestError."""
    value = form.get(field) or ""
    if isinstance(value, UploadFile):
        raise invalid_field(field, f"{field} is a file; it must be text")
    limit = MAX_TEXT_LENGTH if field == "ref_text" else _MAX_SHORT_TEXT
    if len(value) > limit:
        raise invalid_field(field, f"{field} has {len(value)} characters; the limit is {limit}")
    return value
