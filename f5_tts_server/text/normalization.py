"""Text normalization: what is not written as words, put into the words that a person would read out."""

from __future__ import annotations

from f5_tts_server.text.east_asian import EAST_ASIAN, normalize_east_asian
from f5_tts_server.text.english import normalize_english
from f5_tts_server.text.european import normalize_european
from f5_tts_server.text.language import by_language
from f5_tts_server.text.number_words import LANGUAGES

# Other servers' clients send these.
_BY_NAME = {
    "english": "en",
    "chinese": "zh",
    "german": "de",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "polish": "pl",
    "russian": "ru",
    "japanese": "ja",
}


def normalize(text: str, language: str | None = None) -> str:
    """`text` with its numbers, times, dates, money, units and abbreviations in words of its language.

    Args:
        language: a tag such as "en" or "de-AT", or its name in English; left out or "auto", each sentence's own is
            found out.

    Numbers agree with the nouns written here (money, units), not with those of the text: "21 mesas" has a masculine number.
    Where numbers are not read in a language, or the language is not known, the text stays as it is: better digits than
    words of another language.
    """
    if language is not None and (code := language.strip().replace("_", "-").partition("-")[0].lower()) != "auto":
        return _normalize(text, _BY_NAME.get(code, code))
    return "".join(_normalize(piece, code) for piece, code in by_language(text))


def _normalize(text: str, code: str) -> str:
    if code == "en":
        return normalize_english(text)
    if code in EAST_ASIAN:
        return normalize_east_asian(text, code)
    return normalize_european(text, code) if code in LANGUAGES else text
