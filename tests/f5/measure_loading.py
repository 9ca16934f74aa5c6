"""Measures how long a full-size checkpoint takes to load and how much memory that needs. Part of `make parity`.

python -m tests.f5.measure_loading [CHECKPOINT]

Without an argument a random F5TTS_v1_Base checkpoint (337M parameters, float32) is written first. Loading runs in a
process of its own, once to warm the file cache and once measured. Exits with 1 where the limits are missed: 10 s, and
a peak of 1.3 times the file's size for the whole process, Python and JAX included.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import safetensors.numpy

from f5_tts_server.f5.config import CONFIGS
from f5_tts_server.f5.weights import backbone_shapes, load_backbone

CONFIG = CONFIGS["F5TTS_v1_Base"].backbone
SECONDS, RATIO = 10.0, 1.3


def write(path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {key: rng.standard_normal(shape, np.float32) for key, shape in backbone_shapes(CONFIG).items()}
    safetensors.numpy.save_file({f"ema_model.transformer.{key}": value for key, value in arrays.items()}, path)


def load(path: Path) -> None:
    begin = time.perf_counter()
    load_backbone(path, CONFIG)
    seconds = time.perf_counter() - begin
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def measure(path: Path) -> bool:
    for _ in range(2):
        output = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--load", str(path)], check=True, capture_output=True, text=True
        ).stdout
    seconds, peak = map(float, output.split())
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e9:.2f} GB loaded in {seconds:.2f} s (limit {SECONDS:g} s), ", end="")
    print(f"peak {peak / 1e9:.2f} GB = {peak / size:.2f} x the file (limit {RATIO:g})")
    return seconds <= SECONDS and peak <= RATIO * size


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--write", path]:
            write(Path(path))
        case ["--load", path]:
            load(Path(path))
        case [path]:
            return 0 if measure(Path(path)) else 1
        case _:
            with tempfile.TemporaryDirectory() as folder:
                weights = Path(folder) / "model.safetensors"
                # In a process of its own too: this one stays small.
                subprocess.run([sys.executable, "-m", __spec__.name, "--write", weights], check=True)
                return 0 if measure(weights) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
