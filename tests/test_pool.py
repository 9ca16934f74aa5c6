"""Several models on one device: loaded when asked for, unloaded when nobody needs them, limited and scheduled as one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from f5_tts_server.catalogue import Catalogue, CatalogueEntry
from f5_tts_server.engine.device import Device
from f5_tts_server.engine.options import EngineOptions
from f5_tts_server.inference_types import (
    Done,
    Failed,
    GenerationRequest,
    Programs,
    Refused,
    RequestError,
    SamplingDefaults,
)
from f5_tts_server.pool import ModelPool
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import EngineState
from tests.asked import audio, by_hand, collect, request, until
from tests.toy_programs import ToyPrograms

pytestmark = pytest.mark.anyio


@dataclass
class Loader:
    """Makes toy programs by the model's weights, and keeps those of each load; what is in `faults` cannot be loaded."""

    toys: dict[str, list[ToyPrograms]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None
    options: dict[str, Any] = field(default_factory=dict)
    loading: int = 0
    most_loading: int = 0

    def __call__(self, settings: Settings) -> Programs:
        self.loading += 1
        self.most_loading = max(self.loading, self.most_loading)
        try:
            if self.gate is not None:
                assert self.gate.wait(20)
            if settings.model in self.faults:
                raise ValueError(self.faults[settings.model])
            toy = ToyPrograms(**{"nbytes": 100, **self.options})
        finally:
            self.loading -= 1
        self.toys.setdefault(settings.model, []).append(toy)
        return toy


def entries(**at_start: bool) -> Catalogue:
    return Catalogue(
        [CatalogueEntry(n, Settings(model=n), SamplingDefaults(), (f"alias-{n}",), s) for n, s in at_start.items()]
    )


@asynccontextmanager
async def running(
    models: Catalogue, load: Loader, *, options: EngineOptions | None = None, **more: Any
) -> AsyncIterator[ModelPool]:
    pool = ModelPool(models, load, options or EngineOptions(), **more)
    pool.start()
    try:
        yield pool
    finally:
        await asyncio.to_thread(pool.stop)


def of(model: str | None, text: str = "Hello there, how are you today?", **changes: Any) -> GenerationRequest:
    return replace(request(text, **changes), model=model)


def state(pool: ModelPool, name: str) -> str:
    return str(pool.health()["models"][name]["state"])


async def test_requests_choose_their_model_and_the_first_waits_for_it() -> None:
    load = Loader()
    async with running(entries(a=True, b=False), load) as pool:
        await until(lambda: pool.ready)
        assert list(load.toys) == ["a"] and state(pool, "b") == "unloaded"
        for name, model in (("a", None), ("a", "alias-a"), ("b", "b"), ("b", "alias-b")):
            asked = of(model)
            heard = await audio(pool.submit(asked))
            truth = by_hand(load.toys[name][0], asked)
            assert len(heard) == len(truth) and np.abs(heard - truth).max() < 1e-4
        assert {name: len(toys) for name, toys in load.toys.items()} == {"a": 1, "b": 1}
        assert all(toys[0].steps for toys in load.toys.values())
        with pytest.raises(RequestError, match="'c' is unknown here; there is a, alias-a, b, alias-b"):
            pool.submit(of("c"))


async def test_models_are_loaded_one_at_a_time_and_readiness_waits_for_those_of_the_start() -> None:
    load = Loader(gate=threading.Event())
    async with running(entries(a=True, b=True, c=False), load) as pool:
        await until(lambda: load.loading == 1)
        assert pool.state is EngineState.LOADING and not pool.ready
        assert load.gate is not None
        load.gate.set()
        await until(lambda: pool.ready)
        assert load.most_loading == 1 and sorted(load.toys) == ["a", "b"]


def inference_threads() -> int:
    """Those of other tests' servers included."""
    return sum(thread.name == "inference" for thread in threading.enumerate())


async def test_a_model_is_unloaded_when_idle_never_in_use_and_loaded_again() -> None:
    before = inference_threads()
    load = Loader(options={"step_s": 0.05})
    async with running(entries(a=True), load, idle_s=0.3) as pool:
        await until(lambda: pool.ready)
        await audio(pool.submit(of("a", "One two three four five six seven eight. " * 3)))  # longer than it may be idle
        assert len(load.toys["a"]) == 1
        open_ = pool.submit(of("a", "More comes.", open=True))
        await asyncio.sleep(1.0)
        assert state(pool, "a") == "ready" and pool.health()["models"]["a"]["requests"] == 1
        open_.cancel()
        await until(lambda: state(pool, "a") == "unloaded")
        assert pool.ready, "what is loaded on first use does not make the server unready"
        await until(lambda: inference_threads() == before)  # its threads end
        await audio(pool.submit(of("a")))
        assert len(load.toys["a"]) == 2

        def counted() -> tuple[float, float]:
            samples = {
                s.name: s.value for m in pool.collect() for s in m.samples if s.labels.get("outcome", "done") == "done"
            }
            return samples["f5_requests_total"], samples["f5_model_loads_total"]  # was a gauge without the ending

        await until(lambda: counted() == (2, 2))  # counters outlive the engine; a request is counted when it was told


async def test_memory_is_kept_by_unloading_the_least_recently_used() -> None:
    load = Loader()
    async with running(entries(a=False, b=False, c=False), load, memory=250) as pool:
        for name in ("a", "b", "a", "c"):
            await audio(pool.submit(of(name)))
        await until(lambda: state(pool, "b") == "unloaded")
        assert (state(pool, "a"), state(pool, "c")) == ("ready", "ready")

        held = [pool.submit(of(name, "More comes.", open=True)) for name in ("a", "c")]
        with pytest.raises(Refused, match=r"model b needs .* MiB for models, which are in use") as refused:
            pool.submit(of("b"))
        assert (refused.value.status, refused.value.code) == (503, "model_memory")
        held[0].cancel()
        await until(lambda: not pool.health()["models"]["a"]["requests"])
        await audio(pool.submit(of("b")))
        assert (state(pool, "a"), state(pool, "b"), state(pool, "c")) == ("unloaded", "ready", "ready")
        held[1].cancel()


async def test_a_model_that_cannot_be_loaded_fails_those_who_wait_and_nobody_else() -> None:
    load = Loader(faults={"b": "the weights have no such tensor"})
    async with running(entries(a=True, b=False), load) as pool:
        await until(lambda: pool.ready)
        _, end = await collect(pool.submit(of("b")))
        assert isinstance(end, Failed) and end.error.status == 503 and "no such tensor" in end.error.message
        await until(lambda: state(pool, "b") == "failed")
        with pytest.raises(Refused, match="no such tensor") as refused:
            pool.submit(of("b"))
        assert refused.value.retry_after and refused.value.retry_after <= 31
        assert pool.ready and not pool.broken and pool.load_failure is None
        await audio(pool.submit(of("a")))


async def test_a_model_of_the_start_that_cannot_be_loaded_is_fatal() -> None:
    async with running(entries(a=True, b=True), Loader(faults={"b": "no such file"})) as pool:
        await until(lambda: pool.load_failure is not None)
        assert pool.load_failure == "model b: the model could not be loaded: no such file" and pool.broken


async def test_a_dead_stage_of_one_model_breaks_the_server() -> None:
    async with running(entries(a=True, b=True), Loader()) as pool:
        await until(lambda: pool.ready)
        _, end = await collect(pool.submit(of("a", "die-step now")))
        assert isinstance(end, Failed)
        await until(lambda: pool.broken)
        assert "inference stage died" in str(pool.failure) and not pool.ready


async def test_requests_are_limited_in_all() -> None:
    """Two models share one device: a limit for each would let in twice the work that a wait was computed for."""
    options = EngineOptions(max_concurrent_requests=2, queue_limit=1)
    async with running(entries(a=True, b=True), Loader(options={"step_s": 0.02}), options=options) as pool:
        await until(lambda: pool.ready)
        tickets = [pool.submit(of(name)) for name in ("a", "b", "a")]
        with pytest.raises(Refused, match="the limit") as refused:
            pool.submit(of("b"))
        assert refused.value.status == 429 and refused.value.retry_after
        working = max(
            [sum(model.engine.places for model in pool.models.values() if model.engine) async for _ in ticks()]
        )
        assert working <= 2
        for ticket in tickets:
            await audio(ticket)


async def ticks(count: int = 20) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0.01)
        yield number


async def test_draining_lets_open_requests_of_all_models_finish() -> None:
    async with running(entries(a=True, b=True), Loader(options={"step_s": 0.02})) as pool:
        await until(lambda: pool.ready)
        tickets = [pool.submit(of(name)) for name in ("a", "b")]
        draining = asyncio.create_task(pool.drain(20))
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="shutting down"):
            pool.submit(of("a"))
        ends = [(await collect(ticket))[1] for ticket in tickets]
        assert all(isinstance(end, Done) for end in ends)
        await draining


async def test_every_metric_says_whose_it_is() -> None:
    async with running(entries(a=True, b=False), Loader()) as pool:
        await until(lambda: pool.ready)
        await audio(pool.submit(of("a")))
        await until(lambda: done(pool) == {"a": 1, "b": 0})
        names = {sample.labels["model"] for metric in pool.collect() for sample in metric.samples}
        assert names == {"a", "b"}


def done(pool: ModelPool) -> dict[str, float]:
    return {
        sample.labels["model"]: sample.value
        for metric in pool.collect()
        for sample in metric.samples
        if sample.name == "f5_requests_total" and sample.labels["outcome"] == "done"
    }


def test_whoever_is_needed_first_gets_the_device() -> None:
    device, order = Device(), list[float]()

    def work(due: float) -> None:
        with device.turn(due):
            order.append(due)

    with device.turn(0.0):
        threads = [threading.Thread(target=work, args=(due,)) for due in (3.0, 1.0, 2.0)]
        for thread in threads:
            thread.start()
        wait(lambda: len(device._waiting) == 3)
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == [1.0, 2.0, 3.0]


def wait(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("waited in vain")
