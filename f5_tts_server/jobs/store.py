"""Jobs on the disk. A crash at any time leaves what was finished, and nothing half written under its name.

    job_0123456789abcdef/
        job.json         what was asked for, and how far it is
        chapters.json    titles and pieces of text
        0003-0012.flac   the audio of piece 12 of chapter 3
        chapter-0003.mp3, book.mp3

Every file is written beside its name and renamed when all of it is on the disk.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from f5_tts_server.files import full_disk_told, replace_file
from f5_tts_server.jobs.book import BookFormat
from f5_tts_server.jobs.documents import Chapter

log = logging.getLogger("f5.jobs")

JOB_ID = re.compile(r"job_[0-9a-f]{16}")
JOBS_MAX = 200

Status = Literal["queued", "running", "done", "failed", "cancelled"]
OPEN: tuple[Status, ...] = ("queued", "running")


class TooManyJobs(Exception):
    """As many jobs are kept as may be."""


@dataclass(slots=True)
class Job:
    """A job. ``owner`` is a digest of the key of whoever asked, ``caller`` the key's name; ``done`` of ``pieces`` are spoken."""

    id: str
    owner: str
    caller: str
    title: str
    format: BookFormat
    options: dict[str, Any]
    created: int
    pieces: int
    titles: list[str]
    status: Status = "queued"
    done: int = 0
    error: str | None = None
    finished: int | None = None


class JobStore:
    """The jobs of a folder, which belongs to one server. Methods block. Raises OSError where the file system does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.jobs: dict[str, Job] = {}
        """By age."""
        found = []
        for path in folder.iterdir():
            if not JOB_ID.fullmatch(path.name):
                continue
            try:
                found.append(Job(**json.loads((path / "job.json").read_text("utf-8"))))
            except (OSError, ValueError, TypeError) as error:
                log.error("job %s cannot be read and is left alone: %s", path.name, error)
        for job in sorted(found, key=lambda job: (job.created, job.id)):
            self.jobs[job.id] = job

    def add(
        self,
        chapters: Sequence[Chapter],
        *,
        owner: str,
        caller: str,
        title: str,
        format: BookFormat,
        options: dict[str, Any],
    ) -> Job:
        """Keep a new job; on the disk when this returns, and nothing of it is where this raises. Raises TooManyJobs."""
        if len(self.jobs) >= JOBS_MAX:
            raise TooManyJobs(f"{JOBS_MAX} jobs are kept, which is the limit: delete one")
        job = Job(
            id=f"job_{secrets.token_hex(8)}",
            owner=owner,
            caller=caller,
            title=title,
            format=format,
            options=options,
            created=int(time.time()),
            pieces=sum(len(chapter.pieces) for chapter in chapters),
            titles=[chapter.title for chapter in chapters],
        )
        data = json.dumps([asdict(one) for one in chapters]).encode()
        try:
            with full_disk_told():
                self.path(job).mkdir()
            replace_file(self.path(job) / "chapters.json", data, sole=True)
            self.save(job)
        except OSError:
            shutil.rmtree(self.path(job), ignore_errors=True)
            raise
        self.jobs[job.id] = job
        return job

    def save(self, job: Job) -> None:
        """Put what is known of a job on the disk."""
        replace_file(self.path(job) / "job.json", json.dumps(asdict(job), indent=1).encode(), sole=True)

    def chapters(self, job: Job) -> list[Chapter]:
        """Raises OSError and ValueError where the file was damaged."""
        chapters = json.loads((self.path(job) / "chapters.json").read_text("utf-8"))
        return [Chapter(one["title"], tuple(one["pieces"])) for one in chapters]

    def remove(self, job: Job) -> None:
        """Take a job and its audio off the disk."""
        shutil.rmtree(self.path(job))
        del self.jobs[job.id]

    def path(self, job: Job) -> Path:
        return self._folder / job.id

    def piece(self, job: Job, chapter: int, piece: int) -> Path:
        """Where the audio of a piece is, or will be; both count from 1."""
        return self.path(job) / f"{chapter:04}-{piece:04}.flac"

    def chapter_audio(self, job: Job, chapter: int) -> Path:
        return self.path(job) / f"chapter-{chapter:04}.{job.format}"

    def book(self, job: Job) -> Path:
        return self.path(job) / f"book.{job.format}"
