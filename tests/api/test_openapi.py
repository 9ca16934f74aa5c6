"""Made-up requests to the clients' routes: whatever the document allows or forbids, none may end in a 500."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.server import ServerThread


def test_no_made_up_request_ends_in_a_500(serve: Callable[..., ServerThread], tmp_path: Path) -> None:
    server = serve(max_body_mib=1, queue_limit=1000)
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{server.url}/openapi.json",
        "--checks=not_a_server_error",
        "--max-examples=5",
        "--phases=examples,coverage,fuzzing",
        "--request-timeout=20",
        "--seed=20261122",
        "--suppress-health-check=all",
        "--no-color",
        "--exclude-path-regex=^/(v1/generate|v1/health|livez|readyz|metrics)",  # tests/test_openapi.py
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
