"""OpenAI's batches, `/v1/batches`: a file of requests for speech, worked off when there is nothing else to do.

After the published specification (https://platform.openai.com/docs/api-reference/batch), whose endpoints have no speech:
what a line of the output holds is ours (docs/batches.md).
"""

# Annotations are not deferred here: FastAPI reads the body's types.
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from f5_tts_server.api.background import not_kept
from f5_tts_server.api.batch_runner import KEPT_S_MAX, KEPT_S_MIN, BatchRunner, Endpoint
from f5_tts_server.api.bodies import structure_max
from f5_tts_server.api.caller import current_caller
from f5_tts_server.api.pages import page_of
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Name, Text
from f5_tts_server.inference_types import RequestError
from f5_tts_server.jobs.batches import KEPT_S, OPEN, Batch, Full

_TIMES = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")

Key = Annotated[Text, StringConstraints(max_length=64)]
Value = Annotated[Text, StringConstraints(max_length=512)]


class ExpiresAfter(BaseModel):
    """How long the output is kept."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=KEPT_S_MIN, le=KEPT_S_MAX)


class BatchBody(BaseModel):
    """The fields of the specification; others are ignored."""

    model_config = ConfigDict(extra="ignore")

    input_file_id: Name
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: dict[Key, Value] | None = Field(None, max_length=16)
    output_expires_after: ExpiresAfter | None = None


def router(services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1/batches", tags=["OpenAI"])
    access = services.access
    limit_of_line = structure_max(services.settings)

    def runner(request: Request) -> BatchRunner:
        found: BatchRunner | None = getattr(request.app.state, "batches", None)
        if found is None:
            raise not_kept()
        return found

    def batch_of(request: Request, batch_id: str) -> Batch:
        batch = runner(request).store.batches.get(batch_id)
        if batch is None or batch.owner != access.owner(request):
            raise RequestError(404, "batch_not_found", f"batch {batch_id[:40]!r} is not here", "batch_id")
        return batch

    @routes.post("")
    async def create(request: Request, body: BatchBody) -> dict[str, Any]:
        """Take a batch in. Its file is read before this answers: one with faults has failed, and says them."""
        batches = runner(request)
        owner = access.owner(request)
        message = f"input_file_id: there is no file {body.input_file_id[:40]!r} with the purpose batch"
        unknown = RequestError(404, "file_not_found", message, "input_file_id")
        source = await to_thread.run_sync(batches.store.file, owner, body.input_file_id)
        if source is None or source.purpose != "batch":
            raise unknown
        kept = body.output_expires_after
        try:
            batch = await to_thread.run_sync(
                lambda: batches.store.add(
                    source,
                    caller=current_caller(),
                    endpoint=body.endpoint,
                    metadata=body.metadata,
                    output_s=KEPT_S if kept is None else kept.seconds,
                    structure_max=limit_of_line,
                )
            )
        except FileNotFoundError as error:  # deleted meanwhile
            raise unknown from error
        except Full as error:
            raise RequestError(429, "too_many_batches", str(error)) from error
        batches.added()
        return _json(batch)

    @routes.get("")
    def listed(
        request: Request,
        after: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> dict[str, Any]:
        """The caller's batches, the newest first."""
        owner = access.owner(request)
        mine = [one for one in list(runner(request).store.batches.values()) if one.owner == owner]
        return page_of(mine[::-1], after, limit, _json)

    @routes.get("/{batch_id}")
    def one(request: Request, batch_id: str) -> dict[str, Any]:
        """How far a batch is."""
        return _json(batch_of(request, batch_id))

    @routes.post("/{batch_id}/cancel")
    async def cancel(request: Request, batch_id: str) -> dict[str, Any]:
        """Stop a batch; what is spoken is in its output."""
        batch = batch_of(request, batch_id)
        if batch.status not in OPEN:
            raise RequestError(409, "batch_ended", f"batch {batch.id} is {batch.status} already", "batch_id")
        await runner(request).stop(batch, "cancelled")
        return _json(batch)

    return routes


def _json(batch: Batch) -> dict[str, Any]:
    ended = batch.status not in (*OPEN, "cancelling", "finalizing")
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": batch.faults} if batch.faults else None,
        "input_file_id": batch.input,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output if ended and batch.completed else None,
        "error_file_id": batch.errors if ended and batch.failed else None,
        "created_at": batch.created,
        "expires_at": batch.expires,
        **{f"{status}_at": batch.at.get(status) for status in _TIMES},
        "request_counts": {"total": batch.lines, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
    }
