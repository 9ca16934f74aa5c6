"""Voices on the disk: nothing half-written, nothing lost, bounds kept."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from f5_tts_server.files import DiskFull
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices import store as voice_store
from f5_tts_server.voices.folder import VoiceFolder
from f5_tts_server.voices.store import (
    AliasesFull,
    DamagedVoice,
    InvalidVoice,
    ReadOnlyVoice,
    StorageFailed,
    StoreFull,
    UnknownAlias,
    UnknownVoice,
    VoiceExists,
    VoiceStore,
)
from tests.clips import TEXT, file, silence, speech

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


def names(folder: Path) -> set[str]:
    """What is in a folder of voices, but for its lock."""
    return {path.name for path in folder.iterdir()} - {".lock"}


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
    assert names(tmp_path / "uploads") == set()
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
    assert len(names(tmp_path / "b")) == 1
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
if len(sys.argv) > 5:
    clip = VoiceClip(Path(sys.argv[2], "Ada.wav").read_bytes(), "other words")
    store.edit(sys.argv[5], name="edited", clip=clip)
elif len(sys.argv) > 4:
    store.delete(sys.argv[4])
else:
    store.add("crashed", VoiceClip(Path(sys.argv[2], "Ada.wav").read_bytes(), "words"))
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
    assert all(voice.clip.audio == CLIP.audio for voice in uploads)
    assert len(uploads) == (1 if point <= 4 else 2)
    assert names(folder) == {voice.id for voice in uploads}


def test_a_crash_while_deleting_leaves_no_half_voice(tmp_path: Path, embedded: Path) -> None:
    folder = tmp_path / "uploads"
    voice = VoiceStore(folder, embedded).add("gone", CLIP)
    assert crash(folder, embedded, "1", voice.id) == 9
    assert [v for v in VoiceStore(folder, embedded).list() if not v.embedded] == []
    assert names(folder) == set()


FACTS = '{"name": "bad", "created": 1, "report": %s}'


@pytest.mark.parametrize(
    ("file_name", "content", "reason"),
    [
        ("voice.json", b"{", "voice.json"),
        ("voice.json", b"[]", "not an object"),
        ("voice.json", b'{"name": "bad", "created": 1e999}', "voice.json"),
        ("voice.json", b'{"name": "bad", "created": true}', "no created"),
        ("voice.json", b'{"name": 5, "created": 1}', "no name"),
        ("voice.json", (FACTS % '{"a": NaN}').encode(), "voice.json"),
        ("voice.json", (FACTS % '"\\ud800"').encode(), "voice.json"),
        ("voice.json", (FACTS % ("[" * 100_000)).encode(), "deep"),
        ("voice.json", b" " * 2**21, "more than"),
        ("transcript.txt", b"\xff", "codec"),
        ("transcript.txt", b" ", "empty"),
        ("audio.wav", b"RIFF not really", "sound file"),
        ("audio.wav", file(silence(2)), "silent"),
    ],
)
def test_a_damaged_voice_is_reported_and_left_alone(
    tmp_path: Path, embedded: Path, caplog: pytest.LogCaptureFixture, file_name: str, content: bytes, reason: str
) -> None:
    """An infinite date and brackets nested 100,000 deep stopped the start; bad audio was blamed on whoever used it."""
    folder = tmp_path / "uploads"
    voice = VoiceStore(folder, embedded).add("bad", CLIP)
    (folder / voice.id / file_name).write_bytes(content)
    store = VoiceStore(folder, embedded)
    assert [one.id for one in store.damaged()] == [voice.id]
    assert voice.id in caplog.text and "damaged" in caplog.text
    assert (folder / voice.id / "audio.wav").exists()
    with pytest.raises(DamagedVoice, match=reason):
        store.get(voice.id)
    if file_name != "voice.json":
        with pytest.raises(DamagedVoice, match="'bad' is damaged"):
            store.get("Bad")
    store.delete(voice.id)
    assert names(folder) == set() and store.damaged() == ()


def test_a_repaired_voice_is_used_again(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And as long as it is damaged, the log says so once."""
    monkeypatch.setattr(voice_store, "REFRESH_S", 0.0)
    folder = tmp_path / "uploads"
    voice = VoiceStore(folder, embedded).add("mine", CLIP)
    (folder / voice.id / "audio.wav").write_bytes(b"")
    store = VoiceStore(folder, embedded)
    for _ in range(3):
        with pytest.raises(DamagedVoice):
            store.get("mine")
    assert caplog.text.count("damaged") == 1
    (folder / voice.id / "audio.wav").write_bytes(CLIP.audio)
    assert store.get("mine") == voice


def test_what_is_none_of_ours_stops_nothing(tmp_path: Path, embedded: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that was called like a leftover stopped the start: it was taken for a folder."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    for name in (".incoming-x", "notes.txt", "voice_0123456789abcdef"):
        (folder / name).write_text("mine")
    (folder / ".outgoing-y").symlink_to(tmp_path)
    (folder / "lost+found").mkdir()
    store = VoiceStore(folder, embedded)
    assert ".incoming-x" in caplog.text and ".outgoing-y" in caplog.text
    assert [one.id for one in store.damaged()] == ["voice_0123456789abcdef"]
    assert embedded.is_dir() and (folder / ".incoming-x").exists()
    store.add("Mine", CLIP)


def test_a_voice_whose_folder_is_gone_is_unknown(tmp_path: Path, embedded: Path) -> None:
    """DELETE answered 500 when somebody had removed the folder by hand."""
    store = VoiceStore(tmp_path / "uploads", embedded)
    voice = store.add("Mine", CLIP)
    shutil.rmtree(tmp_path / "uploads" / voice.id)
    with pytest.raises(UnknownVoice):
        store.delete(voice.id)
    store.add("Mine", CLIP)


def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match="disk of this server is full"):
            store.add("Mine", CLIP)
    assert names(tmp_path / "uploads") == set()
    store.add("Mine", CLIP)


def test_a_folder_that_cannot_be_is_told_at_the_start(tmp_path: Path, embedded: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="file"):
        VoiceStore(tmp_path / "file" / "uploads", embedded)


TAKE = """
import sys
from pathlib import Path
from f5_tts_server.inference_types import VoiceClip
from f5_tts_server.voices.store import VoiceExists, VoiceStore

store = VoiceStore(Path(sys.argv[1]), Path(sys.argv[2]), max_voices=1000)
clip = VoiceClip(Path(sys.argv[2], "Ada.wav").read_bytes(), "words")
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    try:
        store.add(f"voice {number}", clip)
        print(number, flush=True)
    except VoiceExists:
        pass
"""


def test_two_servers_never_give_one_name_twice(tmp_path: Path, embedded: Path) -> None:
    """Each knew its own voices only, so both stored a voice of the same name in the folder that they shared."""
    command = [sys.executable, "-c", TAKE, str(tmp_path / "uploads"), str(embedded)]
    root = Path(__file__).parents[2]
    servers = [
        subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for server in servers:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
    outputs = []
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("go\n")
        server.stdin.flush()
    for server in servers:
        outputs += server.communicate(timeout=60)[0].split()
    assert sorted(map(int, outputs)) == list(range(20))
    assert len(names(tmp_path / "uploads")) == 20


def test_servers_that_share_a_folder_see_each_others_voices(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_store, "REFRESH_S", 0.0)
    one, other = (VoiceStore(tmp_path / "uploads", embedded) for _ in range(2))
    voice = one.add("Mine", CLIP)
    assert other.get("mine") == voice
    with pytest.raises(VoiceExists):
        other.add("MINE", CLIP)
    other.delete(voice.id)
    with pytest.raises(UnknownVoice):
        one.get("mine")


def test_the_folder_is_looked_at_once_a_second(tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)
    looks: list[VoiceFolder] = []

    def ids(folder: VoiceFolder) -> set[str]:
        looks.append(folder)
        return set()

    monkeypatch.setattr(VoiceFolder, "ids", ids)
    for _ in range(100):
        store.list()
    assert len(looks) <= 2


def test_damaged_embedded_voices_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "voices.json").write_text('{"voices": [{"id": "x"}]}')
    with pytest.raises(InvalidVoice, match=r"voices\.json"):
        VoiceStore(None, tmp_path)


def test_aliases_survive_a_restart_and_are_seen_by_other_servers(tmp_path: Path, embedded: Path) -> None:
    one, other = (VoiceStore(tmp_path / "uploads", embedded, aliases={"alloy": "Cleo"}) for _ in range(2))
    one.set_alias("nova", "ada")
    for store in (one, other, VoiceStore(tmp_path / "uploads", embedded)):
        assert store.get("Nova").id == "ada"
    assert one.get("ALLOY").id == "cleo"
    other.delete_alias("nova")
    with pytest.raises(UnknownAlias):
        one.delete_alias("nova")
    assert one.list() == VoiceStore(tmp_path / "uploads", embedded).list()  # the file is taken for no voice


def test_the_number_of_aliases_is_bounded(tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_store, "ALIASES_MAX", 2)
    store = VoiceStore(tmp_path / "uploads", embedded)
    for name in ("one", "two"):
        store.set_alias(name, "ada")
    store.set_alias("ONE", "ben")  # another voice for the same name
    with pytest.raises(AliasesFull, match="2 aliases"):
        store.set_alias("three", "ada")
    with pytest.raises(AliasesFull, match="no folder"):
        VoiceStore(None, embedded).set_alias("one", "ada")


def test_an_alias_of_an_unknown_voice_stops_the_start(tmp_path: Path, embedded: Path) -> None:
    with pytest.raises(UnknownVoice, match="nobody"):
        VoiceStore(tmp_path / "uploads", embedded, aliases={"alloy": "nobody"})


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"nova": 5}', b"[" * 100_000, b" " * 2**21])
def test_a_damaged_file_of_aliases_is_told_and_hides_no_voice(tmp_path: Path, embedded: Path, content: bytes) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)
    (tmp_path / "uploads" / "aliases.json").write_bytes(content)
    assert store.get("ada").id == "ada"
    with pytest.raises(StorageFailed, match=r"aliases\.json"):
        store.get("nova")


def test_an_edited_voice_is_whole_in_every_server_and_after_a_restart(
    tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_store, "REFRESH_S", 0.0)
    one, other = (VoiceStore(tmp_path / "uploads", embedded) for _ in range(2))
    made = one.add("Mine", CLIP, description="first", labels={"language": "en"}, words={"SQL": "sequel"})
    for count in range(1, 4):  # the last take is replaced, too
        clip = VoiceClip(file(speech(1 + count)), f"Words of take {count}.")
        one.edit(made.id, name=f"Mine {count}", clip=clip, report={"duration": count}, settings={"speed": 1.5})
        for store in (one, other, VoiceStore(tmp_path / "uploads", embedded)):
            voice = store.get(made.id)
            assert (voice.clip, voice.name, voice.report) == (clip, f"Mine {count}", {"duration": count})
            assert (voice.description, voice.labels, voice.words) == ("first", {"language": "en"}, {"SQL": "sequel"})
            assert voice.settings == {"speed": 1.5} and voice.created == made.created
        assert len(names(tmp_path / "uploads" / made.id)) == 4


def test_the_room_for_an_edited_voice_is_what_it_had_and_what_is_left(tmp_path: Path, embedded: Path) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded, max_voices=1, max_bytes=2 * len(CLIP.audio))
    voice = store.add("Mine", CLIP)
    store.edit(voice.id, clip=VoiceClip(file(speech(1.9)), TEXT))
    with pytest.raises(StoreFull, match="bytes"):
        store.edit(voice.id, clip=VoiceClip(file(speech(2.5)), TEXT))
    store.edit(voice.id, name="MINE")
    with pytest.raises(ReadOnlyVoice):
        store.edit("ada", name="New")


@pytest.mark.parametrize("point", range(1, 6))
def test_a_crash_while_editing_leaves_the_old_voice_or_the_new_one(tmp_path: Path, embedded: Path, point: int) -> None:
    """One file says which clip and transcript are the voice's: what else a crash leaves belongs to nobody."""
    folder = tmp_path / "uploads"
    kept = VoiceStore(folder, embedded).add("kept", CLIP)
    code = crash(folder, embedded, str(point), "edit", kept.id)
    assert code == (9 if point <= 4 else 0)
    store = VoiceStore(folder, embedded)
    voice = store.get(kept.id)
    assert (voice.name, voice.clip.text) == (("kept", TEXT) if point <= 3 else ("edited", "other words"))
    assert voice.clip.audio == (CLIP.audio if point <= 3 else (embedded / "Ada.wav").read_bytes())
    assert len(store.edit(kept.id, clip=CLIP).clip.text) == len(TEXT)
    assert len(names(folder / kept.id)) == 3


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ('"take": "../../x"', "take"),
        ('"take": 5', "no take"),
        ('"labels": {"language": 5}', "label"),
        ('"settings": {"speed": "fast"}', "speed"),
        ('"settings": {"speed": 100}', "speed"),
    ],
)
def test_facts_that_are_none_damage_a_voice(tmp_path: Path, embedded: Path, facts: str, reason: str) -> None:
    store = VoiceStore(tmp_path / "uploads", embedded)
    voice = store.add("bad", CLIP)
    (tmp_path / "uploads" / voice.id / "voice.json").write_text(f'{{"name": "bad", "created": 1, {facts}}}')
    with pytest.raises(DamagedVoice, match=reason):
        VoiceStore(tmp_path / "uploads", embedded).get("bad")
