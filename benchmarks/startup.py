"""From process start to the first 200 of /readyz: with an empty cache of compiled programs and with a full one.

`.venv/bin/python -m benchmarks.startup` starts `main.py` on a free port; further flags are passed on to it.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

from benchmarks.report import ROOT, environment, print_last_line

LIMIT_S = 600


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(cache: Path, flags: list[str]) -> dict[str, float]:
    """Seconds until the port answers and until ready, resident memory in MiB then, programs compiled."""
    port = free_port()
    command = [sys.executable, "main.py", "--port", str(port), "--compilation-cache", str(cache), *flags]
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            answers = None
            while True:
                seconds = time.perf_counter() - began
                if seconds > LIMIT_S or process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"the server did not become ready:\n{log.read().decode()}")
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                        break
                except urllib.error.HTTPError:  # 503: the port is there, the model is not
                    answers = answers or seconds
                except urllib.error.URLError:
                    pass
                time.sleep(0.02)
            memory = psutil.Process(process.pid).memory_info()
            log.seek(0)
            compiled = re.search(rb"(\d+) programs compiled", log.read())
            return {
                "port answers, s": answers or seconds,
                "ready, s": seconds,
                "resident, MiB": memory.rss / 2**20,
                "programs": float(compiled[1]) if compiled else float("nan"),
            }
        finally:
            process.terminate()
            process.wait(60)


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
