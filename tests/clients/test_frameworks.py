"""Voice-agent frameworks with their real OpenAI plugins. They live in an environment of their own: `make clients`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import ServerThread, serving
from tests.toy_programs import ToyPrograms

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("F5_CLIENTS_PYTHON", HERE.parents[1] / ".venv-clients" / "bin" / "python"))
LENGTH = 80_368  # samples of the clients' text in the toy model's voice

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the clients are not installed (make clients)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    with serving(tmp_path_factory.mktemp("server"), ToyPrograms()) as running:
        yield running


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
def test_livekit(server: ServerThread, format: str, model: str) -> None:
    """Within two frames of the longest codec: LiveKit decodes the file itself and counts in frames of its own."""
    found = run("livekit_client.py", server.url, format, model)
    assert found["rate"] == 24_000
    assert abs(found["samples"] - LENGTH) <= 2048


def test_pipecat(server: ServerThread) -> None:
    assert run("pipecat_client.py", server.url) == {"samples": LENGTH, "rate": 24_000, "errors": []}
