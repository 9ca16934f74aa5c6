"""Voices by id or name: the embedded ones, read-only, and the uploaded ones, kept in a folder.

Each uploaded voice is a folder of its own, named by its id:

    voice_0123456789abcdef/
        audio.wav        the clip, trimmed, 24 kHz, 16 bits
        transcript.txt   what is said in it
        voice.json       name, time of creation, consent, report

A voice is written into a folder with another prefix and renamed when all of it is on the disk, so a crash leaves either
the whole voice or a leftover that the next start removes. One process owns a folder.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from f5_tts_server.inference_types import VoiceClip

logger = logging.getLogger(__name__)

OPENAI_NAMES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
"""OpenAI's built-in voices; each stands for one of the stored ones unless a stored voice has that very name."""

DEFAULT = "default"
"""The name that always means the default voice."""

MAX_NAME_LENGTH = 64
MAX_TEXT_LENGTH = 2000

_ID = re.compile(r"voice_[0-9a-f]{16}")
_INCOMING = ".incoming-"
_OUTGOING = ".outgoing-"


class VoiceError(Exception):
    """Why a voice cannot be had, added or deleted. The message is for the person who asked."""


class UnknownVoice(VoiceError):
    """No voice has that id or name."""


class InvalidVoice(VoiceError):
    """A name or a transcript that cannot be stored."""


class VoiceExists(VoiceError):
    """The name is taken."""


class StoreFull(VoiceError):
    """As many voices, or bytes of them, as the operator allows."""


class ReadOnlyVoice(VoiceError):
    """An embedded voice cannot be deleted."""


@dataclass(frozen=True, slots=True)
class StoredVoice:
    """A voice with its reference clip. `created` is in seconds since the epoch, 0 for embedded voices."""

    id: str
    name: str
    clip: VoiceClip = field(repr=False)
    created: int
    embedded: bool
    description: str | None = None
    consent: str | None = None
    report: dict[str, Any] | None = None


class VoiceStore:
    """All voices of a server; safe to use from several threads.

    Args:
        folder: where uploads are kept; made when the first voice is added. None: uploads are refused.
        embedded_folder: holds `voices.json` and the clips it names; may be missing.
        default: id or name of the default voice; else the one that `voices.json` calls so, else the first.
        max_voices, max_bytes: bounds of the uploaded voices together (bytes of audio).

    Raises:
        UnknownVoice: `default` is given and does not exist.
        InvalidVoice: the embedded voices are damaged. Damaged uploads are logged and left alone.
    """

    def __init__(
        self,
        folder: Path | None,
        embedded_folder: Path,
        *,
        default: str | None = None,
        max_voices: int = 100,
        max_bytes: int = 64 * 2**20,
    ) -> None:
        self._folder = folder
        self._max_voices = max_voices
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        embedded, embedded_default = _read_embedded(embedded_folder)
        self._voices = {voice.id: voice for voice in embedded}
        if folder is not None and folder.is_dir():
            self._voices |= {voice.id: voice for voice in _read_uploads(folder)}
        self._default = None if default is None else self.get(default).id
        self._embedded_default = embedded_default

    @property
    def default(self) -> StoredVoice:
        """The voice of requests that name none. Raises UnknownVoice when there is no voice at all."""
        with self._lock:
            for voice_id in (self._default, self._embedded_default):
                if voice_id in self._voices:
                    return self._voices[voice_id]
            for voice in self._voices.values():
                return voice
        raise UnknownVoice("no voice is stored: send a reference clip and its transcript, or upload a voice")

    def get(self, voice: str) -> StoredVoice:
        """The voice with that id, else that name (upper and lower case alike), else OpenAI's name for one of ours."""
        wanted = voice.strip().casefold()
        with self._lock:
            for stored in self._voices.values():
                if stored.id == voice:
                    return stored
            for stored in self._voices.values():
                if stored.name.casefold() == wanted:
                    return stored
            ours = [stored for stored in self._voices.values() if stored.embedded] or list(self._voices.values())
        if wanted == DEFAULT:
            return self.default
        if wanted in OPENAI_NAMES and ours:
            return ours[OPENAI_NAMES.index(wanted) % len(ours)]
        raise UnknownVoice(f"voice {voice[:MAX_NAME_LENGTH]!r} is unknown; GET /v1/audio/voices lists the voices")

    def list(self) -> list[StoredVoice]:
        """All voices, embedded ones first, then uploads by age."""
        with self._lock:
            return list(self._voices.values())

    def check_name(self, name: str) -> str:
        """The name as it would be stored. Raises InvalidVoice or VoiceExists."""
        name = " ".join(name.split())
        if not name or len(name) > MAX_NAME_LENGTH:
            raise InvalidVoice(f"name has {len(name)} characters; 1 to {MAX_NAME_LENGTH} are accepted")
        if not name.isprintable() or any(c in "[]:" for c in name):
            raise InvalidVoice("name has a character that is not printable, or one of [ ] :")
        if name.casefold() == DEFAULT or _ID.fullmatch(name):
            raise InvalidVoice(f"name {name!r} is reserved")
        with self._lock:
            if any(name.casefold() in (voice.name.casefold(), voice.id) for voice in self._voices.values()):
                raise VoiceExists(f"a voice named {name!r} exists already; delete it first or choose another name")
        return name

    def add(
        self,
        name: str,
        clip: VoiceClip,
        *,
        consent: str | None = None,
        description: str | None = None,
        report: dict[str, Any] | None = None,
    ) -> StoredVoice:
        """Store a voice; when this returns, it is on the disk.

        Raises:
            InvalidVoice: the name or transcript cannot be stored.
            VoiceExists: the name is taken.
            StoreFull: a bound is reached, or the server keeps no uploads.
        """
        name = self.check_name(name)
        text = clip.text.strip()
        if not text or len(text) > MAX_TEXT_LENGTH:
            raise InvalidVoice(f"ref_text has {len(text)} characters; 1 to {MAX_TEXT_LENGTH} are accepted")
        voice = StoredVoice(
            id=f"voice_{secrets.token_hex(8)}",
            name=name,
            clip=VoiceClip(clip.audio, text),
            created=int(time.time()),
            embedded=False,
            description=description,
            consent=consent,
            report=report,
        )
        with self._lock:
            if self._folder is None:
                raise StoreFull("this server keeps no uploaded voices; its operator has set no folder for them")
            uploads = [stored for stored in self._voices.values() if not stored.embedded]
            if len(uploads) >= self._max_voices:
                raise StoreFull(f"{len(uploads)} voices are stored, the limit is {self._max_voices}; delete one first")
            used = sum(len(stored.clip.audio) for stored in uploads)
            if used + len(clip.audio) > self._max_bytes:
                raise StoreFull(
                    f"the stored voices have {used} bytes and this one {len(clip.audio)}; the limit is "
                    f"{self._max_bytes} together; delete one first"
                )
            if any(stored.name.casefold() == name.casefold() for stored in self._voices.values()):
                raise VoiceExists(f"a voice named {name!r} exists already; delete it first or choose another name")
            _write(self._folder, voice)
            self._voices[voice.id] = voice
        return voice

    def delete(self, voice_id: str) -> None:
        """Remove an uploaded voice by its id; when this returns, it is off the disk.

        Raises:
            UnknownVoice: there is none with that id.
            ReadOnlyVoice: it is an embedded one.
        """
        with self._lock:
            voice = self._voices.get(voice_id)
            if voice is None:
                raise UnknownVoice(f"voice {voice_id[:MAX_NAME_LENGTH]!r} is unknown; DELETE takes a voice's id")
            if voice.embedded or self._folder is None:
                raise ReadOnlyVoice(f"voice {voice.id!r} comes with the server and cannot be deleted")
            outgoing = self._folder / f"{_OUTGOING}{voice.id}"
            (self._folder / voice.id).rename(outgoing)
            _sync_folder(self._folder)
            del self._voices[voice.id]
            shutil.rmtree(outgoing)


def _write(folder: Path, voice: StoredVoice) -> None:
    """Put a voice on the disk as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    incoming = folder / f"{_INCOMING}{voice.id}"
    incoming.mkdir()
    try:
        facts = {
            "name": voice.name,
            "created": voice.created,
            "description": voice.description,
            "consent": voice.consent,
            "report": voice.report,
        }
        _write_file(incoming / "audio.wav", voice.clip.audio)
        _write_file(incoming / "transcript.txt", voice.clip.text.encode())
        _write_file(incoming / "voice.json", json.dumps(facts, ensure_ascii=False, indent=1).encode())
        _sync_folder(incoming)
        incoming.rename(folder / voice.id)
    except OSError:
        shutil.rmtree(incoming, ignore_errors=True)
        raise
    _sync_folder(folder)


def _write_file(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames inside a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_uploads(folder: Path) -> list[StoredVoice]:
    """The voices of a folder by age, after removing what a crash has left in it."""
    voices = []
    for path in folder.iterdir():
        if path.name.startswith((_INCOMING, _OUTGOING)):
            shutil.rmtree(path)
        elif _ID.fullmatch(path.name):
            try:
                voices.append(_read_upload(path))
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.error("voice %s is damaged and not used: %r", path, error)
    return sorted(voices, key=lambda voice: (voice.created, voice.id))


def _read_upload(path: Path) -> StoredVoice:
    facts = json.loads((path / "voice.json").read_text("utf-8"))
    clip = VoiceClip((path / "audio.wav").read_bytes(), (path / "transcript.txt").read_text("utf-8"))
    return StoredVoice(
        id=path.name,
        name=str(facts["name"]),
        clip=clip,
        created=int(facts["created"]),
        embedded=False,
        description=facts.get("description"),
        consent=facts.get("consent"),
        report=facts.get("report"),
    )


def _read_embedded(folder: Path) -> tuple[list[StoredVoice], str | None]:
    """The voices that `voices.json` lists, and which is the default.

    The file: `{"default": id, "voices": [{"id", "name", "audio" (file name), "text", "description"?}]}`.
    """
    index = folder / "voices.json"
    if not index.is_file():
        return [], None
    try:
        facts = json.loads(index.read_text("utf-8"))
        voices = [
            StoredVoice(
                id=str(entry["id"]),
                name=str(entry["name"]),
                clip=VoiceClip((folder / entry["audio"]).read_bytes(), str(entry["text"])),
                created=0,
                embedded=True,
                description=entry.get("description"),
            )
            for entry in facts["voices"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidVoice(f"the embedded voices in {index} cannot be read: {error!r}") from error
    return voices, facts.get("default")
