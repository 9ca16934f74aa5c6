"""Voice-agent frameworks with their real plugins for OpenAI and ElevenLabs, LiteLLM and the Vercel AI SDK.

They live in an environment of their own: `make clients`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ffmpeg import decode
from tests.server import ServerThread, serving
from tests.toy_programs import ToyPrograms

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("F5_CLIENTS_PYTHON", HERE.parents[1] / ".venv-clients" / "bin" / "python"))
TEXT = "The first sentence is here. The second one follows it."  # what the clients speak

NODE = shutil.which("node")
MODULES = Path(os.environ.get("F5_CLIENTS_NODE_MODULES", PYTHON.parents[1] / "node_modules"))

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


def run(script: str, *arguments: str, program: tuple[str, ...] = (str(PYTHON),)) -> dict[str, Any]:
    command = [*program, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
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


OPENAI_FORMATS = {name: (name, 24_000) for name in ("mp3", "opus", "aac", "flac", "wav", "pcm")}
ELEVENLABS_FORMATS = {
    "mp3": ("mp3", 44_100),
    "mp3_32": ("mp3", 44_100),
    "pcm": ("pcm", 44_100),
    "pcm_16000": ("pcm", 16_000),
    "ulaw": ("ulaw", 8_000),
}


def assert_faster(folder: Path, formats: dict[str, tuple[str, int]], length: int) -> None:
    """They ask for a speed of 1.25, which shortens what `length` samples at 24 kHz are as long as."""
    for name, (codec, rate) in formats.items():
        samples = decode(codec, (folder / name).read_bytes(), rate)
        assert len(samples) / rate == pytest.approx(length / 24_000 / 1.25, abs=0.15), name


def test_litellm(server: ServerThread, length: int, tmp_path: Path) -> None:
    run("litellm_client.py", server.url, str(tmp_path), *OPENAI_FORMATS)
    assert_faster(tmp_path, OPENAI_FORMATS, length)


@pytest.mark.skipif(
    NODE is None or not MODULES.exists(), reason="node or its packages are not installed (make clients)"
)
@pytest.mark.parametrize(("provider", "formats"), [("openai", OPENAI_FORMATS), ("elevenlabs", ELEVENLABS_FORMATS)])
def test_vercel_ai_sdk(
    server: ServerThread, length: int, provider: str, formats: dict[str, tuple[str, int]], tmp_path: Path
) -> None:
    assert NODE is not None
    arguments = (str(MODULES), server.url, provider, str(tmp_path), *formats)
    assert run("vercel_client.cjs", *arguments, program=(NODE,)) == {"warnings": []}
    assert_faster(tmp_path, formats, length)
