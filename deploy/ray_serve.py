"""The server under Ray Serve: the same application, and a whole engine, in each replica.

``serve run deploy.ray_serve:app`` from the repository's root, settings in ``F5_...`` variables as without Ray. A replica
takes requests when its model is loaded, says how many seconds of work it has ahead, and is replaced when a stage has
died. Ray's proxy relays every chunk through Python; with ``RAY_SERVE_ENABLE_HA_PROXY=1`` its HAProxy does it instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from f5_tts_server.app import create_app
from f5_tts_server.pool import ModelPool
from f5_tts_server.settings import read_settings
from f5_tts_server.tts_engine import EngineState, TTSEngine

WORK_AHEAD = "work_ahead_s"
TARGET_S = 4.0
"""Seconds of work ahead for each replica: more, and replicas are added."""
_POLL_S = 0.1


def replicas_for_work(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """So many replicas that each has `TARGET_S` seconds of work ahead; Ray applies its bounds and delays to it.

    At least one for every `max_ongoing_requests` that are open, so that what waits before a replica counts too.
    """
    seconds = (context.aggregated_metrics or {}).get(WORK_AHEAD, {})
    return max(1.0, sum(seconds.values()) / TARGET_S, context.total_num_requests / most_at_a_time()), {}


def most_at_a_time() -> int:
    """Requests that one replica is given; what is beyond waits where another replica can still take it."""
    return read_settings().max_concurrent_requests


def loaded_first(app: FastAPI) -> FastAPI:
    """The application with a lifespan that begins when its model is loaded. Raises RuntimeError when it cannot be."""
    lifespan = app.router.lifespan_context
    engine: TTSEngine | ModelPool = app.state.engine

    @asynccontextmanager
    async def waiting(app: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(app) as state:
            while engine.state is EngineState.LOADING:  # noqa: ASYNC110 - changed by a thread
                await asyncio.sleep(_POLL_S)
            if engine.load_failure is not None:
                raise RuntimeError(engine.load_failure)
            yield state

    app.router.lifespan_context = waiting
    return app


def deployment(build: Callable[[], FastAPI], **options: Any) -> serve.Application:
    """What `serve.run` takes. ``build`` is called in every replica; ``options`` override those of the deployment."""

    def ingress() -> FastAPI:
        return loaded_first(build())

    @serve.ingress(ingress)
    class Speech:
        """Reached by Ray only: requests go to the application."""

        app: FastAPI  # set by `serve.ingress`

        async def record_autoscaling_stats(self) -> dict[str, float]:
            """What `replicas_for_work` is given."""
            engine: TTSEngine | ModelPool = self.app.state.engine
            return {WORK_AHEAD: engine.work_ahead_s}

        def check_health(self) -> None:
            """Raises RuntimeError when only a new replica helps."""
            engine: TTSEngine | ModelPool = self.app.state.engine
            if engine.broken:
                raise RuntimeError(engine.failure)

    settings = read_settings()
    chosen: dict[str, Any] = {
        "max_ongoing_requests": most_at_a_time(),
        "max_queued_requests": settings.queue_limit,
        # Streams that play are heard to their end: a replica that goes waits for them as long as one may take.
        "graceful_shutdown_timeout_s": settings.timeout_s + settings.grace_s,
        "autoscaling_config": AutoscalingConfig(
            min_replicas=1,
            max_replicas=8,
            upscale_delay_s=5,
            downscale_delay_s=120,
            look_back_period_s=15,  # longer than the interval of its reports, 10 s
            policy=AutoscalingPolicy(policy_function=replicas_for_work),
        ),
    }
    return serve.deployment(name="speech", **(chosen | options))(Speech).bind()


def build() -> FastAPI:
    """The application with the settings of the environment."""
    return create_app(read_settings())


app = deployment(build)
