"""Speaks the pieces of jobs, in the time that other requests leave over."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyio import to_thread
from pydantic import Field

from f5_tts_server.api.background import AT_ONCE, Background, in_order, sentence, speak_last
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.api.speech_options import Name, SpeechOptions, Speed
from f5_tts_server.files import replace_file
from f5_tts_server.inference_types import Engine, GenerationRequest, Part
from f5_tts_server.jobs.book import Section, flac, write_book
from f5_tts_server.jobs.documents import Chapter
from f5_tts_server.jobs.store import OPEN, Job, JobStore
from f5_tts_server.limits import SEED_MAX
from f5_tts_server.text import Composer, TextError

log = logging.getLogger("f5.jobs")


class JobOptions(SpeechOptions):
    """How all of a job is spoken; its seed is set when it is made, so that a resumed job goes on as it began."""

    foreign = False
    duration: None = None
    voice: Name | None = None
    speed: Speed = 1.0
    strip_markup: bool = Field(False, description="Of Markdown and EPUB it is gone already.")

    @classmethod
    def of(cls, given: dict[str, Any]) -> JobOptions:
        """Of what was asked for, with a random seed where there is none in it."""
        return cls.model_validate({"seed": secrets.randbelow(SEED_MAX + 1)} | given)


class JobRunner:
    """Works jobs off, one at a time, for `Background`. All but `check` is called on the event loop.

    ``at_once`` is how many pieces are in the engine.
    """

    def __init__(self, engine: Engine, builder: RequestBuilder, store: JobStore, background: Background) -> None:
        self._engine = engine
        self._builder = builder
        self.store = store
        self.at_once = AT_ONCE
        self.background = background
        background.sources.append(self)
        self._changed: dict[str, asyncio.Event] = {}

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

    def open_work(self) -> Job | None:
        """The oldest job that is not finished."""
        return next((job for job in self.store.jobs.values() if job.status in OPEN), None)

    async def cancel(self, job: Job) -> None:
        """Stop a job that is not finished; what is spoken stays."""
        if job.status not in OPEN:
            return
        await self._end(job, "cancelled", None)
        await self.background.stop(job.id)

    async def change(self, job: Job) -> None:
        """Wait until something about a job changes."""
        await self._changed.setdefault(job.id, asyncio.Event()).wait()

    def _tell(self, job: Job) -> None:
        if (event := self._changed.pop(job.id, None)) is not None:
            event.set()

    async def _end(self, job: Job, status: Any, error: str | None) -> None:
        job.status, job.error = status, error
        if job.id in self.store.jobs:
            try:
                await to_thread.run_sync(self.store.save, job)
            except OSError:
                log.exception(
                    "job %s: the disk does not take that it is %s; it goes on at the next start", job.id, status
                )
        self._tell(job)
        log.info("job %s: %s%s", job.id, status, f" ({error})" if error else "")

    def _composer(self, options: JobOptions) -> Composer:
        builder = self._builder
        return builder.composer(builder.stored(options.voice, options), options, speed=options.speed)

    async def work(self, job: Job) -> None:
        """Speak what is not spoken yet, chapter by chapter, and make the book of it."""
        store = self.store
        options = JobOptions.model_validate(job.options)
        chapters = await to_thread.run_sync(store.chapters, job)
        composer = await to_thread.run_sync(self._composer, options)
        if job.status not in OPEN:
            return  # cancelled while it was read
        job.status, job.done = "running", 0
        sections: list[Section] = []
        for number, chapter in enumerate(chapters, 1):
            files = list[Path]()
            await in_order(self._pieces(job, number, chapter, composer, options, files), self.at_once)
            if not files:
                continue
            sections.append(Section(chapter.title, files))
            await self._book(job, sections[-1:], store.chapter_audio(job, number))
            self._tell(job)
        await self._book(job, sections, store.book(job))
        await self._end(job, "done", None)

    async def _pieces(
        self, job: Job, number: int, chapter: Chapter, composer: Composer, options: JobOptions, files: list[Path]
    ) -> AsyncIterator[Coroutine[Any, Any, None]]:
        """What is to be done for a chapter; ``files`` gets those that it is made of."""
        for piece, text in enumerate(chapter.pieces, 1):
            # A mark of a piece holds in the next ones, so all are read.
            parts = await to_thread.run_sync(composer.parts, text)
            path = self.store.piece(job, number, piece)
            if parts:
                files.append(path)
            if not parts or path.exists():
                job.done += 1
                continue
            request_id = f"{job.id}-{number}-{piece}"
            request = self._builder.request(parts, options, format="pcm", request_id=request_id)
            yield self._speak(job, request, path)

    async def failed(self, job: Job, error: BaseException) -> None:
        """It cannot be gone on with."""
        await self._end(job, "failed", sentence(error))

    async def _book(self, job: Job, sections: list[Section], path: Path) -> None:
        title = job.title if len(sections) != 1 else sections[0].title

        def write() -> None:
            if not path.exists():
                partial = path.with_name(f"partial-{path.name}")
                write_book(partial, sections, format=job.format, title=title)
                partial.rename(path)

        await to_thread.run_sync(write)

    async def _speak(self, job: Job, request: GenerationRequest, path: Path) -> None:
        """A piece's audio onto the disk, when there is room for it."""
        data, metadata = await speak_last(self._engine, replace(request, caller=job.caller))
        await to_thread.run_sync(lambda: replace_file(path, flac(data, metadata.sample_rate), sole=True))
        job.done += 1
        self._tell(job)
