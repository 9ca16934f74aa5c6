#!/usr/bin/env python3
"""A complete client of the streaming API: plays and saves speech while it is being made.

    pip install httpx httpx-sse sounddevice
    python streaming_client_example.py "Hello! You hear this before it is finished."

It imports nothing of the server's. Without sounddevice, or without an audio device, it only saves. If there is a
``reference_audio.wav`` in the current folder, with ``reference_audio.txt`` beside it that says what is spoken in it, that
voice is used; else the server's own.
"""

from __future__ import annotations

import argparse
import base64
import json
import queue
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import connect_sse

WAV_HEADER_BYTES = 44
BYTES_PER_SAMPLE = 2
REFERENCE = Path("reference_audio.wav")


class Failure(Exception):
    """The server has refused the request, or failed while it was speaking."""


@dataclass
class Result:
    """What came of a request; times in seconds."""

    first_audio: float
    total: float
    duration: float
    chunks: int

    def __str__(self) -> str:
        return (
            f"first audio after {self.first_audio:.3f} s, {self.duration:.2f} s of audio in {self.total:.2f} s "
            f"(real-time factor {self.total / self.duration:.3f}), {self.chunks} chunks"
        )


class Player:
    """Plays 16-bit mono samples on a thread of its own, so that reading is not held up. May turn out to be silent."""

    def __init__(self, sample_rate: int) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        try:
            import sounddevice

            stream = sounddevice.RawOutputStream(samplerate=sample_rate, channels=1, dtype="int16")
            stream.start()
        except (ImportError, OSError) as error:  # not installed, or no PortAudio library
            print(f"not playing: {error}", file=sys.stderr)
            return
        except sounddevice.PortAudioError as error:
            print(f"not playing: no audio device ({error})", file=sys.stderr)
            return
        self._thread = threading.Thread(target=self._play, args=(stream,))
        self._thread.start()

    def _play(self, stream: Any) -> None:
        while (piece := self._pieces.get()) is not None:
            stream.write(piece)
        stream.stop()  # waits until all is heard

    def add(self, samples: bytes) -> None:
        self._pieces.put(samples)

    def finish(self) -> None:
        self._pieces.put(None)
        if self._thread is not None:
            self._thread.join()


def stream(client: httpx.Client, body: dict[str, Any], output: Path, *, play: bool) -> Result:
    """Speech over server-sent events: each chunk is written, and played, as it comes.

    The chunks joined are one WAV file. Its header says "until the end", because the length is not known when the header
    is sent; when all has come, the true length is put in. Until then it is called output.wav.part: a file that was there
    before is replaced by a whole clip only.
    """
    player: Player | None = None
    partial = output.with_name(f"{output.name}.part")
    started = time.perf_counter()
    first_audio = 0.0
    with ExitStack() as open_things:
        source = open_things.enter_context(connect_sse(client, "POST", "/v1/generate/stream", json=body))
        check(source.response)
        file = open_things.enter_context(partial.open("wb"))
        for event in source.iter_sse():
            data = json.loads(event.data)
            if event.event == "error":
                raise Failure(f"{data['error']['message']} (what came before is in {partial})")
            audio = base64.b64decode(data["audio_chunk"])
            if data["chunk_index"] == 0:
                first_audio = time.perf_counter() - started
                player = Player(data["sample_rate"]) if play else None
            start = WAV_HEADER_BYTES if data["chunk_index"] == 0 else 0
            if player is not None:
                player.add(audio[start:])
            file.write(audio)
            file.flush()
            if data["is_final"]:
                total = time.perf_counter() - started
                break
        else:
            raise Failure(f"the stream ended before its final event; what came before is in {partial}")
    put_length(partial)
    partial.replace(output)
    if player is not None:
        player.finish()
    return Result(first_audio, total, data["metadata"]["duration"], data["metadata"]["total_chunks"])


def generate(client: httpx.Client, body: dict[str, Any], output: Path) -> Result:
    """The same speech as one reply."""
    started = time.perf_counter()
    response = client.post("/v1/generate", json=body)
    check(response)
    reply = response.json()
    total = time.perf_counter() - started
    output.write_bytes(base64.b64decode(reply["audio_base64"]))
    return Result(total, total, reply["duration"], 1)


def check(response: httpx.Response) -> None:
    """Raise what the server says is wrong."""
    if response.is_success:
        return
    response.read()
    retry = f" (retry after {seconds} s)" if (seconds := response.headers.get("retry-after")) else ""
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):  # not from the server, but from something in between
        message = response.text[:200]
    raise Failure(f"{response.status_code}: {message}{retry}")


def put_length(path: Path) -> None:
    """Write the true sizes into the header of a streamed WAV file; some programs insist on them."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4)
        file.write((size - 8).to_bytes(4, "little"))
        file.seek(WAV_HEADER_BYTES - 4)
        file.write((size - WAV_HEADER_BYTES).to_bytes(4, "little"))


def request_body(arguments: argparse.Namespace) -> dict[str, Any]:
    """The JSON body: text, voice, and only those settings that were given."""
    body: dict[str, Any] = {"gen_text": arguments.text}
    audio, text = arguments.ref_audio, arguments.ref_text
    if audio is None and arguments.voice is None and REFERENCE.exists():
        audio = REFERENCE
    if audio is not None:
        beside = audio.with_suffix(".txt")
        if text is None and beside.exists():
            text = beside.read_text("utf-8").strip()
        body["ref_audio_base64"] = base64.b64encode(audio.read_bytes()).decode()
        if text is not None:
            body["ref_text"] = text
    settings = {
        "voice": arguments.voice,
        "seed": arguments.seed,
        "num_inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance,
        "speed_factor": arguments.speed,
    }
    return body | {name: value for name, value in settings.items() if value is not None}


def main() -> int:
    parser = argparse.ArgumentParser(description="Stream speech from an F5-TTS server, play it and save it.")
    parser.add_argument("text", nargs="?", default="Hello! You can hear this sentence before it is finished.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument("--api-key", help="sent as a Bearer token")
    parser.add_argument("--voice", help="a stored voice, by id or name")
    parser.add_argument("--ref-audio", type=Path, help="a clip of the voice to speak with")
    parser.add_argument("--ref-text", help="what is said in it; by default the .txt file beside it")
    parser.add_argument("--output", type=Path, default=Path("output.wav"), help="WAV file (default: %(default)s)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int, help="steps of the flow")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--speed", type=float, help="above 1 speaks faster")
    parser.add_argument("--no-play", action="store_true", help="only save")
    parser.add_argument("--whole", action="store_true", help="one reply instead of a stream")
    arguments = parser.parse_args()
    headers = {"Authorization": f"Bearer {arguments.api_key}"} if arguments.api_key else {}
    with httpx.Client(base_url=arguments.url, headers=headers, timeout=httpx.Timeout(300, connect=5)) as client:
        try:
            body = request_body(arguments)
            if arguments.whole:
                result = generate(client, body, arguments.output)
            else:
                result = stream(client, body, arguments.output, play=not arguments.no_play)
        except (Failure, httpx.HTTPError, OSError) as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    print(f"{arguments.output}: {result}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
