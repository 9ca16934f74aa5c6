"""Files that are on the disk when the call returns, as a whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class DiskFull(OSError):
    """No room is left on the disk, or within this user's share of it."""


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Raises DiskFull, in a sentence for clients, in place of an OSError that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("the disk of this server is full; its operator must make room") from error
        raise


@contextmanager
def all_or_none(*paths: Path) -> Iterator[None]:
    """For files that are of use only together: where what is done inside raises OSError, none of them is left."""
    try:
        yield
    except OSError:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


def write_file(path: Path, data: bytes) -> None:
    """A new file. Raises OSError, FileExistsError and DiskFull among them."""
    with full_disk_told(), path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes, *, sole: bool = False) -> None:
    """A file in place of the one that was there, if any; readers see all of one or of the other.

    Raises OSError, DiskFull among them.

    ``sole``: nobody else writes this file meanwhile, so that what a crash has left half written is written over by the
    next attempt. Without it several processes may write, and a crash leaves a ``.part`` file that nobody reads.
    """
    mark = "" if sole else f"{secrets.token_hex(4)}."
    partial = path.with_name(f"{path.name}.{mark}part")
    if sole:
        partial.unlink(missing_ok=True)
    with full_disk_told():
        try:
            write_file(partial, data)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)


def hold_folder(folder: Path) -> IO[bytes]:
    """A folder, made where need be, is this process's alone until what this gives is closed, or the process ends.

    Raises BlockingIOError where another one holds it, and OSError where nothing can be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hold = (folder / ".lock").open("ab")
    try:
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        hold.close()
        raise
    return hold


def sync_folder(folder: Path) -> None:
    """Make what was renamed, added or removed inside a folder last. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
