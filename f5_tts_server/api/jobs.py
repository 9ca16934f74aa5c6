"""Long texts as jobs: `/v1/jobs`. The body is the document itself: text, Markdown or EPUB."""

# Annotations are not deferred here: FastAPI reads the options' types.
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from f5_tts_server.api.background import not_kept
from f5_tts_server.api.caller import current_caller
from f5_tts_server.api.job_runner import JobOptions, JobRunner
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Guidance, Name, Seed, Speed, Steps, Sway, Text
from f5_tts_server.api.streaming import PING, sse_event, with_pings
from f5_tts_server.inference_types import RequestError
from f5_tts_server.jobs.book import MEDIA_TYPES, BookFormat
from f5_tts_server.jobs.documents import Kind, chapters_of
from f5_tts_server.jobs.store import OPEN, Job, TooManyJobs

_KINDS: dict[str, Kind] = {"text/plain": "text", "text/markdown": "markdown", "application/epub+zip": "epub"}


class JobQuery(BaseModel):
    """What the address says; unknown names are refused, as a mistyped one would be found after hours."""

    model_config = ConfigDict(extra="forbid")

    format: BookFormat = Field("m4b", description="With chapter marks: m4b (AAC) or mp3.")
    title: Text = Field("", max_length=200, description="Of the book.")
    voice: Name | None = Field(None, description="A stored voice, by id or name.")
    speed: Speed = 1.0
    seed: Seed | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    use_sway_sampling: Sway | None = None
    language: Text | None = Field(None, max_length=35)
    read_numbers: bool = True

    def options(self) -> JobOptions:
        """How it is spoken, with a seed."""
        given = self.model_dump(exclude={"format", "title"}, exclude_none=True)
        return JobOptions.of(given)


def router(services: Services) -> APIRouter:
    """The routes of this protocol."""
    routes = APIRouter(prefix="/v1/jobs", tags=["jobs"])

    def runner(request: Request) -> JobRunner:
        found = getattr(request.app.state, "jobs", None)
        if found is None:
            raise not_kept()
        assert isinstance(found, JobRunner)
        return found

    def job_of(request: Request, job_id: str) -> Job:
        job = runner(request).store.jobs.get(job_id)
        if job is None or job.owner != services.access.owner(request):
            raise RequestError(
                404, "job_not_found", f"job {job_id[:40]!r} is not here; GET /v1/jobs lists yours", "job"
            )
        return job

    def described(request: Request, job: Job) -> dict[str, Any]:
        store = runner(request).store
        facts = asdict(job)
        titles = facts.pop("titles")
        del facts["owner"], facts["caller"]
        chapters = [
            {"number": number, "title": title, "ready": store.chapter_audio(job, number).exists()}
            for number, title in enumerate(titles, 1)
        ]
        return {"object": "job", **facts, "chapters": chapters}

    @routes.post("", status_code=201, openapi_extra=_BODY)
    async def create(request: Request, query: Annotated[JobQuery, Query()]) -> dict[str, Any]:
        """Take a document in. It is read, and its marks, voice and limits are checked, before this answers."""
        jobs = runner(request)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in _KINDS:
            message = f"Content-Type is {media_type[:60]!r}; {', '.join(_KINDS)} are read"
            raise RequestError(415, "unsupported_media_type", message)
        data = await request.body()
        chapters = await to_thread.run_sync(chapters_of, data, _KINDS[media_type])
        options = query.options()
        await to_thread.run_sync(jobs.check, chapters, options)
        try:
            job = await to_thread.run_sync(
                lambda: jobs.store.add(
                    chapters,
                    owner=services.access.owner(request),
                    caller=current_caller(),
                    title=query.title or chapters[0].title,
                    format=query.format,
                    options=options.model_dump(exclude_none=True),
                )
            )
        except TooManyJobs as error:
            raise RequestError(429, "too_many_jobs", str(error)) from error
        jobs.background.added()
        return described(request, job)

    @routes.get("")
    def listed(request: Request) -> dict[str, Any]:
        """The caller's jobs, the oldest first."""
        owner = services.access.owner(request)
        mine = [job for job in runner(request).store.jobs.values() if job.owner == owner]
        return {"object": "list", "data": [described(request, job) for job in mine]}

    @routes.get("/{job_id}")
    def one(request: Request, job_id: str) -> dict[str, Any]:
        """How far a job is."""
        return described(request, job_of(request, job_id))

    @routes.get("/{job_id}/events", response_class=Response)
    async def events(request: Request, job_id: str) -> StreamingResponse:
        """The job as server-sent events, one for each change, until it ends."""
        job = job_of(request, job_id)

        async def changes() -> AsyncIterator[bytes]:
            while True:
                yield sse_event(described(request, job))
                if job.status not in OPEN:
                    return
                await runner(request).change(job)

        pinged = with_pings(changes(), PING, services.settings.ping_s)
        return StreamingResponse(pinged, media_type="text/event-stream")

    @routes.post("/{job_id}/cancel")
    async def cancel(request: Request, job_id: str) -> dict[str, Any]:
        """Stop a job; the chapters that are ready stay."""
        job = job_of(request, job_id)
        await runner(request).cancel(job)
        return described(request, job)

    @routes.delete("/{job_id}")
    async def delete(request: Request, job_id: str) -> dict[str, Any]:
        """Stop a job and remove it with its audio."""
        job = job_of(request, job_id)
        await runner(request).cancel(job)
        await to_thread.run_sync(runner(request).store.remove, job)
        return {"id": job.id, "object": "job.deleted", "deleted": True}

    @routes.get("/{job_id}/audio", response_class=FileResponse)
    def audio(request: Request, job_id: str) -> FileResponse:
        """The whole book, when the job is done."""
        job = job_of(request, job_id)
        return _file(runner(request).store.book(job), job)

    @routes.get("/{job_id}/chapters/{number}/audio", response_class=FileResponse)
    def chapter(request: Request, job_id: str, number: int) -> FileResponse:
        """A chapter, as soon as it is ready."""
        job = job_of(request, job_id)
        return _file(runner(request).store.chapter_audio(job, number), job)

    return routes


_BODY = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _KINDS},
    }
}


def _file(path: Path, job: Job) -> FileResponse:
    if not path.exists():
        raise RequestError(
            404, "not_ready", f"{path.stem} of job {job.id} is not there; the job is {job.status}", "job"
        )
    return FileResponse(path, media_type=MEDIA_TYPES[job.format], filename=path.name)
