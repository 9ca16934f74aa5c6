"""Stored voices over HTTP: upload, use, list, delete, and what is refused."""

from __future__ import annotations

import base64
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.clips import TEXT, file, silence, speech
from tests.server import ServerThread

CLIP = file(np.concatenate([silence(0.5), speech(4), silence(0.5)]))


@pytest.fixture
def server(serve: Callable[..., ServerThread]) -> ServerThread:
    return serve()


@pytest.fixture
def client(server: ServerThread) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as session:
        yield session


def upload(client: httpx.Client, audio: bytes = CLIP, **fields: Any) -> httpx.Response:
    data = {"name": "My voice", "ref_text": TEXT, **fields}
    return client.post("/v1/audio/voices", data=data, files={"audio_sample": ("clip.wav", audio, "audio/wav")})


def test_a_voice_is_uploaded_used_and_deleted(client: httpx.Client, server: ServerThread) -> None:
    reply = upload(client, consent="cons_123", description="me")
    assert reply.status_code == 201, reply.text
    voice = reply.json()
    assert voice["object"] == "audio.voice"
    assert (voice["name"], voice["ref_text"], voice["consent"]) == ("My voice", TEXT, "cons_123")
    report = voice["report"]
    assert report["duration"] == pytest.approx(5.0, abs=0.01)
    assert report["leading_silence"] == pytest.approx(0.5, abs=0.03)
    assert report["transcribed"] is False
    assert any("silence" in action for action in report["actions"])

    assert client.get(f"/v1/audio/voices/{voice['id']}").json() == voice
    assert voice["id"] in [entry["id"] for entry in client.get("/v1/audio/voices").json()["voices"]]
    assert client.get(f"/v1/audio/voices/{voice['id']}/audio").content[:4] == b"RIFF"

    body = {"model": "m", "input": "Hello there, friend.", "response_format": "pcm", "seed": 1}
    for name in (voice["id"], "my voice"):
        assert client.post("/v1/audio/speech", json={**body, "voice": name}).status_code == 200
    assert client.post("/v1/generate", json={"gen_text": "Hello [voice:My voice] you."}).status_code == 200

    assert client.delete(f"/v1/audio/voices/{voice['id']}").json()["deleted"] is True
    assert client.get(f"/v1/audio/voices/{voice['id']}").status_code == 404
    assert client.post("/v1/audio/speech", json={**body, "voice": voice["id"]}).status_code == 404


def test_a_voice_says_words_as_its_lexicon_has_them(client: httpx.Client) -> None:
    """In place of the lexicon before, in every protocol, and nowhere else: the toy model's audio follows the letters."""
    voice = upload(client).json()["id"]
    other = upload(client, name="Other").json()["id"]
    body = {"response_format": "pcm", "seed": 1}

    def said(text: str, name: str = voice) -> bytes:
        reply = client.post("/v1/audio/speech", json={**body, "input": text, "voice": name})
        return reply.raise_for_status().content

    def put(words: Any, name: str = voice) -> httpx.Response:
        return client.put(f"/v1/audio/voices/{name}/lexicon", json=words)

    reply = put({"SQL": "sequel, the language", "Nguyen": "win"})
    assert reply.status_code == 200
    assert reply.json() == client.get(f"/v1/audio/voices/{voice}").json()
    assert reply.json()["lexicon"] == {"SQL": "sequel, the language", "Nguyen": "win"}
    assert said("The SQL of it.") == said("The sequel, the language of it.") != said("The SQL of it.", other)
    marked = client.post("/v1/generate", json={"gen_text": f"[voice:{voice}]The SQL.", "voice": other, **body}).json()
    spelt = {"gen_text": f"[voice:{voice}]The sequel, the language.", "voice": other, **body}
    assert marked["audio_base64"] == client.post("/v1/generate", json=spelt).json()["audio_base64"]
    assert put({"SQL": "squeal"}).json()["lexicon"] == {"SQL": "squeal"}
    assert said("The SQL.") == said("The squeal.")
    assert put({}).json()["lexicon"] == {}


@pytest.mark.parametrize(
    ("voice", "words", "status", "param", "told"),
    [
        (None, ["SQL"], 422, None, "a JSON object, not a list"),
        (None, {"SQL": 5}, 422, "SQL", "string"),
        (None, {"SQL": ""}, 422, "lexicon", "'SQL'"),
        (None, {"x" * 61: "word"}, 422, "lexicon", "60"),
        (None, {f"w{number}": "word" for number in range(5001)}, 422, "lexicon", "5000"),
        ("ada", {"SQL": "sequel"}, 403, "voice", "cannot be deleted or changed"),
        ("nobody", {"SQL": "sequel"}, 404, "voice", "unknown"),
    ],
)
def test_a_lexicon_that_cannot_be_is_refused(
    client: httpx.Client, voice: str | None, words: Any, status: int, param: str | None, told: str
) -> None:
    """What was wrong with an entry was said of `text`, a field that the route does not have."""
    voice = voice or upload(client).json()["id"]
    reply = client.put(f"/v1/audio/voices/{voice}/lexicon", json=words)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert told in error["message"]


def test_voices_are_mixed_by_name_in_every_protocol(client: httpx.Client, server: ServerThread) -> None:
    """And what cannot be mixed names the field that asked for it."""

    def answers(voice: str) -> list[httpx.Response]:
        return [
            client.post("/v1/generate", json={"gen_text": "Hello.", "voice": voice}),
            client.post("/v1/generate", json={"gen_text": f"[voice:{voice}]Hello."}),
            client.post("/v1/audio/speech", json={"input": "Hello.", "voice": voice}),
            client.post(f"/v1/text-to-speech/{voice}", json={"text": "Hello."}),
        ]

    assert [reply.status_code for reply in answers("ada(2)+ben(1)")] == [200] * 4
    assert server.programs.references == 1
    for mix, statuses, code in (
        ("ada(9)+ben(0)", [422, 422, 400, 422], "invalid_voice_mix"),
        ("ada+nobody", [404] * 4, "voice_not_found"),
    ):
        replies = answers(mix)
        assert [reply.status_code for reply in replies] == statuses
        told = [reply.json().get("error") or reply.json()["detail"] for reply in replies]
        assert [error.get("code") or error["status"] for error in told] == [code] * 4
        assert [error["param"] for error in told] == ["voice", "gen_text", "voice", "voice_id"], told


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG"])
def test_other_formats_are_taken(client: httpx.Client, format: str) -> None:
    assert upload(client, file(speech(4), format=format)).status_code == 201


@pytest.mark.parametrize(
    ("fields", "audio", "status", "param", "words"),
    [
        ({"name": ""}, CLIP, 422, "name", "1 to 64"),
        ({"name": "a]b"}, CLIP, 422, "name", "[ ]"),
        ({"name": "Ada"}, CLIP, 409, "name", "exists"),
        ({}, b"no audio", 422, "audio_sample", "sound file"),
        ({}, b"", 422, "audio_sample", "sound file"),
        ({}, file(silence(3)), 422, "audio_sample", "silent"),
        ({}, file(speech(0.6)), 422, "audio_sample", "at least 1 s"),
        ({}, file(speech(20)), 422, "audio_sample", "at most 12 s"),
        ({"ref_text": "Hm"}, CLIP, 422, "audio_sample", "does not fit"),
        ({"ref_text": "x" * 3000}, CLIP, 422, "ref_text", "2000"),
        ({"surprise": "1"}, CLIP, 422, "surprise", "no field"),
    ],
)
def test_what_is_wrong_is_said(
    client: httpx.Client, fields: dict[str, str], audio: bytes, status: int, param: str, words: str
) -> None:
    reply = upload(client, audio, **fields)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (status, param), error
    assert words in error["message"]


def test_without_a_transcript_the_reply_says_how_to_get_one(client: httpx.Client) -> None:
    """faster-whisper is not among this project's requirements, so this server cannot transcribe."""
    reply = upload(client, ref_text="")
    assert reply.status_code == 422
    error = reply.json()["error"]
    assert error["param"] == "ref_text"
    assert "requirements-asr.txt" in error["message"]


def test_a_body_that_is_no_upload_is_refused(client: httpx.Client) -> None:
    url = "/v1/audio/voices"
    assert client.post(url, json={"name": "x"}).status_code == 415
    assert client.post(url, content=b"x", headers={"content-type": "multipart/form-data"}).status_code == 422
    assert client.post(url, data={"name": "x"}, files={"other": b"x"}).status_code == 422
    assert client.post(url, files={"name": ("a", b"x"), "audio_sample": ("b", CLIP)}).status_code == 422
    torn = b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx'
    assert (
        client.post(url, content=torn, headers={"content-type": "multipart/form-data; boundary=b"}).status_code == 422
    )


def test_uploads_over_the_limit_are_refused_and_leave_no_file(
    serve: Callable[..., ServerThread], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starlette spools uploads beyond 1 MiB to the disk; this server holds them in memory, within its limit."""
    made: list[object] = []
    monkeypatch.setattr("tempfile._TemporaryFileWrapper", lambda *a, **k: made.append(a))
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *a, **k: made.append(a))
    server = serve(max_body_mib=4)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        big = upload(client, file(speech(12, rate=96_000), rate=96_000))  # 2.3 MB
        assert big.status_code == 201, big.text
        assert upload(client, b"x" * 5 * 2**20, name="Other").status_code == 413
    assert made == []


def test_the_number_of_voices_is_bounded(client: httpx.Client) -> None:
    for number in range(3):
        assert upload(client, name=f"voice {number}").status_code == 201
    reply = upload(client, name="one too many")
    assert reply.status_code == 403
    assert "limit is 3" in reply.json()["error"]["message"]


def test_embedded_voices_stay(client: httpx.Client) -> None:
    assert client.delete("/v1/audio/voices/ada").status_code == 403
    assert client.delete("/v1/audio/voices/nobody").status_code == 404
    assert client.get("/v1/audio/voices").json()["default"] == "ada"


@pytest.fixture
def uploads(server: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the server's voices, looked at every time."""
    monkeypatch.setattr("f5_tts_server.voices.store.REFRESH_S", 0.0)
    (folder,) = (path.parent for path in tmp_path.rglob(".lock"))
    return folder


def test_a_voice_whose_folder_is_gone_is_not_found(client: httpx.Client, uploads: Path) -> None:
    voice = upload(client).json()["id"]
    shutil.rmtree(uploads / voice)
    reply = client.delete(f"/v1/audio/voices/{voice}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "voice_not_found")


def test_a_damaged_voice_is_the_servers_fault(client: httpx.Client, uploads: Path) -> None:
    """Its bad audio was blamed on whoever asked for it: 422, ref_audio_base64."""
    voice = upload(client).json()["id"]
    (uploads / voice / "audio.wav").write_bytes(b"RIFF")
    shutil.move(uploads / voice, uploads / "voice_0123456789abcdef")
    for path, body in (
        ("/v1/generate", {"gen_text": "Hello."}),
        ("/v1/audio/speech", {"model": "m", "input": "Hello."}),
    ):
        reply = client.post(path, json={**body, "voice": "My voice"})
        error = reply.json()["error"]
        assert (reply.status_code, error["code"], error["type"]) == (500, "voice_damaged", "server_error"), error
        assert "'My voice' is damaged" in error["message"]
    (damaged,) = client.get("/v1/audio/voices").json()["damaged"]
    assert (damaged["id"], damaged["name"]) == ("voice_0123456789abcdef", "My voice")
    assert client.delete(f"/v1/audio/voices/{damaged['id']}").status_code == 200
    assert upload(client).status_code == 201


def test_a_full_disk_is_told(client: httpx.Client, uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        reply = upload(client)
    assert (reply.status_code, reply.json()["error"]["code"]) == (507, "disk_full")
    assert upload(client).status_code == 201


def test_an_exported_voice_speaks_the_same_on_another_server(
    client: httpx.Client, server: ServerThread, serve: Callable[..., ServerThread]
) -> None:
    """To the bit: the clip is stored as it was, where an upload is trimmed and written anew."""
    made = upload(client, description="mine").json()["id"]
    client.put(f"/v1/audio/voices/{made}/lexicon", json={"SQL": "sequel"})
    server.voices.edit(made, labels={"language": "en"}, settings={"speed": 1.2, "stability": 0.4})
    file = client.get(f"/v1/audio/voices/{made}/export")
    assert file.headers["content-type"] == "application/zip" and made in file.headers["content-disposition"]
    with httpx.Client(base_url=serve().url, timeout=30) as other:
        reply = other.post("/v1/audio/voices/import", files={"file": file.content})
        assert reply.status_code == 201, reply.text
        taken = reply.json()
        own = client.get(f"/v1/audio/voices/{made}").json()
        same = ("name", "ref_text", "description", "labels", "settings", "lexicon", "embedded")
        assert {key: taken[key] for key in same} == {key: own[key] for key in same}
        sounds = [
            one.post(
                f"/v1/text-to-speech/{voice}?output_format=pcm_24000", json={"text": "The SQL.", "seed": 3}
            ).content
            for one, voice in ((client, made), (other, taken["id"]))
        ]
        assert sounds[0] == sounds[1] and len(sounds[0]) > 10_000
        clips = [
            one.get(f"/v1/audio/voices/{voice}/audio").content for one, voice in ((client, made), (other, taken["id"]))
        ]
        assert clips[0] == clips[1]
        assert other.get(f"/v1/audio/voices/{taken['id']}/export").content == file.content
        again = other.post("/v1/audio/voices/import", files={"file": file.content})
        assert (again.status_code, again.json()["error"]["param"]) == (409, "name")
        ada = other.get("/v1/audio/voices/ada/export").content
        renamed = other.post("/v1/audio/voices/import", files={"file": ada}, data={"name": "Ada Two"})
        assert renamed.status_code == 201 and renamed.json()["name"] == "Ada Two"


def test_what_is_no_exported_voice_is_refused(client: httpx.Client) -> None:
    reply = client.post("/v1/audio/voices/import", files={"file": b"no archive"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_voice_file")
    assert client.post("/v1/audio/voices/import", data={"name": "x"}, files={"other": b"x"}).status_code == 422
    assert client.get("/v1/audio/voices/nobody/export").status_code == 404


def test_a_reference_is_taken_from_an_allowed_host(serve: Callable[..., ServerThread], tmp_path: Path) -> None:
    """The same samples as with the clip in the request; elsewhere the field and the reason are named."""
    (tmp_path / "clip.wav").write_bytes(CLIP)
    files = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=files.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{files.server_port}"
    body: dict[str, Any] = {"gen_text": "Hello.", "ref_text": TEXT, "seed": 1}
    with httpx.Client(base_url=serve(reference_hosts=(host,)).url, timeout=30) as client:
        there = client.post("/v1/generate", json={**body, "ref_audio_url": f"{host}/clip.wav"})
        here = client.post("/v1/generate", json={**body, "ref_audio_base64": base64.b64encode(CLIP).decode()})
        assert there.status_code == 200, there.text
        assert there.json()["audio_base64"] == here.json()["audio_base64"]
        for fields, code, param in (
            ({"ref_audio_url": f"{host}/nothing.wav"}, "reference_url_failed", "ref_audio_url"),
            ({"ref_audio_url": "http://127.0.0.1:1/clip.wav"}, "reference_url_refused", "ref_audio_url"),
            ({"ref_audio_url": f"{host}/clip.wav", "voice": "ada"}, "invalid_request", "voice"),
            ({"ref_audio_url": "x" * 3000}, "invalid_request", "ref_audio_url"),
        ):
            reply = client.post("/v1/generate", json={**body, **fields})
            error = reply.json()["error"]
            assert (reply.status_code, error["code"], error["param"]) == (422, code, param), error
    files.shutdown()
    files.server_close()
