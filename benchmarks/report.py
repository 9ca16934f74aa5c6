"""What every benchmark says of itself: where, when and of which commit, and one JSON line last."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def environment(*packages: str) -> dict[str, Any]:
    """Commit, day, processor and the versions of `packages`."""
    return {
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _commit() -> str:
    if not (ROOT / ".git").exists():  # a copy of the files without its history
        return "unknown"
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    return commit.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}"


def print_last_line(benchmark: str, environment: dict[str, Any], results: Any) -> None:
    """The machine-readable end of the output."""
    print(json.dumps({"benchmark": benchmark, **environment, "results": results}))
