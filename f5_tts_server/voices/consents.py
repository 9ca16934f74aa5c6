"""Recordings in which speakers consent to a voice, kept in a folder that several servers may share.

Each is two files named by its id: what is known of it, and the recording as it came. The facts are written last and taken
away first, so that what is listed is whole.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from f5_tts_server.files import all_or_none, full_disk_told, replace_file
from f5_tts_server.voices.store import VoiceError

CONSENTS_MAX = 100
RECORDING_MAX = 10 * 2**20  # bytes
CONSENT_ID = re.compile(r"cons_[0-9a-f]{16}")
_FACTS_MAX = 2**16  # bytes


class UnknownConsent(VoiceError):
    """There is none with that id."""


class ConsentsFull(VoiceError):
    """As many as are kept, or none are kept at all."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A recording's label, the language it is spoken in, and when it came, in seconds since the epoch."""

    id: str
    name: str
    language: str
    created: int


class ConsentFolder:
    """The recordings of a folder, made where need be; None: none are kept. Methods read or write the disk."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def add(self, name: str, language: str, recording: bytes) -> Consent:
        """Keep a recording; when this returns, it is on the disk. Raises ConsentsFull, and OSError."""
        if self._folder is None:
            raise ConsentsFull("this server keeps no recordings; its operator has set no folder for uploads")
        with full_disk_told():
            self._folder.mkdir(parents=True, exist_ok=True)
        if len(self.list()) >= CONSENTS_MAX:
            raise ConsentsFull(f"{CONSENTS_MAX} recordings are kept, which is the limit; delete one first")
        consent = Consent(f"cons_{secrets.token_hex(8)}", name, language, int(time.time()))
        facts, audio = (self._folder / f"{consent.id}.{kind}" for kind in ("json", "audio"))
        with all_or_none(facts, audio):
            replace_file(audio, recording)
            self._keep(self._folder, consent)
        return consent

    def list(self) -> list[Consent]:
        """All of them, by age."""
        if self._folder is None or not self._folder.is_dir():
            return []
        ids = [path.stem for path in self._folder.glob("cons_*.json") if CONSENT_ID.fullmatch(path.stem)]
        found = []
        for one in ids:
            with suppress(UnknownConsent):  # another server may have removed it meanwhile
                found.append(self.get(one))
        return sorted(found, key=lambda consent: (consent.created, consent.id))

    def get(self, consent_id: str) -> Consent:
        """One of them. Raises UnknownConsent, and ValueError where its file is damaged."""
        folder = self._known(consent_id)
        try:
            with (folder / f"{consent_id}.json").open("rb") as file:
                facts: dict[str, Any] = json.loads(file.read(_FACTS_MAX))
            return Consent(**facts)
        except FileNotFoundError:
            raise _unknown(consent_id) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"consent {consent_id} is damaged on this server: {error}") from error

    def rename(self, consent_id: str, name: str) -> Consent:
        """Give a recording another label. Raises UnknownConsent, and OSError."""
        consent = replace(self.get(consent_id), name=name)
        self._keep(self._known(consent_id), consent)
        return consent

    def remove(self, consent_id: str) -> None:
        """Take a recording off the disk. Raises UnknownConsent, and OSError."""
        folder = self._known(consent_id)
        try:
            (folder / f"{consent_id}.json").unlink()
        except FileNotFoundError:
            raise _unknown(consent_id) from None
        (folder / f"{consent_id}.audio").unlink(missing_ok=True)

    def _known(self, consent_id: str) -> Path:
        """The folder, for an id that is one."""
        if self._folder is None or not CONSENT_ID.fullmatch(consent_id):
            raise _unknown(consent_id)
        return self._folder

    @staticmethod
    def _keep(folder: Path, consent: Consent) -> None:
        replace_file(folder / f"{consent.id}.json", json.dumps(asdict(consent), ensure_ascii=False).encode())


def _unknown(consent_id: str) -> UnknownConsent:
    return UnknownConsent(f"consent {consent_id[:40]!r} is unknown")
