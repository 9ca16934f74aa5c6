"""Dubs over HTTP: who speaks which cue, what is refused, and how it is told."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from f5_tts_server.inference_types import Samples
from tests.generate_client import joined, parse_events
from tests.toy_programs import RATE

VTT = """WEBVTT

00:00.500 --> 00:03.000
<v Ann>Is the kettle on?

00:03.200 --> 00:07.000
<v Bob>It has been on since noon, and I will say no more.

00:07.000 --> 00:07.600
♪

00:15.000 --> 00:16.500
Nobody answered.
"""


def body(**more: Any) -> dict[str, Any]:
    return {"subtitles": VTT, "voices": {"Ann": "ada", "Bob": "ada"}, "seed": 4, **more}


def clip(reply: httpx.Response) -> Samples:
    assert reply.status_code == 200, reply.text
    data, rate = soundfile.read(io.BytesIO(base64.b64decode(reply.json()["audio_base64"])), dtype="float32")
    assert rate == RATE
    return data


def test_a_dub_is_one_track_whole_and_streamed(client: httpx.Client) -> None:
    reply = client.post("/v1/audio/dubs", json=body())
    whole = clip(reply)
    assert len(whole) == 16.5 * RATE and reply.json()["duration"] == 16.5
    assert "overruns" not in reply.json()["metadata"]
    for start, end in ((0.0, 0.48), (7.0, 14.98)):
        assert not whole[round(start * RATE) : round(end * RATE)].any(), "silence is exact zeros"
    for start in (0.5, 3.2, 15.0):
        assert whole[round(start * RATE) : round((start + 0.04) * RATE)].any()
    events = parse_events(client.post("/v1/audio/dubs/stream", json=body()).text)
    streamed, _ = soundfile.read(io.BytesIO(joined(events)), dtype="float32")
    np.testing.assert_array_equal(streamed, whole)
    assert events[-1][1]["is_final"]
    np.testing.assert_array_equal(clip(client.post("/v1/audio/dubs", json=body(response_format="flac"))), whole)


def test_speakers_of_a_subrip_file(client: httpx.Client) -> None:
    """Known speakers are not read out, unknown words before a colon are."""
    srt = "1\n00:00:00,000 --> 00:00:09,000\n{}Put the kettle on, please.\n"
    named = {
        who: clip(client.post("/v1/audio/dubs", json=body(subtitles=srt.format(who)))) for who in ("", "Ann: ", "Cy: ")
    }
    np.testing.assert_array_equal(named[""], named["Ann: "])
    assert np.flatnonzero(named["Cy: "])[-1] > np.flatnonzero(named[""])[-1] + RATE / 10


@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        ({"subtitles": VTT.replace("00:03.200", "00:63.200")}, 422, "subtitles: line 6: .* is no line of times"),
        ({"subtitles": "Hello."}, 422, "subtitles: line 1: a cue's number"),
        ({"subtitles": VTT.replace("kettle", "[pause:1]")}, 422, "subtitles: line 3: a cue has no marks"),
        ({"subtitles": VTT.replace("kettle", "[pause:99]")}, 422, r"subtitles: line 3: \[pause:99\] is no pause"),
        ({"subtitles": "WEBVTT\n\n00:15.000 --> 00:16.500\n♪"}, 422, "subtitles: there is nothing to say"),
        ({"subtitles": VTT.replace("00:16.500", "40:16.500")}, 422, "the cue ends after 2416.5 s; the limit is 1200 s"),
        ({"voices": {"Ann": "ada"}}, 422, "voices has none for the speaker 'Bob' of line 6"),
        ({"voices": {"Ann": "ada", "Bob": "nobody"}}, 404, "nobody"),
        ({"voices": {str(i): "ada" for i in range(51)}}, 422, "voices: .* at most 50"),
        ({"max_rate": 0.5}, 422, "max_rate"),
        ({"duration": 3.0}, 422, "duration"),
        ({"gen_text": "Hello."}, 422, "gen_text: there is no such field"),
        ({"num_inference_steps": 65}, 422, "num_inference_steps"),
        ({"timeout_s": 1e6}, 422, "timeout_s"),
    ],
)
def test_what_is_wrong_is_told(client: httpx.Client, wrong: dict[str, Any], status: int, told: str) -> None:
    reply = client.post("/v1/audio/dubs", json=body(**wrong))
    assert reply.status_code == status, reply.text
    with pytest.raises(RuntimeError, match=told):
        raise RuntimeError(reply.json()["error"]["message"])


def test_cues_that_do_not_fit_are_named(client: httpx.Client) -> None:
    short = VTT.replace("00:07.000\n<v Bob>", "00:04.000\n<v Bob>")
    refused = client.post("/v1/audio/dubs", json=body(subtitles=short)).json()["error"]
    assert refused["code"] == "cues_too_short" and refused["param"] == "subtitles"
    assert [late["cue"] for late in refused["cues"]] == [2] and refused["cues"][0]["available"] == 0.8
    assert 2.2 < refused["cues"][0]["needed"] < 2.5
    spoken = client.post("/v1/audio/dubs", json=body(subtitles=short, overrun="speak"))
    assert spoken.json()["metadata"]["overruns"] == refused["cues"]
    assert clip(spoken)[round(5.2 * RATE) : round(5.4 * RATE)].any()
    roomier = client.post("/v1/audio/dubs", json=body(subtitles=short.replace("04.000", "05.300"), max_rate=2.0))
    assert roomier.status_code == 200
