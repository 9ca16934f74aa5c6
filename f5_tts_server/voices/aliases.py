"""Further names of voices: the operator's, and those that clients have given, in a file that several servers may share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from f5_tts_server.files import replace_file

ALIASES_MAX = 1000
_FILE_MAX = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Alias:
    """A name, and the id (or, from the operator, the name) of the voice that it stands for.

    ``fixed``: the operator's, which clients cannot change.
    """

    name: str
    voice: str
    fixed: bool


class Aliases:
    """The aliases of a server, looked up whatever their case. The operator's come first.

    Methods read or write the disk. Whoever changes the file holds the lock of the folder that it is in.
    """

    def __init__(self, file: Path | None, fixed: Mapping[str, str]) -> None:
        self._file = file
        self._fixed = [Alias(name, voice, fixed=True) for name, voice in fixed.items()]
        self._known: tuple[tuple[int, int, int] | None, list[Alias]] = (None, [])

    def all(self) -> list[Alias]:
        """All of them. Raises ValueError where the file is damaged, and OSError."""
        taken = {alias.name.casefold() for alias in self._fixed}
        return [*self._fixed, *(alias for alias in self._given() if alias.name.casefold() not in taken)]

    def put(self, name: str, voice: str) -> None:
        """Let a name stand for a voice, whatever it stood for before. Raises what `all` raises."""
        others = [alias for alias in self._given() if alias.name.casefold() != name.casefold()]
        self._write([*others, Alias(name, voice, fixed=False)])

    def remove(self, name: str) -> None:
        """Forget a name. Raises what `all` raises."""
        self._write([alias for alias in self._given() if alias.name.casefold() != name.casefold()])

    def _given(self) -> list[Alias]:
        if self._file is None:
            return []
        try:
            status = self._file.stat()
            version = (status.st_mtime_ns, status.st_ino, status.st_size)
            if self._known[0] != version:
                with self._file.open("rb") as file:
                    self._known = (version, _read(file.read(_FILE_MAX + 1)))
        except FileNotFoundError:
            return []
        return self._known[1]

    def _write(self, aliases: list[Alias]) -> None:
        assert self._file is not None  # callers have made sure
        names = {alias.name: alias.voice for alias in aliases}
        replace_file(self._file, json.dumps(names, ensure_ascii=False, indent=1).encode())


def _read(data: bytes) -> list[Alias]:
    """Raises ValueError."""
    try:
        names = json.loads(data) if len(data) <= _FILE_MAX else None
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, dict) or not all(isinstance(voice, str) for voice in names.values()):
        raise ValueError("aliases.json is not a JSON object of names and ids")
    return [Alias(name, voice, fixed=False) for name, voice in names.items()]
