"""The teacher speaks our phonemes and says when. Skipped where espeak-ng is not installed: it is only for training."""

from __future__ import annotations

import ctypes.util

import numpy as np
import pytest

from f5_tts_server.embedded.phonemes import BOUNDARY, SYMBOLS, phonemes
from training.corpus import MEL, NAMED_VOICES, prepare
from training.ears import pitch
from training.teacher import MNEMONICS, SAMPLE_RATE, Teacher, Voice

pytestmark = pytest.mark.skipif(ctypes.util.find_library("espeak-ng") is None, reason="espeak-ng is not installed")
TEXT = "The old clock on the wall has stopped, but nobody wants to take it down."


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher()


def test_every_symbol_but_pauses_has_a_mnemonic() -> None:
    assert set(MNEMONICS) == set(SYMBOLS[4:])


def test_spans_tile_the_audio(teacher: Teacher) -> None:
    spoken = teacher.speak(phonemes(TEXT), NAMED_VOICES["ada"])
    assert list(spoken.symbols) == [symbol for symbol in phonemes(TEXT) if symbol != BOUNDARY]
    assert spoken.spans[0, 0] == 0
    assert spoken.spans[-1, 1] == len(spoken.samples)
    np.testing.assert_array_equal(spoken.spans[1:, 0], spoken.spans[:-1, 1])


def test_spans_are_where_the_sounds_are(teacher: Teacher) -> None:
    """Pauses are silent, stressed vowels are not; a shift of a few frames would mix the two."""
    spoken = teacher.speak(phonemes(TEXT), NAMED_VOICES["ben"])

    def loudness(symbol_starts: tuple[str, ...]) -> float:
        pieces = [
            spoken.samples[a:b]
            for symbol, (a, b) in zip(spoken.symbols, spoken.spans, strict=True)
            if symbol.startswith(symbol_starts)
        ]
        return float(np.sqrt(np.mean(np.square(np.concatenate(pieces)))))

    assert loudness((",", ".")) < 0.05 * loudness(("ˈ",))


def test_a_larger_speaker_is_deeper_and_as_quick(teacher: Teacher) -> None:
    clips = {size: teacher.speak(phonemes(TEXT), Voice("m1", 50, 165, size)) for size in (0.82, 1.22)}
    small, large = (clips[size].samples for size in (0.82, 1.22))
    assert pitch(small, SAMPLE_RATE) / pitch(large, SAMPLE_RATE) == pytest.approx(1.22 / 0.82, rel=0.05)
    assert len(small) == pytest.approx(len(large), rel=0.05)
    for clip in clips.values():
        assert clip.spans[-1, 1] == len(clip.samples)


def test_no_long_silence_at_the_edges(teacher: Teacher) -> None:
    spoken = teacher.speak(phonemes(TEXT), NAMED_VOICES["cleo"])
    loud = np.flatnonzero(np.abs(spoken.samples) > 0.01)
    assert loud[0] < 0.06 * SAMPLE_RATE
    assert len(spoken.samples) - loud[-1] < 0.15 * SAMPLE_RATE


def test_prepared_lengths_add_up_to_the_frames(teacher: Teacher) -> None:
    one = prepare(teacher.speak(phonemes(TEXT), NAMED_VOICES["dan"]), np.random.default_rng(0))
    assert len(one.mel) % 2 == 0
    assert float(one.lengths.sum()) == pytest.approx(len(one.mel), abs=2)
    assert one.mel.shape[1] == MEL.n_mels
