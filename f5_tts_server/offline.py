"""Offline mode: a JSONL file of requests to WAV files and a result for each line, through the same engine.

A line is the body of ``/v1/generate`` with two fields more, both optional: ``id``, the name of its file (by default the
line's number), and ``ref_audio``, the path of a reference clip beside the JSONL file, instead of base64. Every line
that is done is recorded in ``results.jsonl`` at once; a second run of the same command does what is not recorded yet.
A bad line is recorded with its error, and the others go on.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import sys
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from tqdm import tqdm

from f5_tts_server.api.errors import GENERATE
from f5_tts_server.api.faults import FAULTS, as_request_error
from f5_tts_server.api.generate_body import GenerateBody, generate_body
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.api.streaming import read_clip
from f5_tts_server.formats import whole_file
from f5_tts_server.inference_types import GenerationRequest, Metadata, RequestError
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import EngineState, TTSEngine

RESULTS = "results.jsonl"
LOAD_POLL_S = 0.05

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the input: its number from 1, its id, and the rest of its text."""

    number: int
    id: str
    fields: dict[str, Any]


class BadLine(Exception):
    """A line that is not a request."""


def run(engine: TTSEngine, builder: RequestBuilder, settings: Settings) -> int:
    """Work off ``settings.offline`` into ``settings.out``; gives the process's exit code.

    0 when every line is recorded, whatever its result; 1 when the model did not load; 130 after Ctrl-C.
    """
    assert settings.offline is not None  # or main would have started the server
    try:
        text = settings.offline.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"--offline {settings.offline}: {error}", file=sys.stderr)
        return 1
    settings.out.mkdir(parents=True, exist_ok=True)
    body = generate_body(settings, builder.defaults)
    return asyncio.run(_Run(engine, builder, settings, body).work(text.splitlines()))


class _Run:
    def __init__(
        self, engine: TTSEngine, builder: RequestBuilder, settings: Settings, body: type[GenerateBody]
    ) -> None:
        self._engine = engine
        self._builder = builder
        self._settings = settings
        self._body = body
        self._out = settings.out
        self._results = settings.out / RESULTS

    async def work(self, lines: list[str]) -> int:
        self._engine.start()
        done = self._recorded()
        running: set[asyncio.Task[Any]] = set()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        try:
            while self._engine.state is EngineState.LOADING and not stop.is_set():  # noqa: ASYNC110 - set by a thread
                await asyncio.sleep(LOAD_POLL_S)
            if self._engine.broken:
                print(self._engine.failure, file=sys.stderr)
                return 1
            todo = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
            with tqdm(total=len(todo), unit="line", desc="offline") as bar:
                stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
                for number, line in todo:
                    # As many at a time as the engine works on: its slots stay full and no line waits for another.
                    while len(running) >= self._settings.max_concurrent_requests and not stop.is_set():
                        _, pending = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                        running &= pending
                    if stop.is_set():
                        break
                    running.add(asyncio.create_task(self._line(number, line, done, bar)))
                if running:
                    everything = asyncio.gather(*running)
                    await asyncio.wait({everything, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    if everything.done():
                        everything.result()
                    else:
                        everything.cancel()
                        await asyncio.gather(everything, return_exceptions=True)
                stopping.cancel()
        finally:
            await asyncio.to_thread(self._engine.stop)
        if stop.is_set():
            print("stopped; the same command goes on from here", file=sys.stderr)
            return 130
        return 0

    def _recorded(self) -> dict[str, str]:
        """Ids that need no more work, with the line's content they were made of."""
        if not self._results.exists():
            return {}
        whole, newline, _ = self._results.read_bytes().rpartition(b"\n")
        # What follows the last line's end was cut off by a crash in the middle of a write; that line is made again.
        os.truncate(self._results, len(whole + newline))
        recorded = {}
        for line in whole.decode().splitlines():
            result = json.loads(line)
            if result["status"] == "ok" and (self._out / result["file"]).exists():
                recorded[result["id"]] = result["request"]
        return recorded

    async def _line(self, number: int, text: str, done: dict[str, str], bar: tqdm[Any]) -> None:
        line_id = str(number)
        result: dict[str, Any]
        try:
            line = _parse(number, text)
            line_id = line.id
            if done.get(line_id) == text:
                bar.update()
                return
            metadata = await self._speak(line)
            result = {
                "status": "ok",
                "file": f"{line.id}.wav",
                "duration": metadata.duration,
                "generation_time": metadata.generation_time,
                "seed": metadata.seed,
            }
        except (BadLine, RequestError) as error:
            result = {"status": "error", "error": str(error)}
            bar.write(f"line {number}: {error}", file=sys.stderr)
        self._record({"id": line_id, "line": number, **result, "request": text})
        bar.update()

    async def _speak(self, line: Line) -> Metadata:
        request = self._request(line)
        ticket = self._engine.submit(request)
        try:
            data, metadata = await read_clip(ticket)
        finally:
            ticket.cancel()
        path = self._out / f"{line.id}.wav"
        partial = path.with_suffix(".wav.part")
        partial.write_bytes(whole_file("wav", data, round(metadata.duration * metadata.sample_rate)))
        partial.rename(path)
        return metadata

    def _request(self, line: Line) -> GenerationRequest:
        fields = dict(line.fields)
        if "ref_audio" in fields:
            assert self._settings.offline is not None  # this is the offline mode
            path = self._settings.offline.parent / str(fields.pop("ref_audio"))
            try:
                fields["ref_audio_base64"] = base64.b64encode(path.read_bytes()).decode()
            except OSError as error:
                raise BadLine(f"ref_audio {path}: {error.strerror}") from error
        try:
            body = self._body.model_validate(fields)
        except ValidationError as error:
            fault = error.errors()[0]
            raise BadLine(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
        if body.response_format != "wav":
            raise BadLine("response_format: offline mode writes wav")
        try:
            return replace(body.request(self._builder, f"line-{line.number}"), live=False)
        except FAULTS as error:
            raise GENERATE.translate(as_request_error(error)) from error

    def _record(self, result: dict[str, Any]) -> None:
        with self._results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _parse(number: int, text: str) -> Line:
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadLine("not a JSON object")
    line_id = fields.pop("id", str(number))
    if not isinstance(line_id, str) or not _NAME.fullmatch(line_id):
        raise BadLine(f"id {line_id!r}: 1 to 100 letters, digits and . _ - make a file name")
    return Line(number, line_id, fields)
