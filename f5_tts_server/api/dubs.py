"""``POST /v1/audio/dubs/stream`` (server-sent events) and ``POST /v1/audio/dubs`` (one JSON reply): subtitles spoken."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body, Request
from fastapi.responses import Response

from f5_tts_server.api.clip_replies import EVENTS_REPLY, GenerateReply, clip_events, clip_reply
from f5_tts_server.api.dub_body import EXAMPLES, DubBody
from f5_tts_server.api.errors import DUBS, ERROR_RESPONSES
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.streaming import admit
from f5_tts_server.inference_types import Ticket


def router(services: Services) -> APIRouter:
    """The two endpoints. A dub is one request to the engine: it waits, is cancelled and counted as any other."""
    routes = APIRouter(prefix="/v1/audio", tags=["dubbing"])

    async def submit(request: Request, body: DubBody, *, live: bool) -> Ticket:
        asked = await to_thread.run_sync(body.request, services.builder, current_request_id())
        ticket = services.engine.submit(replace(asked, live=live))
        await admit(ticket, request.receive)
        return ticket

    @routes.post("/dubs/stream", responses={**ERROR_RESPONSES, 200: EVENTS_REPLY}, response_class=Response)
    async def stream(request: Request, body: Annotated[DubBody, Body(openapi_examples=EXAMPLES)]) -> Response:
        """A track of spoken subtitles as server-sent events, cue by cue."""
        return clip_events(await submit(request, body, live=True), services.settings, DUBS)

    @routes.post("/dubs", responses={**ERROR_RESPONSES, 200: {"model": GenerateReply}})
    async def whole(request: Request, body: Annotated[DubBody, Body(openapi_examples=EXAMPLES)]) -> Response:
        """A track of spoken subtitles as one reply."""
        return await clip_reply(await submit(request, body, live=False), body.response_format, request.receive)

    return routes
