"""A voice as one file, to be kept or taken to another server: a ZIP archive of `voice.json` and the clip as it is stored.

The clip's bytes go out and come in as they are, so that the voice speaks the same samples on both servers.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from f5_tts_server.f5.audio import AudioError, reference_samples
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.kept_settings import KeptSettings
from f5_tts_server.voices.report import STORED_RATE
from f5_tts_server.voices.store import (
    MAX_LABEL_LENGTH,
    MAX_LABELS,
    MAX_NAME_LENGTH,
    MAX_TEXT_LENGTH,
    StoredVoice,
    VoiceError,
)

MOST_AUDIO = 16 * 2**20  # bytes
_MOST_FACTS = 2**20  # bytes
_FACTS, _AUDIO = "voice.json", ("audio.wav", "audio.flac")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END, _DIRECTORY_SIZE, _MOST_DIRECTORY = 22, slice(12, 16), 1024  # bytes of the archive's last record, and what it has

Label = Annotated[str, Field(max_length=MAX_LABEL_LENGTH)]


class InvalidArchive(VoiceError):
    """A file that is no exported voice."""


class VoiceFacts(BaseModel):
    """`voice.json` of an exported voice."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["f5-tts-voice"]
    version: Literal[1]
    name: Annotated[str, Field(max_length=MAX_NAME_LENGTH)]
    ref_text: Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]
    description: Annotated[str, Field(max_length=500)] | None = None
    labels: Annotated[dict[Label, Label], Field(max_length=MAX_LABELS)] = {}
    settings: KeptSettings = KeptSettings()
    lexicon: dict[str, str] = {}


def packed(voice: StoredVoice) -> bytes:
    """A voice as a file. Equal voices give equal bytes."""
    # Not checked: what is stored was, maybe with other limits.
    facts = VoiceFacts.model_construct(
        format="f5-tts-voice",
        version=1,
        name=voice.name,
        ref_text=voice.clip.text,
        description=voice.description,
        labels=voice.labels,
        settings=KeptSettings.model_validate(voice.settings),
        lexicon=voice.words,
    )
    file = io.BytesIO()
    audio = _AUDIO[1] if voice.clip.audio.startswith(b"fLaC") else _AUDIO[0]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_FACTS), facts.model_dump_json(indent=1, exclude_none=True))
        archive.writestr(zipfile.ZipInfo(audio), voice.clip.audio)
    return file.getvalue()


def unpacked(data: bytes) -> tuple[VoiceFacts, VoiceClip]:
    """What is in an exported voice, checked as an upload is. Raises InvalidArchive."""
    # Whole archives end in this record: where it is not, or tells of more than two files, the rest is not looked at.
    end = data[-_END:]
    if not end.startswith(b"PK\5\6") or int.from_bytes(end[_DIRECTORY_SIZE], "little") > _MOST_DIRECTORY:
        raise InvalidArchive("file is no exported voice: it is not a ZIP archive of two files")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = sorted(archive.namelist())
            audio = next((name for name in _AUDIO if names == [name, _FACTS]), None)
            if audio is None:
                raise InvalidArchive("file is no exported voice: it must have voice.json and audio.wav or audio.flac")
            facts = VoiceFacts.model_validate_json(_read(archive, _FACTS, _MOST_FACTS))
            clip = VoiceClip(_read(archive, audio, MOST_AUDIO), facts.ref_text)
        reference_samples(clip.audio, STORED_RATE)
    except ValidationError as error:
        fault: Any = error.errors()[0]
        where = ".".join(str(part)[:40] for part in fault["loc"])
        raise InvalidArchive(f"file: {_FACTS}: {where or 'the whole'}: {fault['msg']}") from error
    except AudioError as error:
        raise InvalidArchive(f"file: {audio}: {error}") from error
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise InvalidArchive(f"file is a damaged archive: {error}") from error
    return facts, clip


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """One of the files, of which no more is taken out than its limit. Raises InvalidArchive."""
    info = archive.getinfo(name)
    if info.compress_type not in _METHODS or info.flag_bits & 1:
        raise InvalidArchive(f"file: {name} is encrypted, or packed by another method than deflate")
    with archive.open(info) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidArchive(f"file: {name} has more than {limit} bytes")
    return data
