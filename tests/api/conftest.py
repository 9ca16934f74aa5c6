"""A real server on a real port, with the real engine and a model that can be computed by hand."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from f5_tts_server.app import create_app
from f5_tts_server.inference_types import SamplingDefaults
from f5_tts_server.settings import Settings
from f5_tts_server.voices.store import VoiceStore
from tests.toy_programs import ToyPrograms
from tests.voices.clips import TEXT, file, speech

DEFAULTS = SamplingDefaults(nfe=8, cfg_strength=2.0, speed=1.0, sway=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Server:
    """Where it listens, and what is inside."""

    host: str
    app: Any
    programs: ToyPrograms
    voices: VoiceStore

    @property
    def url(self) -> str:
        return f"http://{self.host}"


def embedded_voices(folder: Path) -> Path:
    """Three embedded voices, the first the default."""
    folder.mkdir()
    voices = []
    for level, name in ((0.3, "Ada"), (0.2, "Ben"), (0.1, "Cleo")):
        (folder / f"{name}.wav").write_bytes(file(speech(2, level=level)))
        voices.append({"id": name.lower(), "name": name, "audio": f"{name}.wav", "text": TEXT})
    (folder / "voices.json").write_text(json.dumps({"default": "ada", "voices": voices}))
    return folder


@contextmanager
def serving(folder: Path, programs: ToyPrograms, **settings: Any) -> Iterator[Server]:
    """Serve until the block ends, on a free port."""
    chosen = Settings(model="toy", compilation_cache=None, **settings)
    voices = VoiceStore(folder / "uploads", embedded_voices(folder / "embedded"), max_voices=3)
    app = create_app(chosen, load=lambda _: programs, defaults=lambda _: DEFAULTS, voices=voices)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="test-server")
    thread.start()
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        until = time.monotonic() + 30
        with httpx.Client() as client:
            while client.get(f"http://{host}/readyz").status_code != 200:
                assert time.monotonic() < until, "the server did not get ready"
                time.sleep(0.05)
        yield Server(host, app, programs, voices)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests that leave it as it was."""
    with serving(tmp_path_factory.mktemp("server"), ToyPrograms()) as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own."""
    with ExitStack() as stack:

        def start(programs: ToyPrograms | None = None, **settings: Any) -> Server:
            folder = tmp_path / f"server{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return stack.enter_context(serving(folder, programs or ToyPrograms(), **settings))

        yield start


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as session:
        yield session
