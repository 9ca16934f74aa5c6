"""Results, one a line, that are appended as they are made and outlast a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from f5_tts_server.files import full_disk_told


class LineFile:
    """A file of lines with one writer, made with its first line. Methods block, and raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[bytes]:
        """The lines there are, without their ends. What a crash cut off in the middle of a write is taken off the file."""
        if not self.path.exists():
            return
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.truncate(self.path, whole)
                    return
                whole += len(line)
                yield line[:-1]

    def append(self, line: bytes) -> None:
        """Add a line; it is on the disk when this returns, and nothing of it is where this raises."""
        with full_disk_told(), self.path.open("ab") as file:
            before = file.tell()
            try:
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, before)
                raise

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.path.exists() else 0
