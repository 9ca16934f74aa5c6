"""A real server in a subprocess: uvicorn, the application, and by default the toy model.

``python -m tests.server --toy '{"step_s": 0.01}' FLAGS...`` is what runs there; FLAGS are those of main.py.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
START_S = 180.0


def wav_clip(seconds: float = 1.5, rate: int = 24_000) -> bytes:
    """A clip that passes as a reference: a tone with some vibrato."""
    t = np.arange(int(seconds * rate)) / rate
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * 180 * t + 3 * np.sin(2 * np.pi * 5 * t)), rate, format="WAV")
    return file.getvalue()


class Server:
    """The running process, its address and its log."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        return self.process.wait(seconds)

    def metric(self, name: str) -> float:
        """The value of one line of /metrics, its labels included in the name."""
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        raise KeyError(name)

    def active(self) -> int:
        """Requests that are being worked on; one may hold several slots."""
        return int(httpx.get(f"{self.url}/v1/health").json()["engine"]["queues"]["active"]["depth"])


@contextmanager
def running(*flags: str, toy: dict[str, Any] | None = None, ready: bool = True) -> Iterator[Server]:
    """A server with these flags on a free port; with ``toy`` the toy model with these settings, else the real one."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "tests.server", "--toy", json.dumps(toy), "--port", "0", *flags]
        with log.open("wb") as output:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("F5_")}
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env=environment)
        try:
            server = Server(process, _address(process, log), log)
            if ready:
                wait_until_ready(server)
            yield server
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_until_ready(server: Server) -> None:
    end = time.monotonic() + START_S
    while httpx.get(f"{server.url}/readyz").status_code != 200:
        if time.monotonic() > end:
            raise AssertionError(f"not ready:\n{server.log}")
        time.sleep(0.05)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text("utf-8", "replace").splitlines():
            if "Uvicorn running on " in line:
                return line.partition("Uvicorn running on ")[2].split()[0]
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text('utf-8', 'replace')}")


def main(arguments: list[str]) -> int:
    """What runs in the subprocess."""
    from f5_tts_server.app import configure_logging, create_app, serve
    from f5_tts_server.inference_types import Programs, SamplingDefaults
    from f5_tts_server.settings import Settings, read_settings
    from f5_tts_server.voices.store import VoiceStore
    from tests.toy_programs import ToyPrograms

    toy = json.loads(arguments[1])
    settings = read_settings(arguments[2:])
    configure_logging(settings.log_level)
    if toy is None:
        return serve(create_app(settings))

    def load(_: Settings) -> Programs:
        if "load_error" in toy:
            raise FileNotFoundError(toy["load_error"])
        return ToyPrograms(**toy)

    with tempfile.TemporaryDirectory() as folder:
        embedded = Path(folder)
        (embedded / "toy.wav").write_bytes(wav_clip())
        voice = {"id": "toy", "name": "Toy", "audio": "toy.wav", "text": "Some words."}
        (embedded / "voices.json").write_text(json.dumps({"default": "toy", "voices": [voice]}))
        voices = VoiceStore(settings.voices_folder, embedded, default=settings.voice)
        return serve(create_app(settings, load, lambda _: SamplingDefaults(nfe=8), voices))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
