"""A server in a process of its own, for benchmarks that talk to it over HTTP."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.report import ROOT
from benchmarks.startup import free_port

LIMIT_S = 600


@contextmanager
def running(program: Sequence[str], flags: Sequence[str]) -> Iterator[str]:
    """The address of a server that is ready; ``program`` is what Python is given, ``flags`` are those of main.py."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, *program, "--port", url.rpartition(":")[2], *flags]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            began = time.monotonic()
            while not _ready(url):
                if time.monotonic() - began > LIMIT_S or process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"the server did not become ready:\n{log.read().decode()}")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz"):
            return True
    except (urllib.error.URLError, ConnectionError):  # no port yet, or 503
        return False
