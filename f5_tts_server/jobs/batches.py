"""OpenAI's files and batches on the disk. A crash at any time leaves what was finished.

    file-0123456789abcdef.jsonl   a file
    file-0123456789abcdef.json    what is known of it; it is listed when this is there
    batch_0123456789abcdef.json   what a batch was asked for, and how far it is
    batch_0123456789abcdef.jsonl  its input, a copy, until it has ended

A batch's output and errors are appended to files whose facts are written when the batch ends.
"""

from __future__ import annotations

import io
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from f5_tts_server.files import all_or_none, replace_file
from f5_tts_server.jobs.line_file import LineFile
from f5_tts_server.limits import structure

log = logging.getLogger("f5.jobs")

FILES_MAX = 500
BATCHES_MAX = 200
LINES_MAX = 50_000
CUSTOM_ID_MAX = 512  # characters
OUTPUT_MAX = 2**30  # bytes of a batch's output, after which no further line is spoken
FAULTS_MAX = 100  # of a batch's input that are told
WINDOW_S = 24 * 3600
KEPT_S = 30 * 24 * 3600  # files, unless said otherwise

FILE_ID = re.compile(r"file-[0-9a-f]{16}")
BATCH_ID = re.compile(r"batch_[0-9a-f]{16}")
_OURS = re.compile(r"(file-|batch_)[0-9a-f]{16}\.jsonl?(\.part)?")
_NUMBER = re.compile(rb'\{"id": "batch_req_[0-9a-f]{16}_(\d+)"')

Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
OPEN: tuple[Status, ...] = ("validating", "in_progress")


class Full(Exception):
    """As many files, or open batches, are kept as may be."""


@dataclass(slots=True)
class StoredFile:
    """A file. ``owner`` is a digest of the key of whoever it belongs to; times are in seconds since the epoch."""

    id: str
    owner: str
    name: str
    purpose: str
    bytes: int
    created: int
    expires: int


@dataclass(slots=True)
class Batch:
    """A batch of ``lines`` requests. ``caller`` is the name of the key that it is spoken for.

    ``output`` and ``errors`` are the ids of its files, which are there when it has ended if they have a line; ``at`` says
    when it came into each status, ``faults`` why it was not begun. ``output_s``: seconds that its files are kept.
    """

    id: str
    owner: str
    caller: str
    endpoint: str
    input: str
    metadata: dict[str, str] | None
    created: int
    expires: int
    output: str
    errors: str
    output_s: int
    lines: int
    faults: list[dict[str, Any]]
    status: Status = "validating"
    completed: int = 0
    failed: int = 0
    at: dict[str, int] = field(default_factory=dict)

    def enter(self, status: Status) -> None:
        self.status = status
        self.at[status] = int(time.time())


class Line(NamedTuple):
    """A line of a batch's input: its number from 1, whose it is in the output, and the request's body."""

    number: int
    custom_id: str
    body: dict[str, Any]


class BadLine(Exception):
    """A line that is not a request; ``code`` and ``param`` as OpenAI has them."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class BatchStore:
    """The files and batches of a folder, which belongs to one server. Methods block. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        """By age."""
        files, batches = [], []
        for path in folder.glob("*.json"):
            try:
                if FILE_ID.fullmatch(path.stem):
                    files.append(StoredFile(**json.loads(path.read_bytes())))
                elif BATCH_ID.fullmatch(path.stem):
                    batches.append(Batch(**json.loads(path.read_bytes())))
            except (OSError, ValueError, TypeError) as error:
                log.error("%s cannot be read and is left alone: %s", path.name, error)
        self._files.update((one.id, one) for one in sorted(files, key=lambda one: (one.created, one.id)))
        self.batches.update((one.id, one) for one in sorted(batches, key=lambda one: (one.created, one.id)))
        self._sweep()
        for batch in self.batches.values():
            if batch.status == "in_progress":
                self.recorded(batch)

    def _sweep(self) -> None:
        """Remove what a crash has left of files that nobody was told of."""
        growing = {name for batch in self.batches.values() for name in (batch.output, batch.errors)}
        for path in self._folder.iterdir():
            name = path.name.partition(".")[0]
            if _OURS.fullmatch(path.name) and (
                path.suffix == ".part" or (not (self._folder / f"{name}.json").exists() and name not in growing)
            ):
                path.unlink()

    # files

    def add_file(self, owner: str, name: str, data: bytes, *, purpose: str, kept_s: int = KEPT_S) -> StoredFile:
        """Keep a file; on the disk when this returns, and nothing of it is where this raises. Raises Full."""
        with self._lock:
            self._drop_expired()
            if len(self._files) >= FILES_MAX:
                raise Full(f"{FILES_MAX} files are kept, which is the limit: delete one")
            now = int(time.time())
            added = StoredFile(_new_id("file-"), owner, name, purpose, len(data), now, now + kept_s)
            with all_or_none(*self._paths(added.id)):
                replace_file(self.path(added.id), data, sole=True)
                self._know(added)
        return added

    def files(self, owner: str) -> list[StoredFile]:
        """An owner's files by age."""
        with self._lock:
            self._drop_expired()
            return [one for one in self._files.values() if one.owner == owner]

    def file(self, owner: str, file_id: str) -> StoredFile | None:
        """One of an owner's files."""
        with self._lock:
            self._drop_expired()
            found = self._files.get(file_id)
        return found if found is not None and found.owner == owner else None

    def remove_file(self, file_id: str) -> None:
        with self._lock:
            self._remove(file_id)

    def path(self, name: str) -> Path:
        """Where the content of a file, or the input of a batch, is or will be."""
        return self._folder / f"{name}.jsonl"

    def _know(self, one: StoredFile) -> None:
        replace_file(self._folder / f"{one.id}.json", json.dumps(asdict(one)).encode(), sole=True)
        self._files[one.id] = one

    def _remove(self, file_id: str) -> None:
        if self._files.pop(file_id, None) is not None:
            for path in self._paths(file_id):
                path.unlink(missing_ok=True)

    def _paths(self, name: str) -> tuple[Path, Path]:
        """What is known of a file or a batch, and its content; deleted in this order, so that what is listed is whole."""
        return self._folder / f"{name}.json", self.path(name)

    def _drop_expired(self) -> None:
        now = time.time()
        for one in [one for one in self._files.values() if one.expires <= now]:
            self._remove(one.id)

    # batches

    def add(
        self,
        source: StoredFile,
        *,
        caller: str,
        endpoint: str,
        metadata: dict[str, str] | None,
        output_s: int,
        structure_max: int,
    ) -> Batch:
        """Keep a new batch; on the disk when this returns. One whose input has faults has failed already.

        ``structure_max`` is how much `limits.structure` a line may have.

        Raises Full.
        """
        data = self.path(source.id).read_bytes()
        lines, faults = _check(data, endpoint, structure_max)
        now = int(time.time())
        batch = Batch(
            _new_id("batch_"),
            source.owner,
            caller,
            endpoint,
            source.id,
            metadata,
            now,
            now + WINDOW_S,
            _new_id("file-"),
            _new_id("file-"),
            output_s,
            lines,
            faults,
        )
        if faults:
            batch.enter("failed")
        with self._lock:
            self._make_room()
            with all_or_none(*self._paths(batch.id)):
                if not faults:
                    replace_file(self.path(batch.id), data, sole=True)
                self.save(batch)
            self.batches[batch.id] = batch
        return batch

    def _make_room(self) -> None:
        if len(self.batches) < BATCHES_MAX:
            return
        ended = next((one for one in self.batches.values() if one.status not in OPEN), None)
        if ended is None:
            raise Full(f"{BATCHES_MAX} batches are open, which is the limit: wait for one, or cancel one")
        (self._folder / f"{ended.id}.json").unlink(missing_ok=True)
        del self.batches[ended.id]

    def save(self, batch: Batch) -> None:
        """Put what is known of a batch on the disk."""
        replace_file(self._folder / f"{batch.id}.json", json.dumps(asdict(batch)).encode(), sole=True)

    def lines(self, batch: Batch) -> Iterator[Line]:
        """A batch's requests in order. Raises BadLine where its file was damaged."""
        for number, text in _written(self.path(batch.id).read_bytes()):
            yield parse(number, text, batch.endpoint)

    def recorded(self, batch: Batch) -> set[int]:
        """Numbers of the lines that need no more work; counts them in the batch."""
        completed, failed = (
            {int(match[1]) for line in LineFile(self.path(name)).read() if (match := _NUMBER.match(line))}
            for name in (batch.output, batch.errors)
        )
        batch.completed, batch.failed = len(completed), len(failed)
        return completed | failed

    def has_room(self, batch: Batch) -> bool:
        """Whether its output may grow."""
        return LineFile(self.path(batch.output)).size < OUTPUT_MAX

    def record(self, batch: Batch, record: bytes, *, failed: bool) -> None:
        """Append a line of the output or of the errors, unless the batch has ended meanwhile."""
        with self._lock:
            if batch.status not in OPEN:
                return
            LineFile(self.path(batch.errors if failed else batch.output)).append(record)
            if failed:
                batch.failed += 1
            else:
                batch.completed += 1

    def end(self, batch: Batch, status: Status) -> None:
        """List a batch's files, and put on the disk that it has ended. Lines that have expired are recorded so."""
        with self._lock:
            if status == "expired":
                self._expire_rest(batch)
            for name, kind in ((batch.output, "output"), (batch.errors, "error")):
                if size := LineFile(self.path(name)).size:
                    now = int(time.time())
                    file_name = f"{batch.id}_{kind}.jsonl"
                    expires = now + batch.output_s
                    self._know(StoredFile(name, batch.owner, file_name, "batch_output", size, now, expires))
            batch.enter(status)
            self.save(batch)
            self.path(batch.id).unlink(missing_ok=True)

    def _expire_rest(self, batch: Batch) -> None:
        done = self.recorded(batch)
        message = "the request was not executed within 24 h of the batch's creation"
        rest = [refused(batch, line, "batch_expired", message) for line in self.lines(batch) if line.number not in done]
        if rest:
            LineFile(self.path(batch.errors)).append(b"\n".join(rest))
            batch.failed += len(rest)


def answered(batch: Batch, line: Line, status: int, request_id: str, body: bytes) -> bytes:
    """A line of the output or of the errors: a reply, whose body is JSON already."""
    head = f'"response": {{"status_code": {status}, "request_id": {json.dumps(request_id)}, "body": '
    return _head(batch, line) + head.encode() + body + b'}, "error": null}'


def refused(batch: Batch, line: Line, code: str, message: str) -> bytes:
    """A line of the errors: a request that was not executed."""
    error = json.dumps({"code": code, "message": message})
    return _head(batch, line) + f'"response": null, "error": {error}}}'.encode()


def _head(batch: Batch, line: Line) -> bytes:
    request = f"batch_req_{batch.id.removeprefix('batch_')}_{line.number}"
    return f'{{"id": "{request}", "custom_id": {json.dumps(line.custom_id)}, '.encode()


def parse(number: int, text: bytes, endpoint: str) -> Line:
    """Raises BadLine."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadLine("invalid_json_line", f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadLine("invalid_json_line", "not a JSON object")
    custom_id, body = fields.get("custom_id"), fields.get("body")
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= CUSTOM_ID_MAX:
        raise BadLine("invalid_custom_id", f"custom_id: 1 to {CUSTOM_ID_MAX} characters are needed", "custom_id")
    if fields.get("method") != "POST":
        raise BadLine("invalid_method", "method: POST is the only one", "method")
    if fields.get("url") != endpoint:
        raise BadLine("mismatched_endpoint", f"url: it must be the batch's endpoint, {endpoint}", "url")
    if not isinstance(body, dict):
        raise BadLine("invalid_body", "body: the request's JSON object is needed", "body")
    return Line(number, custom_id, body)


def _check(data: bytes, endpoint: str, structure_max: int) -> tuple[int, list[dict[str, Any]]]:
    """How many lines an input has, and its faults."""
    count, faults = 0, list[dict[str, Any]]()
    first = dict[str, int]()

    def fault(error: BadLine, number: int | None) -> None:
        faults.append({"code": error.code, "line": number, "message": str(error), "param": error.param})

    for number, text in _written(data):
        count += 1
        if count > LINES_MAX:
            fault(BadLine("too_many_lines", f"the file has more than {LINES_MAX} lines"), None)
        if len(faults) >= FAULTS_MAX or count > LINES_MAX:
            break
        try:
            if structure(text) > structure_max:
                message = f"the line has more than {structure_max} brackets, quotation marks and separators"
                raise BadLine("line_too_large", message)
            line = parse(number, text, endpoint)
            if (before := first.setdefault(line.custom_id, number)) != number:
                raise BadLine("duplicate_custom_id", f"custom_id is that of line {before}", "custom_id")
        except BadLine as error:
            fault(error, number)
    if not count:
        fault(BadLine("empty_file", "the file has no line"), None)
    return count, faults


def _written(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by number from 1."""
    return ((number, line) for number, line in enumerate(io.BytesIO(data), 1) if line.strip())


def _new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(8)
