"""Jobs over HTTP, against real servers of the toy model: progress, audio, cancelling, keys, and resuming after SIGKILL."""

from __future__ import annotations

import io
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from f5_tts_server.jobs.documents import Chapter
from f5_tts_server.jobs.store import Job, JobStore
from tests.jobs.epubs import epub
from tests.server import ServerThread, running

Serve = Callable[..., ServerThread]
BOOK = epub("<h1>One</h1><p>The first words.</p><p>More of them.</p>", "<h1>Two</h1><p>The end.</p>")
EPUB = {"Content-Type": "application/epub+zip"}
PLAIN = {"Content-Type": "text/plain"}


def until(client: httpx.Client, job_id: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 120
    while True:
        job: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
        if wanted(job):
            return job
        assert job["status"] in ("queued", "running") and time.monotonic() < end, job
        time.sleep(0.1)


def test_a_book_with_chapter_marks(serve: Serve, tmp_path: Path) -> None:
    server = serve(jobs_folder=tmp_path / "jobs")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        reply = client.post("/v1/jobs?format=mp3&title=A+book", content=BOOK, headers=EPUB)
        assert reply.status_code == 201, reply.text
        job = reply.json()
        assert (job["pieces"], job["title"], [one["title"] for one in job["chapters"]]) == (5, "A book", ["One", "Two"])
        with client.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
            seen = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
        assert (seen[-1]["status"], seen[-1]["done"]) == ("done", 5)
        assert [one["done"] for one in seen] == sorted(one["done"] for one in seen)
        audio = client.get(f"/v1/jobs/{job['id']}/audio")
        assert audio.headers["content-type"] == "audio/mpeg"
        with av.open(io.BytesIO(audio.content)) as file:
            marks = file.chapters()
            assert [mark["metadata"]["title"] for mark in marks] == ["One", "Two"]
            assert file.metadata["title"] == "A book"
            assert file.duration is not None
            assert marks[-1]["end"] * marks[-1]["time_base"] == pytest.approx(file.duration / 1e6, abs=0.15)
        assert client.get(f"/v1/jobs/{job['id']}/chapters/2/audio").status_code == 200
        assert client.get(f"/v1/jobs/{job['id']}/chapters/3/audio").status_code == 404
        assert [one["id"] for one in client.get("/v1/jobs").json()["data"]] == [job["id"]]
        assert client.delete(f"/v1/jobs/{job['id']}").json()["deleted"]
        assert client.get(f"/v1/jobs/{job['id']}").status_code == 404
        assert not [path for path in (tmp_path / "jobs").iterdir() if path.name.startswith("job_")]


def test_what_is_refused_before_it_is_kept(serve: Serve, server: ServerThread, tmp_path: Path) -> None:
    keeping = serve(jobs_folder=tmp_path / "jobs")
    with httpx.Client(base_url=keeping.url, timeout=60) as client:
        for query, body, headers, status, words in (
            ("", b"Hello.", {"Content-Type": "application/json"}, 415, "text/markdown"),
            ("?voice=nobody", b"Hello.", PLAIN, 404, "'nobody'"),
            ("?formt=mp3", b"Hello.", PLAIN, 422, "formt"),
            ("?format=ogg", b"Hello.", PLAIN, 422, "format"),
            ("", b"Hello. [voice:nobody] there", PLAIN, 404, "'nobody'"),
            ("", b"One.\n\nHello [pause:99] there.", PLAIN, 422, "chapter 1"),
            ("", b"***", PLAIN, 422, "nothing to say"),
            ("", b"no zip", EPUB, 422, "no EPUB"),
        ):
            reply = client.post(f"/v1/jobs{query}", content=body, headers=headers)
            assert reply.status_code == status, (query, body, reply.text)
            assert words in reply.json()["error"]["message"]
        assert client.get("/v1/jobs").json()["data"] == []
    assert httpx.post(f"{server.url}/v1/jobs", content=b"Hello.", headers=PLAIN).json()["error"]["code"] == "jobs_off"


def test_a_key_sees_its_own_jobs_only_and_a_cancelled_one_stops(serve: Serve, tmp_path: Path) -> None:
    server = serve(jobs_folder=tmp_path / "jobs", api_keys=("key-of-ada", "key-of-ben"))
    server.programs.step_s = 0.05
    text = "\n\n".join(["A paragraph of the text."] * 500).encode()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        ada, ben = ({"Authorization": f"Bearer key-of-{name}"} for name in ("ada", "ben"))
        job = client.post("/v1/jobs", content=text, headers=ada | PLAIN).json()
        assert client.get(f"/v1/jobs/{job['id']}", headers=ben).status_code == 404
        assert client.get("/v1/jobs", headers=ben).json()["data"] == []
        assert client.post(f"/v1/jobs/{job['id']}/cancel", headers=ben).status_code == 404
        stopped = client.post(f"/v1/jobs/{job['id']}/cancel", headers=ada).json()
        assert stopped["status"] == "cancelled" and stopped["done"] < 500
        assert client.get(f"/v1/jobs/{job['id']}/audio", headers=ada).status_code == 404
        # The next one goes on at once.
        server.programs.step_s = 0.0
        after = client.post("/v1/jobs", content=b"Hello.", headers=ada | PLAIN).json()
        client.headers.update(ada)
        until(client, after["id"], lambda one: one["status"] == "done")


def test_a_job_that_is_cancelled_as_it_begins_does_not_go_on(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What set it running set it running again, cancelled or not; one that was deleted was worked on while its files went, and
    the log had a traceback. Found by tests.soak."""
    cancelling = threading.Event()
    read, save = JobStore.chapters, JobStore.save

    def slow_chapters(store: JobStore, job: Job) -> list[Chapter]:
        assert cancelling.wait(60)
        return read(store, job)

    def slow_save(store: JobStore, job: Job) -> None:
        if job.status == "cancelled":
            cancelling.set()
            time.sleep(0.5)  # it would be set running in this time
        save(store, job)

    monkeypatch.setattr(JobStore, "chapters", slow_chapters)
    monkeypatch.setattr(JobStore, "save", slow_save)
    server = serve(jobs_folder=tmp_path / "jobs")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        job = client.post("/v1/jobs", content=b"Hello.", headers=PLAIN).json()
        assert client.post(f"/v1/jobs/{job['id']}/cancel").json()["status"] == "cancelled"
        after = client.post("/v1/jobs", content=b"Hello.", headers=PLAIN).json()
        until(client, after["id"], lambda one: one["status"] == "done")
        assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "cancelled"


def test_a_killed_server_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was on the disk is not made again, and the book is the one that an undisturbed server makes."""
    folder = tmp_path / "jobs"
    flags = ("--jobs-folder", str(folder))
    text = "\n\n".join(f"Paragraph number {number} of the text." for number in range(12)).encode()
    with running(*flags, toy={"step_s": 0.05}) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        job = client.post("/v1/jobs?seed=7&format=mp3", content=text, headers=PLAIN).json()
        until(client, job["id"], lambda one: one["done"] >= 3)
        server.signal(signal.SIGKILL)
        server.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / job["id"]).glob("*.flac")}
    assert 3 <= len(kept) < 12
    with running(*flags, toy={}) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        until(client, job["id"], lambda one: one["status"] == "done")
        audio = client.get(f"/v1/jobs/{job['id']}/audio").content
        again = client.post("/v1/jobs?seed=7&format=mp3", content=text, headers=PLAIN).json()
        until(client, again["id"], lambda one: one["status"] == "done")
        assert client.get(f"/v1/jobs/{again['id']}/audio").content == audio
    now = {path.name: path.stat().st_mtime_ns for path in (folder / job["id"]).glob("*.flac")}
    assert len(now) == 12 and kept.items() <= now.items()


def test_a_folder_belongs_to_one_server(serve: Serve, tmp_path: Path) -> None:
    """Two servers on one folder both spoke its jobs, and wrote over each other's files; only the documents forbade it."""
    folder = tmp_path / "jobs"
    serve(jobs_folder=folder)
    with pytest.raises(ValueError, match=r"F5_JOBS_FOLDER: .* is another server's"):
        serve(jobs_folder=folder)


def test_a_disk_that_does_not_take_a_jobs_end_stops_no_other(serve: Serve, tmp_path: Path) -> None:
    """The error left the worker, which ended with it: later jobs waited for ever."""
    server = serve(jobs_folder=tmp_path / "jobs")
    server.programs.step_s = 0.05
    with httpx.Client(base_url=server.url, timeout=60) as client:
        first = client.post("/v1/jobs", content=b"Some words.\n\nAnd more.", headers=PLAIN).json()
        record = tmp_path / "jobs" / first["id"] / "job.json"
        record.unlink()
        record.mkdir()  # no file can take its place
        second = client.post("/v1/jobs", content=b"Hello.", headers=PLAIN).json()
        until(client, second["id"], lambda one: one["status"] == "done")
        assert client.get(f"/v1/jobs/{first['id']}").json()["status"] == "done"
