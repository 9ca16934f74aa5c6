"""Cutting text that is still being written into sentences, as soon as each is complete."""

from __future__ import annotations

import re

# A full stop after these ends no sentence.
_TITLES = {"mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "hon", "gen", "col", "lt", "sgt", "capt"}
_SHORT_FORMS = {"vs", "etc", "inc", "ltd", "co", "corp", "no", "vol", "fig", "pp", "ed", "approx", "dept", "est"}
_LETTERS = {"e.g", "i.e", "a.m", "p.m", "cf", "al", "u.s", "u.k"}
_DATES = {"jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"}
_ABBREVIATIONS = _TITLES | _SHORT_FORMS | _LETTERS | _DATES
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？；]+[”’」』）]*|\n+")
_CLAUSE = re.compile(r"[,;:—–](?=\s)|[，、：]")
_LAST_WORD = re.compile(r"[\w.'’]*$")
_OPEN_MARK = re.compile(r"\[[^\[\]\n]{0,80}$")


class SentenceCutter:
    """Takes text as it is written and gives complete sentences.

    The first piece may be a clause: speech starts while the sentence is still being written. Pieces joined give the text
    again, up to white space at the cuts. A mark (`[pause:1]`) is never cut apart.

    Args:
        first_clause: a clause this many characters long may be the first piece.
        shortest: shorter sentences wait for the next one; single words make poor speech.
        longest: a piece of text without any end is cut at a space before this many characters.
    """

    def __init__(self, *, first_clause: int = 24, shortest: int = 12, longest: int = 300) -> None:
        self._first_clause = first_clause
        self._shortest = shortest
        self._longest = longest
        self._buffer = ""
        self._started = False

    def feed(self, text: str) -> list[str]:
        """Add text; gives the pieces it completes."""
        self._buffer += text
        pieces = []
        while cut := self._next_cut():
            piece, self._buffer = self._buffer[:cut].strip(), self._buffer[cut:].lstrip()
            if piece:
                self._started = True
                pieces.append(piece)
        return pieces

    def flush(self) -> list[str]:
        """What is left, complete or not; the next piece may be a first clause again."""
        piece, self._buffer, self._started = self._buffer.strip(), "", False
        return [piece] if piece else []

    def _next_cut(self) -> int:
        """Where the first piece ends; 0 when it is not complete yet."""
        for match in _END.finditer(self._buffer):
            if match.end() > self._longest:
                break
            if self._is_end(match):
                return match.end()
        if not self._started:
            for match in _CLAUSE.finditer(self._buffer, self._first_clause):
                if match.end() <= self._longest and not _OPEN_MARK.search(self._buffer[: match.start()]):
                    return match.end()
        return self._forced_cut() if len(self._buffer) > self._longest else 0

    def _is_end(self, match: re.Match[str]) -> bool:
        before = self._buffer[: match.start()]
        if len(before.strip()) < self._shortest or _OPEN_MARK.search(before):
            return False
        if match.group().rstrip("\"'”’»)]") != ".":
            return True
        word = _LAST_WORD.search(before)
        last = word.group().lower() if word else ""
        following = self._buffer[match.end() :].lstrip()[:1]
        return not (last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha()) or following.islower())

    def _forced_cut(self) -> int:
        """At the last clause mark of the allowed length, else at its last space, else right there."""
        window = self._buffer[: self._longest]
        open_mark = _OPEN_MARK.search(window)
        if open_mark and open_mark.start() > 0:
            window = window[: open_mark.start()]
        clauses = [match.end() for match in _CLAUSE.finditer(window) if match.end() > len(window) // 2]
        return clauses[-1] if clauses else window.rfind(" ") + 1 or len(window)
