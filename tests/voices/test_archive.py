"""Exported voices: what comes back, and files that are none."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.archive import InvalidArchive, VoiceFacts, packed, unpacked
from f5_tts_server.voices.store import StoredVoice
from tests.clips import TEXT, file, silence, speech

VOICE = StoredVoice(
    id="voice_0123456789abcdef",
    name="Mine",
    clip=VoiceClip(file(speech(2)), TEXT),
    created=1,
    embedded=False,
    description="Größe 你好",
    labels={"language": "en"},
    settings={"speed": 1.2, "use_speaker_boost": False},
    words={"SQL": "sequel"},
)
FACTS = {"format": "f5-tts-voice", "version": 1, "name": "Mine", "ref_text": TEXT}


def archive(
    facts: Any = FACTS,
    audio: bytes = VOICE.clip.audio,
    method: int = zipfile.ZIP_STORED,
    more: Mapping[str, bytes] = MappingProxyType({}),
) -> bytes:
    """An archive of these files; ``more`` by their names."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as writer:
        writer.writestr("voice.json", facts if isinstance(facts, (str, bytes)) else json.dumps(facts))
        writer.writestr("audio.wav", audio)
        for name, data in more.items():
            writer.writestr(name, data)
    return made.getvalue()


@pytest.mark.parametrize("sound", ["WAV", "FLAC"])
def test_what_is_packed_comes_back_as_it_was(sound: str) -> None:
    clip = VoiceClip(file(speech(2), format=sound), TEXT)
    voice = StoredVoice(VOICE.id, "Mine", clip, 1, embedded=False, labels=VOICE.labels, settings=VOICE.settings)
    facts, found = unpacked(packed(voice))
    assert found == clip and packed(voice) == packed(voice)
    assert (facts.name, facts.labels, facts.settings.given()) == ("Mine", VOICE.labels, VOICE.settings)
    facts, _ = unpacked(packed(VOICE))
    assert (facts.description, facts.lexicon) == (VOICE.description, VOICE.words)
    assert facts.model_fields_set == VoiceFacts.model_fields.keys(), "a fact does not go with the voice"


def test_a_packed_archive_of_other_tools_is_taken() -> None:
    facts, clip = unpacked(archive(method=zipfile.ZIP_DEFLATED))
    assert (facts.name, clip.audio) == ("Mine", VOICE.clip.audio)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a ZIP"),
        (pickle.dumps({"name": "Mine"}), "not a ZIP"),
        (archive()[:-1], "not a ZIP"),
        (archive()[100:], "damaged"),
        (archive(more={"../../evil.py": b"x"}), "must have"),
        (archive(more={f"{number}.txt": b"" for number in range(200)}), "two files"),
        (archive(b"{"), "voice.json"),
        (archive(pickle.dumps(FACTS)), "voice.json"),
        (archive([]), "voice.json"),
        (archive(FACTS | {"version": 2}), "version"),
        (archive(FACTS | {"format": "other"}), "format"),
        (archive(FACTS | {"surprise": 1}), "surprise"),
        (archive(FACTS | {"ref_text": "x" * 2001}), "ref_text"),
        (archive(FACTS | {"name": "\ud800"}), "voice.json"),
        (archive(FACTS | {"settings": {"speed": 100}}), "settings.speed"),
        (archive(FACTS | {"labels": {"language": 5}}), "labels.language"),
        (archive("[" * 200_000), "voice.json"),
        (archive(audio=b"no sound"), "audio.wav"),
        (archive(audio=file(silence(2))), "silent"),
        (archive(b" " * 2**21, method=zipfile.ZIP_DEFLATED), "more than"),
        (archive(audio=bytes(2**25), method=zipfile.ZIP_DEFLATED), "more than"),
        (archive(method=zipfile.ZIP_LZMA), "deflate"),
    ],
)
def test_what_is_no_exported_voice_is_told(data: bytes, told: str) -> None:
    with pytest.raises(InvalidArchive, match=told) as caught:
        unpacked(data)
    assert str(caught.value).startswith("file")


def test_no_flipped_byte_ends_in_another_error() -> None:
    data = packed(VOICE)
    for at in (*range(0, 400, 3), *range(len(data) - 250, len(data))):
        flipped = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        with contextlib.suppress(InvalidArchive):
            unpacked(flipped)
