"""A text, Markdown or EPUB to a book with chapter marks: a job of ``/v1/jobs`` in the folder, done at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from f5_tts_server.api.background import Background
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.job_runner import JobOptions, JobRunner
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.jobs.documents import Chapter, Kind, chapters_of
from f5_tts_server.jobs.store import OPEN, Job, JobStore
from f5_tts_server.offline.working import with_engine
from f5_tts_server.pool import ModelPool
from f5_tts_server.serving import INTERRUPTED
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import TTSEngine

KINDS: dict[str, Kind] = {".txt": "text", ".md": "markdown", ".epub": "epub"}
"""By the file's suffix; any other is a file of requests."""


def make_book(engine: TTSEngine | ModelPool, builder: RequestBuilder, settings: Settings) -> int:
    """Make ``NAME.m4b`` of ``settings.offline``; gives the exit code. The same command goes on with what is there.

    Raises OSError.
    """
    assert settings.offline is not None  # as in `offline.run`
    source, made = settings.offline, settings.out / f"{settings.offline.stem}.m4b"
    store = JobStore(settings.out)
    background = Background()
    runner = JobRunner(engine, builder, store, background)
    try:
        chapters = chapters_of(source.read_bytes(), KINDS[source.suffix.lower()])
        options = JobOptions.of({} if settings.voice is None else {"voice": settings.voice})
        runner.check(chapters, options)
    except FAULTS as error:
        print(f"--offline {source}: {as_request_error(error).message}", file=sys.stderr)
        return 1
    job = _begun(store, chapters, options) or store.add(
        chapters,
        owner="",
        caller="",
        title=source.stem,
        format="m4b",
        options=options.model_dump(exclude_none=True),
    )
    if job.status not in OPEN and not (job.status == "done" and store.book(job).exists()):
        job.status, job.error = "queued", None
    code = 0
    if job.status in OPEN:
        code = asyncio.run(with_engine(engine, lambda: _work(engine, runner, background, settings, job)))
    if job.status == "done":
        _link(store.book(job), made)
        print(f"{made}: {len(job.titles)} chapters", file=sys.stderr)
        return 0
    if code == INTERRUPTED:
        print("stopped; the same command goes on from here", file=sys.stderr)
    elif job.error is not None:
        print(job.error, file=sys.stderr)
    return code or 1


def _begun(store: JobStore, chapters: list[Chapter], options: JobOptions) -> Job | None:
    """The job of an earlier run for the same text and voice. Raises OSError."""
    for job in store.jobs.values():
        try:
            kept = store.chapters(job)
        except ValueError as error:
            print(f"{store.path(job)} is damaged, and passed over: {error}", file=sys.stderr)
            continue
        if (job.format, kept, job.options.get("voice")) == ("m4b", chapters, options.voice):
            return job
    return None


async def _work(
    engine: TTSEngine | ModelPool, runner: JobRunner, background: Background, settings: Settings, job: Job
) -> None:
    # As many at a time as fill a step, and one more that is prepared meanwhile.
    runner.at_once = min(settings.max_concurrent_requests, engine.rows + 1)
    running = asyncio.create_task(background.run())
    try:
        with tqdm(total=job.pieces, unit="piece", desc=job.title) as bar:
            while job.status in OPEN:
                changed: asyncio.Task[Any] = asyncio.create_task(runner.change(job))
                await asyncio.wait({changed, running}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                bar.update(job.done - bar.n)
                if running.done():
                    running.result()
    finally:
        running.cancel()
        await asyncio.wait({running})


def _link(book: Path, made: Path) -> None:
    made.unlink(missing_ok=True)
    made.hardlink_to(book)
