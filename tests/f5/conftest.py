"""One tiny model and one reference for the tests of the whole model."""

from __future__ import annotations

from pathlib import Path

import pytest

from f5_tts_server.f5.frontend import Reference
from f5_tts_server.f5.model import SpeechModel
from f5_tts_server.models import load_model
from tests import tiny_model
from tests.clips import file, noise


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SpeechModel:
    folder: Path = tmp_path_factory.mktemp("tiny")
    return load_model(**tiny_model.write(folder), max_frames=512)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def reference(tiny: SpeechModel) -> Reference:
    return tiny.frontend.prepare_reference(file(noise(1.3)), "What the clip says.")
