"""Against a server in a process of its own: kills in the middle, a full disk, readers and writers that keep to no rule."""

from __future__ import annotations

import base64
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.clips import TEXT, embedded_voices, file, speech
from tests.server import ROOT, ServerProcess, running

CLIP = file(speech(4))
LONG = "When the old man came down to the harbor in the morning, the boats were already far out on the water. " * 40


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running("--stall-timeout-s", "60", toy={}) as started:
        yield started


def idle(server: ServerProcess) -> bool:
    engine = httpx.get(f"{server.url}/v1/health").json()["engine"]
    slots = sum(slot["in_use"] for slot in engine["slots"].values())
    return slots + sum(queue["depth"] for queue in engine["queues"].values()) == 0


def until_idle(server: ServerProcess) -> None:
    end = time.monotonic() + 60
    while not idle(server):
        assert time.monotonic() < end, "places are held for nobody"
        time.sleep(0.2)


def upload(client: httpx.Client, name: str) -> httpx.Response:
    files = {"audio_sample": ("clip.wav", CLIP, "audio/wav")}
    return client.post("/v1/audio/voices", data={"name": name, "ref_text": TEXT}, files=files)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_acknowledged_before_a_kill_is_there_afterwards(tmp_path: Path, seed: int) -> None:
    """SIGKILL among uploads and streams: each voice is whole or not there, streams that it cut say no end."""
    rng = random.Random(seed)
    flags = ("--voices-folder", str(tmp_path))
    kept: list[str] = []
    deleted: list[str] = []
    finals: list[bool] = []

    def uploads(url: str, number: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for count in range(1000):
                try:
                    reply = upload(client, f"voice {number} {count}")
                    assert reply.status_code == 201, reply.text
                    kept.append(reply.json()["id"])
                    if count % 3 == 0:
                        voice = kept.pop()
                        client.delete(f"/v1/audio/voices/{voice}").raise_for_status()
                        deleted.append(voice)
                except httpx.TransportError:
                    return

    def listens(url: str) -> None:
        final = False
        try:
            body = {"gen_text": LONG, "num_inference_steps": 64}
            with httpx.stream("POST", f"{url}/v1/generate/stream", json=body, timeout=60) as reply:
                for line in reply.iter_lines():
                    final = final or '"is_final": true' in line
        except httpx.TransportError:
            pass
        finals.append(final)

    with running(*flags, toy={"step_s": 0.05}) as first:
        threads = [threading.Thread(target=uploads, args=(first.url, number)) for number in range(2)]
        threads.append(threading.Thread(target=listens, args=(first.url,)))
        for thread in threads:
            thread.start()
        while len(kept) < 3:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        first.signal(signal.SIGKILL)
        for thread in threads:
            thread.join(60)
    assert finals == [False], "a stream that was cut said that it was complete"
    with running(*flags, toy={}) as second, httpx.Client(base_url=second.url, timeout=60) as client:
        there = {voice["id"] for voice in client.get("/v1/audio/voices").json()["voices"]}
        assert set(kept) <= there, f"seed {seed}: voices that were acknowledged are gone"
        assert not there & set(deleted), f"seed {seed}: deleted voices are back"
        for voice in there:
            assert client.get(f"/v1/audio/voices/{voice}/audio").status_code == 200
        body = {"gen_text": "Hello there.", "voice": kept[0]}
        assert client.post("/v1/generate", json=body).status_code == 200
        assert upload(client, "after it").status_code == 201
        assert " ERROR " not in second.log


def test_sigterm_in_the_middle_of_uploads(tmp_path: Path) -> None:
    """One that comes whole in time is answered, one that stops in the middle does not keep the process and hears why, and
    nothing half is left. What was cut off was told `500 Internal Server Error`, as if the server were at fault."""
    with running("--voices-folder", str(tmp_path), toy={}) as first:
        request = httpx.Request(
            "POST",
            f"{first.url}/v1/audio/voices",
            data={"name": "slow", "ref_text": TEXT},
            files={"audio_sample": ("clip.wav", CLIP, "audio/wav")},
        )
        body = request.read()
        head = f"POST /v1/audio/voices HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        head += f"Content-Type: {request.headers['content-type']}\r\n\r\n"
        host, port = first.host.split(":")
        connections = [socket.create_connection((host, int(port)), timeout=60) for _ in range(2)]
        for connection in connections:
            connection.sendall(head.encode() + body[: len(body) // 2])
        time.sleep(0.2)
        first.signal(signal.SIGTERM)
        connections[0].sendall(body[len(body) // 2 :])
        reply, other = (b"".join(iter(partial(connection.recv, 65536), b"")) for connection in connections)
        assert first.wait(60) == 0
        for connection in connections:
            connection.close()
        assert other.startswith(b"HTTP/1.1 503 ") and b'"code":"shutting_down"' in other, other
        assert "Traceback" not in first.log
    kept = reply.startswith(b"HTTP/1.1 201 ")
    assert kept or reply.startswith(b"HTTP/1.1 503 "), reply
    with running("--voices-folder", str(tmp_path), toy={}) as second:
        names = [voice["name"] for voice in httpx.get(f"{second.url}/v1/audio/voices").json()["voices"]]
    assert kept <= names.count("slow") <= 1  # what was cut off while it was written may be there
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".incoming-")]


FULL = """
import sys
from pathlib import Path
from f5_tts_server.files import DiskFull
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.jobs.batches import BatchStore
from f5_tts_server.jobs.documents import Chapter
from f5_tts_server.jobs.store import JobStore
from f5_tts_server.voices.consents import ConsentFolder
from f5_tts_server.voices.dictionaries import DictionaryFolder, Rule
from f5_tts_server.voices.store import VoiceStore

folder, embedded = Path(sys.argv[1], "uploads"), Path(sys.argv[2])
store = VoiceStore(folder, embedded, max_voices=1000)
clip = VoiceClip(Path(sys.argv[2], "Ada.wav").read_bytes(), "words")
kept = []
try:
    for number in range(1000):
        kept.append(store.add(f"voice {number}", clip))
    raise SystemExit("the disk was never full")
except DiskFull:
    pass
assert kept, "not even one voice fitted"
again = VoiceStore(folder, embedded, max_voices=1000)
assert {v.id for v in kept} <= {v.id for v in again.list()}, "a full disk lost voices"
assert not [path.name for path in folder.iterdir() if path.name.startswith(".incoming-")], "half a voice is left"
again.delete(kept[0].id)
again.add("in its place", clip)

jobs, batches = folder.with_name("jobs"), folder.with_name("batches")
stores = JobStore(jobs), BatchStore(batches)
large = "words " * 50_000
chapter, rules = Chapter("One", (large,)), (Rule("SQL", "sequel" * 15_000, any_case=True),)
book = {"owner": "me", "caller": "", "title": "Book", "format": "mp3", "options": {}}
calls = (
    lambda: stores[0].add([chapter], **book),
    lambda: stores[1].add_file("me", "in.jsonl", large.encode(), purpose="batch"),
    lambda: ConsentFolder(folder / "consents").add("Mine", "en", large.encode()),
    lambda: DictionaryFolder(folder / "dictionaries").add("Mine", None, rules),
)
for call in calls:
    try:
        for _ in range(99):
            call()
        raise SystemExit("the disk was never full")
    except DiskFull:
        pass
for root in (jobs, batches, folder):
    assert not [path.name for path in root.rglob("*.part")], "half a file is left"
assert {path.name for path in jobs.iterdir()} == set(JobStore(jobs).jobs), "a job's folder is left"
assert {path.stem for path in batches.iterdir()} == {one.id for one in stores[1].files("me")}, "a file is left"
print("done")
"""


def test_a_disk_that_is_really_full_loses_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """On a file system of its own of 1 MB, mounted where the kernel lets users do that."""
    embedded = embedded_voices(tmp_path / "embedded")
    small = tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {small}"
    alone = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if alone.returncode:
        pytest.skip(f"no file system can be mounted here: {alone.stderr.strip()}")
    command = f'{mount} && exec "$0" -c "$1" {small} {embedded}'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, sys.executable, FULL],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.endswith("done\n"), done.stderr


def test_readers_of_a_byte_now_and_then_hold_nobody_up(server: ServerProcess) -> None:
    """More of them than there are places; others are served, and when they go nothing is held for them."""
    host, port = server.host.split(":")
    body = json.dumps({"gen_text": LONG}).encode()
    head = f"POST /v1/generate/stream HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with ExitStack() as stack:
        readers = [stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(24)]
        for reader in readers:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        for _ in range(4):
            for reader in readers[:16]:
                assert reader.recv(1)
            reply = httpx.post(f"{server.url}/v1/generate", json={"gen_text": "Hello there."}, timeout=60)
            assert reply.status_code == 200, reply.text
            time.sleep(0.5)
    until_idle(server)


FLOODS = {
    "/v1/audio/speech/stream": [{"type": "session.config"}, {"type": "input.text", "text": "and so on "}],
    "/v1/text-to-speech/Ada/stream-input": [{"text": " "}, {"text": "and so on "}],
    "/v1/text-to-speech/Ada/multi-stream-input": [{"text": " ", "context_id": "c"}, {"text": "so ", "context_id": "c"}],
}


@pytest.mark.parametrize("path", FLOODS)
def test_a_socket_that_floods_is_bounded(server: ServerProcess, path: str) -> None:
    """Text without end, as fast as it can be written, by a client that reads nothing."""
    process = psutil.Process(server.process.pid)
    opening, more = (json.dumps(message) for message in FLOODS[path])
    before = process.memory_info().rss
    with connect(f"ws://{server.host}{path}", open_timeout=20, close_timeout=1) as flood:
        try:
            flood.send(opening)
            for _ in range(20_000):
                flood.send(more)
        except ConnectionClosed:
            pass
        assert httpx.get(f"{server.url}/livez", timeout=30).status_code == 200
        reply = httpx.post(f"{server.url}/v1/generate", json={"gen_text": "Hello there."}, timeout=60)
        assert reply.status_code == 200, reply.text
        grown = process.memory_info().rss - before
    assert grown < 100 * 2**20, f"{grown / 2**20:.0f} MiB for one socket"
    until_idle(server)


def test_a_silent_socket_holds_no_place(server: ServerProcess) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            for path, (opening, _) in FLOODS.items():
                socket = stack.enter_context(connect(f"ws://{server.host}{path}", open_timeout=20, close_timeout=1))
                socket.send(json.dumps(opening))
        reply = httpx.post(f"{server.url}/v1/generate", json={"gen_text": "Hello there."}, timeout=60)
        samples = np.frombuffer(base64.b64decode(reply.json()["audio_base64"])[44:], "<i2")
        assert reply.status_code == 200 and len(samples) > 1000
    until_idle(server)
