"""Files that are on the disk when the call returns, as a whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """A new file. Raises OSError, FileExistsError among them."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """A file in place of the one that was there, if any; readers see all of one or of the other. Raises OSError."""
    incoming = path.with_name(f".incoming-{secrets.token_hex(4)}-{path.name}")
    try:
        write_file(incoming, data)
        incoming.rename(path)
    finally:
        incoming.unlink(missing_ok=True)
