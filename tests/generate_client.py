"""A client of /v1/generate and its stream, for tests."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.server import Server

Event = tuple[str, dict[str, Any]]


def post(
    server: Server, path: str = "/v1/generate", headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    return httpx.post(server.url + path, json=body, headers=headers, timeout=60)


def stream(server: Server, **body: Any) -> list[Event]:
    """All events of a stream, as names and data."""
    with httpx.stream("POST", f"{server.url}/v1/generate/stream", json=body, timeout=60) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        return parse_events("".join(response.iter_text()))


def parse_events(text: str) -> list[Event]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def joined(events: list[Event]) -> bytes:
    """The file that the chunks of a stream are."""
    return b"".join(base64.b64decode(data["audio_chunk"]) for name, data in events if name == "message")


def samples(wav: bytes) -> NDArray[np.float32]:
    """The samples of a WAV file with the 44-byte header that the server writes."""
    return np.frombuffer(wav[44:], "<i2").astype(np.float32) / np.float32(32767)
