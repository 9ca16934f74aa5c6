"""What all protocols share: texts are read off the event loop, and an unknown voice is told in the same way."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any, get_args

import httpx
import pytest
from pydantic import ValidationError
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from f5_tts_server.api.speech_options import Format, SpeechOptions
from f5_tts_server.formats import FORMATS
from f5_tts_server.text import Composer, SentenceCutter
from tests.server import ServerThread

TEXT = "One sentence to read, and not a short one."


def test_the_formats_of_the_bodies_are_those_there_are() -> None:
    assert set(get_args(Format)) == set(FORMATS)


@pytest.mark.parametrize("name", ["language", "language_code"])
def test_a_language_is_called_as_elevenlabs_calls_it_too(name: str) -> None:
    assert SpeechOptions.model_validate({name: "de"}).language == "de"
    with pytest.raises(ValidationError, match="at most 35"):
        SpeechOptions.model_validate({name: "d" * 36})


def socket_replies(server: ServerThread, path: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What a socket answers in JSON, until the server closes it or a session ends."""
    replies: list[dict[str, Any]] = []
    with connect(f"ws://{server.host}{path}", open_timeout=20) as socket:
        for message in messages:
            socket.send(json.dumps(message))
        with suppress(ConnectionClosedError):  # how a refusal ends
            for data in socket:
                if isinstance(data, str):
                    replies.append(json.loads(data))
                    if replies[-1].get("type") == "session.done":
                        break
    return replies


def test_no_protocol_reads_a_text_on_the_event_loop(server: ServerThread, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's and ElevenLabs' routes once composed texts in their handlers, and WebSockets cut sentences there: one
    message of 8,000 exclamation marks stopped every other caller for 14 s."""
    threads: list[str] = []
    compose, cut = Composer.parts, SentenceCutter.feed

    def composing(self: Composer, text: str) -> Any:
        threads.append(threading.current_thread().name)
        return compose(self, text)

    def cutting(self: SentenceCutter, text: str) -> list[str]:
        threads.append(threading.current_thread().name)
        return cut(self, text)

    monkeypatch.setattr(Composer, "parts", composing)
    monkeypatch.setattr(SentenceCutter, "feed", cutting)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for path, body in (
            ("/v1/generate", {"gen_text": TEXT}),
            ("/v1/generate/stream", {"gen_text": TEXT}),
            ("/v1/audio/speech", {"model": "m", "input": TEXT, "voice": "ada"}),
            ("/v1/text-to-speech/ada", {"text": TEXT}),
            ("/v1/text-to-speech/ada/stream", {"text": TEXT}),
        ):
            assert client.post(path, json=body).status_code == 200
    assert len(threads) == 5
    session = ({"type": "session.config"}, {"type": "input.text", "text": TEXT}, {"type": "input.done"})
    socket_replies(server, "/v1/audio/speech/stream", *session)
    written = ({"text": " "}, {"text": f"{TEXT} "}, {"text": ""})
    socket_replies(server, "/v1/text-to-speech/ada/stream-input", *written)
    assert len(threads) >= 9
    assert "test-server" not in threads, "the thread of the event loop"


def test_an_unknown_voice_is_404_in_every_protocol(server: ServerThread) -> None:
    """It was 422 in one protocol and 404 in another. The field named is the one that named the voice."""
    marked = f"[voice:nobody] {TEXT}"
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for path, body, field in (
            ("/v1/generate", {"gen_text": TEXT, "voice": "nobody"}, "voice"),
            ("/v1/generate/stream", {"gen_text": marked}, "gen_text"),
            ("/v1/audio/speech", {"model": "m", "input": TEXT, "voice": "nobody"}, "voice"),
            ("/v1/audio/speech", {"model": "m", "input": marked}, "input"),
        ):
            reply = client.post(path, json=body)
            assert reply.status_code == 404, path
            error = reply.json()["error"]
            assert (error["code"], error["param"]) == ("voice_not_found", field)
            assert "'nobody'" in error["message"]
        reply = client.post("/v1/text-to-speech/nobody", json={"text": TEXT})
        assert reply.status_code == 404
        detail = reply.json()["detail"]
        assert (detail["status"], detail["param"]) == ("voice_not_found", "voice_id")
    (error,) = socket_replies(server, "/v1/audio/speech/stream", {"type": "session.config", "voice": "nobody"})
    assert (error["type"], error["code"], error["param"]) == ("error", "voice_not_found", "voice")
    (told,) = socket_replies(server, "/v1/text-to-speech/nobody/stream-input", {"text": " "})
    assert told["error"] == "voice_not_found"
