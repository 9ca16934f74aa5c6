"""Bodies are bounded in size, structure and time before anything parses them, and before they are in memory.

Parsing JSON is one call into compiled code that nothing can interrupt: what it costs must be known before. The cost of a
string is small, that of a value is not; so the characters that begin values are counted as they arrive.
"""

from __future__ import annotations

import asyncio
import re

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from f5_tts_server.api.errors import error_response
from f5_tts_server.inference_types import RequestError
from f5_tts_server.limits import structure
from f5_tts_server.settings import MIB, Settings

AUDIO_PATHS = (
    "/v1/generate",
    "/v1/jobs",
    "/v1/files",
    "/v1/audio/voices",
    "/v1/audio/voice_consents",
    "/v1/audio/edits",
    "/v1/voices/add",
)
"""Where bodies may carry audio or documents; elsewhere they are short texts."""
_EDITED_VOICE = re.compile(r"/v1/voices/[^/]+/edit")  # of ElevenLabs' protocol: one of those places, too

BYTES_PER_CHARACTER = 12  # of a character beyond the basic plane, escaped
BYTES_BESIDE_TEXT = 64 * 1024  # further fields of clients, which are ignored
STRUCTURE_BESIDE_TEXT = 32 * 1024
BYTES_PER_SECOND = 16 * 1024  # at which a body must come at least, after the time that every body has

_CLOSE = {"Connection": "close"}  # what is left of the body is not waited for

# So much of a body that is refused is still taken in, and thrown away: a connection that is closed while its client sends is
# reset, and the client, or the proxy before it, never sees why.
LINGER_BYTES = 32 * MIB
LINGER_S = 2.0


class BodyMiddleware:
    """Answers 413 when a body is, or turns out to be, over a limit, and 408 when it takes too long."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._audio_bytes = int(settings.max_body_mib * MIB)
        text_bytes = BYTES_PER_CHARACTER * settings.max_text_chars + BYTES_BESIDE_TEXT
        self._text_bytes = min(self._audio_bytes, text_bytes)
        self._structure = structure_max(settings)
        self._seconds = settings.receive_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        audio = path.startswith(AUDIO_PATHS) or _EDITED_VOICE.fullmatch(path)
        limit = self._audio_bytes if audio else self._text_bytes
        too_large = f"the body is over the limit of {limit} bytes"
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and (size := int(length[:20])) > limit:
            if size <= limit + LINGER_BYTES:
                await _discard(receive)
            error = RequestError(413, "body_too_large", too_large)
            await error_response(error, scope, headers=_CLOSE)(scope, receive, send)
            return
        # Documents and forms are not parsed by one call, as JSON is.
        form = headers.get(b"content-type", b"").lower().startswith((b"multipart/", b"text/", b"application/epub"))
        began = asyncio.get_running_loop().time()
        received = values = 0
        complete = False

        async def bounded() -> Message:
            # FastAPI lets this kind of exception through while it reads a body.
            nonlocal received, values, complete
            if complete:  # from here on it is only waited for the client to leave
                return await receive()
            try:
                async with asyncio.timeout_at(began + self._seconds + received / BYTES_PER_SECOND):
                    message = await receive()
            except TimeoutError as error:
                told = f"the body did not come within {self._seconds:g} s and {BYTES_PER_SECOND} bytes a second"
                raise HTTPException(408, told, _CLOSE) from error
            body = message.get("body", b"")
            complete = not message.get("more_body", False)
            received += len(body)
            if received > limit:
                if not complete:
                    await _discard(receive)
                raise HTTPException(413, too_large, _CLOSE)
            if not form:
                values += structure(body)
                if values > self._structure:
                    told = f"the body has more than {self._structure} brackets, quotation marks and separators"
                    if not complete:
                        await _discard(receive)
                    raise HTTPException(413, told, _CLOSE)
            return message

        await self._app(scope, bounded, send)


def structure_max(settings: Settings) -> int:
    """How much `structure` JSON may have."""
    # Each character of a text is two of them at most: a comma, or a quotation mark and its escape.
    return 2 * settings.max_text_chars + STRUCTURE_BESIDE_TEXT


async def _discard(receive: Receive) -> None:
    """Take in what is left of a body, or as much of it as `LINGER_BYTES` and `LINGER_S` allow."""
    left = LINGER_BYTES
    try:
        async with asyncio.timeout(LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return  # the answer goes out to whoever still listens
