"""``POST /v1/generate/stream`` (server-sent events) and ``POST /v1/generate`` (one JSON reply)."""

# Annotations are not deferred here: the body's type exists only when the model's defaults are known.
from dataclasses import replace
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body, Request
from fastapi.responses import Response

from f5_tts_server.api.clip_replies import EVENTS_REPLY, GenerateReply, Wanted, clip_events, clip_reply
from f5_tts_server.api.errors import ERROR_RESPONSES, GENERATE
from f5_tts_server.api.generate_body import EXAMPLES, GenerateBody, generate_body
from f5_tts_server.api.request_id import current_request_id
from f5_tts_server.api.services import Services
from f5_tts_server.api.streaming import admit
from f5_tts_server.inference_types import Ticket


def router(services: Services) -> APIRouter:
    """The two endpoints, with this server's limits and this model's defaults in their schema."""
    routes = APIRouter(prefix="/v1", tags=["speech"])
    settings, engine, builder = services.settings, services.engine, services.builder
    body_type = generate_body(settings, services.models.default.sampling())

    async def submit(request: Request, body: GenerateBody, *, live: bool) -> Ticket:
        """A ticket whose input is known to be good, so that what is wrong can still be said with a status."""
        asked = await to_thread.run_sync(body.request, builder, current_request_id())
        ticket = engine.submit(replace(asked, live=live))
        await admit(ticket, request.receive)
        return ticket

    @routes.post("/generate/stream", responses={**ERROR_RESPONSES, 200: EVENTS_REPLY}, response_class=Response)
    async def stream(request: Request, body: Annotated[body_type, Body(openapi_examples=EXAMPLES)]) -> Response:  # type: ignore[valid-type]
        """Speech as server-sent events, while it is being made."""
        ticket = await submit(request, body, live=True)
        asked: GenerateBody = body
        return clip_events(ticket, settings, GENERATE, Wanted(asked.timestamps, asked.subtitles))

    @routes.post("/generate", responses={**ERROR_RESPONSES, 200: {"model": GenerateReply}})
    async def generate(request: Request, body: Annotated[body_type, Body(openapi_examples=EXAMPLES)]) -> Response:  # type: ignore[valid-type]
        """Speech as one reply: the very samples that the stream sends."""
        asked: GenerateBody = body
        ticket = await submit(request, asked, live=False)
        wanted = Wanted(asked.timestamps, asked.subtitles)
        return await clip_reply(ticket, asked.response_format, request.receive, wanted)

    return routes
