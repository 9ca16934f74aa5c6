"""From process start to the first 200 of /readyz: with an empty cache of compiled programs and with a full one.

`.venv/bin/python -m benchmarks.startup` starts `main.py` on a free port; further flags are passed on to it.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import environment, print_last_line
from tests.server import server_of


def start(cache: Path, flags: list[str]) -> dict[str, float]:
    """Seconds until the port answers and until ready, resident memory in MiB then, programs compiled."""
    command = (sys.executable, "main.py", "--port", "0", "--compilation-cache", str(cache), *flags)
    began = time.perf_counter()
    with server_of(command) as server:
        answers = time.perf_counter() - began
        server.wait_until_ready()
        ready = time.perf_counter() - began
        compiled = re.search(r"(\d+) programs compiled", server.log)
        return {
            "port answers, s": answers,
            "ready, s": ready,
            "resident, MiB": psutil.Process(server.process.pid).memory_info().rss / 2**20,
            "programs": float(compiled[1]) if compiled else float("nan"),
        }


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = {name: start(Path(folder), sys.argv[1:]) for name in ("cold", "warm")}
    print(f"{'cache':6}" + "".join(f"{name:>18}" for name in results["cold"]))
    for name, row in results.items():
        print(f"{name:6}" + "".join(f"{value:18.1f}" for value in row.values()))
    print_last_line("startup", environment("jax", "jaxlib"), results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
