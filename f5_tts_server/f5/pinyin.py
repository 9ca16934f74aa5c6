"""Text to the tokens of the released models: Chinese as pinyin with tone numbers, all else as it is written."""

from __future__ import annotations

import rjieba
from pypinyin import Style, lazy_pinyin

_FOLDED = str.maketrans({";": ",", "“": '"', "”": '"', "‘": "'", "’": "'"})
_NO_SPACE_AFTER = frozenset(" :'\"")


def pinyin_tokens(text: str) -> list[str]:
    """The official `convert_char_to_pinyin` for one text.

    A Chinese character gives a space and its pinyin with the tone number, tone sandhi within a word of `rjieba`'s;
    every other character is a token of its own. A word of ASCII gets a space before it unless one is there.
    """
    tokens: list[str] = []
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
    return tokens


def _is_chinese(character: str) -> bool:
    return "\u3100" <= character <= "\u9fff"
