"""Pronunciation dictionaries that clients have stored, each a file in a folder that several servers may share.

A dictionary never changes once it is there, so that its id names what a text is spoken with; one that is to be different
is added anew.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from f5_tts_server.files import full_disk_told, replace_file
from f5_tts_server.voices.store import VoiceError

DICTIONARIES_MAX = 100
NAME_MAX = 100  # characters
FILE_MAX = 2**20  # bytes
_ID = re.compile(r"dict_[0-9a-f]{16}")


class UnknownDictionary(KeyError):
    """There is none with that id."""


class DictionariesFull(VoiceError):
    """As many as are kept, or none are kept at all."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a word is said: ``value`` is what a lexicon's entry has. ``any_case``: however the word is written."""

    word: str
    value: str
    any_case: bool


@dataclass(frozen=True, slots=True)
class Dictionary:
    """Rules under a name; ``created`` is in seconds since the epoch."""

    id: str
    name: str
    description: str | None
    created: int
    rules: tuple[Rule, ...]


class DictionaryFolder:
    """The dictionaries of a folder, made where need be; None: none are kept. Methods read or write the disk."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def add(self, name: str, description: str | None, rules: tuple[Rule, ...]) -> Dictionary:
        """Keep a dictionary; when this returns, it is on the disk. Raises DictionariesFull, and OSError."""
        if self._folder is None:
            raise DictionariesFull("this server keeps no dictionaries; its operator has set no folder for uploads")
        with full_disk_told():
            self._folder.mkdir(parents=True, exist_ok=True)
        if len(self.ids()) >= DICTIONARIES_MAX:
            raise DictionariesFull(f"{DICTIONARIES_MAX} dictionaries are kept, which is the limit")
        made = Dictionary(f"dict_{secrets.token_hex(8)}", name, description, int(time.time()), rules)
        data = json.dumps(asdict(made), ensure_ascii=False).encode()
        if len(data) > FILE_MAX:
            raise DictionariesFull(f"the dictionary has {len(data)} bytes; the limit is {FILE_MAX}")
        replace_file(self._path(made.id), data)
        return made

    def ids(self) -> list[str]:
        """Of the dictionaries that are there, in an order that lasts."""
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(path.stem for path in self._folder.glob("dict_*.json") if _ID.fullmatch(path.stem))

    def get(self, dictionary_id: str) -> Dictionary:
        """One dictionary. Raises UnknownDictionary, and ValueError where its file is damaged."""
        unknown = UnknownDictionary(f"dictionary {dictionary_id[:40]!r} is unknown")
        if self._folder is None or not _ID.fullmatch(dictionary_id):
            raise unknown
        try:
            with self._path(dictionary_id).open("rb") as file:
                data = file.read(FILE_MAX + 1)
        except FileNotFoundError:
            raise unknown from None
        try:
            facts: dict[str, Any] = json.loads(data)
            rules = tuple(Rule(**rule) for rule in facts.pop("rules"))
            return Dictionary(**facts, rules=rules)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"dictionary {dictionary_id} is damaged on this server: {error}") from error

    def _path(self, dictionary_id: str) -> Path:
        assert self._folder is not None  # callers have made sure
        return self._folder / f"{dictionary_id}.json"
