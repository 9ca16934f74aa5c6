"""Markdown and emoji to the words that a person would read out."""

from __future__ import annotations

import re

import emoji
from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_ENDS_A_LINE = (".", "!", "?", ":", ";", ",", "…", "。", "！", "？", "：")
# Marks that a sentence cut out of a longer text has lost its partner of.
_STRAY = re.compile(r"(?<!\w)(?:\*{1,3}|_{1,3}|~~|`{1,3})(?=\S)|(?<=\S)(?:\*{1,3}|_{1,3}|~~|`{1,3})(?!\w)")
_KEPT_EMOJI = frozenset("©®™")
# The emoji package takes quadratic time for joined ones, so it gets pieces, cut where none can be cut apart.
_EMOJI_PIECE = re.compile(r".{1,400}(?=[\w\x20-\x7e]|\Z)|.{1,400}", re.DOTALL)


def without_markdown(text: str) -> str:
    """The words of a Markdown text, a line for each block. Code blocks and HTML are left out: nobody reads them aloud."""
    lines: list[str] = []
    cells: list[str] | None = None
    for token in _PARSER.parse(text):
        if token.type == "tr_open":
            cells = []
        elif token.type == "tr_close":
            lines.append(_line(", ".join(cells or [])))
            cells = None
        elif token.type == "inline":
            words = _STRAY.sub("", _words(token.children or [])).strip()
            if cells is not None:
                cells.append(words)
            else:
                lines.append(_line(words))
    return "\n".join(line for line in lines if line)


def without_emoji(text: str) -> str:
    """The text without emoji; spaces left double by that are made single."""
    stripped = "".join(emoji.replace_emoji(piece, replace=_kept) for piece in _EMOJI_PIECE.findall(text))
    return text if stripped == text else re.sub(r"[^\S\n]{2,}", " ", stripped)


def _kept(found: str, _: object) -> str:
    return found if found in _KEPT_EMOJI else ""


def _words(children: list[Token]) -> str:
    words = []
    for child in children:
        if child.type in ("text", "code_inline", "image"):
            words.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            words.append(" ")
    return "".join(words)


def _line(words: str) -> str:
    """A block is a sentence of its own, though headings and list items often lack the full stop."""
    return words if not words or words.endswith(_ENDS_A_LINE) else f"{words}."
