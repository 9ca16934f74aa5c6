"""Speaks the pieces of jobs, in the time that other requests leave over."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from itertools import count
from typing import Any

from anyio import to_thread
from pydantic import Field

from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.services import Services
from f5_tts_server.api.speech_options import Name, SpeechOptions, Speed
from f5_tts_server.api.streaming import read_clip
from f5_tts_server.files import replace_file
from f5_tts_server.inference_types import GenerationRequest, Part, Refused, RequestError
from f5_tts_server.jobs.book import Section, flac, write_book
from f5_tts_server.jobs.documents import Chapter
from f5_tts_server.jobs.store import OPEN, Job, JobStore
from f5_tts_server.text import Composer, TextError

log = logging.getLogger("f5.jobs")

AT_ONCE = 2  # pieces: one is spoken while the next is prepared
RETRY_S = 2.0
_LATER = frozenset({429, 503, 504})  # the server is full, loading or ending, or the piece was too long in the queue


class JobOptions(SpeechOptions):
    """How all of a job is spoken; its seed is set when it is made, so that a resumed job goes on as it began."""

    foreign = False
    duration: None = None
    voice: Name | None = None
    speed: Speed = 1.0
    strip_markup: bool = Field(False, description="Of Markdown and EPUB it is gone already.")


class JobRunner:
    """Works jobs off, the oldest first, until it is stopped. All but `check` is called on the event loop."""

    def __init__(self, services: Services, store: JobStore) -> None:
        self._services = services
        self.store = store
        self._wake = asyncio.Event()
        self._changed: dict[str, asyncio.Event] = {}
        self._current: tuple[str, asyncio.Task[None]] | None = None

    def check(self, chapters: list[Chapter], options: JobOptions) -> None:
        """Read all of a text before it is taken in. Blocks; raises what `RequestBuilder` and `Composer` raise."""
        composer = self._composer(options)
        parts: list[Part] = []
        for number, chapter in enumerate(chapters, 1):
            for piece in chapter.pieces:
                try:
                    parts += composer.parts(piece)
                except TextError as error:
                    raise TextError(f"chapter {number}, {piece[:40]!r}: {error}") from error
        if not parts:
            raise TextError("there is nothing to say in the document")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            job = next((job for job in self.store.jobs.values() if job.status in OPEN), None)
            if job is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            task = asyncio.create_task(self._work(job))
            self._current = (job.id, task)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                self._current = None
            if not task.cancelled() and (error := task.exception()) is not None:
                if not isinstance(error, (*FAULTS, OSError, ValueError)):
                    log.error("job %s failed", job.id, exc_info=error)
                await self._end(job, "failed", _sentence(error))

    def added(self) -> None:
        """A job has come."""
        self._wake.set()

    async def cancel(self, job: Job) -> None:
        """Stop a job that is not finished; what is spoken stays."""
        if job.status not in OPEN:
            return
        await self._end(job, "cancelled", None)
        if self._current is not None and self._current[0] == job.id:
            self._current[1].cancel()
            await asyncio.wait({self._current[1]})

    async def change(self, job: Job) -> None:
        """Wait until something about a job changes."""
        await self._changed.setdefault(job.id, asyncio.Event()).wait()

    def _tell(self, job: Job) -> None:
        if (event := self._changed.pop(job.id, None)) is not None:
            event.set()

    async def _end(self, job: Job, status: Any, error: str | None) -> None:
        job.status, job.error = status, error
        if job.id in self.store.jobs:
            await to_thread.run_sync(self.store.save, job)
        self._tell(job)
        log.info("job %s: %s%s", job.id, status, f" ({error})" if error else "")

    def _composer(self, options: JobOptions) -> Composer:
        builder = self._services.builder
        return builder.composer(builder.stored(options.voice), options, speed=options.speed)

    async def _work(self, job: Job) -> None:
        """Speak what is not spoken yet, chapter by chapter, and make the book of it."""
        store = self.store
        options = JobOptions.model_validate(job.options)
        chapters = await to_thread.run_sync(store.chapters, job)
        composer = await to_thread.run_sync(self._composer, options)
        job.status, job.done = "running", 0
        sections: list[Section] = []
        running: set[asyncio.Task[None]] = set()
        try:
            for number, chapter in enumerate(chapters, 1):
                files = []
                for piece, text in zip(count(1), chapter.pieces):
                    # A mark of a piece holds in the next ones, so all are read.
                    parts = await to_thread.run_sync(composer.parts, text)
                    if not parts:
                        job.done += 1
                        continue
                    path = store.piece(job, number, piece)
                    files.append(path)
                    if path.exists():
                        job.done += 1
                        continue
                    request_id = f"{job.id}-{number}-{piece}"
                    request = self._services.builder.request(parts, options, format="pcm", request_id=request_id)
                    running.add(asyncio.create_task(self._speak(job, request, path)))
                    while len(running) >= AT_ONCE:
                        running = await _one_ended(running)
                while running:
                    running = await _one_ended(running)
                if not files:
                    continue
                section = Section(chapter.title, files)
                sections.append(section)
                await self._book(job, [section], store.chapter_audio(job, number))
                self._tell(job)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        await self._book(job, sections, store.book(job))
        await self._end(job, "done", None)

    async def _book(self, job: Job, sections: list[Section], path: Any) -> None:
        if path.exists():
            return
        partial = path.with_name(f"partial-{path.name}")
        title = job.title if len(sections) != 1 else sections[0].title
        await to_thread.run_sync(lambda: write_book(partial, sections, format=job.format, title=title))
        partial.rename(path)

    async def _speak(self, job: Job, request: GenerationRequest, path: Any) -> None:
        """A piece's audio onto the disk, when there is room for it."""
        request = replace(request, live=False, background=True, caller=job.caller)
        while True:
            try:
                ticket = self._services.engine.submit(request)
                try:
                    data, _ = await read_clip(ticket)
                finally:
                    ticket.cancel()
                break
            except RequestError as error:
                if error.status not in _LATER:
                    raise
                wait = error.retry_after if isinstance(error, Refused) and error.retry_after else RETRY_S
                await asyncio.sleep(wait)
        await to_thread.run_sync(lambda: replace_file(path, flac(data, self._services.sample_rate), sole=True))
        job.done += 1
        self._tell(job)


async def _one_ended(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Those that go on when one has ended; raises what that one raised."""
    ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    return running


def _sentence(error: BaseException) -> str:
    if isinstance(error, FAULTS):
        return as_request_error(error).message
    if isinstance(error, OSError):
        return f"the disk: {error.strerror or type(error).__name__}"
    return f"{type(error).__name__}: {error}"
