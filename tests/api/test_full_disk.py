"""A full disk, in every store that a client can fill."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.clips import TEXT, file, speech
from tests.server import ServerThread

CLIP = ("clip.wav", file(speech(3)), "audio/wav")
LINE = b'{"custom_id": "1", "method": "POST", "url": "/v1/audio/speech", "body": {"input": "Hello.", "voice": "ada"}}'
DICTIONARY = {
    "name": "mine",
    "rules": [{"type": "alias", "string_to_replace": "SQL", "alias": "sequel", "case_sensitive": True}],
}


@contextmanager
def full(patch: pytest.MonkeyPatch) -> Iterator[None]:
    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch.context() as context:
        context.setattr(os, "fsync", no_room)
        yield


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.name != ".lock" and path.is_file()}


def calls(client: httpx.Client, name: str, voice: str, file: str) -> dict[str, Callable[[], httpx.Response]]:
    """All that store something; ``name`` is the new voice's."""
    words = {"name": name, "ref_text": TEXT}
    batch = {"input_file_id": file, "endpoint": "/v1/audio/speech", "completion_window": "24h"}
    post = client.post
    return {
        "voice": lambda: post("/v1/audio/voices", data=words, files={"audio_sample": CLIP}),
        "clip": lambda: post(f"/v1/voices/{voice}/edit", data={"ref_text": TEXT}, files={"files": CLIP}),
        "lexicon": lambda: client.put(f"/v1/audio/voices/{voice}/lexicon", json={"SQL": "sequel"}),
        "alias": lambda: client.put("/v1/audio/voice_aliases/alloy", json={"voice": voice}),
        "consent": lambda: post(
            "/v1/audio/voice_consents", data={"name": "n", "language": "en"}, files={"recording": CLIP}
        ),
        "dictionary": lambda: post("/v1/pronunciation-dictionaries/add-from-rules", json=DICTIONARY),
        "file": lambda: post("/v1/files", data={"purpose": "batch"}, files={"file": ("in.jsonl", LINE)}),
        "batch": lambda: post("/v1/batches", json=batch),
        "job": lambda: post("/v1/jobs", content=b"Some words.", headers={"Content-Type": "text/plain"}),
    }


def test_a_full_disk_is_told_and_leaves_nothing_half(
    serve: Callable[..., ServerThread], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only stored voices answered 507. Files, batches, jobs, consents and dictionaries were a 500, and left what was written
    before the room ended: a job's folder, a file that nobody was told of, on a disk that was full already."""
    server = serve(jobs_folder=tmp_path / "jobs")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        voice, given = (calls(client, "first", "", "")[name]().json()["id"] for name in ("voice", "file"))
        before = files(tmp_path)
        for name, call in calls(client, "second", voice, given).items():
            with full(monkeypatch):
                reply = call()
            told = reply.json().get("error") or reply.json()["detail"]
            assert (reply.status_code, told.get("code", told.get("status"))) == (507, "disk_full"), (name, reply.text)
            assert "disk of this server is full" in told["message"]
            assert files(tmp_path) == before, name
        for name, call in calls(client, "second", voice, given).items():
            assert call().status_code in (200, 201), name
