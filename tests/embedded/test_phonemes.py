"""The phoneme front end: pronunciations that any dictionary agrees on, readings of digits, and odd input."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f5_tts_server.embedded.phonemes import BOUNDARY, PAUSES, SYMBOLS, phonemes, words
from f5_tts_server.embedded.pronunciation import (
    CONSONANTS,
    STRESSES,
    VOWELS,
    _remembered,
    known_words,
    letter_to_sound,
    parse,
    pronounce,
)


def joined(text: str) -> str:
    return "".join(phonemes(text))


@pytest.mark.parametrize(
    ("word", "sounds"),
    [
        ("water", ("w", "ˈɔ", "ɾ", "ɚ")),
        ("memory", ("m", "ˈɛ", "m", "ɚ", "ɹ", "i")),  # the ɹ is heard before a vowel
        ("very", ("v", "ˈɛ", "ɹ", "i")),
        ("fire", ("f", "ˈIɚ")),
        ("button", ("b", "ˈʌ", "ʔ", "n̩")),
        ("cars", ("k", "ˈɑɹ", "z")),
        ("FBI's", ("ˈɛ", "f", "b", "ˈi", "ˈI", "z")),  # once read as a word of letters
        ("CDs", ("s", "ˈi", "d", "ˈi", "z")),
        ("iPhone", ("ˈI", "f", "ˈO", "n")),
    ],
)
def test_pronunciations(word: str, sounds: tuple[str, ...]) -> None:
    assert pronounce(word) == sounds


@pytest.mark.parametrize(
    ("word", "ending"),
    [("glimmed", "d"), ("dog's", "z"), ("cat's", "s"), ("websockets", "s"), ("tokenizers", "z")],
)
def test_endings_of_words_outside_the_dictionary(word: str, ending: str) -> None:
    assert pronounce(word)[-1] == ending


def test_every_entry_of_the_dictionary_is_made_of_known_symbols() -> None:
    """A symbol outside the vocabulary would be spoken as the space."""
    known = set(SYMBOLS)
    strange = {word: sounds for word in known_words()[::23] if not set(sounds := pronounce(word)) <= known}
    assert not strange


def test_a_transcription_with_a_strange_letter_is_refused() -> None:
    with pytest.raises(ValueError, match="'q' is no phoneme"):
        parse("bæq")


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=14))
@settings(max_examples=200, deadline=None)
def test_letters_always_give_known_symbols(word: str) -> None:
    assert set(letter_to_sound(word)) <= set(SYMBOLS)


def test_symbols_are_all_different_and_complete() -> None:
    assert len(set(SYMBOLS)) == len(SYMBOLS) == len(PAUSES) + len(CONSONANTS) + len(VOWELS) * len(STRESSES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3.14", "three point one four"),
        ("1,200 apples", "one thousand two hundred apples"),
        ("1999 and 2000045", "one thousand nine hundred and ninety nine and two million and forty five"),
        ("1" * 20, " ".join(["one"] * 20)),
        ("007", "zero zero seven"),
        ("50% & more", "fifty percent and more"),
        ("naïve café", "naive cafe"),
        ("Køge, Łódź and Straße", "Koge , Lodz and Strasse"),
        ("example.com", "example dot com"),
        ("Wait… what?!", "Wait . what ?"),
        ("“Yes”, he said (twice).", "Yes , he said , twice ."),
    ],
)
def test_words(text: str, said: str) -> None:
    assert " ".join(words(text)) == said


def test_the_before_a_vowel() -> None:
    assert joined("the apple.") == "ði ˈæpᵊl."
    assert joined("the pear.").startswith("ðə ")


@pytest.mark.parametrize("text", ["", "   ", "😀", "你好", "...", "\n\n", "---"])
def test_nothing_to_say_is_a_pause(text: str) -> None:
    assert phonemes(text) == ["."]


def test_a_word_longer_than_any_is_read_in_pieces() -> None:
    """Spelling rules take time that grows with more than the square of a word's length; its first request took 55 s."""
    assert words("a" * 100) == ["a" * 45, "a" * 45, "a" * 10]
    assert words("don't stop") == ["don't", "stop"]


def test_remembered_words_are_bounded_in_number_and_length() -> None:
    """The memory of a server must not grow with what strangers write."""
    assert pronounce("z" * 5_000) and pronounce("b" * 49)
    kept = _remembered.cache_info()
    assert pronounce("z" * 5_000) and pronounce("b" * 49)
    assert _remembered.cache_info() == kept
    assert kept.maxsize == 8192


@given(st.text(st.characters(exclude_categories=("Cs", "Co")), max_size=60))  # private ones carry pronunciations
@settings(max_examples=300, deadline=None)
def test_any_text_becomes_known_symbols_and_ends_in_a_pause(text: str) -> None:
    symbols = phonemes(text)
    assert set(symbols) <= {*SYMBOLS, BOUNDARY}
    assert symbols[-1] in (".", "?", "!")
    assert not any(a in PAUSES and b in PAUSES for a, b in zip(symbols, symbols[1:], strict=False))
