"""Voices on the disk: nothing half-written, nothing lost, bounds kept."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.store import (
    InvalidVoice,
    ReadOnlyVoice,
    StoreFull,
    UnknownVoice,
    VoiceExists,
    VoiceStore,
)
from tests.clips import TEXT, file, speech

CLIP = VoiceClip(file(speech(1)), TEXT)


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    folder = tmp_path / "embedded"
    folder.mkdir()
    voices = []
    for name in ("Ada", "Ben", "Cleo"):
        (folder / f"{name}.wav").write_bytes(CLIP.audio)
        voices.append({"id": name.lower(), "name": name, "audio": f"{name}.wav", "text": f"I am {name}."})
    (folder / "voices.json").write_text(json.dumps({"default": "ben", "voices": voices}))
    return folder


def test_a_voice_survives_a_restart(tmp_path: Path, embedded: Path) -> None:
    folder = tmp_path / "uploads"
    voice = VoiceStore(folder, embedded).add("My voice", CLIP, consent="cons_1", report={"duration": 1.0})
    assert VoiceStore(folder, embedded).get(voice.id) == voice
    assert voice.clip == CLIP


def test_a_deleted_voice_stays_deleted(tmp_path: Path, embedded: Path) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)
    voice = store.add("Mine", CLIP)
    store.delete(voice.id)
    for seen in (store, VoiceStore(tmp_path / "uploads", embedded)):
        with pytest.raises(UnknownVoice):
            seen.get(voice.id)
    assert list((tmp_path / "uploads").iterdir()) == []
    store.add("Mine", CLIP)  # the name is free again


def test_voices_are_found_by_id_name_and_openai_name(tmp_path: Path, embedded: Path) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)
    mine = store.add("Alloy", CLIP)
    assert store.get("ada").name == "Ada"
    assert store.get("CLEO").id == "cleo"
    assert store.get("alloy") == mine
    assert store.get("nova").embedded
    assert store.get("nova") == store.get("NOVA")
    assert store.get("default").id == store.default.id == "ben"
    assert VoiceStore(None, embedded, default="cleo").default.id == "cleo"
    with pytest.raises(UnknownVoice, match="'nobody'"):
        store.get("nobody")
    with pytest.raises(UnknownVoice):
        VoiceStore(None, embedded, default="nobody")


def test_without_any_voice_the_default_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnknownVoice, match="upload a voice"):
        _ = VoiceStore(tmp_path, tmp_path / "missing").default


def test_number_and_bytes_are_bounded(tmp_path: Path, embedded: Path) -> None:
    store = VoiceStore(tmp_path / "a", embedded, max_voices=2)
    store.add("one", CLIP)
    store.add("two", CLIP)
    with pytest.raises(StoreFull, match="limit is 2"):
        store.add("three", CLIP)
    store = VoiceStore(tmp_path / "b", embedded, max_bytes=len(CLIP.audio) + 10)
    store.add("one", CLIP)
    with pytest.raises(StoreFull, match="bytes"):
        store.add("two", CLIP)
    assert len(list((tmp_path / "b").iterdir())) == 1
    with pytest.raises(StoreFull, match="no folder"):
        VoiceStore(None, embedded).add("one", CLIP)


@pytest.mark.parametrize(
    "name", ["", "   ", "x" * 65, "a]b", "tab\x07", "default", "voice_0123456789abcdef", "../up/[x"]
)
def test_bad_names_are_refused(tmp_path: Path, embedded: Path, name: str) -> None:
    with pytest.raises(InvalidVoice, match="name"):
        VoiceStore(tmp_path / "uploads", embedded).add(name, CLIP)


def test_names_are_unique_whatever_the_case(tmp_path: Path, embedded: Path) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)
    store.add("Mine", CLIP)
    for name in ("mine", " MINE ", "Ada", "ben"):
        with pytest.raises(VoiceExists):
            store.add(name, CLIP)


def test_embedded_voices_cannot_be_deleted(tmp_path: Path, embedded: Path) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)
    with pytest.raises(ReadOnlyVoice):
        store.delete("ada")
    with pytest.raises(UnknownVoice):
        store.delete("../embedded")


CRASH = """
import os, sys
from pathlib import Path
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.store import VoiceStore

calls, real = 0, os.fsync
def fsync(descriptor):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os._exit(9)
    real(descriptor)
os.fsync = fsync
store = VoiceStore(Path(sys.argv[1]), Path(sys.argv[2]))
if len(sys.argv) > 4:
    store.delete(sys.argv[4])
else:
    store.add("crashed", VoiceClip(b"RIFF" * 100, "words"))
"""


def crash(folder: Path, embedded: Path, *arguments: str) -> int:
    command = [sys.executable, "-c", CRASH, str(folder), str(embedded), *arguments]
    return subprocess.run(command, cwd=Path(__file__).parents[2], timeout=60, check=False).returncode


@pytest.mark.parametrize("point", range(1, 7))
def test_a_crash_while_writing_leaves_the_whole_voice_or_nothing(tmp_path: Path, embedded: Path, point: int) -> None:
    folder = tmp_path / "uploads"
    kept = VoiceStore(folder, embedded).add("kept", CLIP)
    code = crash(folder, embedded, str(point))
    assert code == (9 if point <= 5 else 0)
    store = VoiceStore(folder, embedded)
    assert store.get("kept") == kept
    uploads = [voice for voice in store.list() if not voice.embedded]
    assert all(len(voice.clip.audio) in (400, len(CLIP.audio)) for voice in uploads)
    assert len(uploads) == (1 if point <= 4 else 2)
    assert {path.name for path in folder.iterdir()} == {voice.id for voice in uploads}


def test_a_crash_while_deleting_leaves_no_half_voice(tmp_path: Path, embedded: Path) -> None:
    folder = tmp_path / "uploads"
    voice = VoiceStore(folder, embedded).add("gone", CLIP)
    assert crash(folder, embedded, "1", voice.id) == 9
    assert [v for v in VoiceStore(folder, embedded).list() if not v.embedded] == []
    assert list(folder.iterdir()) == []


def test_a_damaged_voice_is_reported_and_left_alone(
    tmp_path: Path, embedded: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "uploads"
    voice = VoiceStore(folder, embedded).add("bad", CLIP)
    (folder / voice.id / "voice.json").write_text("{")
    store = VoiceStore(folder, embedded)
    assert "damaged" in caplog.text
    assert (folder / voice.id / "audio.wav").exists()
    with pytest.raises(UnknownVoice):
        store.get("bad")


def test_damaged_embedded_voices_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "voices.json").write_text('{"voices": [{"id": "x"}]}')
    with pytest.raises(InvalidVoice, match=r"voices\.json"):
        VoiceStore(None, tmp_path)
