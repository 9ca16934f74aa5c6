"""OpenTelemetry traces of the server: a span for each call, one for its request to the engine, and one for each stage.

Everything is set by the standard OTEL_* variables; the packages are optional. Spans hold no text of a request, no names
of voices and no messages of errors.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f5_tts_server.inference_types import Done, Failed, GenerationRequest

_SERVICE = "f5-tts-server"


class Tracing:
    """Sends spans to a collector, as the OTEL_* variables say; implements `inference_types.Tracer`.

    Raises ValueError, in words for the operator, for an exporter or a protocol that is not here.
    """

    def __init__(self, version: str, unspoken: frozenset[str]) -> None:
        """``unspoken``: paths that are called all the time and have no spans."""
        exporter = os.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
        if exporter != "otlp":
            raise ValueError(f"OTEL_TRACES_EXPORTER: otlp and none are here, not {exporter!r}")
        for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            if (protocol := os.environ.get(name) or "http/protobuf") != "http/protobuf":
                raise ValueError(f"{name}: http/protobuf is the only one here, not {protocol!r}")
        service = Resource.create({"service.name": _SERVICE, "service.version": version})
        self._provider = TracerProvider(resource=service.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("f5_tts_server", version)
        self._unspoken = unspoken

    def close(self) -> None:
        """Send what is left; blocks."""
        self._provider.shutdown()

    def begin(self, request: GenerationRequest, now: float) -> RequestTrace:
        """A child of the call that is being served, if one is."""
        return RequestTrace(self._tracer, request, now)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """The application with a span for each call, a child of the caller's where it sends a ``traceparent``."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket") or scope["path"] in self._unspoken:
                await app(scope, receive, send)
                return
            method = scope.get("method", "WEBSOCKET")
            status = 0

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            with self._tracer.start_as_current_span(
                method,
                propagate.extract(dict(Headers(scope=scope))),
                SpanKind.SERVER,
                {"http.request.method": method},
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    await app(scope, receive, watched)
                except BaseException:
                    span.set_status(Status(StatusCode.ERROR))
                    raise
                finally:
                    _name(span, method, scope, status)

        return traced


class RequestTrace:
    """The spans of one request to the engine. Stages tell theirs from several threads."""

    def __init__(self, tracer: Tracer, request: GenerationRequest, now: float) -> None:
        self._tracer = tracer
        self._zero_ns = time.time_ns() - round(now * 1e9)  # of the engine's clock, since the epoch
        self._lock = threading.Lock()
        self._open = {"engine", "reader"}
        self._span = tracer.start_span(
            "generate",
            start_time=self._ns(now),
            attributes={
                "f5.request_id": request.request_id,
                "f5.model": request.model or "",
                "f5.steps": request.nfe,
                "f5.format": request.format,
                "f5.live": request.live,
                "f5.background": request.background,
            },
        )
        self._context: Context = set_span_in_context(self._span)

    def stage(
        self,
        name: str,
        start: float,
        end: float,
        attributes: Mapping[str, int | float] | None = None,
        steps: tuple[float, ...] = (),
    ) -> None:
        told = {f"f5.{key}": value for key, value in (attributes or {}).items()}
        span = self._tracer.start_span(name, self._context, attributes=told, start_time=self._ns(start))
        for number, at in enumerate(steps):
            span.add_event("step", {"f5.step": number}, self._ns(at))
        span.end(self._ns(end))

    def ended(self, event: Done | Failed, now: float) -> None:
        if isinstance(event, Done):
            facts = event.metadata
            self._span.set_attributes(
                {
                    "f5.audio_seconds": facts.duration,
                    "f5.segments": facts.segments,
                    "f5.time_to_first_audio": facts.time_to_first_audio,
                    "f5.underruns": facts.underruns,
                }
            )
        else:
            self._span.set_attribute("error.type", event.error.code)
            if event.error.status >= 500:
                self._span.set_status(Status(StatusCode.ERROR))
        self._done("engine", now)

    def close(self, now: float) -> None:
        self._done("reader", now)

    def _done(self, who: str, now: float) -> None:
        """The span ends when both have; either may be first, as the reader is told before `ended` is."""
        with self._lock:
            last = self._open == {who}
            self._open.discard(who)
        if last:
            self._span.end(self._ns(now))

    def _ns(self, seconds: float) -> int:
        return self._zero_ns + round(seconds * 1e9)


def _name(span: Span, method: str, scope: Scope, status: int) -> None:
    """Name a call by its route: paths have ids of voices and jobs."""
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
