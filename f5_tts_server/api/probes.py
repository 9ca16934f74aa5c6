"""Health for people and orchestrators, and metrics for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from f5_tts_server.api.services import Services


class QueueState(BaseModel):
    """How much is in a queue, and how much fits."""

    depth: int
    limit: int


class SlotState(BaseModel):
    """Slots of a bucket."""

    in_use: int
    of: int


class Compiled(BaseModel):
    """How far the start is."""

    done: int
    of: int


class ModelState(BaseModel):
    """One of several models."""

    state: str = Field(description="unloaded, loading, ready, draining, broken or failed")
    failure: str | None = Field(description="why it could not be loaded")
    compiled: Compiled | None = Field(description="its programs; null before the first")
    nbytes: int = Field(description="memory that it holds on the device")
    requests: int = Field(description="open ones")


class EngineHealth(BaseModel):
    """The four threads and what is between them."""

    state: str = Field(description="loading, ready, draining, broken or stopped")
    failure: str | None = Field(description="why it is broken")
    threads: dict[str, bool] = Field(description="whether each is alive")
    queues: dict[str, QueueState]
    slots: dict[str, SlotState] = Field(description="by bucket of padded frames")
    compiled: Compiled | None = Field(description="programs of the model; null before the first")
    models: dict[str, ModelState] | None = Field(None, description="by name, where there are several")


class Orchestrator(BaseModel):
    """The model."""

    model: str
    device_mesh: str
    dtype: str
    loaded: bool


class Health(BaseModel):
    """200 when ready; 503 while loading, draining or broken."""

    status: str
    orchestrator: Orchestrator
    engine: EngineHealth


_UNREADY: dict[int | str, dict[str, Any]] = {503: {"description": "not ready"}}
_DIED: dict[int | str, dict[str, Any]] = {503: {"description": "a stage has died: restart"}}


def router(services: Services) -> APIRouter:
    """The probes' routes."""
    routes = APIRouter(tags=["operation"])
    engine, settings = services.engine, services.settings

    @routes.get("/v1/health", responses={200: {"model": Health}, 503: {"model": Health, "description": "not ready"}})
    async def health() -> Response:
        """The state of the model and of the engine."""
        state = EngineHealth(**engine.health())
        orchestrator = Orchestrator(
            model=services.models.default.name,
            device_mesh=settings.device_mesh,
            dtype=settings.dtype,
            loaded=state.state in ("ready", "draining"),
        )
        status = "ok" if state.state == "ready" else state.state
        body = Health(status=status, orchestrator=orchestrator, engine=state)
        return JSONResponse(body.model_dump(), status_code=200 if engine.ready else 503)

    @routes.get("/livez", response_class=PlainTextResponse, responses=_DIED)
    async def livez() -> PlainTextResponse:
        """Whether the process is worth keeping: false only when a stage has died, which a restart cures."""
        broken = engine.broken
        return PlainTextResponse("broken" if broken else "ok", status_code=503 if broken else 200)

    @routes.get("/readyz", response_class=PlainTextResponse, responses=_UNREADY)
    async def readyz() -> PlainTextResponse:
        """Whether requests are taken in."""
        ready = engine.ready
        return PlainTextResponse("ok" if ready else "not ready", status_code=200 if ready else 503)

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus text format."""
        return Response(generate_latest(engine.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes
