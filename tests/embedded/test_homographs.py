"""Words that are written alike: read by what stands beside them."""

from __future__ import annotations

from pathlib import Path

from f5_tts_server.embedded.homographs import score
from f5_tts_server.embedded.phonemes import phonemes

TABLE = Path(__file__).parent / "homographs.tsv"
LATER = Path(__file__).parent / "homographs_later.tsv"


def test_most_sentences_are_read_rightly() -> None:
    """Every second row was not looked at while the rules were made. The dictionary's one reading gets 62 of 126 right."""
    rows = score(TABLE)
    assert len(rows) == 126
    made_with, held_out = rows[0::2], rows[1::2]
    assert sum(row[2] for row in made_with) == len(made_with) == 63
    assert sum(row[2] for row in held_out) >= 57


def test_sentences_written_after_the_rules() -> None:
    """Nobody looked at these while the rules were made; what is wrong of them stays wrong, so that they tell the truth."""
    rows = score(LATER)
    assert (len(rows), sum(row[2] for row in rows)) == (46, 43)


def test_phonemes_follow_the_reading() -> None:
    assert "ɹˈɛd" in "".join(phonemes("She has read it."))
    assert "ɹˈid" in "".join(phonemes("She can read it."))
    assert "lˈIvz" in "".join(phonemes("Cats have nine lives."))
