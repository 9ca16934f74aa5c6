"""Times of segments, words and characters, and subtitles, in every protocol; the recognizer listens to toy audio."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import soundfile
from websockets.sync.client import connect

from f5_tts_server.api.timestamps import characters, subtitles
from f5_tts_server.inference_types import SpokenSegment
from tests.server import ServerThread

TEXT = "The first sentence is here. The second one, it follows it. And at last there is a third one."


def events(client: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    reply = client.post("/v1/generate/stream", json={"gen_text": TEXT, "seed": 5, **body})
    return [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: ")]


def test_words_of_the_joined_file(client: httpx.Client) -> None:
    """Segments begin where the joined file has them: a pause and the overlaps of cross-fades are counted."""
    body = {"gen_text": f"One is here. [pause:1.5] {TEXT}", "seed": 5, "timestamps": "word"}
    reply = client.post("/v1/generate", json=body).json()
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(reply["audio_base64"])))
    segments = reply["timestamps"]
    assert len(segments) >= 3
    assert segments[0]["start"] == 0 and segments[-1]["end"] == pytest.approx(len(samples) / rate, abs=2e-3)
    assert segments[1]["start"] == pytest.approx(segments[0]["end"] + 1.5, abs=2e-3)
    silent = samples[round(segments[0]["end"] * rate) + 24 : round(segments[1]["start"] * rate) - 24]
    assert not silent.any()
    for before, after in zip(segments[1:], segments[2:], strict=False):
        assert after["start"] == pytest.approx(before["end"] - 0.15, abs=2e-3)  # the cross-fade
    words = [word for segment in segments for word in segment["words"]]
    assert " ".join(word["text"] for word in words) == f"One is here. {TEXT}"
    for segment in segments:
        times = [time for word in segment["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times) and segment["start"] <= times[0] and times[-1] <= segment["end"] + 1e-3
        assert "characters" not in segment


def test_streamed_times_are_those_of_the_reply_and_come_before_their_audio(client: httpx.Client) -> None:
    whole = client.post("/v1/generate", json={"gen_text": TEXT, "seed": 5, "timestamps": "character"}).json()
    streamed, heard = [], 0.0
    for event in events(client, timestamps="character", response_format="pcm"):
        for segment in event.get("timestamps", []):
            assert segment["start"] >= heard - 1e-3
            streamed.append(segment)
        heard += len(base64.b64decode(event["audio_chunk"])) / 48_000
    assert streamed == whole["timestamps"]
    assert " ".join("".join(c["text"] for c in segment["characters"]) for segment in streamed) == TEXT


def test_nothing_is_told_unasked(client: httpx.Client) -> None:
    reply = client.post("/v1/generate", json={"gen_text": TEXT, "seed": 5})
    assert "timestamps" not in reply.json() and "subtitles" not in reply.json()
    assert all("timestamps" not in event for event in events(client))
    refused = client.post("/v1/generate", json={"gen_text": TEXT, "timestamps": "phoneme"})
    assert refused.status_code == 422 and "timestamps" in refused.text


def test_the_audio_is_the_same_with_and_without_times(client: httpx.Client) -> None:
    plain, timed = (
        client.post("/v1/generate", json={"gen_text": TEXT, "seed": 5, **more}).json()["audio_base64"]
        for more in ({}, {"timestamps": "word"})
    )
    assert plain == timed


def test_another_language_has_the_times_of_its_segments(client: httpx.Client) -> None:
    body = {"gen_text": "Das ist ein Satz und er ist nicht auf Englisch.", "timestamps": "word"}
    segments = client.post("/v1/generate", json=body).json()["timestamps"]
    assert " ".join(segment["text"] for segment in segments) == body["gen_text"]
    assert all(segment["end"] > segment["start"] and "words" not in segment for segment in segments)


def test_openai_events_have_times(client: httpx.Client) -> None:
    body = {"model": "m", "input": TEXT, "seed": 5, "stream_format": "sse", "timestamps": "word"}
    lines = client.post("/v1/audio/speech", json=body).text.splitlines()
    deltas = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    words = [word["text"] for delta in deltas for one in delta.get("timestamps", []) for word in one["words"]]
    assert " ".join(words) == TEXT


def test_the_websocket_tells_times_of_each_sentence(server: ServerThread) -> None:
    with connect(f"ws://{server.host}/v1/audio/speech/stream") as socket:
        for message in (
            {"type": "session.config", "timestamps": "word", "audio_encoding": "base64"},
            {"type": "input.text", "text": TEXT},
            {"type": "input.done"},
        ):
            socket.send(json.dumps(message))
        told: dict[int, list[str]] = {}
        while (message := json.loads(socket.recv(timeout=30)))["type"] != "session.done":
            assert message["type"] != "error", message
            if message["type"] == "audio.timestamps":
                words = [word["text"] for one in message["segments"] for word in one["words"]]
                told.setdefault(message["sentence_index"], []).extend(words)
    assert [" ".join(words) for _, words in sorted(told.items())] == re.split(r"(?<=\.) ", TEXT)


@dataclass(frozen=True)
class _Word:
    text: str
    first: int
    last: int
    start: float
    end: float


SEGMENT = SpokenSegment("Oh, no!", 1.0, 3.0, (_Word("Oh,", 0, 3, 0.1, 0.4), _Word("no!", 4, 7, 1.0, 1.6)))


def test_characters_share_the_time_of_their_word() -> None:
    found = list(characters(SEGMENT))
    assert "".join(one.text for one in found) == "Oh, no!"
    starts = [1.1, 1.2, 1.3, 1.4, 2.0, 2.2, 2.4]
    assert [one.start for one in found] == pytest.approx(starts)
    assert [one.end for one in found] == pytest.approx([*starts[1:], 2.6])


def test_subtitles() -> None:
    long = "word " * 39 + "end."
    words = tuple(_Word(w, 0, 0, k * 0.2, k * 0.2 + 0.15) for k, w in enumerate(long.split()))
    segments = [SEGMENT, SpokenSegment("Das ist es.", 2.9, 4.0, None), SpokenSegment(long, 4.0, 13.0, words)]
    srt = subtitles(segments, "srt")
    assert srt.startswith(
        "1\n00:00:01,100 --> 00:00:02,600\nOh, no!\n\n2\n00:00:02,900 --> 00:00:04,000\nDas ist es.\n\n3\n"
    )
    cues = [block.split("\n") for block in srt.strip().split("\n\n")]
    assert " ".join(line for cue in cues[2:] for line in cue[2:]) == long
    assert all(len(line) <= 48 for cue in cues for line in cue[2:]) and all(len(cue) <= 4 for cue in cues)
    assert subtitles(segments, "vtt").startswith("WEBVTT\n\n1\n00:00:01.100 --> ")


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_come_beside_the_audio(client: httpx.Client, kind: str) -> None:
    reply = client.post("/v1/generate", json={"gen_text": TEXT, "seed": 5, "subtitles": kind}).json()
    assert "The second one, it follows it." in reply["subtitles"].replace("\n", " ")
    assert "timestamps" not in reply
    final = events(client, subtitles=kind)[-1]
    assert final["is_final"] and final["subtitles"] == reply["subtitles"]
