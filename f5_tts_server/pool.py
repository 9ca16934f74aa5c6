"""Several models in one process: an engine for each that is loaded, all on one device.

Models are loaded at the start or by their first request, which waits for it. A model without an open request is unloaded
after some idle time, or, least recently used first, when the models hold more memory than they may. One that is in use
never is.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric

from f5_tts_server.catalogue import Catalogue, CatalogueEntry
from f5_tts_server.engine.device import Device
from f5_tts_server.engine.metrics import Metrics, gauge
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.inference_types import GenerationRequest, Listener, Programs, Refused, Tracer
from f5_tts_server.settings import MIB, Settings
from f5_tts_server.tts_engine import EngineState, RequestTicket, TTSEngine

log = logging.getLogger("f5.models")

SAMPLE_RATE = 24_000  # of every model that there is a vocoder for
RETRY_S = 30  # after a model could not be loaded
_LOOK_S = 0.25


@dataclass(eq=False)
class Model:
    """One of the catalogue's, loaded or not."""

    entry: CatalogueEntry
    metrics: Metrics = field(default_factory=Metrics)  # outlive its engines
    engine: TTSEngine | None = None
    used: float = 0.0  # when a request was last seen
    nbytes: int = 0  # when it was last loaded
    noted: bool = False  # that this engine has loaded it
    loads: int = 0
    failure: str | None = None
    failed: float = 0.0

    @property
    def in_use(self) -> bool:
        return self.engine is not None and (self.engine.state is EngineState.LOADING or any(self.engine.counts()))


class ModelPool:
    """Implements `inference_types.Engine` and `api.services.ServedEngine` over several `TTSEngine`.

    Args:
        catalogue: the models.
        load: makes a model's programs from its settings.
        options: of each engine; requests are limited in all.
        idle_s: seconds without a request after which a model is unloaded; None is never.
        memory: bytes that loaded models may hold; None is no limit. What a model needs is known once it was loaded.
        clock: seconds, monotonic.
        listener: of each engine, see `TTSEngine`; and so is ``tracer``.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        load: Callable[[Settings], Programs],
        options: EngineOptions,
        *,
        idle_s: float | None = None,
        memory: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        engine_type: type[TTSEngine] = TTSEngine,
        listener: Listener | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._load = load
        self._options = replace(options, early_rate=SAMPLE_RATE)
        self._idle_s = idle_s
        self._memory = memory
        self._clock = clock
        self._engine_type = engine_type
        self._listener = listener
        self._tracer = tracer
        self.device = Device()
        self.models = {entry.name: Model(entry) for entry in catalogue.entries}
        self.metrics = _AllMetrics(self)
        self._lock = threading.Lock()  # of each model's engine: a request must not meet one that is being unloaded
        self._state = EngineState.LOADING
        self._wake = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="models", daemon=True)

    # life

    def start(self) -> None:
        """Begin to load the models that are to be there at the start, one after the other."""
        with self._lock:
            for model in self.models.values():
                if model.entry.at_start:
                    self._begin(model).start()
        self._keeper.start()

    def stop(self) -> None:
        """Fail what is open, end all threads and wait for them."""
        self._state = EngineState.STOPPED
        self._wake.set()
        if self._keeper.is_alive():
            self._keeper.join()
        for engine in self._engines():
            engine.stop()

    async def drain(self, grace_s: float) -> None:
        """Take nothing in any more, let what is open finish for ``grace_s`` seconds, then fail the rest."""
        with self._lock:
            if self._state is not EngineState.STOPPED:
                self._state = EngineState.DRAINING
        await asyncio.gather(*(engine.drain(grace_s) for engine in self._engines()))

    @property
    def state(self) -> EngineState:
        """Loading until the models of the start are there; broken when a stage of any of them has died."""
        if self._state in (EngineState.DRAINING, EngineState.STOPPED):
            return self._state
        if self.broken:
            return EngineState.BROKEN
        loading = any(
            model.entry.at_start and not model.loads and model.failure is None for model in self.models.values()
        )
        return EngineState.LOADING if loading else EngineState.READY

    @property
    def ready(self) -> bool:
        return self.state is EngineState.READY

    @property
    def broken(self) -> bool:
        return self.load_failure is not None or any(e.broken and not e.load_failure for e in self._engines())

    @property
    def failure(self) -> str | None:
        """Why nothing can be served any more."""
        died = (engine.failure for engine in self._engines() if engine.broken and not engine.load_failure)
        return self.load_failure or next(died, None)

    @property
    def load_failure(self) -> str | None:
        """Why a model of the start could not be loaded, if so."""
        failures = (
            f"model {model.entry.name}: {failure}"
            for model in self.models.values()
            if model.entry.at_start and not model.loads and (failure := self._load_failure(model)) is not None
        )
        return next(failures, None)

    @staticmethod
    def _load_failure(model: Model) -> str | None:
        engine = model.engine
        return (engine.load_failure if engine is not None else None) or model.failure

    @property
    def work_ahead_s(self) -> float:
        """Seconds of work for all that is open."""
        return self.device.work_ahead_s

    @property
    def rows(self) -> int:
        """Segments that one step advances at most."""
        return max((engine.rows for engine in self._engines()), default=1)

    # requests

    def submit(self, request: GenerationRequest) -> RequestTicket:
        """Hand a request to its model's engine; a model that is not there is loaded, and the request waits.

        Raises what `TTSEngine.submit` raises, RequestError (404) for an unknown model, and Refused where one cannot be
        loaded now.
        """
        model = self.models[self._catalogue.find(request.model).name]
        with self._lock:
            if self._state in (EngineState.DRAINING, EngineState.STOPPED):
                seconds = max(1, round(self.device.work_ahead_s))
                raise Refused(503, self._state.value, "the server is shutting down", retry_after=seconds)
            model.used = self._clock()
            if model.engine is not None:
                return model.engine.submit(request)
            self._check_loadable(model)
            engine = self._begin(model)
            try:
                return engine.submit(request)
            finally:
                engine.start()  # only now, so that the request is there when loading fails at once

    def _check_loadable(self, model: Model) -> None:
        """Raises Refused. Under the lock."""
        name = model.entry.name
        wait = model.failed + RETRY_S - self._clock()
        if model.failure is not None and wait > 0:
            raise Refused(503, "model_failed", f"model {name}: {model.failure}", retry_after=int(wait) + 1)
        if self._memory is not None and model.nbytes:
            held = sum(other.nbytes for other in self._loaded() if other.in_use)
            if held + model.nbytes > self._memory:
                needs, most = model.nbytes / MIB, self._memory / MIB
                message = f"model {name} needs {needs:.0f} MiB of the {most:.0f} MiB for models, which are in use"
                raise Refused(503, "model_memory", message, max(1, round(self.device.work_ahead_s)))

    def _begin(self, model: Model) -> TTSEngine:
        """An engine for a model that has none; it is to be started. Under the lock."""
        model.failure, model.noted, model.used = None, False, self._clock()
        model.engine = self._engine_type(
            lambda: self._load_within_memory(model),
            self._options,
            device=self.device,
            metrics=model.metrics,
            listener=self._listener,
            tracer=self._tracer,
        )
        self._wake.set()
        return model.engine

    def _load_within_memory(self, model: Model) -> Programs:
        """On the engine's inference thread, one load at a time."""
        log.info("loading model %s", model.entry.name)
        self._make_room(model.nbytes)
        return self._load(model.entry.settings)

    # unloading

    def _keep(self) -> None:
        while self._state is not EngineState.STOPPED:
            self._wake.wait(_LOOK_S if self._engines() else None)
            self._wake.clear()
            self.look()

    def look(self) -> None:
        """Note what has been loaded or has failed, and unload what nobody needs."""
        now = self._clock()
        for model in self.models.values():
            if self._idle(model, now):
                self._unload(model)
        self._make_room(0)

    def _idle(self, model: Model, now: float) -> bool:
        """Note what has become of a model; whether nobody has needed it for long enough."""
        engine = model.engine
        if engine is None:
            return False
        if engine.load_failure is not None:
            with self._lock:
                model.failure, model.failed, model.engine = engine.load_failure, now, None
            engine.stop()
            return False
        if engine.ready and not model.noted:
            model.noted, model.nbytes, model.loads = True, engine.nbytes, model.loads + 1
        if model.in_use:
            model.used = now
        return self._idle_s is not None and now - model.used > self._idle_s

    def _make_room(self, nbytes: int) -> None:
        """Unload the least recently used models without a request until so many bytes are free."""
        if self._memory is None:
            return
        for model in sorted(self._loaded(), key=lambda model: model.used):
            if sum(other.nbytes for other in self._loaded()) + nbytes <= self._memory:
                return
            self._unload(model)

    def _unload(self, model: Model) -> None:
        with self._lock:
            engine = model.engine
            if engine is None or model.in_use or not engine.ready:
                return
            model.engine = None
        engine.stop()
        model.metrics.forget()
        del engine
        gc.collect()  # its arrays are in cycles; no caller may hold the engine meanwhile
        log.info("unloaded model %s: %.0f MiB", model.entry.name, model.nbytes / MIB)

    def _loaded(self) -> list[Model]:
        return [model for model in self.models.values() if model.engine is not None and model.engine.ready]

    def _engines(self) -> list[TTSEngine]:
        return [engine for model in self.models.values() if (engine := model.engine) is not None]

    # reports

    def health(self) -> dict[str, Any]:
        """The engines' states, what they have in all, and each model."""
        reports = {
            model.entry.name: (model, model.engine.health() if model.engine else None) for model in self.models.values()
        }
        loaded = {name: report for name, (_, report) in reports.items() if report is not None}
        active, waiting = self.device.counts()
        options = self._options
        return {
            "state": self.state.value,
            "failure": self.failure,
            "threads": {
                f"{name}/{thread}": alive for name, r in loaded.items() for thread, alive in r["threads"].items()
            },
            "queues": {
                "active": {"depth": active, "limit": options.max_concurrent_requests},
                "waiting": {"depth": waiting, "limit": options.queue_limit},
            },
            "slots": {f"{name}/{bucket}": slots for name, r in loaded.items() for bucket, slots in r["slots"].items()},
            "compiled": None,
            "models": {name: self._report(model, report) for name, (model, report) in reports.items()},
        }

    @staticmethod
    def _report(model: Model, report: dict[str, Any] | None) -> dict[str, Any]:
        state = "failed" if model.failure is not None else "unloaded"
        return {
            "state": state if report is None else report["state"],
            "failure": model.failure if report is None else report["failure"],
            "compiled": None if report is None else report["compiled"],
            "nbytes": 0 if report is None or model.engine is None else model.engine.nbytes,
            "requests": sum(model.engine.counts()) if model.engine is not None else 0,
        }

    def collect(self) -> Iterable[Metric]:
        """The metrics of all models, each with its name as the label `model`."""
        families: dict[str, Metric] = {}
        for name, model in self.models.items():
            for metric in model.metrics.registry.collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    labels = {**sample.labels, "model": name}
                    family.add_sample(sample.name, labels, sample.value, sample.timestamp, sample.exemplar)
        yield from families.values()
        loads = CounterMetricFamily("f5_model_loads", "Times that a model was loaded.", labels=["model"])
        for name, model in self.models.items():
            loads.add_metric([name], model.loads)
        nbytes = {name: float(m.engine.nbytes) if m.engine is not None else 0.0 for name, m in self.models.items()}
        yield loads
        yield gauge("f5_model_bytes", "Memory that a loaded model holds.", nbytes, "model")


class _AllMetrics:
    def __init__(self, pool: ModelPool) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(pool)
