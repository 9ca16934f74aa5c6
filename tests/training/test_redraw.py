"""Log-mels that the shipped flow model redraws: the same speech, a little blurred."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from f5_tts_server.embedded.config import ASSETS
from f5_tts_server.embedded.lengths import LengthModel
from f5_tts_server.embedded.phonemes import BOUNDARY, phonemes
from training.redraw import HEARD, LONGEST, Redrawer
from training.shards import MEL, Spoken, prepare
from training.spoken import Utterance


@pytest.fixture(scope="module")
def redrawer() -> Redrawer:
    return Redrawer(ASSETS)


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    """The default voice's clip, its lengths predicted."""
    index = json.loads((ASSETS / "voices.json").read_text(encoding="utf-8"))
    voice = next(voice for voice in index["voices"] if voice["id"] == index["default"])
    samples, _ = soundfile.read(ASSETS / voice["audio"], dtype="float32")
    lengths = LengthModel.load(ASSETS / "lengths.safetensors")
    said = phonemes(voice["text"])
    rate, scale = lengths.fit_rate(said, len(samples) // MEL.hop)
    ends = np.rint(np.cumsum(lengths.frames(said, rate) * scale) * MEL.hop).astype(np.int64)
    symbols = tuple(symbol for symbol in said if symbol != BOUNDARY)
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    return prepare(Utterance(samples, symbols, spans), np.random.default_rng(0))


def test_what_is_redrawn_is_the_same_speech(redrawer: Redrawer, spoken: Spoken) -> None:
    rng = np.random.default_rng(0)
    true = spoken.mel.astype(np.float32)
    kept = int(HEARD * len(true))
    for _ in range(4):
        made = redrawer(true, spoken.ids, spoken.lengths, rng)
        assert made.shape == true.shape
        np.testing.assert_array_equal(made[:kept], true[:kept])
        away = np.abs(made - true)[kept:].mean()
        elsewhere = np.abs(made - np.roll(true, 30, axis=0))[kept:].mean()
        assert 0.1 < away < 0.6 * elsewhere


def test_what_does_not_fit_stays_as_it_is(redrawer: Redrawer, spoken: Spoken) -> None:
    rng = np.random.default_rng(0)
    for frames in (LONGEST + 1, 2 * len(spoken.ids) - 1):
        given = rng.normal(size=(frames, MEL.n_mels)).astype(np.float32)
        np.testing.assert_array_equal(redrawer(given, spoken.ids, spoken.lengths, rng), given)
