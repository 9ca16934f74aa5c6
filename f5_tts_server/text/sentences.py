"""Where sentences and clauses end: in a whole text, and in one that is still being written."""

from __future__ import annotations

import re
from collections.abc import Iterator

# A full stop after these ends no sentence.
_TITLES = {"mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "hon", "gen", "col", "lt", "sgt", "capt"}
_SHORT_FORMS = {"vs", "etc", "inc", "ltd", "co", "corp", "no", "vol", "fig", "pp", "ed", "approx", "dept", "est"}
_LETTERS = {"e.g", "i.e", "a.m", "p.m", "cf", "al", "u.s", "u.k"}
_DATES = {"jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"}
_ABBREVIATIONS = _TITLES | _SHORT_FORMS | _LETTERS | _DATES
_LONGEST_ABBREVIATION = max(map(len, _ABBREVIATIONS))
_CLOSING = "\"'”’»)]"
# Possessive, and only from where a run begins: else each of its places is tried anew, to its end.
_END = re.compile(rf"(?<![.!?…])[.!?…]++[{re.escape(_CLOSING)}]*+(?=\s)|[。！？；]++[”’」』）]*+|\n+")
_CLAUSE = re.compile(rf"(?<![,;:—–])[,;:—–]++[{re.escape(_CLOSING)}]*+(?=\s)|(?<=\s)-++(?=\s)|[，、：]")
_END_OR_CLAUSE = re.compile(f"{_END.pattern}|{_CLAUSE.pattern}")
_LAST_WORD = re.compile(r"[\w.'’]*$")
_NOT_BLANK = re.compile(r"\S")
_LONGEST_MARK = 140  # a word and its pronunciation


def clauses(text: str) -> Iterator[str]:
    """The clauses of a text, in order, none blank. Joined they give the text again, up to white space at the cuts."""
    start = 0
    for match in _END_OR_CLAUSE.finditer(text):
        if match.group().rstrip(_CLOSING) == "." and _is_abbreviated(text, start, match.start()):
            continue
        if clause := text[start : match.end()].strip():
            yield clause
        start = match.end()
    if clause := text[start:].strip():
        yield clause


class SentenceCutter:
    """Takes text as it is written and gives complete sentences.

    The first piece may be a clause: speech starts while the sentence is still being written. Pieces joined give the text
    again, up to white space at the cuts. A mark (`[pause:1]`) is never cut apart.

    No cut is looked for beyond `longest` characters, so the work is linear in the text whatever is written.

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
        start = 0
        while True:
            start = self._next_word(start)
            length = self._next_cut(start)
            if not length:
                break
            pieces.append(self._buffer[start : start + length].rstrip())
            self._started = True
            start += length
        self._buffer = self._buffer[start:]
        return pieces

    def flush(self) -> list[str]:
        """What is left, complete or not; the next piece may be a first clause again."""
        piece, self._buffer, self._started = self._buffer.strip(), "", False
        return [piece] if piece else []

    def _next_word(self, start: int) -> int:
        """The first character from `start` on that is not blank; the buffer's end where there is none."""
        found = _NOT_BLANK.search(self._buffer, start)
        return found.start() if found else len(self._buffer)

    def _next_cut(self, start: int) -> int:
        """How long the piece is that begins at `start`; 0 when it is not complete yet."""
        # One more, so that white space is seen behind an end at the limit.
        window = self._buffer[start : start + self._longest + 1]
        for match in _END.finditer(window):
            if match.end() > self._longest:
                break
            if self._is_end(match, start):
                return match.end()
        if not self._started:
            for match in _CLAUSE.finditer(window, self._first_clause):
                if match.end() <= self._longest and _open_mark(window, match.start()) is None:
                    return match.end()
        return self._forced_cut(window) if len(window) > self._longest else 0

    def _is_end(self, match: re.Match[str], start: int) -> bool:
        at = match.start()
        if len(match.string[:at].rstrip()) < self._shortest or _open_mark(match.string, at) is not None:
            return False
        if match.group().rstrip(_CLOSING) != ".":
            return True
        after = self._next_word(start + match.end())
        return not (_is_abbreviated(match.string, 0, at) or self._buffer[after : after + 1].islower())

    def _forced_cut(self, window: str) -> int:
        """At the last clause mark of the allowed length, else at its last space, else right there."""
        window = window[: self._longest]
        window = window[: _open_mark(window, len(window)) or len(window)]
        clauses = [match.end() for match in _CLAUSE.finditer(window) if match.end() > len(window) // 2]
        return clauses[-1] if clauses else window.rfind(" ") + 1 or len(window)


def _is_abbreviated(text: str, start: int, at: int) -> bool:
    """Whether the word of `text[start:]` before the full stop at `at` is an abbreviation or an initial."""
    # One character more than any abbreviation has tells that the word is longer.
    word = _LAST_WORD.search(text[max(start, at - _LONGEST_ABBREVIATION - 1) : at])
    last = word.group().lower() if word else ""
    return last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())


def _open_mark(text: str, end: int) -> int | None:
    """Where a mark begins that `text[:end]` leaves open."""
    first = max(0, end - _LONGEST_MARK - 1)
    at = text.rfind("[", first, end)
    if at < 0 or text.find("]", at, end) >= 0 or text.find("\n", at, end) >= 0:
        return None
    return at
