"""``POST /v1/audio/edits/stream`` (server-sent events) and ``POST /v1/audio/edits`` (one JSON reply): words of a recording
replaced, put in and taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body, Request
from fastapi.responses import Response

from f5_tts_server.api.clip_replies import EVENTS_REPLY, EditChange, GenerateReply, Wanted, clip_events, clip_reply
from f5_tts_server.api.edit_body import EXAMPLES, EditBody
from f5_tts_server.api.errors import EDITS, ERROR_RESPONSES
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.streaming import admit
from f5_tts_server.inference_types import Ticket


def router(services: Services) -> APIRouter:
    """The two endpoints. An edit is one request to the engine: it waits, is cancelled and counted as any other."""
    routes = APIRouter(prefix="/v1/audio", tags=["editing"])

    async def submit(request: Request, body: EditBody, *, live: bool) -> tuple[Ticket, Sequence[EditChange]]:
        asked, changes = await to_thread.run_sync(
            body.request, services.builder, current_request_id(), services.sample_rate
        )
        ticket = services.engine.submit(replace(asked, live=live))
        await admit(ticket, request.receive)
        return ticket, [EditChange(**asdict(change)) for change in changes]

    @routes.post("/edits/stream", responses={**ERROR_RESPONSES, 200: EVENTS_REPLY}, response_class=Response)
    async def stream(request: Request, body: Annotated[EditBody, Body(openapi_examples=EXAMPLES)]) -> Response:
        """The edited recording as server-sent events; what comes before the first change is sent at once."""
        ticket, changes = await submit(request, body, live=True)
        return clip_events(ticket, services.settings, EDITS, Wanted(changes=changes))

    @routes.post("/edits", responses={**ERROR_RESPONSES, 200: {"model": GenerateReply}})
    async def whole(request: Request, body: Annotated[EditBody, Body(openapi_examples=EXAMPLES)]) -> Response:
        """The edited recording as one reply."""
        ticket, changes = await submit(request, body, live=False)
        return await clip_reply(ticket, body.response_format, request.receive, Wanted(changes=changes))

    return routes
