"""The server: settings to engine to HTTP application. With ``--offline`` the same engine works off a file instead."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from f5_tts_server import __version__, connections, offline
from f5_tts_server.api import access, faults, routers
from f5_tts_server.api.background import Background
from f5_tts_server.api.batch_runner import BatchRunner
from f5_tts_server.api.bodies import BodyMiddleware
from f5_tts_server.api.job_runner import JobRunner
from f5_tts_server.api.messages import MAX_FRAME
from f5_tts_server.api.open_requests import OpenRequestsMiddleware
from f5_tts_server.api.request_id import RequestIdFilter, RequestIdMiddleware
from f5_tts_server.api.services import Services
from f5_tts_server.catalogue import CatalogueEntry, catalogue
from f5_tts_server.files import hold_folder
from f5_tts_server.inference_types import Programs, SamplingDefaults
from f5_tts_server.jobs.batches import BatchStore
from f5_tts_server.jobs.store import JobStore
from f5_tts_server.json_log import JsonFormatter
from f5_tts_server.loading import check_transcription, load_programs, sampling_defaults
from f5_tts_server.pool import ModelPool
from f5_tts_server.recognizer.listener import EnglishListener
from f5_tts_server.remote_files import Fetcher
from f5_tts_server.serving import FLUSH_S, DrainingServer, check_address
from f5_tts_server.settings import MIB, Settings, read_settings
from f5_tts_server.text import Lexicon
from f5_tts_server.tts_engine import TTSEngine
from f5_tts_server.voices.consents import ConsentFolder
from f5_tts_server.voices.dictionaries import DictionaryFolder
from f5_tts_server.voices.store import VoiceError, VoiceStore
from f5_tts_server.voices.transcription import Transcriber

if TYPE_CHECKING:
    from f5_tts_server.tracing import Tracing

EMBEDDED_VOICES = Path(__file__).parent / "embedded" / "assets"

PROBE_PATHS = ("/livez", "/readyz", "/metrics", "/v1/health")

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

log = logging.getLogger("f5.server")

SWITCH_INTERVAL_S = 0.0005
"""For which a thread may compute before another one has its turn; a tenth of the interpreter's own."""

DESCRIPTION = """Speech in a voice given by a few seconds of it, streamed while it is being made.

`POST /v1/generate/stream` and `POST /v1/generate` work from "Try it out" as they stand."""


def create_app(
    settings: Settings | None = None,
    load: Callable[[Settings], Programs] = load_programs,
    defaults: Callable[[Settings], SamplingDefaults] = sampling_defaults,
    voices: VoiceStore | None = None,
    engine_type: type[TTSEngine] = TTSEngine,
) -> FastAPI:
    """The application. ``load`` and ``defaults`` say what the model is; the rest is composed here.

    Loading begins with the application's lifespan, on the engine's inference thread, while the port already answers.
    """
    settings = settings or read_settings()
    models = catalogue(settings, defaults)
    tracing = _tracing()
    engine: TTSEngine | ModelPool
    if settings.models_file is None:
        engine = engine_type(
            lambda: load(settings), settings.engine_options(), listener=EnglishListener(), tracer=tracing
        )
    else:
        memory = settings.model_memory_mib
        engine = ModelPool(
            models,
            load,
            settings.engine_options(),
            idle_s=settings.model_idle_s,
            memory=None if memory is None else int(memory * MIB),
            engine_type=engine_type,
            listener=EnglishListener(),
            tracer=tracing,
        )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        listener = await _listen_wyoming(services)
        working = None if kept is None else asyncio.create_task(_work_in_background(app, services, *kept[:2]))
        try:
            yield
        finally:
            if working is not None:
                working.cancel()
                await asyncio.wait({working})
            if listener is not None:
                listener.close()
            await engine.drain(0 if engine.broken else settings.grace_s)
            await asyncio.to_thread(engine.stop)
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
            if kept is not None:
                kept[2].close()

    app = FastAPI(
        title="F5-TTS server",
        description=DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        # Its spans have paths and queries, which name voices and titles of books.
        telemetry={"tracing": False},
    )
    app.state.settings = settings
    app.state.engine = engine
    app.state.voices = voices or VoiceStore(
        settings.voices_folder, EMBEDDED_VOICES, default=settings.voice, aliases=settings.aliases
    )
    if settings.fallback_voice is not None:
        app.state.voices.of_setting("F5_FALLBACK_VOICE", settings.fallback_voice)
    for entry in models.entries:
        _check_voice(entry, app.state.voices)
    check = partial(check_transcription, models.default.settings)
    services = Services(
        settings=settings,
        engine=engine,
        voices=app.state.voices,
        transcriber=Transcriber(),
        models=models,
        access=access.access_of(settings),
        lexicon=Lexicon.load(settings.lexicon, check) if settings.lexicon is not None else Lexicon(),
        check_transcription=check,
        consents=ConsentFolder(app.state.voices.folder and app.state.voices.folder / "consents"),
        fetcher=Fetcher(settings.reference_hosts, max_bytes=int(settings.max_body_mib * MIB)),
        dictionaries=DictionaryFolder(app.state.voices.folder and app.state.voices.folder / "dictionaries"),
    )
    app.state.services = services
    kept = None if settings.jobs_folder is None else _kept(settings.jobs_folder)
    faults.install(app)
    for router in routers(services):
        app.include_router(router)
    access.install(app, services.access, settings)
    app.add_middleware(BodyMiddleware, settings=settings)
    app.add_middleware(OpenRequestsMiddleware, settings=settings)
    app.add_middleware(RequestIdMiddleware)
    if tracing is not None:
        app.add_middleware(tracing.middleware)
    return app


def _kept(folder: Path) -> tuple[JobStore, BatchStore, IO[bytes]]:
    """The jobs and batches of a folder, and what holds it until it is closed. Raises ValueError, naming the setting."""
    try:
        hold = hold_folder(folder)
        return JobStore(folder), BatchStore(folder), hold
    except BlockingIOError:
        raise ValueError(f"F5_JOBS_FOLDER: {folder} is another server's; each needs a folder of its own") from None
    except OSError as error:
        raise ValueError(f"F5_JOBS_FOLDER: {folder} cannot be used: {error.strerror}") from error


def _check_voice(entry: CatalogueEntry, voices: VoiceStore) -> None:
    """Raises ValueError where a model's own voice is not there."""
    if entry.defaults.voice is not None:
        try:
            voices.clip(entry.defaults.voice)
        except VoiceError as error:
            where = f"{entry.settings.models_file}: model {entry.name}"
            raise ValueError(f"{where}: defaults.voice: {error}") from error


def _tracing() -> Tracing | None:
    """Traces, where the standard variables say where they go. Raises ValueError in words for the operator."""
    environment = os.environ
    wanted = any(
        environment.get(name)
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
    )
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    if off or not wanted:
        return None
    if any(find_spec(f"opentelemetry.{name}") is None for name in ("sdk", "exporter")):
        raise ValueError("OTEL_* ask for traces: pip install -r requirements-otel.txt, or set OTEL_SDK_DISABLED=true")
    from f5_tts_server.tracing import Tracing  # optional packages

    return Tracing(__version__, frozenset(PROBE_PATHS))


def _check_wyoming(host: str, port: int) -> None:
    """Raises ValueError or OSError where nothing can listen."""
    if find_spec("wyoming") is None:
        raise ValueError("F5_WYOMING_PORT needs the package wyoming: pip install -r requirements-wyoming.txt")
    check_address(host, port)


async def _work_in_background(app: FastAPI, services: Services, jobs: JobStore, batches: BatchStore) -> None:
    """Go on with the jobs and batches of the folder, until cancelled."""
    background = Background()
    app.state.jobs = JobRunner(services.engine, services.builder, jobs, background)
    app.state.batches = runner = BatchRunner(services, batches, background)
    try:
        await asyncio.gather(background.run(), runner.expire())
    except Exception:
        log.exception("jobs and batches are not worked on any more")
        raise


async def _listen_wyoming(services: Services) -> asyncio.Server | None:
    """Listen for Home Assistant, where a port is set. Raises ValueError and OSError in words for the operator."""
    port = services.settings.wyoming_port
    if port is None:
        return None
    from f5_tts_server.api.wyoming import listen  # an optional package

    listener = await listen(services, services.settings.wyoming_host, port)
    log.info("Wyoming on %s port %d, without keys", *listener.sockets[0].getsockname()[:2])
    return listener


class LogFormatter(logging.Formatter):
    """A record begins at the beginning of a line, its other lines are indented and control characters are escaped: no
    value that a caller sent looks like a record or moves a terminal's cursor."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        lines = "\n    ".join(super().format(record).splitlines())
        return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", lines)


def configure_logging(level: str, form: str = "text") -> None:
    """One format for everything, uvicorn included, with the request id in every line."""
    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(JsonFormatter() if form == "json" else LogFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":
        logging.getLogger("uvicorn.access").addFilter(_not_a_probe)
        logging.getLogger("jax").setLevel(logging.WARNING)  # it tells which accelerators it did not find


def _not_a_probe(record: logging.LogRecord) -> bool:
    """Probes and scrapes come every few seconds and tell nothing that the log does not say once by itself."""
    message = record.getMessage()
    return not (message.endswith((" 200", " 503")) and any(f"GET {path} " in message for path in PROBE_PATHS))


def serve(app: FastAPI) -> int:
    """Run until a signal; gives the process's exit code."""
    # The event loop gives the interpreter up with every byte it sends, and must wait so long for each stage that computes.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    settings: Settings = app.state.settings
    engine: TTSEngine | ModelPool = app.state.engine
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=connections.bounded(settings.receive_timeout_s, settings.max_connections),
        ws_max_size=MAX_FRAME,
        log_config=None,
        timeout_graceful_shutdown=FLUSH_S,
    )
    server = DrainingServer(config, drain=lambda: engine.drain(settings.grace_s), fatal=lambda: engine.load_failure)
    server.run()
    if server.failure is None:
        return 0
    log.critical("stopped: %s", server.failure)  # the last line: whoever looks at the end of the log finds the reason
    return 1


def main(arguments: list[str], program: str = "python main.py") -> int:
    """Serve, or with `--offline` work off a file; gives the process's exit code. `program` is the command's name."""
    settings = read_settings(arguments, program=program)
    configure_logging(settings.log_level, settings.log_format)
    try:
        if settings.offline is None:
            check_address(settings.host, settings.port)
            if settings.wyoming_port is not None:
                _check_wyoming(settings.wyoming_host, settings.wyoming_port)
        app = create_app(settings)
    except (OSError, ValueError, VoiceError) as error:
        print(error, file=sys.stderr)
        return 2
    if settings.offline is not None:
        services: Services = app.state.services
        return offline.run(app.state.engine, services.builder, settings)
    return serve(app)
