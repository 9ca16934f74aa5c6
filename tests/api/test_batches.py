"""OpenAI's files and batches with its own SDK, against real servers of the toy model."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import Batch

from f5_tts_server.jobs.batches import OPEN
from tests.server import Server, ServerThread, running, serving
from tests.toy_programs import ToyPrograms

Serve = Callable[..., ServerThread]
SPEECH: Any = "/v1/audio/speech"  # the SDK's types know only what OpenAI's own batches call
GENERATE: Any = "/v1/generate"


def sdk(server: Server, key: str = "anything") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


def jsonl(*bodies: dict[str, Any], url: str = SPEECH) -> bytes:
    lines = ({"custom_id": f"line-{n}", "method": "POST", "url": url, "body": body} for n, body in enumerate(bodies, 1))
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def said(count: int) -> list[dict[str, Any]]:
    return [
        {"model": "tts-1", "voice": "ada", "input": f"Sentence number {n}.", "seed": n, "response_format": "wav"}
        for n in range(count)
    ]


def create(client: openai.OpenAI, data: bytes, endpoint: Any = SPEECH, **fields: Any) -> Batch:
    given = client.files.create(file=("in.jsonl", data), purpose="batch")
    return client.batches.create(input_file_id=given.id, endpoint=endpoint, completion_window="24h", **fields)


def ended(client: openai.OpenAI, batch_id: str) -> Batch:
    end = time.monotonic() + 120
    while (batch := client.batches.retrieve(batch_id)).status in (*OPEN, "finalizing", "cancelling"):
        assert time.monotonic() < end, batch
        time.sleep(0.1)
    return batch


def spoken(client: openai.OpenAI, batch: Batch, wanted: int) -> int:
    """How many lines are spoken, once they are so many."""
    end = time.monotonic() + 60
    while (counts := client.batches.retrieve(batch.id).request_counts) is None or counts.completed < wanted:
        assert time.monotonic() < end
        time.sleep(0.05)
    return counts.completed


def lines_of(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id is not None
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def by_id(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {line["custom_id"]: line for line in lines}


def test_a_batch_is_what_its_requests_are_one_by_one(serve: Serve, tmp_path: Path) -> None:
    server = serve(jobs_folder=tmp_path / "jobs")
    with sdk(server) as client:
        bodies = said(3)
        bodies[1] |= {"timestamps": "word"}
        data = jsonl(*bodies, {"model": "tts-1", "voice": "nobody", "input": "Hello."}, {"input": "Hi.", "speed": 9})
        made = create(client, data, metadata={"book": "one"})
        assert (made.status, made.request_counts and made.request_counts.total) in (
            ("validating", 5),
            ("in_progress", 5),
        )
        assert made.expires_at == made.created_at + 24 * 3600 and made.metadata == {"book": "one"}
        batch = ended(client, made.id)
        assert batch.status == "completed" and batch.completed_at and batch.in_progress_at, batch
        assert batch.request_counts and batch.request_counts.model_dump() == {"total": 5, "completed": 3, "failed": 2}
        output = by_id(lines_of(client, batch.output_file_id))
        assert set(output) == {"line-1", "line-2", "line-3"}
        for number, body in enumerate(bodies, 1):
            line = output[f"line-{number}"]
            assert line["error"] is None and line["response"]["status_code"] == 200
            reply = line["response"]["body"]
            alone = httpx.post(f"{server.url}/v1/audio/speech", json=body)
            audio = base64.b64decode(reply["audio"])
            # A file that is sent at once tells its length, a stream's header cannot.
            assert audio[44:] == alone.content[44:] and audio[:4] == b"RIFF"
            assert reply["content_type"] == "audio/wav" and reply["seed"] == body["seed"]
            assert reply["duration"] == pytest.approx(len(audio[44:]) / 48_000)
            assert reply["usage"]["input_tokens"] == len(body["input"])
        words = output["line-2"]["response"]["body"]["timestamps"]
        assert " ".join(word["text"] for segment in words for word in segment["words"]) == "Sentence number one."
        errors = by_id(lines_of(client, batch.error_file_id))
        assert errors["line-4"]["response"]["status_code"] == 404
        assert "'nobody'" in errors["line-4"]["response"]["body"]["error"]["message"]
        assert errors["line-5"]["response"]["status_code"] == 400
        assert errors["line-5"]["response"]["body"]["error"]["param"] == "speed"
        listed = list(client.files.list())
        assert [file.id for file in listed if file.purpose == "batch_output"]
        output_file = client.files.retrieve(batch.output_file_id or "")
        assert output_file.bytes == len(client.files.content(output_file.id).content)
        assert client.files.delete(output_file.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.content(output_file.id)


def test_generate_has_the_reply_that_it_has_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve(jobs_folder=tmp_path / "jobs")
    with sdk(server) as client:
        body = {"gen_text": "Hello there.", "seed": 5, "response_format": "flac", "subtitles": "srt"}
        batch = ended(client, create(client, jsonl(body, {"gen_text": "Hi.", "sed": 1}, url=GENERATE), GENERATE).id)
        reply = lines_of(client, batch.output_file_id)[0]["response"]["body"]
        alone = httpx.post(f"{server.url}/v1/generate", json=body).json()
        for name in ("audio_base64", "duration", "sample_rate", "seed", "subtitles"):
            assert reply[name] == alone[name]
        error = lines_of(client, batch.error_file_id)[0]["response"]
        assert error["status_code"] == 422 and "sed" in error["body"]["error"]["message"]


def test_faults_of_the_file_are_told_by_line(serve: Serve, tmp_path: Path) -> None:
    server = serve(jobs_folder=tmp_path / "jobs")
    good = jsonl(*said(1))
    with sdk(server) as client:
        for data, code, line in (
            (b"\n \n", "empty_file", None),
            (good + b"{broken\n", "invalid_json_line", 2),
            (b"[" * 100_000, "line_too_large", 1),
            (b"[" * 20_000, "invalid_json_line", 1),
            (good + b"\r\n" + good, "duplicate_custom_id", 3),
            (good.replace(b"POST", b"GET"), "invalid_method", 1),
            (good.replace(b"audio/speech", b"generate"), "mismatched_endpoint", 1),
            (good.replace(b'"line-1"', b"1"), "invalid_custom_id", 1),
            (good.replace(b'"body"', b'"bdy"'), "invalid_body", 1),
        ):
            batch = create(client, data)
            assert batch.status == "failed" and batch.failed_at and batch.errors and batch.errors.data, code
            assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, line)
            assert batch.output_file_id is None and batch.error_file_id is None
        assert len(list(client.batches.list(limit=2))) == 9  # page by page
        everything = b"".join(b"{}\n" for _ in range(50_001))
        batch = create(client, everything)
        assert batch.errors and batch.errors.data and len(batch.errors.data) == 100


def test_what_is_refused(serve: Serve, server: ServerThread, tmp_path: Path) -> None:
    keeping = serve(jobs_folder=tmp_path / "jobs")
    with sdk(server) as client, pytest.raises(openai.PermissionDeniedError, match="F5_JOBS_FOLDER"):
        client.files.create(file=("in.jsonl", b"x"), purpose="batch")
    with sdk(keeping) as client:
        with pytest.raises(openai.BadRequestError, match="purpose"):
            client.files.create(file=("in.jsonl", b"x"), purpose="fine-tune")
        with pytest.raises(openai.BadRequestError, match="expires_after"):
            client.files.create(
                file=("in.jsonl", b"x"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 5}
            )
        with pytest.raises(openai.NotFoundError):
            client.batches.create(input_file_id="file-unknown", endpoint=SPEECH, completion_window="24h")
        given = client.files.create(
            file=("a\nb.jsonl", b"x"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600}
        )
        assert given.expires_at == given.created_at + 3600 and "\n" not in given.filename
        unknown: Any = "/v1/chat/completions"
        with pytest.raises(openai.BadRequestError, match="endpoint"):
            client.batches.create(input_file_id=given.id, endpoint=unknown, completion_window="24h")
        with pytest.raises(openai.NotFoundError):
            client.batches.cancel("batch_unknown")
        with pytest.raises(openai.BadRequestError, match="begin anew"):
            list(client.files.list(after="file-unknown"))


def test_a_key_sees_its_own_only_and_a_cancelled_batch_keeps_what_is_spoken(serve: Serve, tmp_path: Path) -> None:
    server = serve(jobs_folder=tmp_path / "jobs", api_keys=("key-of-ada", "key-of-ben"))
    server.programs.step_s = 0.05
    with sdk(server, "key-of-ada") as ada, sdk(server, "key-of-ben") as ben:
        batch = create(ada, jsonl(*said(500)))
        for call in (ben.batches.retrieve, ben.batches.cancel):
            with pytest.raises(openai.NotFoundError):
                call(batch.id)
        with pytest.raises(openai.NotFoundError):
            ben.files.content(batch.input_file_id)
        with pytest.raises(openai.NotFoundError):
            ben.batches.create(input_file_id=batch.input_file_id, endpoint=SPEECH, completion_window="24h")
        assert not list(ben.batches.list()) and not list(ben.files.list())
        ada.files.delete(batch.input_file_id)  # it has a copy
        spoken(ada, batch, 1)
        assert ada.batches.cancel(batch.id).status == "cancelled"
        with pytest.raises(openai.ConflictError):
            ada.batches.cancel(batch.id)
        stopped = ada.batches.retrieve(batch.id)
        assert stopped.request_counts and 0 < stopped.request_counts.completed < 500
        assert len(lines_of(ada, stopped.output_file_id)) == stopped.request_counts.completed
        # The next one goes on at once.
        server.programs.step_s = 0.0
        assert ended(ada, create(ada, jsonl(*said(1))).id).status == "completed"


def test_a_killed_server_goes_on_where_it_was(tmp_path: Path) -> None:
    """No line is spoken twice, and what was being written when the server was killed is cut off."""
    folder = tmp_path / "jobs"
    flags = ("--jobs-folder", str(folder))
    with running(*flags, toy={"step_s": 0.05}) as server, sdk(server) as client:
        batch = create(client, jsonl(*said(12)))
        spoken(client, batch, 3)
        server.signal(signal.SIGKILL)
        server.wait()
    (output,) = [path for path in folder.glob("file-*.jsonl") if not path.with_suffix(".json").exists()]
    kept = output.read_bytes()
    assert 3 <= kept.count(b"\n") < 12
    with output.open("ab") as file:
        file.write(b'{"id": "batch_req_')
    (folder / "file-0123456789abcdef.jsonl").write_bytes(b"an upload that was cut off")
    with running(*flags, toy={}) as server, sdk(server) as client:
        whole = ended(client, batch.id)
        assert whole.status == "completed" and whole.request_counts and whole.request_counts.completed == 12
        content = client.files.content(whole.output_file_id or "").content
        assert content.startswith(kept)
        assert sorted(by_id(map(json.loads, content.splitlines()))) == sorted(f"line-{n}" for n in range(1, 13))
        assert content.count(b"\n") == 12
        assert server.metric('f5_requests_total{outcome="done"}') == 12 - kept.count(b"\n")
    assert not (folder / "file-0123456789abcdef.jsonl").exists()
    assert not list(folder.glob("batch_*.jsonl")), "the copy of the input is left"


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def rewrite(path: Path, **facts: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_batch_expires_with_what_is_spoken(tmp_path: Path) -> None:
    """Its time runs out while the server is down; what is spoken is told, and of the rest that it is not."""
    folder = tmp_path / "jobs"
    slow = ToyPrograms(step_s=0.05)
    with serving(made(tmp_path / "first"), slow, jobs_folder=folder, grace_s=0) as server, sdk(server) as client:
        batch = create(client, jsonl(*said(200)))
        done = spoken(client, batch, 2)
    rewrite(folder / f"{batch.id}.json", expires=int(time.time()))
    with serving(made(tmp_path / "second"), slow, jobs_folder=folder, grace_s=0) as server, sdk(server) as client:
        expired = ended(client, batch.id)
        assert expired.status == "expired" and expired.expired_at
        counts = expired.request_counts
        assert counts and counts.completed >= done and counts.completed + counts.failed == 200
        assert len(lines_of(client, expired.output_file_id)) == counts.completed
        errors = by_id(lines_of(client, expired.error_file_id))
        assert len(errors) == counts.failed
        assert errors["line-200"]["response"] is None and errors["line-200"]["error"]["code"] == "batch_expired"


def test_a_batch_expires_that_never_had_its_turn(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(ToyPrograms(step_s=0.05), jobs_folder=tmp_path / "jobs", grace_s=0)
    with sdk(server) as client:
        first = create(client, jsonl(*said(500)))
        monkeypatch.setattr("f5_tts_server.jobs.batches.WINDOW_S", 1)
        batch = create(client, jsonl(*said(3)))
        expired = ended(client, batch.id)
        assert (expired.status, expired.output_file_id) == ("expired", None)
        assert len(lines_of(client, expired.error_file_id)) == 3
        assert client.batches.retrieve(first.id).status == "in_progress"


def test_files_that_have_expired_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    with serving(made(tmp_path / "first"), ToyPrograms(), jobs_folder=folder) as server, sdk(server) as client:
        given = client.files.create(file=("in.jsonl", jsonl(*said(1))), purpose="batch")
    rewrite(folder / f"{given.id}.json", expires=int(time.time()) - 1)
    with serving(made(tmp_path / "second"), ToyPrograms(), jobs_folder=folder) as server, sdk(server) as client:
        assert not list(client.files.list())
        with pytest.raises(openai.NotFoundError):
            client.files.content(given.id)
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_jobs_and_batches_take_turns_by_age(serve: Serve, tmp_path: Path) -> None:
    server = serve(jobs_folder=tmp_path / "jobs")
    with sdk(server) as client:
        job = httpx.post(
            f"{server.url}/v1/jobs", content=b"Hello there.", headers={"Content-Type": "text/plain"}
        ).json()
        batch = create(client, jsonl(*said(2)))
        assert ended(client, batch.id).status == "completed"
        assert httpx.get(f"{server.url}/v1/jobs/{job['id']}").json()["status"] == "done"


def test_a_line_that_takes_longer_than_requests_may_holds_up_no_other(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work in the background is tried again when it is out of time; one that is spoken and never done would be for ever."""
    monkeypatch.setattr("f5_tts_server.api.background.RETRY_S", 0.1)
    server = serve(ToyPrograms(step_s=0.05), jobs_folder=tmp_path / "jobs", timeout_s=3)
    with sdk(server) as client:
        long = {"model": "tts-1", "voice": "ada", "input": "A sentence that is spoken. " * 150}
        batch = ended(client, create(client, jsonl(long, *said(1))).id)
        assert batch.status == "completed"
        (error,) = lines_of(client, batch.error_file_id)
        assert (error["custom_id"], error["response"]["status_code"]) == ("line-1", 504)
        assert [line["custom_id"] for line in lines_of(client, batch.output_file_id)] == ["line-2"]
