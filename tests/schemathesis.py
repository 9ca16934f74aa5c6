"""Schemathesis, which makes up requests out of a server's own OpenAPI document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.server import Server


def made_up_requests(server: Server, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """One run with these flags; `folder` is where it leaves its files. Exit status 0 where every check held."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.url}/openapi.json",
        "--phases=examples,coverage,fuzzing",
        "--request-timeout=20",
        "--seed=20261122",
        "--suppress-health-check=all",
        "--no-color",
        *flags,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
