"""Lexicons: how words of a text are to be said.

An entry's value is a transcription in IPA ("təmˈɑɾO", "/bi/"), pinyin with tone numbers ("chong2 qing4"), or a respelling,
which is read in the word's place ("sequel"). Slashes make any value a transcription.

A word in lower case stands for itself however it is written; one with a capital only for itself as it is written: "polish"
is also "Polish", but "US" is not "us". Regular forms of an English word (plural, possessive, -ed, -ing) follow from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from f5_tts_server import given_sounds
from f5_tts_server.text.errors import TextError
from f5_tts_server.text.inflection import Ending, spelled_with_ending, stems, with_ending

WORD_MAX = 60  # characters
PRONUNCIATION_MAX = 60
REQUEST_ENTRIES_MAX = 100
ENTRIES_MAX = 5_000
FILE_MAX = 2**20  # bytes

CheckTranscription = Callable[[str], None]
"""Raises ValueError, in a sentence, for a transcription that the model cannot speak."""

# Letters that stand for a sound where no alphabet has them, or where a pronunciation is meant.
_IPA_ONLY = re.compile("[ˈˌːəɪɛʌɑɔʊʃʒʔʧʤθɡɹɾɚɝᵻɜɐɒɫŋðɲʁβɸʋɯɨ]")
_PINYIN = re.compile(r"[a-zü:]+[1-5](?: +[a-zü:]+[1-5])*", re.IGNORECASE)
_IDEOGRAPH = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# A word of a script with blanks, with the apostrophes and marks inside it; or one letter of a script without.
_TOKEN = re.compile(rf"[{_IDEOGRAPH}]|(?:(?![{_IDEOGRAPH}])[^\W_])+(?:['’](?:(?![{_IDEOGRAPH}])[^\W_])+)*'?")
_LETTER = re.compile(rf"(?![{_IDEOGRAPH}])\w")  # where one of these goes on, a word is not over


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a word is to be said: a transcription, or else a respelling."""

    transcription: str = ""
    respelling: str = ""

    @classmethod
    def of(cls, value: str) -> Spoken:
        """An entry's value. Raises ValueError where it is empty, too long or has a control character."""
        value = value.strip()
        if not value or len(value) > PRONUNCIATION_MAX:
            raise ValueError(f"the pronunciation has {len(value)} characters; 1 to {PRONUNCIATION_MAX} are accepted")
        if not value.isprintable():
            raise ValueError("the pronunciation has a character that cannot be printed")
        if len(value) > 2 and value[0] == value[-1] == "/":
            return cls(transcription=value[1:-1].strip())
        if _IPA_ONLY.search(value) or _PINYIN.fullmatch(value):
            return cls(transcription=value)
        return cls(respelling=value)

    def text(self, word: str, ending: Ending | None = None) -> str:
        """What stands for a word in the text that is spoken."""
        if not self.transcription:
            return spelled_with_ending(self.respelling, ending) if ending else self.respelling
        return given_sounds.encode(word, with_ending(self.transcription, ending) if ending else self.transcription)


@dataclass(frozen=True, slots=True)
class Entry:
    """A word and how it is said. ``any_case``: however the word is written."""

    word: str
    spoken: Spoken
    any_case: bool

    @classmethod
    def of(cls, word: str, value: str, check: CheckTranscription, *, any_case: bool | None = None) -> Entry:
        """A checked entry; by default a word in lower case stands for any case.

        Raises TextError that names the entry and its fault.
        """
        try:
            if not word.strip() or len(word) > WORD_MAX:
                raise ValueError(f"the word has {len(word)} characters; 1 to {WORD_MAX} are accepted")
            word = " ".join(word.split())
            if not _TOKEN.match(word) or given_sounds.without_private(word) != word:
                raise ValueError("the word must begin with a letter or digit")
            spoken = Spoken.of(value)
            if spoken.transcription:
                check(spoken.transcription)
        except ValueError as error:
            raise TextError(f"entry {word[:WORD_MAX]!r}: {error}") from error
        return cls(word, spoken, word == word.lower() if any_case is None else any_case)


class Lexicon:
    """Entries, ready to be looked up. Of two entries for one word the later counts."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._exact: dict[str, Entry] = {}
        self._any_case: dict[str, Entry] = {}
        self._longer: dict[str, list[Entry]] = {}  # of several words, or with other marks, by their first word
        longer: dict[str, Entry] = {}
        for entry in entries:
            first = _TOKEN.match(entry.word)
            assert first is not None  # `Entry.of` has made sure
            if first.group() != entry.word:
                longer[entry.word] = entry
            elif entry.any_case:
                self._any_case[entry.word.casefold()] = entry
            else:
                self._exact[entry.word] = entry
        for entry in sorted(longer.values(), key=lambda entry: -len(entry.word)):
            first = _TOKEN.match(entry.word)
            assert first is not None
            self._longer.setdefault(first.group().casefold(), []).append(entry)

    @classmethod
    def of(cls, words: Mapping[str, str], check: CheckTranscription, *, limit: int = ENTRIES_MAX) -> Lexicon:
        """From word → pronunciation. Raises TextError that names the entry at fault, or the limit."""
        if len(words) > limit:
            raise TextError(f"there are {len(words)} entries, the limit is {limit}")
        return cls(Entry.of(word, value, check) for word, value in words.items())

    @classmethod
    def load(cls, path: Path, check: CheckTranscription) -> Lexicon:
        """From a file with a JSON object, or with a line `word<tab>pronunciation` for each entry (# begins a comment).

        Raises OSError, and TextError that names the file, the entry and its fault.
        """
        with path.open("rb") as file:
            data = file.read(FILE_MAX + 1)
        try:
            if len(data) > FILE_MAX:
                raise TextError(f"it has more than {FILE_MAX} bytes")
            return cls.of(_words(data.decode("utf-8-sig")), check)
        except (TextError, UnicodeDecodeError) as error:
            raise TextError(f"lexicon {path}: {error}") from error

    def __bool__(self) -> bool:
        return bool(self._exact or self._any_case or self._longer)

    def find(self, text: str, token: re.Match[str]) -> tuple[str, int] | None:
        """What is said instead of the word or words that begin with a token of a text, and where they end."""
        word = token.group()
        for entry in self._longer.get(word.casefold(), ()):
            end = token.start() + len(entry.word)
            there = text[token.start() : end]
            same = there.casefold() == entry.word.casefold() if entry.any_case else there == entry.word
            if same and not (_LETTER.match(entry.word[-1]) and _LETTER.match(text, end)):
                return entry.spoken.text(there), end
        own = self._one(word)
        if own is not None:
            return own.spoken.text(word), token.end()
        for stem, ending in stems(word):
            regular = self._one(stem) if stem.isascii() else None
            if regular is not None and not _PINYIN.fullmatch(regular.spoken.transcription):
                return regular.spoken.text(word, ending), token.end()
        return None

    def _one(self, word: str) -> Entry | None:
        return self._exact.get(word) or self._any_case.get(word.casefold())


def apply(text: str, lexicons: Iterable[Lexicon]) -> str:
    """The text with the words of the lexicons as they are to be said; of two lexicons the first counts."""
    lexicons = [lexicon for lexicon in lexicons if lexicon]
    if not lexicons:
        return text
    pieces, at = [], 0
    for token in _TOKEN.finditer(text):
        if token.start() < at:
            continue
        found = next((one for one in (lexicon.find(text, token) for lexicon in lexicons) if one), None)
        if found is not None:
            pieces += [text[at : token.start()], found[0]]
            at = found[1]
    return "".join(pieces) + text[at:]


def _words(text: str) -> dict[str, str]:
    """Raises TextError."""
    if text.lstrip().startswith("{"):
        try:
            words = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TextError(f"it is not JSON: {error}") from error
        for word, value in words.items():
            if not isinstance(value, str):
                raise TextError(f"entry {word[:WORD_MAX]!r}: the pronunciation must be a string")
        return dict(words)
    words = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        word, tab, value = line.partition("\t")
        if not tab:
            raise TextError(f"line {number} has no tab between the word and its pronunciation")
        words[word.strip()] = value
    return words
