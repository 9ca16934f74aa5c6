"""A folder of uploaded voices, which several servers may share.

Each voice is a folder of its own, named by its id:

    voice_0123456789abcdef/
        audio.wav        the clip, trimmed, 24 kHz, 16 bits
        transcript.txt   what is said in it
        voice.json       name, time of creation, consent, report, labels, settings
        lexicon.json     how it says words, if that was set: {"word": "pronunciation"}

A clip that replaced the first one is in `audio-TAKE.wav`, its words in `transcript-TAKE.txt`, and `voice.json` has the take: so
one file decides which clip and transcript are the voice's, and it is replaced as a whole.

A voice is written into a folder with another prefix and renamed when all of it is on the disk, so a crash leaves either
the whole voice or a leftover that the next start removes. Whoever changes the folder holds its lock file meanwhile; a
crash lets go of it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from f5_tts_server.files import all_or_none, replace_file, sync_folder, write_file
from f5_tts_server.inference_types import VoiceClip

logger = logging.getLogger(__name__)

VOICE_ID = re.compile(r"voice_[0-9a-f]{16}")

_LOCK = ".lock"
_INCOMING = ".incoming-"
_OUTGOING = ".outgoing-"
_AUDIO, _TRANSCRIPT, _FACTS, _LEXICON = "audio.wav", "transcript.txt", "voice.json", "lexicon.json"
_TAKE = re.compile(r"[0-9a-f]{8}")
_MAX_BYTES = {_AUDIO: 32 * 2**20, _TRANSCRIPT: 2**16, _FACTS: 2**20, _LEXICON: 2**20}


class VoiceFolder:
    """The voices of a folder on the disk. Its methods block, and raise OSError where the file system does.

    Made where it does not exist, and cleared of what crashes have left.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        with self.locked():
            for leftover in sorted(path.iterdir()):
                if leftover.name.startswith((_INCOMING, _OUTGOING)):
                    _clear(leftover)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else, in this process or another, changes the folder meanwhile."""
        with (self.path / _LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def ids(self) -> set[str]:
        """Of the voices that are there."""
        return {name for name in os.listdir(self.path) if VOICE_ID.fullmatch(name)}  # noqa: PTH208 - names only

    def version(self, voice_id: str) -> tuple[int, ...]:
        """Changes when one of a voice's files does."""
        folder = self.path / voice_id
        try:
            return tuple(path.stat().st_mtime_ns for path in (folder, *sorted(folder.iterdir())))
        except OSError:
            return ()

    def facts(self, voice_id: str) -> dict[str, Any]:
        """What is known of a voice. Raises ValueError where it is not a JSON object that could be sent again."""
        return self._object(voice_id, _FACTS)

    def words(self, voice_id: str) -> dict[str, Any]:
        """A voice's lexicon as it was written, empty where it has none. Raises as `facts` does."""
        return self._object(voice_id, _LEXICON) if (self.path / voice_id / _LEXICON).exists() else {}

    def clip(self, voice_id: str, take: str | None) -> VoiceClip:
        """A voice's reference, of the take in its facts. Raises ValueError where that or a file of it is none."""
        if take is not None and not _TAKE.fullmatch(take):
            raise ValueError(f"voice.json has the take {take[:40]!r}, which is none")
        return VoiceClip(self._read(voice_id, _AUDIO, take), self._read(voice_id, _TRANSCRIPT, take).decode())

    def write(self, voice_id: str, facts: dict[str, Any], clip: VoiceClip, words: dict[str, str]) -> None:
        """Put a voice on the disk, as a whole or not at all; the folder is locked by the caller."""
        incoming = self.path / f"{_INCOMING}{voice_id}"
        try:
            incoming.mkdir()
            write_file(incoming / _AUDIO, clip.audio)
            write_file(incoming / _TRANSCRIPT, clip.text.encode())
            write_file(incoming / _FACTS, _json(facts))
            if words:
                write_file(incoming / _LEXICON, _json(words))
            sync_folder(incoming)
            incoming.rename(self.path / voice_id)
        except OSError:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        sync_folder(self.path)

    def write_words(self, voice_id: str, words: dict[str, str]) -> None:
        """Put a voice's lexicon on the disk, in place of the one before; the folder is locked by the caller."""
        replace_file(self.path / voice_id / _LEXICON, _json(words), sole=True)

    def rewrite(self, voice_id: str, facts: dict[str, Any], clip: VoiceClip | None) -> None:
        """Put other facts, and maybe another clip, in place of a voice's; the folder is locked by the caller.

        ``facts`` have the take of the clip that stays. Readers, and a crash, see all of the old or of the new voice.
        """
        folder = self.path / voice_id
        if clip is not None:
            take = secrets.token_hex(4)
            facts = {**facts, "take": take}
            audio, transcript = (folder / _of_take(name, take) for name in (_AUDIO, _TRANSCRIPT))
            with all_or_none(audio, transcript):
                write_file(audio, clip.audio)
                write_file(transcript, clip.text.encode())
        replace_file(folder / _FACTS, _json(facts), sole=True)
        kept = {_of_take(name, facts.get("take")) for name in (_AUDIO, _TRANSCRIPT)}
        for path in (*folder.glob("audio*.wav"), *folder.glob("transcript*.txt")):
            if path.name not in kept:
                path.unlink()

    def remove(self, voice_id: str) -> None:
        """Take a voice off the disk; the folder is locked by the caller."""
        outgoing = self.path / f"{_OUTGOING}{voice_id}"
        (self.path / voice_id).rename(outgoing)
        sync_folder(self.path)
        _clear(outgoing)

    def _object(self, voice_id: str, name: str) -> dict[str, Any]:
        try:
            facts = json.loads(self._read(voice_id, name))
            json.dumps(facts, allow_nan=False, ensure_ascii=False).encode()
        except RecursionError:
            raise ValueError(f"{name} is nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if not isinstance(facts, dict):
            raise ValueError(f"{name} is not an object")
        return facts

    def _read(self, voice_id: str, name: str, take: str | None = None) -> bytes:
        limit = _MAX_BYTES[name]
        with (self.path / voice_id / _of_take(name, take)).open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"{name} has more than {limit} bytes")
        return data


def _of_take(name: str, take: str | None) -> str:
    return name if take is None else name.replace(".", f"-{take}.")


def _json(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, ensure_ascii=False, indent=1).encode()


def _clear(leftover: Path) -> None:
    """Remove what a crash, or a voice taken off, has left; what is none of ours stays."""
    if leftover.is_symlink() or not leftover.is_dir():
        logger.warning("%s is no voice's folder and is left alone", leftover)
        return
    try:
        shutil.rmtree(leftover)
    except OSError as error:
        logger.warning("%s could not be removed and is left alone: %s", leftover, error)
