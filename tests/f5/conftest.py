"""One tiny model and one reference for the tests of the whole model."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from f5_tts_server.f5.frontend import Reference
from f5_tts_server.f5.loading import load_model
from f5_tts_server.f5.model import SpeechModel
from tests import tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    folder: Path = tmp_path_factory.mktemp("tiny")
    return load_model(**tiny_model.write(folder), max_frames=512)  # type: ignore[arg-type]


def clip(seconds: float, seed: int = 0, volume: float = 0.05) -> bytes:
    """Noise that swells and fades, as a WAV file."""
    rng = np.random.default_rng(seed)
    n = int(seconds * 24_000)
    samples = volume * rng.standard_normal(n) * (1.2 + np.sin(np.arange(n) / 3000))
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), 24_000, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture(scope="session")
def reference(tiny: SpeechModel) -> Reference:
    return tiny.prepare_reference(clip(1.3), "What the clip says.")
