"""Edits over HTTP, on the toy model; the recording is one of the embedded voices' clips, and its words are found in it."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from f5_tts_server.embedded.config import ASSETS
from tests.clips import file, noise
from tests.generate_client import joined, parse_events

RATE = 24_000
SAID = "Soft light fell on the water."


def recording() -> bytes:
    """16-bit, 24 kHz."""
    samples, rate = soundfile.read(str(ASSETS / "ada.flac"), dtype="int16")
    assert rate == RATE
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format="WAV", subtype="PCM_16")
    return data.getvalue()


def body(wanted: str = "Soft rain fell on the water.", audio: bytes | None = None, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(audio or recording()).decode()
    return {"ref_audio_base64": data, "ref_text": SAID, "gen_text": wanted, "seed": 4, **more}


def integers(wav: bytes) -> np.ndarray:
    return np.frombuffer(wav[44:], "<i2")


def test_an_edit_keeps_all_samples_but_those_it_names(client: httpx.Client) -> None:
    original = integers(recording())
    reply = client.post("/v1/audio/edits", json=body())
    assert reply.status_code == 200, reply.text
    edited = integers(base64.b64decode(reply.json()["audio_base64"]))
    (change,) = reply.json()["metadata"]["changes"]
    assert (change["was"], change["now"]) == ("light", "rain")
    assert 0.2 < change["start"] < change["end"] < 0.9
    first, last = (round(change[side] * RATE) for side in ("start", "end"))
    np.testing.assert_array_equal(edited[:first], original[:first])
    np.testing.assert_array_equal(edited[len(edited) - (len(original) - last) :], original[last:])
    assert not np.array_equal(edited[first : first + 1000], original[first : first + 1000])
    events = parse_events(client.post("/v1/audio/edits/stream", json=body()).text)
    np.testing.assert_array_equal(integers(joined(events)), edited)
    assert events[-1][1]["metadata"]["changes"] == [change]


def test_a_text_that_is_the_same_gives_the_recording(client: httpx.Client) -> None:
    reply = client.post("/v1/audio/edits", json=body("soft light fell, on the water")).json()
    assert base64.b64decode(reply["audio_base64"])[44:] == recording()[-2 * len(integers(recording())) :]
    assert reply["metadata"]["changes"] == []


def test_words_are_taken_out(client: httpx.Client) -> None:
    reply = client.post("/v1/audio/edits", json=body("Light fell on the water.")).json()
    assert [change["was"] for change in reply["metadata"]["changes"]] == ["Soft"]
    assert len(integers(base64.b64decode(reply["audio_base64"]))) < len(integers(recording())) - RATE // 8


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ref_audio_base64": "%%%"}, "ref_audio_base64.* not base64"),
        ({"ref_audio_base64": base64.b64encode(b"no sound").decode()}, "ref_audio_base64: not a readable sound file"),
        (
            {"ref_text": "Entirely other words are said in this one, and many more than it has time for " * 5},
            "ref_text",
        ),
        ({"ref_text": "..."}, "ref_text: nothing"),
        ({"gen_text": "We are going home."}, "gen_text: the new text keeps no word"),
        ({"gen_text": "Soft light fell on " + "many a word " * 200}, "gen_text"),
        ({"gen_text": "Soft rain [pause:1] fell on the water."}, "gen_text: marks"),
        ({"lexicon": {"rain": "sleet"}}, "lexicon"),
        ({"ssml": True}, "ssml"),
        ({"duration": 2.0}, "duration"),
        ({"timestamps": "word"}, "timestamps"),
        ({"num_inference_steps": 99}, "num_inference_steps"),
    ],
)
def test_what_is_wrong_is_told(client: httpx.Client, wrong: dict[str, Any], told: str) -> None:
    reply = client.post("/v1/audio/edits", json={**body(), **wrong})
    assert reply.status_code == 422, reply.text
    with pytest.raises(RuntimeError, match=told):
        raise RuntimeError(reply.json()["error"]["message"])


def test_a_recording_that_does_not_say_its_text_is_refused(client: httpx.Client) -> None:
    reply = client.post("/v1/audio/edits", json=body(audio=file(noise(2.0))))
    assert reply.status_code == 422 and reply.json()["error"]["param"] == "ref_text", reply.text
