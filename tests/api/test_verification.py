"""`verify` in the protocols. The toy model's audio says nothing: the verifier that ships finds every take doubtful."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
from websockets.sync.client import connect

from tests.server import ServerThread

TEXT = "The first sentence is here. The second one, it follows it."


LONG_S = 120  # three takes of each segment


def doubtful(told: list[dict[str, Any]]) -> None:
    assert " ".join(one["text"] for one in told) == TEXT
    assert all(one["takes"] == 3 and one["score"] < 0.5 for one in told), told


def test_reply_and_stream_tell_what_was_heard_and_have_the_same_audio(client: httpx.Client) -> None:
    body = {"gen_text": TEXT, "seed": 5, "verify": True, "response_format": "pcm"}
    reply = client.post("/v1/generate", json=body, timeout=LONG_S).json()
    doubtful(reply["metadata"]["verification"])
    starts = [one["start"] for one in reply["metadata"]["verification"]]
    assert starts == sorted(starts)
    lines = client.post("/v1/generate/stream", json=body, timeout=LONG_S).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert events[-1]["metadata"]["verification"] == reply["metadata"]["verification"]
    audio = b"".join(base64.b64decode(event["audio_chunk"]) for event in events)
    assert audio == base64.b64decode(reply["audio_base64"])


def test_unasked_nothing_is_heard(client: httpx.Client) -> None:
    reply = client.post("/v1/generate", json={"gen_text": TEXT, "seed": 5}).json()
    assert "verification" not in reply["metadata"]


def test_times_are_those_of_the_take_that_was_sent(client: httpx.Client) -> None:
    body = {"gen_text": TEXT, "seed": 5, "verify": True, "timestamps": "word"}
    reply = client.post("/v1/generate", json=body, timeout=LONG_S).json()
    assert [one["start"] for one in reply["metadata"]["verification"]] == [one["start"] for one in reply["timestamps"]]


def test_another_language_is_not_scored(client: httpx.Client) -> None:
    body = {"gen_text": "Das ist ein Satz und er ist nicht auf Englisch.", "seed": 5}
    plain, verified = (
        client.post("/v1/generate", json={**body, "verify": on}, timeout=LONG_S).json() for on in (False, True)
    )
    told = verified["metadata"]["verification"]
    assert all(one["takes"] == 1 and "score" not in one for one in told)
    assert plain["audio_base64"] == verified["audio_base64"]


def test_openai_events_tell_it_at_the_end(client: httpx.Client) -> None:
    body = {"model": "m", "input": TEXT, "seed": 5, "stream_format": "sse", "verify": True}
    lines = client.post("/v1/audio/speech", json=body, timeout=LONG_S).text.splitlines()
    done = [json.loads(line[6:]) for line in lines if line.startswith("data: ")][-1]
    assert done["type"] == "speech.audio.done"
    doubtful(done["verification"])


def test_the_websocket_tells_it_with_each_sentence(server: ServerThread) -> None:
    with connect(f"ws://{server.host}/v1/audio/speech/stream") as socket:
        for message in (
            {"type": "session.config", "verify": True, "seed": 5, "audio_encoding": "base64"},
            {"type": "input.text", "text": TEXT},
            {"type": "input.done"},
        ):
            socket.send(json.dumps(message))
        told = []
        while (message := json.loads(socket.recv(timeout=LONG_S)))["type"] != "session.done":
            assert message["type"] != "error", message
            if message["type"] == "audio.done":
                told += message["verification"]
    doubtful(told)


def test_edits_take_none(client: httpx.Client) -> None:
    body = {"ref_audio_base64": "AAAA", "ref_text": "one", "gen_text": "two", "verify": True}
    refused = client.post("/v1/audio/edits", json=body, timeout=LONG_S)
    assert refused.status_code == 422 and "verify" in refused.text
