"""Real servers for tests: uvicorn, the application, and by default the toy model.

`running` starts one in a process of its own, whose signals, log and exit status can be seen; `serving` starts one in a
thread, whose parts can be reached. ``python -m tests.server --toy '{"step_s": 0.01}' FLAGS...`` is what runs in the
process; FLAGS are those of main.py. Benchmarks start their servers with `server_of` too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from f5_tts_server.voices.store import VoiceStore
    from tests.toy_programs import ToyPrograms

ROOT = Path(__file__).parent.parent
START_S = 600.0


def free_port() -> int:
    """A port for a listener that cannot say which one it got."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Server:
    """Where a server listens, and what it says about itself over HTTP."""

    url: str

    @property
    def host(self) -> str:
        """Address and port, as they stand in a URL."""
        return self.url.removeprefix("http://")

    def metric(self, name: str) -> float:
        """The value of one line of /metrics, its labels included in the name."""
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        raise KeyError(name)

    def active(self) -> int:
        """Requests that are being worked on; one may hold several slots."""
        return int(httpx.get(f"{self.url}/v1/health").json()["engine"]["queues"]["active"]["depth"])

    def wait_until_ready(self) -> None:
        end = time.monotonic() + START_S
        with httpx.Client() as client:  # one for all: making one takes as long as many answers
            while client.get(f"{self.url}/readyz").status_code != 200:
                assert time.monotonic() < end, "the server did not become ready"
                time.sleep(0.05)


@dataclass
class ServerProcess(Server):
    """A server in a process of its own, and its log."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        return self.process.wait(seconds)


@dataclass
class ServerThread(Server):
    """A server in a thread of the tests, and what is inside."""

    app: Any
    programs: ToyPrograms
    voices: VoiceStore


@contextmanager
def running(*flags: str, toy: dict[str, Any] | None = None, ready: bool = True) -> Iterator[ServerProcess]:
    """A server with these flags on a free port; with ``toy`` the toy model with these settings, else the real one."""
    command = [sys.executable, "-m", "tests.server", "--toy", json.dumps(toy), "--port", "0", *flags]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("F5_")}
    with server_of(command, environment=environment) as server:
        if ready:
            server.wait_until_ready()
        yield server


@contextmanager
def server_of(
    command: Sequence[str], *, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> Iterator[ServerProcess]:
    """The server that a command starts, once its port answers; killed at the end if it still runs.

    `command` asks for port 0 and so gets a free one; `environment` is this process's own unless given.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=output, env=environment)
        try:
            yield ServerProcess(_address(process, log), process, log)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text("utf-8", "replace").splitlines():
            if "Uvicorn running on " in line:
                return line.partition("Uvicorn running on ")[2].split()[0]
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text('utf-8', 'replace')}")


@contextmanager
def serving(folder: Path, programs: ToyPrograms, **settings: Any) -> Iterator[ServerThread]:
    """A server of the toy model in this process, with these settings, until the block ends; `folder` holds its voices.

    With a `models_file` its models are all like `programs`.
    """
    import uvicorn

    from f5_tts_server.app import create_app
    from f5_tts_server.inference_types import SamplingDefaults
    from f5_tts_server.settings import Settings
    from f5_tts_server.voices.store import VoiceStore
    from tests.clips import embedded_voices

    single = "models_file" not in settings
    if single:
        settings["model"] = "toy"
    chosen = Settings(compilation_cache=None, **settings)
    voices = VoiceStore(folder / "uploads", embedded_voices(folder / "embedded"), max_voices=3, aliases=chosen.aliases)
    defaults = SamplingDefaults(nfe=8, cfg_strength=2.0, sway=True)
    # Each of several models has programs of its own.
    load = (lambda _: programs) if single else (lambda _: replace(programs))
    app = create_app(chosen, load=load, defaults=lambda _: defaults, voices=voices)
    listener = socket.create_server(("127.0.0.1", 0))
    # The loop that the product runs in; packages that only tests use bring another.
    config = uvicorn.Config(app, log_config=None, lifespan="on", loop="asyncio", timeout_graceful_shutdown=2)
    inside = uvicorn.Server(config)
    thread = threading.Thread(target=inside.run, kwargs={"sockets": [listener]}, name="test-server")
    thread.start()
    server = ServerThread(f"http://127.0.0.1:{listener.getsockname()[1]}", app, programs, voices)
    try:
        server.wait_until_ready()
        yield server
    finally:
        inside.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()


def main(arguments: list[str]) -> int:
    """What runs in the process of `running`."""
    from f5_tts_server.app import configure_logging, create_app, serve
    from f5_tts_server.inference_types import Programs, SamplingDefaults
    from f5_tts_server.settings import Settings, read_settings
    from f5_tts_server.voices.store import VoiceStore
    from tests.clips import embedded_voices
    from tests.toy_programs import ToyPrograms

    toy = json.loads(arguments[1])
    settings = read_settings(arguments[2:])
    configure_logging(settings.log_level, settings.log_format)
    if toy is None:
        return serve(create_app(settings))

    def load(_: Settings) -> Programs:
        if "load_error" in toy:
            raise FileNotFoundError(toy["load_error"])
        return ToyPrograms(**toy)

    with tempfile.TemporaryDirectory() as folder:
        voices = VoiceStore(
            settings.voices_folder,
            embedded_voices(Path(folder) / "embedded"),
            default=settings.voice,
            aliases=settings.aliases,
        )
        return serve(create_app(settings, load, lambda _: SamplingDefaults(nfe=8), voices))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
