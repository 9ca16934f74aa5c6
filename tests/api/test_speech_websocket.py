"""Text that is still being written over `/v1/audio/speech/stream`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.ffmpeg import decode
from tests.server import ServerThread
from tests.toy_programs import ToyPrograms

SENTENCES = ["The first sentence is here.", "The second one follows it.", "And a third one ends the text."]


def open_socket(server: ServerThread) -> ClientConnection:
    return connect(f"ws://{server.host}/v1/audio/speech/stream", open_timeout=20)


def say(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def hear(socket: ClientConnection) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Everything up to the session's end: messages, and the audio of each sentence."""
    messages: list[dict[str, Any]] = []
    audio: list[bytes] = []
    while True:
        data = socket.recv(timeout=20)
        if isinstance(data, bytes):
            audio[-1] += data
            continue
        message = json.loads(data)
        if message["type"] == "audio.start":
            audio.append(b"")
        elif message["type"] == "audio.chunk":
            audio[-1] += base64.b64decode(message["audio_b64"])
            continue
        messages.append(message)
        if message["type"] in ("session.done", "error"):
            return messages, audio


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_each_sentence_is_a_file_of_its_own(server: ServerThread, client: httpx.Client, step: int) -> None:
    text = " ".join(SENTENCES)
    with open_socket(server) as socket:
        say(socket, type="session.config", voice="ada", response_format="wav", seed=3)
        for start in range(0, len(text), step):
            say(socket, type="input.text", text=text[start : start + step])
        say(socket, type="input.done")
        messages, audio = hear(socket)
    starts = [message for message in messages if message["type"] == "audio.start"]
    assert [(m["sentence_index"], m["sentence_text"]) for m in starts] == list(enumerate(SENTENCES))
    assert {(m["format"], m["sample_rate"]) for m in starts} == {("wav", 24_000)}
    assert messages[-1] == {"type": "session.done", "total_sentences": 3}
    dones = [message for message in messages if message["type"] == "audio.done"]
    assert [(m["total_bytes"], m["error"]) for m in dones] == [(len(data), False) for data in audio]
    for sentence, data in zip(SENTENCES, audio, strict=True):
        body = {"model": "m", "input": sentence, "voice": "ada", "response_format": "wav", "seed": 3}
        assert client.post("/v1/audio/speech", json=body).content == data


def test_a_sentence_is_spoken_while_the_next_is_not_written_yet(server: ServerThread) -> None:
    with open_socket(server) as socket:
        say(socket, type="session.config", response_format="pcm")
        say(socket, type="input.text", text="The first sentence is here. And then")
        heard: list[str] = []
        while not heard or heard[-1] != "audio.done":
            data = socket.recv(timeout=20)
            if isinstance(data, str):
                heard.append(json.loads(data)["type"])
        say(socket, type="input.text", text=" there was more.")
        say(socket, type="input.done")
        messages, _ = hear(socket)
    assert messages[-1]["total_sentences"] == 2


def test_flush_speaks_what_is_there(server: ServerThread) -> None:
    with open_socket(server) as socket:
        say(socket, type="session.config", response_format="pcm")
        say(socket, type="input.text", text="No end yet")
        say(socket, type="input.flush")
        assert json.loads(socket.recv(timeout=20))["sentence_text"] == "No end yet"
        say(socket, type="input.done")
        assert hear_rest(socket)["total_sentences"] == 1


def hear_rest(socket: ClientConnection) -> dict[str, Any]:
    while True:
        data = socket.recv(timeout=20)
        if isinstance(data, bytes):
            continue
        message: dict[str, Any] = json.loads(data)
        if message["type"] in ("session.done", "error"):
            return message


@pytest.mark.parametrize("name", ["mp3", "opus", "flac", "aac"])
def test_base64_and_other_formats(server: ServerThread, name: str) -> None:
    with open_socket(server) as socket:
        say(socket, type="session.config", response_format=name, audio_encoding="base64")
        say(socket, type="input.text", text=SENTENCES[0])
        say(socket, type="input.done")
        _, audio = hear(socket)
    assert len(decode(name, audio[0])) > 12_000


def test_marks_hold_across_sentences_and_silent_pieces_are_no_sentences(server: ServerThread) -> None:
    with open_socket(server) as socket:
        say(socket, type="session.config", response_format="pcm", strip_markup=True)
        say(
            socket,
            type="input.text",
            text="[voice:ben] Hello there, my friend. [pause:1]\n😀\nHow are you doing today?",
        )
        say(socket, type="input.done")
        messages, audio = hear(socket)
    assert messages[-1]["total_sentences"] == 2
    assert not any(audio[1][: 2 * 24_000])


def test_one_connection_serves_sessions_one_after_another(server: ServerThread) -> None:
    with open_socket(server) as socket:
        for voice in ("ada", "ben"):
            say(socket, type="session.config", voice=voice, response_format="pcm")
            say(socket, type="input.text", text=SENTENCES[0])
            say(socket, type="input.done")
            assert hear(socket)[0][-1]["type"] == "session.done"
        say(socket, type="session.close")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)


@pytest.mark.parametrize(
    ("messages", "param", "words"),
    [
        ([{"type": "input.text", "text": "x"}], "type", "session.config"),
        ([{"type": "session.config", "voice": "nobody"}], "voice", "nobody"),
        ([{"type": "session.config", "response_format": "ogg"}], "response_format", "mp3"),
        ([{"type": "session.config"}, {"type": "input.text", "text": 5}], "text", "string"),
        ([{"type": "session.config"}, {"type": "what"}], "type", "what"),
        ([{"type": "session.config"}, {"type": "input.text", "text": "Wait [pause:77] here. "}], "text", "10 seconds"),
        (
            [{"type": "session.config", "num_inference_steps": 0}],
            "num_inference_steps",
            "greater than or equal to 1",
        ),
    ],
)
def test_what_is_wrong_is_said(server: ServerThread, messages: list[dict[str, Any]], param: str, words: str) -> None:
    with open_socket(server) as socket:
        for message in messages:
            say(socket, **message)
        error = hear_rest(socket)
    assert error["type"] == "error"
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize("data", ["{", "[]", b"\x00", '"x"'])
def test_what_is_no_message_is_refused(server: ServerThread, data: str | bytes) -> None:
    with open_socket(server) as socket:
        socket.send(data)
        assert hear_rest(socket)["type"] == "error"


def test_a_failing_sentence_is_told_and_ends_the_session(server: ServerThread) -> None:
    with open_socket(server) as socket:
        say(socket, type="session.config", response_format="pcm")
        say(socket, type="input.text", text="This one has a fail-step inside. ")
        say(socket, type="input.done")
        messages, _ = hear(socket)
    assert messages[-1]["type"] == "error"
    assert messages[-1]["code"] == "internal_error"


def test_a_full_server_makes_a_session_wait_not_fail(serve: Callable[..., ServerThread]) -> None:
    server = serve(ToyPrograms(step_s=0.005), max_concurrent_requests=1, queue_limit=0)
    with open_socket(server) as socket:
        say(socket, type="session.config", response_format="pcm")
        say(socket, type="input.text", text=" ".join(SENTENCES))
        say(socket, type="input.done")
        messages, audio = hear(socket)
    assert messages[-1] == {"type": "session.done", "total_sentences": 3}
    assert all(audio)


def test_going_away_frees_the_engine(serve: Callable[..., ServerThread]) -> None:
    server = serve(ToyPrograms(step_s=0.05))
    with open_socket(server) as socket:
        say(socket, type="session.config", response_format="pcm")
        say(socket, type="input.text", text="A long sentence that takes its time to be made here. " * 5)
        say(socket, type="input.done")
        socket.recv(timeout=20)
    with httpx.Client(base_url=server.url) as client:
        for _ in range(200):
            if client.get("/v1/health").json()["engine"]["queues"]["active"]["depth"] == 0:
                return
    raise AssertionError("the engine still works for a client that is gone")


def test_a_text_in_pieces_cannot_be_ssml(server: ServerThread) -> None:
    """Each sentence was taken for a document of its own, and the first half of one refused as damaged."""
    with open_socket(server) as socket:
        say(socket, type="session.config", ssml=True)
        say(socket, type="input.text", text="<speak>One. Two.</speak>")
        messages, audio = hear(socket)
    error = messages[-1]
    assert (error["type"], error["param"], audio) == ("error", "ssml", [])
    assert "while it is written" in error["message"]
