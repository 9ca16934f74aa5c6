"""Voice-agent frameworks with their real plugins for OpenAI and ElevenLabs.

They live in an environment of their own: `make clients`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server import ServerThread, serving
from tests.toy_programs import ToyPrograms

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("F5_CLIENTS_PYTHON", HERE.parents[1] / ".venv-clients" / "bin" / "python"))
TEXT = "The first sentence is here. The second one follows it."  # what the clients speak

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the clients are not installed (make clients)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    with serving(tmp_path_factory.mktemp("server"), ToyPrograms()) as running:
        yield running


@pytest.fixture(scope="module")
def length(server: ServerThread) -> int:
    """Samples of the text as a whole."""
    body = {"model": "m", "input": TEXT, "voice": "ada", "response_format": "pcm"}
    return len(httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=30).content) // 2


def run(script: str, *arguments: str) -> dict[str, Any]:
    command = [str(PYTHON), str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("format", "model"),
    [*((format, "tts-1") for format in ("mp3", "opus", "aac", "flac", "wav", "pcm")), ("mp3", "gpt-4o-mini-tts")],
)
def test_livekit(server: ServerThread, length: int, format: str, model: str) -> None:
    """Within two frames of the longest codec: LiveKit decodes the file itself and counts in frames of its own."""
    found = run("livekit_client.py", server.url, format, model)
    assert found["rate"] == 24_000
    assert abs(found["samples"] - length) <= 2048


def test_pipecat(server: ServerThread, length: int) -> None:
    assert run("pipecat_client.py", server.url) == {"samples": length, "rate": 24_000, "errors": []}


@pytest.mark.parametrize("encoding", ["pcm_24000", "mp3_44100_128"])
def test_livekit_elevenlabs(server: ServerThread, length: int, encoding: str) -> None:
    """Two texts over one `multi-stream-input` connection, which was refused with 403, and a whole one.

    The sentences of a written text are spoken as they complete, so its length differs from the whole one's.
    """
    found = run("livekit_elevenlabs_client.py", server.url, encoding)
    scale = 24_000 / found["rate"]
    first, second, whole = (samples * scale for samples in found["samples"])
    assert first == second
    assert abs(first - length) < 0.1 * length
    assert abs(whole - length) <= 2048


def test_pipecat_elevenlabs(server: ServerThread, length: int) -> None:
    found = run("pipecat_elevenlabs_client.py", server.url)
    assert (found["rate"], found["errors"]) == (24_000, [])
    assert abs(found["samples"] - length) < 0.1 * length
