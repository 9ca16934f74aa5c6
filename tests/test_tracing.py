"""Traces, received over OTLP as a collector receives them, from a server of the toy model."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from f5_tts_server.app import create_app
from f5_tts_server.settings import Settings
from tests.server import ROOT, ServerThread, serving
from tests.toy_programs import ToyPrograms

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TEXT = "Something secret is said here. And then a second sentence, which is a little longer than the first one."


class Collector:
    """Takes in what is exported."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One on loopback, to which the standard variables lead."""
    taken = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            message = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in message.resource_spans:
                taken.services |= {
                    one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
                }
                for scope in resource.scope_spans:
                    taken.spans += scope.spans
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield taken
    server.shutdown()
    thread.join()
    server.server_close()


def facts(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


def traced(folder: Path, ask: Callable[[ServerThread], None], **settings: object) -> None:
    """What is left is sent when the server ends."""
    with serving(folder, ToyPrograms(step_s=0.002), **settings) as server:
        ask(server)


def test_a_stream_has_a_span_for_each_stage(collector: Collector, tmp_path: Path) -> None:
    def ask(server: ServerThread) -> None:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        reply = httpx.post(
            f"{server.url}/v1/generate/stream?secret=1",
            json={"gen_text": TEXT, "num_inference_steps": 5, "voice": "ada"},
            headers=headers,
            timeout=60,
        )
        assert '"is_final": true' in reply.text

    began = time.time_ns()
    traced(tmp_path, ask)
    (call,) = collector.named("POST /v1/generate/stream")
    assert (call.trace_id.hex(), call.parent_span_id.hex(), call.kind) == (TRACE, PARENT, Span.SPAN_KIND_SERVER)
    assert facts(call)["http.response.status_code"] == 200
    (generate,) = collector.named("generate")
    assert generate.parent_span_id == call.span_id
    stages = [span for span in collector.spans if span.parent_span_id == generate.span_id]
    segments = facts(generate)["f5.segments"]
    assert isinstance(segments, int) and segments >= 2
    names = [span.name for span in stages]
    assert {name: names.count(name) for name in names} == {
        "queue": 1, "preprocess": segments, "flow": segments, "vocoder": segments, "send": 1,
    }  # fmt: skip
    for span in collector.spans:
        assert span.trace_id.hex() == TRACE
        assert began <= span.start_time_unix_nano <= span.end_time_unix_nano <= time.time_ns()
        assert generate.start_time_unix_nano <= span.start_time_unix_nano or span is call
    for index in range(segments):
        preprocess, flow, vocoder = (
            next(s for s in stages if s.name == name and facts(s)["f5.segment"] == index)
            for name in ("preprocess", "flow", "vocoder")
        )
        steps = [event.time_unix_nano for event in flow.events]
        assert len(steps) == 5 and steps == sorted(steps)
        assert flow.start_time_unix_nano < steps[0] and steps[-1] == flow.end_time_unix_nano
        assert preprocess.start_time_unix_nano < flow.start_time_unix_nano < vocoder.end_time_unix_nano
    assert b"secret" not in b"".join(span.SerializeToString() for span in collector.spans)
    assert collector.services == {"f5-tts-server"}


def test_what_fails_and_what_is_left_have_an_end(collector: Collector, tmp_path: Path) -> None:
    def ask(server: ServerThread) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            assert client.post("/v1/generate", json={"gen_text": "Now fail-vocode."}).status_code == 500
            assert client.post("/v1/generate", json={"gen_text": ""}).status_code == 422
            assert client.get("/v1/voices/secret-name").status_code == 404
            assert client.get("/readyz").status_code == 200
            with client.stream("POST", "/v1/generate/stream", json={"gen_text": "Words. " * 300}) as reply:
                next(reply.iter_lines())

    traced(tmp_path, ask)
    calls = {facts(span)["http.response.status_code"]: span for span in collector.named("POST /v1/generate")}
    assert set(calls) == {500, 422}
    assert calls[500].status.code == Status.STATUS_CODE_ERROR and calls[422].status.code == Status.STATUS_CODE_UNSET
    (failed,) = [span for span in collector.named("generate") if span.parent_span_id == calls[500].span_id]
    assert facts(failed)["error.type"] == "internal_error" and failed.status.code == Status.STATUS_CODE_ERROR
    (stream,) = collector.named("POST /v1/generate/stream")
    (left,) = [span for span in collector.named("generate") if span.parent_span_id == stream.span_id]
    assert facts(left)["error.type"] == "cancelled"
    names = {span.name for span in collector.spans}
    assert "GET /v1/voices/{voice_id}" in names and not any("readyz" in name or "secret" in name for name in names)


def test_background_work_has_traces_of_its_own(collector: Collector, tmp_path: Path) -> None:
    def ask(server: ServerThread) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            headers = {"Content-Type": "text/plain"}
            job = client.post("/v1/jobs", content=b"Something to say.", headers=headers).json()
            while client.get(f"/v1/jobs/{job['id']}").json()["status"] in ("queued", "running"):
                time.sleep(0.05)

    traced(tmp_path, ask, jobs_folder=tmp_path / "jobs")
    (generate,) = collector.named("generate")
    assert not generate.parent_span_id and facts(generate)["f5.background"] is True
    assert {span.name for span in collector.spans if span.trace_id == generate.trace_id} >= {"queue", "flow", "send"}


def test_what_cannot_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("OTEL_TRACES_EXPORTER", "zipkin"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")):
        with monkeypatch.context() as patch, pytest.raises(ValueError, match=name):
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            patch.setenv(name, value)
            create_app(Settings())


def test_nothing_is_loaded_unless_it_is_asked_for() -> None:
    """Off, it costs nothing. FastAPI imports the interface, which does nothing by itself."""
    code = (
        "import json, sys; from f5_tts_server.app import create_app; from f5_tts_server.settings import Settings; "
        "app = create_app(Settings()); "
        "told = ('opentelemetry.sdk', 'opentelemetry.exporter', 'f5_tts_server.tracing'); "
        "print(json.dumps([name for name in sys.modules if name.startswith(told)]))"
    )
    for variables in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == []
