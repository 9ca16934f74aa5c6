"""What a teacher is given to read, and where its audio has each symbol."""

from __future__ import annotations

import numpy as np
import pytest

from f5_tts_server.embedded.phonemes import BOUNDARY, SYMBOLS, phonemes
from training.spoken import AHEAD, OTHERS, SAMPLE_RATE, SHIPPED, UNIT, UNSEEN, Utterance, letters, spans_of, trimmed

ALPHABET = set(" ,.!?AIOWYbdfhijklmnpstuvwzæðŋɑɔəɛɜɡɪɹɾʃʊʌʒʔʤʧˈˌθᵊᵻ")
"""Letters of misaki's American English that both teachers know."""


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (["h", "ə", "l", "ˈO", BOUNDARY, "w", "ˈɝ", "l", "d", "."], "həlˈO wˈɜɹld."),
        (["m", "ˈɛ", "m", "ɚ", "ɹ", "i", ",", "f", "ˈIɚ", "!"], "mˈɛməɹi, fˈIəɹ!"),
        (["b", "ˈʌ", "ʔ", "n̩", "?"], "bˈʌʔᵊn?"),
        (["b", "ˈɔɹ", "ɹ", "."], "bˈɔɹ."),
    ],
)
def test_symbols_are_read_as_misaki_writes_them(said: list[str], read: str) -> None:
    assert letters(said)[0] == read


def test_every_symbol_can_be_read() -> None:
    text, owners = letters(SYMBOLS)
    assert set(text) <= ALPHABET
    assert len(text) == len(owners)
    assert set(owners) == set(range(len(SYMBOLS)))


def test_a_symbol_lasts_as_long_as_its_letters() -> None:
    """Edges before and after; the space's two units go one to each neighbour, the comma keeps the one after it."""
    said = ["b", "ˈɝ", BOUNDARY, "d", ",", "z", "."]
    text, owners = letters(said)
    assert text == "bˈɜɹ d, z."
    lengths = np.array([3, 1, 1, 2, 1, 2, 4, 2, 5, 3, 6, 7])
    spans = (spans_of(lengths, owners, 6) + AHEAD) // UNIT
    np.testing.assert_array_equal(spans, [[3, 4], [4, 9], [9, 14], [14, 21], [21, 24], [24, 37]])


def test_trimming_shortens_silence_only() -> None:
    """A ramp tells where each kept sample came from."""
    rate = SAMPLE_RATE
    ramp = np.arange(4 * rate, dtype=np.float32)
    spans = np.array([[rate, rate + 100], [rate + 100, 2 * rate], [2 * rate, 2 * rate + 50], [2 * rate + 50, 4 * rate]])
    cut = trimmed(Utterance(ramp, ("b", ",", "d", "."), spans))
    lengths = cut.spans[:, 1] - cut.spans[:, 0]
    np.testing.assert_array_equal(lengths, [100 + round(0.02 * rate), round(0.4 * rate), 50, round(0.16 * rate)])
    assert len(cut.samples) == lengths.sum()
    assert cut.samples[cut.spans[2, 0]] == 2 * rate


def test_voices_are_kept_apart() -> None:
    assert len({*SHIPPED, *UNSEEN, *OTHERS}) == len(SHIPPED) + len(UNSEEN) + len(OTHERS) == 28
    assert len(UNSEEN) == 6


def test_text_of_a_sentence() -> None:
    assert letters(phonemes("Look, a cat!"))[0] == "lˈʊk, ə kˈæt!"
