"""Text normalization: what is not written as words, put into the words that a person would read out."""

from __future__ import annotations

from f5_tts_server.text.english import normalize_english
from f5_tts_server.text.language import by_language

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

    Where numbers are not read in a language, or the language is not known, the text stays as it is: better digits than
    words of another language.
    """
    if language is not None and (code := language.strip().replace("_", "-").partition("-")[0].lower()) != "auto":
        return _normalize(text, _BY_NAME.get(code, code))
    return "".join(_normalize(piece, code) for piece, code in by_language(text))


def _normalize(text: str, code: str) -> str:
    return normalize_english(text) if code == "en" else text
