"""FFmpeg's command line as the independent decoder of what the server encodes."""

import shutil
import subprocess

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.clips import RATE

# Samples of silence the decoder puts before the clip, and the most it may put after it.
DELAY = {"wav": 0, "pcm": 0, "flac": 0, "opus": 0, "mp3": 1105, "aac": 1024, "ulaw": 0, "alaw": 0}
MOST_PADDING = {"wav": 0, "pcm": 0, "flac": 0, "opus": 0, "mp3": 1152, "aac": 2048, "ulaw": 159, "alaw": 159}
HEADERLESS = {"pcm": "s16le", "ulaw": "mulaw", "alaw": "alaw"}


def decode(name: str, data: bytes, rate: int = RATE) -> NDArray[np.float32]:
    """Decode with FFmpeg from a pipe, as a player of a stream does; ``rate`` is what a headerless format has."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    given = ["-f", HEADERLESS[name], "-ar", str(rate), "-ac", "1"] if name in HEADERLESS else []
    command = [ffmpeg, "-v", "error", *given, "-i", "pipe:0", "-f", "f32le", "-ac", "1", "-ar", str(rate), "pipe:1"]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)
