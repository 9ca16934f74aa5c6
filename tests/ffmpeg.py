"""FFmpeg's command line as the independent decoder of what the server encodes."""

import shutil
import subprocess

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.clips import RATE

# Samples of silence the decoder puts before the clip, and the most it may put after it.
DELAY = {"wav": 0, "pcm": 0, "flac": 0, "opus": 0, "mp3": 1105, "aac": 1024}
MOST_PADDING = {"wav": 0, "pcm": 0, "flac": 0, "opus": 0, "mp3": 1152, "aac": 2048}


def decode(name: str, data: bytes) -> NDArray[np.float32]:
    """Decode with FFmpeg from a pipe, as a player of a stream does."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    given = ["-f", "s16le", "-ar", str(RATE), "-ac", "1"] if name == "pcm" else []
    command = [ffmpeg, "-v", "error", *given, "-i", "pipe:0", "-f", "f32le", "-ac", "1", "-ar", str(RATE), "pipe:1"]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)
