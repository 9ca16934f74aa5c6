"""Offline mode: a JSONL file of requests to WAV files and a result for each line, through the same engine.

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
import os
import re
import signal
import sys
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tqdm import tqdm

from f5_tts_server.api.dub_body import DubBody
from f5_tts_server.api.errors import DUBS, GENERATE
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.generate_body import GenerateBody, generate_body
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.api.streaming import read_clip
from f5_tts_server.formats import whole_file
from f5_tts_server.inference_types import GenerationRequest, RequestError
from f5_tts_server.pool import ModelPool
from f5_tts_server.serving import INTERRUPTED
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import EngineState, TTSEngine

RESULTS = "results.jsonl"
LOAD_POLL_S = 0.05

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


def run(engine: TTSEngine | ModelPool, builder: RequestBuilder, settings: Settings) -> int:
    """Work off ``settings.offline`` into ``settings.out``; gives the process's exit code.

    0 when every line is made; 1 when a line failed, the model did not load, or a file could not be read or written; 130
    after Ctrl-C or SIGTERM.
    """
    assert settings.offline is not None  # or main would have started the server
    try:
        text = settings.offline.read_text("utf-8")
        settings.out.mkdir(parents=True, exist_ok=True)
        return _Run(engine, builder, settings).work(text.splitlines())
    except (OSError, UnicodeDecodeError) as error:
        print(f"--offline {settings.offline}: {error}", file=sys.stderr)
        return 1


class _Run:
    def __init__(self, engine: TTSEngine | ModelPool, builder: RequestBuilder, settings: Settings) -> None:
        self._engine = engine
        self._builder = builder
        self._limit = settings.max_concurrent_requests
        self._body = generate_body(settings, builder.models.default.sampling())
        assert settings.offline is not None  # as in `run`
        self._beside = settings.offline.parent
        self._out = settings.out
        self._results = settings.out / RESULTS
        self._made = 0
        self._failed = 0

    def work(self, lines: list[str]) -> int:
        written = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        todo = self._check(written, self._recorded())
        there = len(written) - len(todo) - self._failed
        # Without a line to make, the model need not be loaded.
        code = asyncio.run(self._make(todo)) if todo else 0
        summary = f"{len(written)} lines: {self._made} made, {there} made before, {self._failed} failed"
        print(f"{summary}; see {self._results}" if self._failed else summary, file=sys.stderr)
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

    async def _make(self, todo: list[Line]) -> int:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        self._engine.start()
        try:
            while self._engine.state is EngineState.LOADING and not stop.is_set():  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(LOAD_POLL_S)
            if not stop.is_set() and not self._engine.broken:
                with tqdm(total=len(todo), unit="line", desc="offline") as bar:
                    await self._in_order(todo, stop, bar)
        finally:
            broken = self._engine.broken
            await asyncio.to_thread(self._engine.stop)
        if broken:
            print(self._engine.failure, file=sys.stderr)
            return 1
        return INTERRUPTED if stop.is_set() else 0

    async def _in_order(self, todo: list[Line], stop: asyncio.Event, bar: tqdm[Any]) -> None:
        """Make the lines, until told to stop; what is unfinished then is dropped.

        As many at a time as fill a step, and one more that is prepared meanwhile: with more, all would advance
        together, and none would be ready before the last.
        """
        limit = min(self._limit, self._engine.rows + 1)
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        running: set[asyncio.Task[Any]] = set()
        waiting = iter(todo)
        try:
            while not stop.is_set() and not self._engine.broken:
                running |= {
                    asyncio.create_task(self._speak(line, bar)) for line in islice(waiting, limit - len(running))
                }
                if not running:
                    break
                ended, _ = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                for task in ended & running:
                    task.result()  # raises what it raised, such as a full disk
                running -= ended
        finally:
            for task in (*running, stopping):
                task.cancel()
            await asyncio.gather(*running, stopping, return_exceptions=True)

    def _recorded(self) -> dict[str, str]:
        """Ids that need no more work, with the line's content they were made of."""
        if not self._results.exists():
            return {}
        whole, newline, _ = self._results.read_bytes().rpartition(b"\n")
        # What follows the last line's end was cut off by a crash in the middle of a write; that line is made again.
        os.truncate(self._results, len(whole + newline))
        recorded = {}
        for line in whole.decode("utf-8", "replace").splitlines():
            try:
                result = json.loads(line)
                if result["status"] == "ok" and (self._out / result["file"]).exists():
                    recorded[result["id"]] = result["request"]
            except (ValueError, KeyError, TypeError):
                print(f"{self._results}: not a result, and passed over: {line[:80]}", file=sys.stderr)
        return recorded

    async def _speak(self, line: Line, bar: tqdm[Any]) -> None:
        """Make a line's file and record it, or its error."""
        try:
            request = await asyncio.to_thread(self._request, line)
            ticket = self._engine.submit(request)
            try:
                data, metadata = await read_clip(ticket)
            finally:
                ticket.cancel()
        except (BadLine, RequestError) as error:
            if self._engine.broken:
                return  # it is not the line that is at fault
            self._fail(line.number, line.id, line.text, error)
        else:
            path = self._out / f"{line.id}.wav"
            partial = path.with_suffix(".wav.part")
            partial.write_bytes(whole_file("wav", data, metadata.samples))
            partial.rename(path)
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
        with self._results.open("a", encoding="utf-8") as file:
            record = {"id": line_id, "line": number, **result, "request": text}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


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
