"""Numbers are read in the language of the sentence that they stand in, or left alone."""

import pytest

from f5_tts_server.text.language import UNKNOWN, by_language, detect
from f5_tts_server.text.normalization import normalize

SENTENCES = [
    ("Il est 15 h 30.", "fr"),
    ("Nous avons 3 chats et 2 chiens.", "fr"),
    ("Le train part à 8:45.", "fr"),
    ("Der Zug fährt um 8:45 Uhr ab.", "de"),
    ("Ich habe 3 Katzen.", "de"),
    ("El tren sale a las 8:45.", "es"),
    ("Hay 3 gatos en la casa.", "es"),
    ("Il treno parte alle 8:45.", "it"),
    ("Ho 3 gatti nella casa.", "it"),
    ("O trem sai às 8:45.", "pt"),
    ("Tenho 3 gatos em casa e não é muito.", "pt"),
    ("Pociąg jest o 8:45 i kosztuje 20 zł.", "pl"),
    ("Поезд отправляется в 8:45.", "ru"),
    ("今天是2024年。", "zh"),
    ("今日は3時です。", "ja"),
    ("The train leaves at 8:45.", "en"),
    ("I saw 3 men in a tub.", "en"),
    ("Потяг прибуває о 8:45, її їжа.", UNKNOWN),
    ("Το τρένο φεύγει στις 8:45.", UNKNOWN),
    ("5 km", None),
    ("Chapter 4", None),
]


@pytest.mark.parametrize(("sentence", "code"), SENTENCES)
def test_the_language_of_a_sentence(sentence: str, code: str | None) -> None:
    assert detect(sentence) == code


def test_a_text_is_cut_where_its_language_changes() -> None:
    text = "Room 12. The bill is $20. Il est 15 h 30 et le train est là. 5 km. And the rest is 3 miles."
    pieces = by_language(text)
    assert "".join(piece for piece, _ in pieces) == text
    assert [code for _, code in pieces] == ["en", "fr", "en"]


def test_no_english_words_in_other_languages() -> None:
    """French, German and Spanish numbers became English words: "Il est fifteen h thirty"."""
    for sentence, code in SENTENCES:
        if code not in ("en", None):
            spoken = normalize(sentence)
            assert not any(word in spoken for word in ("one", "two", "three", "eight", "fifteen", "twenty")), spoken


def test_the_language_asked_for_rules() -> None:
    assert normalize("Le 5", "en-US") == "Le five"
    assert normalize("the 5", "xx") == "the 5"
    assert normalize("Le 5", "English") == "Le five"
    assert normalize("I have 5.", "Auto") == "I have five."
