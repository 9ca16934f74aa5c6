"""Voices by id or name: the embedded ones, read-only, and the uploaded ones, kept in a `VoiceFolder`.

Several servers may keep their uploads in one folder: a name is taken for all of them, and each sees within `REFRESH_S` what
the others have added or deleted.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from f5_tts_server.f5.audio import reference_samples
from f5_tts_server.files import DiskFull, full_disk_told
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.text import Lexicon
from f5_tts_server.voices.aliases import ALIASES_MAX, Alias, Aliases
from f5_tts_server.voices.folder import VOICE_ID, VoiceFolder
from f5_tts_server.voices.kept_settings import KeptSettings
from f5_tts_server.voices.mixing import InvalidMix, MixedClip, mixed, parts_of
from f5_tts_server.voices.report import STORED_RATE

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
MAX_LABELS = 20
MAX_LABEL_LENGTH = 100

_FACTS = ("name", "created", "description", "consent", "report", "labels", "settings")

REFRESH_S = 1.0
"""Seconds for which the folder is not looked at again."""


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
    """An embedded voice, or an alias of the operator's, cannot be deleted or changed."""


class UnknownAlias(VoiceError):
    """No client has given that alias."""


class AliasesFull(VoiceError):
    """As many aliases as are kept, or none are kept at all."""


class InvalidMixture(VoiceError):
    """Voices that cannot be mixed as was asked."""


class DamagedVoice(VoiceError):
    """A stored voice whose files no longer make a voice: the server is at fault, not the request."""


class StorageFailed(VoiceError):
    """The folder of uploads cannot be read or written."""


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
    labels: dict[str, str] = field(default_factory=dict)
    """What else its owner says of it, such as its language."""
    settings: dict[str, float | bool] = field(default_factory=dict)
    """What it is spoken with where a request says nothing; by ElevenLabs' names."""
    words: dict[str, str] = field(default_factory=dict)
    """How it says words, as it was given; `lexicon` has them ready to be looked up."""
    lexicon: Lexicon = field(default_factory=Lexicon, repr=False, compare=False)
    version: tuple[int, ...] = field(default=(), repr=False, compare=False)
    """Of its files, which another server may change."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A stored voice that cannot be used, and why; its name where that can still be read."""

    id: str
    name: str | None
    reason: str
    version: tuple[int, ...] = field(repr=False)
    """Of its files, which may be repaired."""


class VoiceStore:
    """All voices of a server; safe to use from several threads. Methods may read the disk.

    Args:
        folder: where uploads are kept; made if need be. None: uploads are refused.
        embedded_folder: holds `voices.json` and the clips it names; may be missing.
        default: id or name of the default voice; else the one that `voices.json` calls so, else the first.
        max_voices, max_bytes: bounds of the uploaded voices together (bytes of audio).
        aliases: further names of voices, by the id or name of each.

    Raises:
        StorageFailed: the folder cannot be written.
        UnknownVoice, DamagedVoice: `default` is given, or an alias's voice, and does not exist, or is damaged.
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
        aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.max_voices = max_voices
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._fresh_until = 0.0
        self._embedded, self._embedded_default = _read_embedded(embedded_folder)
        self._uploads: dict[str, StoredVoice] = {}  # by age
        self._damaged: dict[str, Damage] = {}
        self._folder: VoiceFolder | None = None
        if folder is not None:
            try:
                self._folder = VoiceFolder(folder)
            except OSError as error:
                raise StorageFailed(f"the folder of voices {folder} cannot be used: {error}") from error
        self._aliases = Aliases(None if folder is None else folder / "aliases.json", aliases)
        self._default = None if default is None else self.of_setting("F5_VOICE", default).id
        for voice in aliases.values():
            self.of_setting("F5_VOICE_ALIASES", voice)

    @property
    def folder(self) -> Path | None:
        """Where uploads are kept; None where none are."""
        return None if self._folder is None else self._folder.path

    @property
    def default(self) -> StoredVoice:
        """The voice of requests that name none. Raises UnknownVoice when there is no voice at all."""
        voices = {voice.id: voice for voice in self.list()}
        for voice_id in (self._default, self._embedded_default, *voices):
            if voice_id in voices:
                return voices[voice_id]
        raise UnknownVoice("no voice is stored: send a reference clip and its transcript, or upload a voice")

    def get(self, voice: str) -> StoredVoice:
        """The voice with that id, else that name or alias (upper and lower case alike), else OpenAI's name for one of ours.

        Raises UnknownVoice, DamagedVoice, or StorageFailed.
        """
        found = self._named(voice)
        if found is None and (alias := self._alias(voice)) is not None:
            found = self._named(alias.voice)
            if found is None:
                message = (
                    f"voice {alias.name!r} stands for {alias.voice[:MAX_NAME_LENGTH]!r}, which is not stored any more"
                )
                raise UnknownVoice(message)
        if found is not None:
            return found
        wanted = voice.strip().casefold()
        if wanted == DEFAULT:
            return self.default
        ours = self._embedded or self.list()
        if wanted in OPENAI_NAMES and ours:
            return ours[OPENAI_NAMES.index(wanted) % len(ours)]
        raise UnknownVoice(f"voice {voice[:MAX_NAME_LENGTH]!r} is unknown; GET /v1/audio/voices lists the voices")

    def of_setting(self, setting: str, voice: str) -> StoredVoice:
        """What `get` gives, with an error for the operator: it names the setting and the voices there are."""
        try:
            return self.get(voice)
        except UnknownVoice:
            known = ", ".join(repr(stored.name) for stored in self.list()[:20]) or "none at all"
            message = f"{setting}: voice {voice[:MAX_NAME_LENGTH]!r} is unknown; there are {known}"
            raise UnknownVoice(message) from None

    def clip(self, voice: str) -> VoiceClip:
        """The reference of a voice, or of several mixed as in ``ada(2)+ben(1)``.

        Raises what `get` raises, and InvalidMixture.
        """
        try:
            return self.get(voice).clip
        except UnknownVoice:
            if "+" not in voice:
                raise
        try:
            parts = parts_of(voice)
            return mixed(tuple(self.get(name).clip for name, _ in parts), tuple(weight for _, weight in parts))
        except InvalidMix as error:
            raise InvalidMixture(f"voice {voice[:MAX_NAME_LENGTH]!r}: {error}") from error

    def lexicons(self, clip: VoiceClip) -> tuple[Lexicon, ...]:
        """Those of the stored voices whose clip it is; of a clip that came with a request there are none."""
        if isinstance(clip, MixedClip):  # made once, maybe of clips that were read again since
            voices = self.list()
            return tuple(voice.lexicon for part in clip.parts for voice in voices if voice.clip == part)
        owner = self.owner(clip)
        return () if owner is None else (owner.lexicon,)

    def owner(self, clip: VoiceClip) -> StoredVoice | None:
        """The stored voice whose clip it is; None for a mix and a clip that came with a request."""
        return next((voice for voice in self.list() if voice.clip is clip), None)

    def _named(self, voice: str) -> StoredVoice | None:
        """The voice with that id, else that name. Raises DamagedVoice."""
        wanted = voice.strip().casefold()
        voices = self.list()
        for stored in voices:
            if stored.id == voice:
                return stored
        for stored in voices:
            if stored.name.casefold() == wanted:
                return stored
        for damage in self.damaged():
            if voice == damage.id or (damage.name is not None and damage.name.casefold() == wanted):
                raise DamagedVoice(
                    f"voice {damage.name or damage.id!r} is damaged on this server ({damage.reason}): it must be deleted "
                    "and uploaded again"
                )
        return None

    def aliases(self) -> list[Alias]:
        """Further names of voices, the operator's first. Raises StorageFailed."""
        try:
            return self._aliases.all()
        except (OSError, ValueError) as error:
            logger.error("the aliases of voices cannot be read: %s", error)
            raise StorageFailed(f"this server's aliases of voices cannot be read: {_reason(error)}") from error

    def _alias(self, name: str) -> Alias | None:
        wanted = name.strip().casefold()
        return next((alias for alias in self.aliases() if alias.name.casefold() == wanted), None)

    def set_alias(self, name: str, voice: str) -> Alias:
        """Let a name stand for a voice, given by its id or name; when this returns, it is on the disk.

        Raises:
            InvalidVoice: the name cannot be an alias.
            VoiceExists: a voice has that name.
            ReadOnlyVoice: the operator has set that alias.
            AliasesFull: as many as are kept, or the server keeps none.
            UnknownVoice, DamagedVoice: there is no such voice.
            DiskFull, StorageFailed: the file system refuses.
        """
        name, target = self.check_name(name), self.get(voice).id
        if self._folder is None:
            raise AliasesFull("this server keeps no aliases; its operator has set no folder for uploads")
        with self._changing(self._folder):
            before = self._alias(name)
            if before is not None and before.fixed:
                raise ReadOnlyVoice(f"alias {name!r} is set by the server's operator")
            if before is None and len(self.aliases()) >= ALIASES_MAX:
                raise AliasesFull(f"{ALIASES_MAX} aliases are kept, which is the limit; delete one first")
            self._aliases.put(name, target)
        return Alias(name, target, fixed=False)

    def delete_alias(self, name: str) -> None:
        """Forget an alias. Raises UnknownAlias, ReadOnlyVoice for the operator's, DiskFull and StorageFailed."""
        unknown = UnknownAlias(f"alias {name[:MAX_NAME_LENGTH]!r} is unknown; GET /v1/audio/voice_aliases lists them")
        alias = self._alias(name)
        if alias is None or (self._folder is None and not alias.fixed):
            raise unknown
        if alias.fixed or self._folder is None:
            raise ReadOnlyVoice(f"alias {alias.name!r} is set by the server's operator")
        with self._changing(self._folder):
            self._aliases.remove(alias.name)

    def list(self) -> list[StoredVoice]:
        """All voices, embedded ones first, then uploads by age."""
        with self._lock:
            self._refresh()
            return [*self._embedded, *self._uploads.values()]

    def damaged(self) -> tuple[Damage, ...]:
        """Uploaded voices that cannot be used."""
        with self._lock:
            self._refresh()
            return tuple(self._damaged.values())

    def check_name(self, name: str, *, of: StoredVoice | None = None) -> str:
        """The name as it would be stored, of a new voice or of one that is there. Raises InvalidVoice or VoiceExists."""
        name = " ".join(name.split())
        if not name or len(name) > MAX_NAME_LENGTH:
            raise InvalidVoice(f"name has {len(name)} characters; 1 to {MAX_NAME_LENGTH} are accepted")
        if not name.isprintable() or any(c in "[]:" for c in name):
            raise InvalidVoice("name has a character that is not printable, or one of [ ] :")
        if name.casefold() == DEFAULT or VOICE_ID.fullmatch(name):
            raise InvalidVoice(f"name {name!r} is reserved")
        if any(
            name.casefold() in (voice.name.casefold(), voice.id) for voice in self.list() if voice.id != (of and of.id)
        ):
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
        labels: dict[str, str] | None = None,
        settings: dict[str, float | bool] | None = None,
        words: dict[str, str] | None = None,
    ) -> StoredVoice:
        """Store a voice; when this returns, it is on the disk.

        Raises:
            InvalidVoice: the name, the transcript or a label cannot be stored.
            VoiceExists: the name is taken.
            StoreFull: a bound is reached, or the server keeps no uploads.
            DiskFull, StorageFailed: the file system refuses.
            TextError: an entry of its lexicon, ``words``, cannot be stored.
        """
        name = self.check_name(name)
        _check_labels(labels or {})
        words = words or {}
        voice = StoredVoice(
            id=f"voice_{secrets.token_hex(8)}",
            name=name,
            clip=_checked_clip(clip),
            created=int(time.time()),
            embedded=False,
            description=description,
            consent=consent,
            report=report,
            labels=labels or {},
            settings=settings or {},
            words=words,
            lexicon=Lexicon.of(words, lambda _: None),
        )
        if self._folder is None:
            raise StoreFull("this server keeps no uploaded voices; its operator has set no folder for them")
        facts = {key: getattr(voice, key) for key in _FACTS}
        with self._changing(self._folder):
            self.check_name(name)  # again: another server may have been quicker
            self._check_room(len(clip.audio))
            self._folder.write(voice.id, facts, voice.clip, words)
        return voice

    def edit(
        self,
        voice_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        labels: dict[str, str] | None = None,
        settings: dict[str, float | bool] | None = None,
        clip: VoiceClip | None = None,
        report: dict[str, Any] | None = None,
    ) -> StoredVoice:
        """Change an uploaded voice, given by its id; None leaves a thing as it is. ``report`` is the new clip's.

        When this returns, it is on the disk; whoever reads meanwhile has all of the old voice or all of the new one.

        Raises what `add` and `delete` raise.
        """
        _check_labels(labels or {})
        if clip is not None:
            clip = _checked_clip(clip)
        with self._changing(self._uploaded(voice_id)) as folder:
            before = self._uploads.get(voice_id)
            if before is None:
                raise _unknown(voice_id)
            if name is not None:
                name = self.check_name(name, of=before)
            if clip is not None:
                self._check_room(len(clip.audio), instead_of=before)
            given = {"name": name, "description": description, "labels": labels, "settings": settings}
            if clip is not None:
                given["report"] = report
            facts = folder.facts(voice_id) | {key: value for key, value in given.items() if value is not None}
            folder.rewrite(voice_id, facts, clip)
        return self.get(voice_id)

    def _check_room(self, size: int, *, instead_of: StoredVoice | None = None) -> None:
        uploads = [stored for stored in self.list() if not stored.embedded and stored is not instead_of]
        if len(uploads) >= self.max_voices:
            raise StoreFull(f"{len(uploads)} voices are stored, the limit is {self.max_voices}; delete one first")
        used = sum(len(stored.clip.audio) for stored in uploads)
        if used + size > self._max_bytes:
            raise StoreFull(
                f"the stored voices have {used} bytes and this one {size}; the limit is {self._max_bytes} together; "
                "delete one first"
            )

    def set_words(self, voice_id: str, words: dict[str, str]) -> StoredVoice:
        """Give an uploaded voice, by its id, another lexicon; when this returns, it is on the disk.

        Raises what `delete` raises, and TextError for an entry that cannot be stored.
        """
        Lexicon.of(words, lambda _: None)
        with self._changing(self._uploaded(voice_id)) as folder:
            if voice_id not in self._uploads:
                raise _unknown(voice_id)
            folder.write_words(voice_id, words)
        return self.get(voice_id)

    def delete(self, voice_id: str) -> None:
        """Remove an uploaded voice by its id; when this returns, it is off the disk.

        Raises:
            UnknownVoice: there is none with that id.
            ReadOnlyVoice: it is an embedded one.
            DiskFull, StorageFailed: the file system refuses.
        """
        with self._changing(self._uploaded(voice_id)) as folder:
            if voice_id not in self._uploads and voice_id not in self._damaged:
                raise _unknown(voice_id)
            try:
                folder.remove(voice_id)
            except FileNotFoundError:
                raise _unknown(voice_id) from None

    def _uploaded(self, voice_id: str) -> VoiceFolder:
        """The folder where that voice may be. Raises ReadOnlyVoice or UnknownVoice."""
        if any(voice.id == voice_id for voice in self._embedded):
            raise ReadOnlyVoice(f"voice {voice_id!r} comes with the server and cannot be deleted or changed")
        if self._folder is None:
            raise _unknown(voice_id)
        return self._folder

    @contextmanager
    def _changing(self, folder: VoiceFolder) -> Iterator[VoiceFolder]:
        """The folder, locked against other servers and known as it is; after the change it is looked at again."""
        try:
            with full_disk_told(), folder.locked():
                self._look_again()
                yield folder
                self._look_again()
        except DiskFull:
            logger.exception("the folder of voices could not be changed")
            raise
        except OSError as error:
            logger.exception("the folder of voices could not be changed")
            raise StorageFailed(f"this server's folder of voices cannot be changed: {_reason(error)}") from error

    def _look_again(self) -> None:
        with self._lock:
            self._fresh_until = 0.0
            self._refresh()

    def _refresh(self) -> None:
        """Look at the folder, unless that was done a moment ago; called with the lock held."""
        if self._folder is None or time.monotonic() < self._fresh_until:
            return
        self._fresh_until = time.monotonic() + REFRESH_S
        try:
            there = self._folder.ids()
        except OSError as error:
            logger.error("the folder of voices cannot be read, and stays as it was known: %s", error)
            return
        for voice_id in self._damaged.keys() - there:
            del self._damaged[voice_id]
        uploads = {}
        for voice_id in sorted(there):
            version = self._folder.version(voice_id)
            if voice_id in self._uploads and self._uploads[voice_id].version == version:
                uploads[voice_id] = self._uploads[voice_id]
                continue
            if voice_id in self._damaged and self._damaged[voice_id].version == version:
                continue
            voice = self._read(self._folder, voice_id, version)
            if voice is not None:
                uploads[voice_id] = voice
        self._uploads = dict(sorted(uploads.items(), key=lambda item: (item[1].created, item[0])))

    def _read(self, folder: VoiceFolder, voice_id: str, version: tuple[int, ...]) -> StoredVoice | None:
        """An upload, or None and a `Damage` of that version."""
        self._damaged.pop(voice_id, None)
        name = None
        try:
            facts = folder.facts(voice_id)
            name = _field(facts, "name", str)
            clip = folder.clip(voice_id, _field(facts, "take", str, optional=True))
            reference_samples(clip.audio, STORED_RATE)
            if not clip.text.strip():
                raise ValueError("the transcript is empty")
            words = folder.words(voice_id)
            if not all(isinstance(value, str) for value in words.values()):
                raise ValueError("lexicon.json has a pronunciation that is no string")
            return StoredVoice(
                id=voice_id,
                name=name,
                clip=clip,
                created=_field(facts, "created", int),
                embedded=False,
                description=_field(facts, "description", str, optional=True),
                consent=_field(facts, "consent", str, optional=True),
                report=_field(facts, "report", dict, optional=True),
                labels=_labels(facts),
                settings=_settings(facts),
                words=words,
                lexicon=Lexicon.of(words, lambda _: None),
                version=version,
            )
        except (OSError, ValueError) as error:
            reason = _reason(error)
            logger.error("voice %s (%s) is damaged and not used: %s", voice_id, name or "nameless", reason)
            self._damaged[voice_id] = Damage(voice_id, name, reason, version)
            return None


def _reason(error: OSError | ValueError) -> str:
    """An error for clients: an OSError's own words have the path, which is nothing for them."""
    if not isinstance(error, OSError):
        return str(error)
    file = Path(error.filename).name if isinstance(error.filename, str) else ""
    return ": ".join(filter(None, (error.strerror or type(error).__name__, file)))


def _unknown(voice_id: str) -> UnknownVoice:
    return UnknownVoice(f"voice {voice_id[:MAX_NAME_LENGTH]!r} is unknown; this takes the id of an uploaded voice")


def _checked_clip(clip: VoiceClip) -> VoiceClip:
    """The clip as it is stored. Raises InvalidVoice."""
    text = clip.text.strip()
    if not text or len(text) > MAX_TEXT_LENGTH:
        raise InvalidVoice(f"ref_text has {len(text)} characters; 1 to {MAX_TEXT_LENGTH} are accepted")
    return VoiceClip(clip.audio, text)


def _check_labels(labels: dict[str, str]) -> None:
    """Raises InvalidVoice."""
    if len(labels) > MAX_LABELS or any(len(text) > MAX_LABEL_LENGTH for pair in labels.items() for text in pair):
        raise InvalidVoice(f"labels may be {MAX_LABELS}, with {MAX_LABEL_LENGTH} characters each")


def _labels(facts: dict[str, Any]) -> dict[str, str]:
    """Raises ValueError."""
    labels = _field(facts, "labels", dict, optional=True) or {}
    if not all(isinstance(value, str) for value in labels.values()):
        raise ValueError("voice.json has a label that is no string")
    return dict(labels)


def _settings(facts: dict[str, Any]) -> dict[str, float | bool]:
    """Raises ValueError."""
    try:
        return KeptSettings.model_validate(_field(facts, "settings", dict, optional=True) or {}).given()
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"voice.json has a {fault['loc'][0]} that is none: {fault['msg']}") from error


def _field(facts: dict[str, Any], name: str, kind: type[Any], *, optional: bool = False) -> Any:
    """A fact of that type. Raises ValueError."""
    value = facts.get(name)
    if (value is None and optional) or (isinstance(value, kind) and not isinstance(value, bool)):
        return value
    raise ValueError(f"voice.json has no {name} of type {kind.__name__}")


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
