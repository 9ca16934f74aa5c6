"""Numbers are read in the language of the sentence that they stand in, or left alone."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
    ("The word 你好 costs $5 and more.", "en"),
    ("我用iPhone13拍了2张照片。", "zh"),
    ("5 km", None),
    ("Die Hard 2 made $5.", None),
    ("Order 3 tacos al pastor.", None),
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
            words = set(re.findall("[a-z]+", spoken))
            assert not words & {"one", "two", "three", "eight", "fifteen", "thirty", "twenty"}, spoken


def test_the_language_asked_for_rules() -> None:
    assert normalize("Le 5", "en-US") == "Le five"
    assert normalize("the 5", "xx") == "the 5"
    assert normalize("Le 5", "English") == "Le five"
    assert normalize("I have 5.", "Auto") == "I have five."


READINGS = [
    line.split("\t")
    for line in (Path(__file__).parent / "readings.tsv").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


LANGUAGES = "en zh de fr es it pt pl ru ja".split()
KINDS = "integer decimal year date time money percent unit phone ordinal".split()


def test_the_table_has_every_kind_of_number_in_every_language() -> None:
    assert len(READINGS) >= 200
    assert {(code, kind) for code in LANGUAGES for kind in KINDS} <= {(code, kind) for code, kind, _, _ in READINGS}


@pytest.mark.parametrize(
    ("code", "written", "spoken"),
    [(code, written, spoken) for code, _, written, spoken in READINGS],
    ids=[f"{code} {kind}: {written}" for code, kind, written, _ in READINGS],
)
def test_reading(code: str, written: str, spoken: str) -> None:
    """Against what a speaker of the language reads out.

    Of those that were wrong: "в 1999 г." was so many grams, "1 000 000 €" a telephone number, "am 3. Tag" the end of a
    sentence, "+7" an English plus, "1/2" a one and a two in Chinese.
    """
    assert normalize(written, code) == spoken


PIECES = [
    *(
        "0",
        "1",
        "2",
        "05",
        "12",
        "99",
        "1999",
        "2024",
        "31",
        "1.000",
        "1 000",
        "1,000",
        ",5",
        ".5",
        ":",
        ":30",
        "/",
        ".",
    ),
    *(" ", "-", "−", "+49", "%", " €", "$", "zł", "₽", "R$", "¥", "°C", "km", "км", "h", " Uhr", "er", "e", "º", "ª"),
    *(" Mai", " mai", " de mayo", " maja", " мая", " roku", " году", "年", "个", "月", "am ", "o ", "w ", "x", "你"),
]


@example("en", ["1,000", "0"])  # the last digit was left: four after a comma are no thousands
@given(st.sampled_from(LANGUAGES), st.lists(st.sampled_from(PIECES), max_size=12))
def test_any_digits_are_read_and_none_is_left(code: str, pieces: list[str]) -> None:
    spoken = normalize("".join(pieces), code)
    assert not any(character.isdecimal() for character in spoken), spoken
