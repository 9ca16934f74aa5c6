"""Text to the tokens of the released models: Chinese as pinyin with tone numbers, all else as it is written."""

from __future__ import annotations

import re

import rjieba
from pypinyin import Style, lazy_pinyin

from f5_tts_server import given_sounds

_FOLDED = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
_NO_SPACE_AFTER = frozenset(" :'\"")
_SYLLABLE = re.compile(r"[a-z]{1,6}[1-5]?")


def syllables(transcription: str) -> list[str]:
    """The syllables of a given pronunciation, such as "chong2 qing4", as tokens. Raises ValueError for what is none.

    The neutral tone, 5, has no number; ü may be written v.
    """
    found = []
    for word in transcription.strip().strip("/").lower().replace("u:", "v").replace("ü", "v").split():
        if not _SYLLABLE.fullmatch(word):
            raise ValueError(
                f"transcription {transcription!r}: {word[:20]!r} is no syllable of pinyin with its tone, such as chong2"
            )
        found.append(word.removesuffix("5"))
    if not found:
        raise ValueError(f"transcription {transcription!r} has no sound")
    return found


def pinyin_tokens(text: str) -> list[str]:
    """The official `convert_char_to_pinyin` for one text; words with a given pronunciation (`given_sounds`) as it says.

    A Chinese character gives a space and its pinyin with the tone number, tone sandhi within a word of `rjieba`'s;
    every other character is a token of its own. A word of ASCII gets a space before it unless one is there.
    """
    tokens: list[str] = []
    for plain, given in given_sounds.parts(text):
        if given:
            for syllable in syllables(given):
                tokens.extend((" ", syllable))
        else:
            _add_tokens(plain, tokens)
    return tokens


def _add_tokens(text: str, tokens: list[str]) -> None:
    for word in rjieba.cut(text.translate(_FOLDED)):
        if word.isascii():
            if len(word) > 1 and tokens and tokens[-1] not in _NO_SPACE_AFTER:
                tokens.append(" ")
            tokens.extend(word)
        elif len(word.encode("utf-8")) == 3 * len(word):
            readings = lazy_pinyin(word, style=Style.TONE3, tone_sandhi=True)
            for character, reading in zip(word, readings, strict=True):
                tokens.extend((" ", reading) if _is_chinese(character) else (reading,))
        else:
            for character in word:
                if _is_chinese(character):
                    tokens.extend((" ", *lazy_pinyin(character, style=Style.TONE3, tone_sandhi=True)))
                else:
                    tokens.append(character)


def _is_chinese(character: str) -> bool:
    return "\u3100" <= character <= "\u9fff"
