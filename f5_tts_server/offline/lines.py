"""A JSONL file of requests to WAV files and a result for each line.

A line is the body of ``/v1/generate`` with two fields more, both optional: ``id``, the name of its file (by default the
line's number), and ``ref_audio``, the path of a reference clip beside the JSONL file, instead of base64. A line with
``subtitles``, the path of an SRT or VTT file beside the JSONL file, is the body of ``/v1/audio/dubs``.

All lines are checked before the model is loaded. They are made in order, no more at a time than fill the device, and each
is recorded in ``results.jsonl`` when it ends, so that whoever stops the command loses a line or two; the same command does
what is not made yet, and what failed. A bad line is recorded with its error, and the others go on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tqdm import tqdm

from f5_tts_server.api.background import in_order
from f5_tts_server.api.dub_body import DubBody
from f5_tts_server.api.errors import DUBS, GENERATE
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.generate_body import GenerateBody, generate_body
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.api.streaming import read_clip
from f5_tts_server.files import replace_file
from f5_tts_server.formats import whole_file
from f5_tts_server.inference_types import GenerationRequest, RequestError
from f5_tts_server.jobs.line_file import LineFile
from f5_tts_server.offline.working import with_engine
from f5_tts_server.pool import ModelPool
from f5_tts_server.serving import INTERRUPTED
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import TTSEngine

RESULTS = "results.jsonl"

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the input: its number from 1, its text, its id, what it asks for, and its reference's file."""

    number: int
    text: str
    id: str
    body: GenerateBody | DubBody
    ref_audio: Path | None


class BadLine(Exception):
    """A line that is not a request."""


class Lines:
    """The lines of ``settings.offline``."""

    def __init__(self, engine: TTSEngine | ModelPool, builder: RequestBuilder, settings: Settings) -> None:
        self._engine = engine
        self._builder = builder
        self._limit = settings.max_concurrent_requests
        self._body = generate_body(settings, builder.models.default.sampling())
        assert settings.offline is not None  # as in `run`
        self._beside = settings.offline.parent
        self._out = settings.out
        self._results = LineFile(settings.out / RESULTS)
        self._made = 0
        self._failed = 0

    def work(self, lines: list[str]) -> int:
        """Make them; gives the exit code. Raises OSError."""
        written = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        todo = self._check(written, self._recorded())
        there = len(written) - len(todo) - self._failed
        # Without a line to make, the model need not be loaded.
        code = asyncio.run(with_engine(self._engine, lambda: self._make(todo))) if todo else 0
        summary = f"{len(written)} lines: {self._made} made, {there} made before, {self._failed} failed"
        print(f"{summary}; see {self._results.path}" if self._failed else summary, file=sys.stderr)
        if code == INTERRUPTED:
            print("stopped; the same command goes on from here", file=sys.stderr)
        return code or int(self._failed > 0)

    def _check(self, written: list[tuple[int, str]], done: dict[str, str]) -> list[Line]:
        """The lines that are to be made; those that are no requests are recorded."""
        todo, ids = [], dict[str, int]()
        for number, text in written:
            line_id = str(number)
            try:
                line_id, fields = _parse(number, text)
                if (first := ids.setdefault(line_id, number)) != number:
                    raise BadLine(f"id {line_id!r} is that of line {first}, and so would be its file")
                if done.get(line_id) != text:
                    todo.append(self._line(number, text, line_id, fields))
            except BadLine as error:
                self._fail(number, line_id, text, error)
        return todo

    async def _make(self, todo: list[Line]) -> None:
        """Make the lines in order.

        As many at a time as fill a step, and one more that is prepared meanwhile: with more, all would advance
        together, and none would be ready before the last.
        """
        with tqdm(total=len(todo), unit="line", desc="offline") as bar:
            await in_order(self._speaking(todo, bar), min(self._limit, self._engine.rows + 1))

    async def _speaking(self, todo: list[Line], bar: tqdm[Any]) -> AsyncIterator[Coroutine[Any, Any, None]]:
        for line in todo:
            if not self._engine.broken:
                yield self._speak(line, bar)

    def _recorded(self) -> dict[str, str]:
        """Ids that need no more work, with the line's content they were made of."""
        recorded = {}
        for line in self._results.read():
            try:
                result = json.loads(line)
                if result["status"] == "ok" and (self._out / result["file"]).exists():
                    recorded[result["id"]] = result["request"]
            except (ValueError, KeyError, TypeError):
                shown = line[:80].decode("utf-8", "replace")
                print(f"{self._results.path}: not a result, and passed over: {shown}", file=sys.stderr)
        return recorded

    async def _speak(self, line: Line, bar: tqdm[Any]) -> None:
        """Make a line's file and record it, or its error."""
        try:
            request = await asyncio.to_thread(self._request, line)
            data, metadata = await read_clip(self._engine.submit(request))
        except (BadLine, RequestError) as error:
            if self._engine.broken:
                return  # it is not the line that is at fault
            self._fail(line.number, line.id, line.text, error)
        else:
            path = self._out / f"{line.id}.wav"
            replace_file(path, whole_file("wav", data, metadata.samples), sole=True)
            facts = {name: getattr(metadata, name) for name in ("duration", "generation_time", "seed")}
            if metadata.overruns:
                facts["overruns"] = [asdict(overrun) for overrun in metadata.overruns]
            self._record(line.number, line.id, line.text, {"status": "ok", "file": path.name, **facts})
            self._made += 1
        bar.update()

    def _line(self, number: int, text: str, line_id: str, fields: dict[str, Any]) -> Line:
        """A checked line. Raises BadLine."""
        ref_audio = None
        if "ref_audio" in fields:
            ref_audio = self._beside / str(fields.pop("ref_audio"))
            if not ref_audio.is_file():
                raise BadLine(f"ref_audio: there is no file {ref_audio}")
            fields["ref_audio_base64"] = ""  # read when it is the line's turn
        if isinstance(subtitles := fields.get("subtitles"), str):
            try:
                fields["subtitles"] = (self._beside / subtitles).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadLine(f"subtitles {self._beside / subtitles}: {error}") from error
        try:
            body = (DubBody if "subtitles" in fields else self._body).model_validate(fields)
        except ValidationError as error:
            fault = error.errors()[0]
            raise BadLine(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
        if body.response_format != "wav":
            raise BadLine("response_format: offline mode writes wav")
        return Line(number, text, line_id, body, ref_audio)

    def _request(self, line: Line) -> GenerationRequest:
        """What the engine is asked; blocks. Raises BadLine and RequestError."""
        body = line.body
        dialect = DUBS if isinstance(body, DubBody) else GENERATE
        if line.ref_audio is not None:
            try:
                audio = line.ref_audio.read_bytes()
            except OSError as error:
                raise BadLine(f"ref_audio {line.ref_audio}: {error.strerror}") from error
            body = body.model_copy(update={"ref_audio_base64": base64.b64encode(audio).decode()})
        try:
            return replace(body.request(self._builder, f"line-{line.number}"), live=False)
        except FAULTS as error:
            raise dialect.translate(as_request_error(error)) from error

    def _fail(self, number: int, line_id: str, text: str, error: Exception) -> None:
        self._failed += 1
        tqdm.write(f"line {number}: {error}", file=sys.stderr)
        self._record(number, line_id, text, {"status": "error", "error": str(error)})

    def _record(self, number: int, line_id: str, text: str, result: dict[str, Any]) -> None:
        """Append a result to the file, on the disk when this returns."""
        record = {"id": line_id, "line": number, **result, "request": text}
        self._results.append(json.dumps(record, ensure_ascii=False).encode())


def _parse(number: int, text: str) -> tuple[str, dict[str, Any]]:
    """A line's id and its other fields. Raises BadLine."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadLine("not a JSON object")
    line_id = fields.pop("id", str(number))
    if not isinstance(line_id, str) or not _NAME.fullmatch(line_id):
        raise BadLine(f"id {line_id!r}: 1 to 100 letters, digits and . _ - make a file name")
    return line_id, fields
