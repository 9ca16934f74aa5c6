"""What is shipped in `f5_tts_server/embedded/assets`: complete, small, sound, and said by the voice it claims."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.lengths import LengthModel
from f5_tts_server.embedded.phonemes import SYMBOLS, phonemes
from f5_tts_server.f5.text import Vocab

VOICES = json.loads((ASSETS / "voices.json").read_text(encoding="utf-8"))


def test_it_all_weighs_at_most_40_megabytes() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 40 * 2**20


def test_the_vocabulary_is_the_front_ends() -> None:
    assert list(Vocab.load(ASSETS / "vocab.txt").index) == [" ", *SYMBOLS]


def test_there_are_eight_voices_and_the_default_is_one() -> None:
    ids = [voice["id"] for voice in VOICES["voices"]]
    assert len(set(ids)) >= 8
    assert VOICES["default"] in ids


@pytest.mark.parametrize("voice", VOICES["voices"], ids=lambda voice: voice["id"])
def test_a_clip_is_clean_and_lasts_as_long_as_its_text(voice: dict[str, str]) -> None:
    samples, rate = soundfile.read(ASSETS / voice["audio"], dtype="float32")
    assert rate == 24_000
    assert 1.5 <= len(samples) / rate <= 5
    assert np.abs(samples).max() < 1
    assert abs(float(samples.mean())) < 3e-3
    rate_found, scale = LengthModel.load(ASSETS / "lengths.safetensors").fit_rate(
        phonemes(voice["text"]), len(samples) // 256
    )
    assert 110 < rate_found < 220
    assert scale == pytest.approx(1, abs=0.01)
