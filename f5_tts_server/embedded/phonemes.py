"""English text to the phoneme symbols that the embedded voice was trained on.

`phonemes(text)` fails only for given sounds (`given_sounds`) that are none: digits that no normalization has read become
words, accents are dropped, what has no English reading (emoji, other scripts) is silent; `silent_letters` tells which
letters those are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from f5_tts_server import given_sounds
from f5_tts_server.embedded.homographs import reading
from f5_tts_server.embedded.pronunciation import CONSONANTS, STRESSES, VOWELS, pronounce, transcribe_words
from f5_tts_server.text.english import cardinal, digit_by_digit

PAUSES: tuple[str, ...] = (",", ".", "?", "!")
BOUNDARY = " "  # between words; has no length and is no token

SYMBOLS: tuple[str, ...] = (*PAUSES, *CONSONANTS, *(stress + vowel for vowel in VOWELS for stress in STRESSES))
"""Every token of the model, in the order of its `vocab.txt`."""

_SIGNS = {
    "%": "percent", "&": "and", "+": "plus", "@": "at", "=": "equals", "$": "dollars", "£": "pounds",
    "€": "euros", "°": "degrees", "#": "number", "×": "times", "÷": "divided by", "<": "less than",
    ">": "greater than", "/": "slash", "_": "underscore",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon phi chi "
    "psi omega"
).split()
# By name, as formulas are read.
_SIGNS |= dict(zip("αβγδεζηθικλμνξοπρςστυφχψω", _GREEK, strict=True))
_SIGNS |= dict(zip("ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ", dict.fromkeys(_GREEK), strict=True))
_PAUSE_OF = {
    **dict.fromkeys(',;:、，；：—–()[]{}"“”«»', ","),
    **dict.fromkeys(".…。\n", "."),
    **dict.fromkeys("?？", "?"),
    **dict.fromkeys("!！", "!"),
}
# Latin letters that Unicode does not decompose
_LETTERS = {
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đ": "d",
    "Đ": "D",
    "ı": "i",
    "ß": "ss",
    "ẞ": "SS",
    "æ": "ae",
    "Æ": "Ae",
    "œ": "oe",
    "Œ": "Oe",
    "ð": "th",
    "Ð": "Th",
    "þ": "th",
    "Þ": "Th",
    "ŋ": "ng",
}
_LONGEST_WORD = 45  # letters, those of the longest English word; what is longer is read in pieces
# Possessive where a run could be tried from each of its ends again.
_TOKEN = re.compile(given_sounds.SAID + r"|[A-Za-z]++(?:'[A-Za-z]++)*+'?|\d++(?:,\d{3}(?!\d))++|\d++|\S|\n")
_LETTER = re.compile(r"(?:\A|[^A-Za-z])[A-Za-z]\Z")  # alone
_SHORT_FORM = re.compile(r"(?:\A|[^A-Za-z])[A-Za-z]\.[A-Za-z]\Z")  # "e.g", "p.m"


class Said(NamedTuple):
    """A word or a pause of a text: its symbols (of a pause one of `PAUSES`), and which characters it was read from."""

    sounds: tuple[str, ...]
    start: int
    end: int

    @property
    def pause(self) -> bool:
        return self.sounds[0] in PAUSES


def _plain(text: str) -> tuple[str, list[int] | range]:
    """The text with typographic quotes and accents folded to ASCII where that keeps the letter.

    Second: for each of its characters, and for its end, the place in the text that it comes from.
    """
    if text.isascii():
        return text, range(len(text) + 1)
    text = text.replace("’", "'").replace("‘", "'")
    # Character by character: of a whole text the marks would be sorted too, which takes quadratic time in their number.
    # The decomposition alone would turn "½" into "1⁄2" and "…" into three stops; both read well here.
    decomposed = [_decomposed(character) for character in text]
    places = [place for place, characters in enumerate(decomposed) for _ in characters]
    return "".join(decomposed), [*places, len(text)]


@lru_cache(maxsize=4096)
def _decomposed(character: str) -> str:
    """Without the marks that have a combining class."""
    letters = _LETTERS.get(character, character)
    return "".join(c for c in unicodedata.normalize("NFKD", letters) if not unicodedata.combining(c))


def silent_letters(text: str) -> str:
    """The letters of a text that have no sound here, each once, in reading order."""
    return "".join(dict.fromkeys(character for character in text if not character.isascii() and _is_silent(character)))


@lru_cache(maxsize=4096)
def _is_silent(character: str) -> bool:
    # Modifier letters (Lm) stand for apostrophes: the ʻ of Hawaiʻi.
    return (
        character.isalpha()
        and unicodedata.category(character) != "Lm"
        and not any(part.isascii() or part in _SIGNS for part in _decomposed(character))
    )


def words(text: str) -> list[str]:
    """Words of the letters a-z, words with given sounds (`given_sounds`) and `PAUSES`, in reading order.

    No two pauses follow each other (the stronger wins) and none comes first.
    """
    return [word for word, _, _ in _read(text)]


def _read(text: str) -> list[tuple[str, int, int]]:
    """`words`, each with the first character of the text that it was read from and the one after its last."""
    found: list[tuple[str, int, int]] = []

    def add_pause(mark: str) -> None:
        if not found:
            return
        if found[-1][0] in PAUSES:
            if found[-1][0] == ",":
                found[-1] = (mark, start, end)
        else:
            found.append((mark, start, end))

    plain, places = _plain(text)
    previous_end = 0
    for match in _TOKEN.finditer(plain):
        token = match.group()
        joined = match.start() == previous_end and bool(found)
        previous_end = match.end()
        following = plain[match.end() : match.end() + 1]
        start, end = places[match.start()], places[match.end() - 1] + 1
        if given_sounds.is_said(token):
            found.append((token, start, end))
        elif token[0].isascii() and token[0].isalpha():
            found += ((token[at : at + _LONGEST_WORD], start, end) for at in range(0, len(token), _LONGEST_WORD))
        elif token[0].isdecimal():
            fraction = (
                joined
                and match.start() >= 2
                and plain[match.start() - 1] == "."
                and plain[match.start() - 2].isdecimal()
            )
            spelt = digit_by_digit(token) if fraction else cardinal(token)
            found += ((word, start, end) for word in spelt.replace("-", " ").split())
        elif token == "." and joined and following.isalnum():
            if following.isdecimal() or plain[match.start() - 1 : match.start()].isdecimal():
                found.append(("point", start, end))
            elif not _LETTER.search(plain[max(0, match.start() - 2) : match.start()]):
                found.append(("dot", start, end))  # "example.com", but not "e.g."
        elif token in _SIGNS:
            found += ((word, start, end) for word in _SIGNS[token].split())
        elif token in _PAUSE_OF:
            if token != "." or not _SHORT_FORM.search(plain[max(0, match.start() - 4) : match.start()]):
                add_pause(_PAUSE_OF[token])
        # All else (hyphens, emoji, other scripts) is not spoken.
    return found


def said(text: str) -> list[Said]:
    """Words and pauses of a text in reading order, ending in a pause; a lone "." where nothing is spoken.

    Raises ValueError that names what is no phoneme in given sounds.
    """
    items: list[Said] = []
    found = _read(text)
    spelled = [word for word, _, _ in found]
    for index, (word, start, end) in enumerate(found):
        if word in PAUSES:
            if items and not items[-1].pause:
                items.append(Said((word,), start, end))
            continue
        if given_sounds.is_said(word):
            items += (Said(spoken, start, end) for spoken in transcribe_words(given_sounds.transcription(word)))
            continue
        sounds = reading(spelled, index) or pronounce(word)
        if not sounds:
            continue
        lower = word.lower()
        if lower in ("the", "to") and _starts_with_vowel(spelled[index + 1 : index + 2]):
            sounds = (sounds[0], "i" if lower == "the" else "u")
        items.append(Said(sounds, start, end))
    if not items or not items[-1].pause:
        items.append(Said((".",), len(text), len(text)))
    elif items[-1].sounds == (",",):
        items[-1] = items[-1]._replace(sounds=(".",))
    return items


def written_words(text: str, spoken: Sequence[Said]) -> list[tuple[int, int, list[int]]]:
    """What stands between spaces and is spoken: its first character, the one after its last, and which of the words of
    `said(text)` it is read as ("25%" is three)."""
    found: list[tuple[int, int, list[int]]] = []
    stretches = re.finditer(r"\S+", text)
    stretch = next(stretches, None)
    for index, item in enumerate(spoken):
        while stretch is not None and stretch.end() <= item.start:
            stretch = next(stretches, None)
        assert stretch is not None  # what is spoken stands in the text
        if not found or found[-1][0] != stretch.start():
            found.append((stretch.start(), stretch.end(), []))
        found[-1][2].append(index)
    return found


def phonemes(text: str) -> list[str]:
    """Symbols of a text with `BOUNDARY` between words, ending in one of `PAUSES`; ["."] where nothing is spoken."""
    symbols: list[str] = []
    for sounds, _, _ in said(text):
        if symbols and symbols[-1] not in PAUSES and sounds[0] not in PAUSES:
            symbols.append(BOUNDARY)
        symbols += sounds
    return symbols


def _starts_with_vowel(word: list[str]) -> bool:
    if not word or word[0] in PAUSES:
        return False
    given = given_sounds.is_said(word[0])
    sounds = transcribe_words(given_sounds.transcription(word[0]))[0] if given else pronounce(word[0])
    return bool(sounds) and sounds[0].lstrip("ˈˌ") in VOWELS
