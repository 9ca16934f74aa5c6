"""The HTTP service end to end: a real uvicorn in a subprocess, on the toy model whose samples are known."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
import soundfile

from f5_tts_server.inference_types import Speech, VoiceClip
from tests.clips import file, speech
from tests.generate_client import joined, parse_events, post, samples, stream
from tests.server import ROOT, ServerProcess, running
from tests.toy_programs import RATE, ToyPrograms, expected

TEXT = "The quick brown fox jumps over the lazy dog while the band plays on and on into the night. "
CLIP = base64.b64encode(file(speech(2))).decode()


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    flags = ("--max-body-mib", "1", "--stall-timeout-s", "1", "--ping-s", "0.1", "--max-text-chars", "5000")
    with running(*flags, toy={"step_s": 0.004}) as running_server:
        yield running_server


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


# What is served


def test_the_stream_is_one_valid_file_with_the_samples_of_the_whole_clip(server: ServerProcess) -> None:
    body: dict[str, Any] = {"gen_text": TEXT * 3, "seed": 9, "num_inference_steps": 6}
    events = stream(server, **body)
    data = [event for _, event in events]
    assert [event["chunk_index"] for event in data] == list(range(len(data)))
    assert [event["is_final"] for event in data] == [False] * (len(data) - 1) + [True]
    assert {event["sample_rate"] for event in data} == {RATE}
    metadata = data[-1]["metadata"]
    assert metadata["total_chunks"] == len(data) and metadata["seed"] == 9 and metadata["segments"] > 2
    wav = joined(events)
    decoded, rate = soundfile.read(io.BytesIO(wav))
    assert rate == RATE and len(decoded) == round(metadata["duration"] * RATE)

    reply = post(server, **body).json()
    whole = base64.b64decode(reply["audio_base64"])
    assert whole[44:] == wav[44:]
    assert soundfile.info(io.BytesIO(whole)).frames == len(decoded), "the header of a whole clip tells its length"
    assert reply["duration"] == metadata["duration"] and reply["seed"] == 9 and reply["sample_rate"] == RATE

    by_hand = expected(
        ToyPrograms(),
        Speech(f"{TEXT.strip()} {TEXT.strip()} {TEXT.strip()}", VoiceClip(b"", "")),
        seed=9,
        nfe=6,
        cfg=2.0,
        sway=False,
        first_seconds=1.0,
        ref_frames=187,
    )
    np.testing.assert_allclose(samples(wav), by_hand, atol=1e-4)


def test_a_reference_of_ones_own_and_formats(server: ServerProcess) -> None:
    body: dict[str, Any] = {"gen_text": "Hello you.", "ref_audio_base64": CLIP, "ref_text": "Some words.", "seed": 1}
    own = post(server, **body).json()
    assert (
        post(server, **{**body, "ref_audio_base64": "data:audio/wav;base64," + CLIP}).json()["duration"]
        == own["duration"]
    )
    stored = post(server, gen_text="Hello you.", voice="ada", seed=1).json()
    assert stored["audio_base64"] == own["audio_base64"]
    pcm = post(server, gen_text="Hello you.", response_format="pcm", seed=1).json()
    assert base64.b64decode(pcm["audio_base64"]) == base64.b64decode(own["audio_base64"])[44:]
    flac = base64.b64decode(post(server, gen_text="Hello you.", response_format="flac", seed=1).json()["audio_base64"])
    raw = base64.b64decode(pcm["audio_base64"])
    with av.open(io.BytesIO(flac)) as container:
        decoded = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    assert decoded.astype("<i2").tobytes() == raw


def test_seeds_differ_unless_given(server: ServerProcess) -> None:
    first, second = (post(server, gen_text="Hello you.").json() for _ in range(2))
    assert first["seed"] != second["seed"] and first["audio_base64"] != second["audio_base64"]
    again = post(server, gen_text="Hello you.", seed=first["seed"]).json()
    assert again["audio_base64"] == first["audio_base64"]


def test_request_ids_go_in_and_out_and_into_the_log(server: ServerProcess) -> None:
    reply = post(server, headers={"X-Request-ID": "my-id.7"}, gen_text="Hello.")
    assert reply.headers["x-request-id"] == "my-id.7" and reply.json()["metadata"]["request_id"] == "my-id.7"
    until(lambda: "[my-id.7] done" in server.log)
    made = post(server, headers={"X-Request-ID": "bad id"}, gen_text="")
    assert made.headers["x-request-id"].startswith("req-")
    assert made.json()["error"]["request_id"] == made.headers["x-request-id"]


def test_silence_is_filled_with_pings(server: ServerProcess) -> None:
    body = {"gen_text": TEXT * 4, "num_inference_steps": 64}
    with httpx.stream("POST", f"{server.url}/v1/generate/stream", json=body, timeout=60) as response:
        text = "".join(response.iter_text())
    assert ": ping\n\n" in text
    assert parse_events(text)[-1][1]["is_final"]


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({}, "gen_text", "required"),
        ({"gen_text": ""}, "gen_text", "at least 1"),
        ({"gen_text": "  \n "}, "gen_text", "nothing to say"),
        ({"gen_text": "..."}, "gen_text", "nothing to say"),
        ({"gen_text": "x" * 5001}, "gen_text", "5000"),
        ({"gen_text": 5}, "gen_text", "string"),
        ({"gen_text": "a\ud800b"}, "gen_text", "surrogate"),
        ({"gen_text": "x", "num_inference_steps": 0}, "num_inference_steps", "greater than or equal to 1, not 0"),
        ({"gen_text": "x", "num_inference_steps": 65}, "num_inference_steps", "64"),
        ({"gen_text": "x", "num_inference_steps": True}, "num_inference_steps", "integer"),
        ({"gen_text": "x", "guidance_scale": -1}, "guidance_scale", "0"),
        ({"gen_text": "x", "speed_factor": 5}, "speed_factor", "4"),
        ({"gen_text": "x", "seed": 2**32}, "seed", "4294967295"),
        ({"gen_text": "x", "duration": 601}, "duration", "600"),
        ({"gen_text": "x", "timeout_s": 1e6}, "timeout_s", "300"),
        ({"gen_text": "x", "response_format": "midi"}, "response_format", "wav"),
        ({"gen_text": "x", "voice": "nobody"}, "voice", "nobody"),
        ({"gen_text": "[voice:nobody] x"}, "gen_text", "nobody"),
        ({"gen_text": "x [pause:99]"}, "gen_text", "at most 10"),
        ({"gen_text": "x", "unheard_of": 1}, "unheard_of", "there is no such field"),
        ({"gen_text": "x", "model": "m" * 101}, "model", "101 characters are given, at most 100"),
        ({"gen_text": "[say:x] y"}, "gen_text", "[say:x]: write the word"),
        ({"gen_text": "x", "duration": 30}, "duration", "30.02 s of it, which cannot be"),
        ({"gen_text": "x", "ref_text": "y"}, "ref_audio_base64", "missing"),
        ({"gen_text": "x", "ref_audio_base64": CLIP}, "ref_text", "requirements-asr.txt"),
        ({"gen_text": "x", "ref_audio_base64": CLIP, "ref_text": "y", "voice": "ada"}, "voice", "exclude"),
        ({"gen_text": "x", "ref_audio_base64": "%%%", "ref_text": "y"}, "ref_audio_base64", "not base64"),
        ({"gen_text": "x", "ref_audio_base64": "", "ref_text": "y"}, "ref_audio_base64", "empty"),
        ({"gen_text": "x", "ref_audio_base64": "AAAA", "ref_text": "y"}, "ref_audio_base64", "not an audio file"),
        (
            {"gen_text": "x", "ref_audio_base64": base64.b64encode(file(speech(0.1))).decode(), "ref_text": "y"},
            "ref_audio_base64",
            "0.10 s",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/v1/generate", "/v1/generate/stream"])
def test_bad_input_is_refused_in_a_sentence(
    server: ServerProcess, path: str, body: dict[str, Any], param: str, words: str
) -> None:
    reply = httpx.post(server.url + path, content=json.dumps(body), headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert reply.status_code == (404 if error["code"] == "voice_not_found" else 422), error
    assert error["param"] == param and param in error["message"] and words in error["message"], error
    assert error["type"] == "invalid_request_error" and error["request_id"]


def test_bodies_that_are_no_requests(server: ServerProcess) -> None:
    """`curl -d` without a content type was told that its JSON is not JSON; a mistyped path, no more than `Not Found`."""
    url = f"{server.url}/v1/generate"
    json_type = {"content-type": "application/json"}
    assert httpx.post(url, content="{", headers=json_type).status_code == 400
    listed = httpx.post(url, content="[]", headers=json_type)
    assert listed.status_code == 422 and "should be a JSON object, not a list" in listed.json()["error"]["message"]
    form = httpx.post(url, content='{"gen_text": "x"}', headers={"content-type": "application/x-www-form-urlencoded"})
    assert form.status_code == 422 and "Content-Type: application/json" in form.json()["error"]["message"]
    assert httpx.post(url, content=b"\xff\xfe", headers=json_type).status_code in (400, 422)
    method = httpx.get(url)
    assert method.status_code == 405 and method.json()["error"]["message"] == "GET is not for /v1/generate; POST is"
    error = httpx.get(f"{server.url}/nothing").json()["error"]
    assert (error["code"], error["message"]) == ("not_found", "there is no path /nothing; /docs shows all")


def test_large_bodies_are_refused_before_they_are_read(server: ServerProcess) -> None:
    url = f"{server.url}/v1/generate"
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:  # the body is announced and never sent
        connection.sendall(b"POST /v1/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n")
        assert b" 413 " in connection.recv(4096)

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    reply = httpx.post(url, content=endless(), headers={"content-type": "application/json"})
    assert reply.status_code == 413 and "1048576 bytes" in reply.json()["error"]["message"]


def test_metrics_and_health_tell_what_goes_on(server: ServerProcess) -> None:
    post(server, gen_text="Hello.")
    assert server.metric('f5_requests_total{outcome="done"}') >= 1
    assert server.metric("f5_compiles_after_ready_total") == 0
    assert server.metric("f5_time_to_first_audio_seconds_count") >= 1
    assert server.metric("f5_audio_bytes_total") > 0
    assert server.metric("f5_reference_cache_hits_total") + server.metric("f5_reference_cache_misses_total") > 0
    health = httpx.get(f"{server.url}/v1/health").json()
    assert health["status"] == "ok" and all(health["engine"]["threads"].values())
    assert set(health["engine"]["threads"]) == {"request-queue", "preprocess", "inference", "postprocess"}
    assert httpx.get(f"{server.url}/livez").text == "ok" and httpx.get(f"{server.url}/readyz").text == "ok"


def test_the_seconds_of_work_ahead_follow_what_is_open(server: ServerProcess) -> None:
    """What autoscalers go by: something while much is open, nothing when nothing is."""
    until(lambda: server.metric("f5_work_ahead_seconds") == 0)
    body = {"gen_text": TEXT * 40, "num_inference_steps": 64}
    with httpx.stream("POST", f"{server.url}/v1/generate/stream", json=body, timeout=60) as response:
        pieces = response.iter_bytes()
        next(pieces)
        assert server.metric("f5_work_ahead_seconds") > 0
    until(lambda: server.metric("f5_work_ahead_seconds") == 0)


def test_the_documented_examples_work(server: ServerProcess) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    operation = document["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["application/json"]
    assert len(operation["examples"]) >= 2
    for example in operation["examples"].values():
        assert post(server, **example["value"]).status_code == 200
    schema = document["components"]["schemas"]["GenerateRequest"]["properties"]
    assert schema["num_inference_steps"]["default"] == 8, "the model's own default is in the schema"


# Clients that go away, or do not read


def test_thirty_two_clients_of_which_one_in_four_goes_away(server: ServerProcess) -> None:
    right = {seed: joined(stream(server, gen_text=TEXT, seed=seed)) for seed in range(4)}

    def client(number: int) -> str:
        body = {"gen_text": TEXT, "seed": number % 4}
        if number % 4:
            events = stream(server, **body)
            assert sum(data["is_final"] for _, data in events) == 1 and events[-1][1]["is_final"]
            assert joined(events) == right[number % 4], "audio differs among others"
            return "whole"
        with httpx.stream("POST", f"{server.url}/v1/generate/stream", json=body, timeout=60) as response:
            next(response.iter_bytes())
        return "gone"

    with ThreadPoolExecutor(32) as pool:
        outcomes = list(pool.map(client, range(32)))
    assert outcomes.count("whole") == 24
    until(lambda: server.active() == 0)
    assert httpx.get(f"{server.url}/v1/health").json()["engine"]["queues"]["active"]["depth"] == 0
    assert server.metric("f5_compiles_after_ready_total") == 0


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/generate/stream"])
def test_a_client_that_goes_away_frees_its_slots(server: ServerProcess, path: str) -> None:
    cancelled = server.metric('f5_requests_total{outcome="cancelled"}')
    body = {"gen_text": TEXT * 50, "num_inference_steps": 64}
    with (
        contextlib.suppress(httpx.ReadTimeout),
        httpx.stream("POST", server.url + path, json=body, timeout=1) as response,
    ):
        for _ in response.iter_bytes():
            break
    until(lambda: server.metric('f5_requests_total{outcome="cancelled"}') == cancelled + 1, 2)
    until(lambda: server.active() == 0, 2)


def test_a_client_that_stops_reading_is_dropped_and_hurts_nobody(server: ServerProcess) -> None:
    """Its socket stays open and fills up; after the stall timeout its request ends, and others got theirs meanwhile."""
    host, port = server.host.split(":")
    cancelled = server.metric('f5_requests_total{outcome="cancelled"}')
    body = json.dumps({"gen_text": TEXT * 50, "num_inference_steps": 1}).encode()
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect((host, int(port)))
        head = "POST /v1/generate/stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        lazy.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert lazy.recv(12) == b"HTTP/1.1 200"
        assert post(server, gen_text="Hello you.").status_code == 200
        until(lambda: "the client took nothing for 1 s" in server.log)
        until(lambda: server.metric('f5_requests_total{outcome="cancelled"}') == cancelled + 1)
        until(lambda: server.active() == 0)


def test_probes_are_answered_during_a_step() -> None:
    """A device that is busy for two seconds at a time holds up no probe: ten are answered within one step."""
    with running(toy={"step_s": 2.0}) as server, ThreadPoolExecutor(1) as pool:
        speech = pool.submit(post, server, gen_text="Hello you.", num_inference_steps=1)
        until(lambda: server.active() == 1)
        for _ in range(10):
            assert httpx.get(f"{server.url}/livez").status_code == 200
        assert not speech.done(), "the probes waited for the step"
        assert speech.result().status_code == 200


# Life and death


def test_the_port_answers_while_the_model_is_loaded() -> None:
    with running(toy={"load_s": 2.0}, ready=False) as server:
        assert httpx.get(f"{server.url}/livez").status_code == 200
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        health = httpx.get(f"{server.url}/v1/health")
        assert health.status_code == 503 and health.json()["status"] == "loading"
        refused = post(server, gen_text="Hello.")
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
        until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
        assert post(server, gen_text="Hello.").status_code == 200


def test_a_model_that_does_not_load_ends_the_process_with_a_sentence() -> None:
    with running(toy={"load_error": "no weights at /nowhere"}, ready=False) as server:
        assert server.wait() == 1
        assert "the model could not be loaded: no weights at /nowhere" in server.log.splitlines()[-1]
        assert "Traceback" not in server.log


def test_while_it_loads_the_server_tells_how_far_it_is_and_probes_leave_no_line() -> None:
    """A first start compiles for minutes: nothing said how far it was, and each probe's 503 was a line of the log."""
    with running(toy={"load_s": 3.0}, ready=False) as server:
        seen = set()
        while httpx.get(f"{server.url}/readyz").status_code == 503:
            compiled = httpx.get(f"{server.url}/v1/health").json()["engine"]["compiled"]
            if compiled is not None:
                assert compiled["of"] == 7
                seen.add(compiled["done"])
            httpx.get(f"{server.url}/livez")
            time.sleep(0.05)
        assert len(seen) >= 3, seen
        assert httpx.get(f"{server.url}/v1/health").json()["engine"]["compiled"] == {"done": 7, "of": 7}
        assert "compiled 1 of 7 programs" in server.log and "compiled 7 of 7 programs" in server.log
        assert not [line for line in server.log.splitlines() if "GET /" in line]
        assert httpx.get(f"{server.url}/v1/nowhere").status_code == 404
        until(lambda: "GET /v1/nowhere" in server.log)


def test_a_taken_port_is_seen_before_the_model_is_loaded() -> None:
    """The model was compiled first, minutes after which the server found out that it could not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "main.py", "--port", port]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in line


def test_a_folder_of_voices_that_cannot_be_written_is_seen_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "main.py", "--port", "0", "--voices-folder", str(tmp_path / "file" / "voices")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "folder of voices" in line and str(tmp_path) in line


def test_too_many_requests_are_told_when_to_come_back() -> None:
    with running("--max-concurrent-requests", "1", "--queue-limit", "1", toy={"step_s": 0.02}) as server:
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: post(server, gen_text=TEXT), range(8)))
        statuses = [reply.status_code for reply in replies]
        assert statuses.count(200) >= 2 and set(statuses) == {200, 429}
        for reply in replies:
            if reply.status_code == 429:
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json()["error"]["type"] == "rate_limit_error"
        assert post(server, gen_text="Hello.", timeout_s=0.05).status_code == 504


def test_a_client_that_goes_away_while_it_waits_leaves_the_queue() -> None:
    flags = ("--max-concurrent-requests", "1", "--queue-limit", "1")
    with running(*flags, toy={"step_s": 0.02}) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(stream, server, gen_text=TEXT * 4)
        until(lambda: server.active() > 0)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/generate", json={"gen_text": TEXT}, timeout=0.3)
        until(lambda: server.metric('f5_requests_total{outcome="cancelled"}') == 1, 2)
        assert httpx.get(f"{server.url}/v1/health").json()["engine"]["queues"]["waiting"]["depth"] == 0
        assert first.result()[-1][1]["is_final"]


@pytest.mark.parametrize("stage", ["prefill", "step", "vocode"])
def test_a_stage_that_dies_fails_what_is_open_and_turns_readiness_off(stage: str) -> None:
    with running(toy={"step_s": 0.02}) as server:
        with ThreadPoolExecutor(4) as pool:
            streams = [pool.submit(stream, server, gen_text=TEXT * 20, seed=i) for i in range(3)]
            until(lambda: server.active() >= 3)
            killer = pool.submit(post, server, gen_text=f"Now die-{stage}.")
            for future in streams:
                name, data = future.result()[-1]
                assert name == "error" and data["error"]["code"] == "stage_died"
            assert killer.result().status_code == 503
        assert httpx.get(f"{server.url}/readyz").status_code == 503
        assert httpx.get(f"{server.url}/livez").status_code == 503
        health = httpx.get(f"{server.url}/v1/health")
        assert health.status_code == 503 and "stage died" in health.json()["engine"]["failure"]
        assert post(server, gen_text="Hello.").status_code == 503
        assert "told to die" in server.log
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_a_request_at_fault_gets_a_500_with_its_id_and_the_log_the_traceback(server: ServerProcess) -> None:
    reply = post(server, headers={"X-Request-ID": "culprit"}, gen_text="Now fail-prefill please.")
    assert reply.status_code == 500 and "culprit" in reply.json()["error"]["message"]
    assert "told to fail in prefill" in server.log
    events = stream(server, gen_text=TEXT + TEXT + " fail-vocode " + TEXT)
    assert events[-1][0] == "error" and events[-1][1]["error"]["code"] == "internal_error"
    assert len(events) > 1 and not any(data.get("is_final") for _, data in events)
    assert post(server, gen_text="Hello.").status_code == 200


def test_sigterm_lets_running_requests_finish() -> None:
    with running("--grace-s", "20", toy={"step_s": 0.02}) as server:
        with ThreadPoolExecutor(4) as pool:
            streams = [pool.submit(stream, server, gen_text=TEXT * 2, seed=i) for i in range(4)]
            until(lambda: server.active() >= 4)
            server.signal(signal.SIGTERM)
            until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
            assert post(server, gen_text="Hello.").status_code == 503
            for future in streams:
                assert future.result()[-1][1]["is_final"]
        assert server.wait() == 0


def test_sigterm_lets_the_streams_of_several_models_finish(tmp_path: Path) -> None:
    """Also of one that was still being loaded, on first use, when the signal came."""
    lines = [f"  - {{name: {name}, weights: {name}, load: first-use}}" for name in ("two", "three")]
    (tmp_path / "models.yaml").write_text("\n".join(["models:", "  - {name: one, weights: one}", *lines]))
    flags = ("--grace-s", "60", "--models-file", str(tmp_path / "models.yaml"))
    with running(*flags, toy={"step_s": 0.02, "load_s": 1.4}) as server:

        def states() -> dict[str, str]:
            models = httpx.get(f"{server.url}/v1/health").json()["engine"]["models"]
            return {name: model["state"] for name, model in models.items()}

        assert post(server, gen_text="Hello.", model="two").status_code == 200
        with ThreadPoolExecutor(5) as pool:
            names = ("one", "two", "one", "two")
            streams = [pool.submit(stream, server, gen_text=TEXT * 2, model=name, seed=1) for name in names]
            until(lambda: server.active() >= len(names))
            streams.append(pool.submit(stream, server, gen_text=TEXT, model="three", seed=1))
            until(lambda: states()["three"] == "loading")
            server.signal(signal.SIGTERM)
            until(lambda: httpx.get(f"{server.url}/readyz").status_code == 503)
            for name in ("one", "three"):
                assert post(server, gen_text="Hello.", model=name).status_code == 503
            for future in streams:
                assert future.result()[-1][1].get("is_final"), future.result()[-1]
        assert server.wait() == 0


def test_what_outlasts_the_grace_period_ends_in_an_error_event() -> None:
    with running("--grace-s", "0.5", toy={"step_s": 0.02}) as server:
        with ThreadPoolExecutor(4) as pool:
            streams = [pool.submit(stream, server, gen_text=TEXT * 50, seed=i) for i in range(4)]
            until(lambda: server.active() >= 4)
            server.signal(signal.SIGTERM)
            for future in streams:
                name, data = future.result()[-1]
                assert name == "error" and data["error"]["code"] == "shutting_down"
        assert server.wait() == 0


def test_ctrl_c_twice_stops_at_once() -> None:
    with running("--grace-s", "600", toy={"step_s": 0.02}) as server, ThreadPoolExecutor(1) as pool:
        broken = pool.submit(stream, server, gen_text=TEXT * 50)
        until(lambda: server.active() >= 1)
        server.signal(signal.SIGINT)
        until(lambda: "draining" in server.log)
        server.signal(signal.SIGINT)
        assert server.wait(10) == 130
        with pytest.raises(httpx.RemoteProtocolError):
            broken.result()


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        (["--port", "99999"], {}, "F5_PORT or --port"),
        (["--device-mesh", "3"], {}, "two numbers joined by x"),
        (["--no-such-flag", "1"], {}, "no-such-flag"),
        ([], {"F5_NO_SUCH": "1"}, "F5_NO_SUCH: no such setting"),
        ([], {"F5_DTYPE": "int3"}, "F5_DTYPE or --dtype"),
        (["--slots", "2", "--step-sizes", "1,4"], {}, "there are 2 slots"),
        (["--port", "0", "--voice", "nobody"], {}, "F5_VOICE: voice 'nobody' is unknown; there are 'Ada', 'Ben'"),
        (["--port", "0", "--fallback-voice", "nobody"], {}, "F5_FALLBACK_VOICE: voice 'nobody' is unknown"),
        (
            ["--port", "0", "--jobs-folder", "/dev/null/jobs"],
            {},
            "F5_JOBS_FOLDER: /dev/null/jobs cannot be used: Not a d",
        ),
    ],
)
def test_bad_settings_stop_the_start_with_one_sentence(
    flags: list[str], environment: dict[str, str], words: str
) -> None:
    command = [sys.executable, "main.py", *flags]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": "", **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and not done.stdout
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
