"""OpenAI's files, `/v1/files`: the input of batches, and their output.

After the published specification (https://platform.openai.com/docs/api-reference/files). Each is seen with the key that
brought it, and by whoever calls where no keys are needed.
"""

# Annotations are not deferred here: FastAPI reads the options' types.
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from starlette.datastructures import FormData, UploadFile

from f5_tts_server.api.background import not_kept
from f5_tts_server.api.batch_runner import KEPT_S_MAX, KEPT_S_MIN, BatchRunner
from f5_tts_server.api.forms import form_document, form_text, read_form
from f5_tts_server.api.pages import page_of
from f5_tts_server.api.services import Services
from f5_tts_server.inference_types import RequestError, invalid_field
from f5_tts_server.jobs.batches import FILES_MAX, KEPT_S, BatchStore, Full, StoredFile

_NAME_MAX = 200  # characters
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"
_UPLOAD = form_document(
    ["file", "purpose"],
    {
        "file": {"type": "string", "format": "binary", "description": "JSON objects, one a line."},
        "purpose": {"type": "string", "enum": ["batch"]},
        _ANCHOR: {"type": "string", "enum": ["created_at"]},
        _SECONDS: {"type": "integer", "minimum": KEPT_S_MIN, "maximum": KEPT_S_MAX, "default": KEPT_S},
    },
)


def router(services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1/files", tags=["OpenAI"])
    access = services.access

    def store(request: Request) -> BatchStore:
        runner: BatchRunner | None = getattr(request.app.state, "batches", None)
        if runner is None:
            raise not_kept()
        return runner.store

    def file_of(request: Request, file_id: str) -> StoredFile:
        found = store(request).file(access.owner(request), file_id)
        if found is None:
            raise RequestError(404, "file_not_found", f"file {file_id[:40]!r} is not here", "file_id")
        return found

    @routes.post("", openapi_extra=_UPLOAD)
    async def add(request: Request) -> dict[str, Any]:
        """Keep a file of requests for a batch."""
        kept = store(request)
        async with read_form(request, fields=3, wanted="file and purpose") as form:
            upload = form.get("file")
            if not isinstance(upload, UploadFile):
                raise invalid_field("file", "file is missing: send it as a file")
            if (purpose := form_text(form, "purpose")) != "batch":
                raise invalid_field("purpose", f"purpose is {purpose[:40]!r}; batch is the only one")
            seconds = _kept_s(form)
            data = await upload.read()
        if not data:
            raise invalid_field("file", "file is empty")
        name = "".join(letter for letter in upload.filename or "" if letter.isprintable())[:_NAME_MAX] or "file.jsonl"
        owner = access.owner(request)
        try:
            added = await to_thread.run_sync(lambda: kept.add_file(owner, name, data, purpose="batch", kept_s=seconds))
        except Full as error:
            raise RequestError(403, "files_full", str(error)) from error
        return _json(added)

    @routes.get("")
    def listed(
        request: Request,
        purpose: Annotated[str | None, Query(max_length=64)] = None,
        after: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = FILES_MAX,
        order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        """The caller's files, by default the newest first."""
        mine = [one for one in store(request).files(access.owner(request)) if purpose in (None, one.purpose)]
        return page_of(mine if order == "asc" else mine[::-1], after, limit, _json)

    @routes.get("/{file_id}")
    def one(request: Request, file_id: str) -> dict[str, Any]:
        """What is known of a file."""
        return _json(file_of(request, file_id))

    @routes.get("/{file_id}/content", response_class=FileResponse)
    def content(request: Request, file_id: str) -> FileResponse:
        """The file."""
        found = file_of(request, file_id)
        return FileResponse(store(request).path(found.id), media_type="application/jsonl", filename=found.name)

    @routes.delete("/{file_id}")
    def delete(request: Request, file_id: str) -> dict[str, Any]:
        """Remove a file; batches that were made of it go on."""
        store(request).remove_file(file_of(request, file_id).id)
        return {"id": file_id, "object": "file", "deleted": True}

    return routes


def _json(one: StoredFile) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": "file",
        "bytes": one.bytes,
        "created_at": one.created,
        "expires_at": one.expires,
        "filename": one.name,
        "purpose": one.purpose,
        "status": "processed",
    }


def _kept_s(form: FormData) -> int:
    anchor, seconds = form_text(form, _ANCHOR), form_text(form, _SECONDS)
    if not anchor and not seconds:
        return KEPT_S
    if anchor != "created_at":
        raise invalid_field("expires_after", f"expires_after.anchor is {anchor[:40]!r}; created_at is the only one")
    if not seconds.isascii() or not seconds.isdigit() or not KEPT_S_MIN <= int(seconds) <= KEPT_S_MAX:
        message = f"expires_after.seconds: a number from {KEPT_S_MIN} to {KEPT_S_MAX} is needed"
        raise invalid_field("expires_after", message)
    return int(seconds)
