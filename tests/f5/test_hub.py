"""f5.hub against local folders, and against a small hub of our own that huggingface_hub really talks to."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from f5_tts_server.f5 import hub
from f5_tts_server.f5.hub import ModelFilesError, backbone_files, vocoder_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)


def refusal(model: str, vocab: str | None = None) -> str:
    with pytest.raises(ModelFilesError) as caught:
        backbone_files(model, vocab)
    return str(caught.value)


# ---- local


def test_a_folder_with_weights_and_vocabulary(tmp_path: Path) -> None:
    touch(tmp_path, "model_10.safetensors", "vocab.txt", "README.md")
    files = backbone_files(str(tmp_path))
    assert (files.weights, files.vocab) == (tmp_path / "model_10.safetensors", tmp_path / "vocab.txt")


def test_a_file_next_to_others(tmp_path: Path) -> None:
    touch(tmp_path, "model_10.pt", "model_20.pt", "vocab.txt")
    assert backbone_files(str(tmp_path / "model_20.pt")).weights.name == "model_20.pt"


def test_a_vocabulary_of_ones_own(tmp_path: Path) -> None:
    touch(tmp_path / "model", "model.pt", "vocab.txt")
    touch(tmp_path, "mine.txt")
    assert backbone_files(str(tmp_path / "model"), str(tmp_path / "mine.txt")).vocab == tmp_path / "mine.txt"


def test_a_model_without_a_vocabulary(tmp_path: Path) -> None:
    touch(tmp_path, "model.pt")
    assert "put the vocab.txt it was trained with next to it" in refusal(str(tmp_path))
    assert "there is no vocabulary file" in refusal(str(tmp_path), "elsewhere.txt")


def test_a_folder_with_too_many_or_no_weights(tmp_path: Path) -> None:
    touch(tmp_path, "vocab.txt")
    assert "must hold exactly one weights file (.safetensors, .pt, .bin); it holds none" in refusal(str(tmp_path))
    touch(tmp_path, "a.pt", "b.safetensors")
    assert "it holds a.pt, b.safetensors" in refusal(str(tmp_path))


def test_a_model_that_is_nowhere() -> None:
    message = refusal("F5TTS_v9")
    assert "there is no model 'F5TTS_v9'" in message
    assert "did you mean F5TTS_v1_Base?" in message
    assert all(name in message for name in ("embedded", "F5TTS_Base_bigvgan", "E2TTS_Base"))


@pytest.mark.parametrize("name", ["hf://", "hf://owner", "hf://owner/repo", "hf://owner/repo@main", "hf://a b/c/d"])
def test_hub_names_that_name_no_file(name: str) -> None:
    assert "hf://owner/repo/file" in refusal(name)


def test_a_vocoder_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"is not a folder with a config\.yaml"):
        vocoder_files("vocos", str(tmp_path))
    touch(tmp_path, "config.yaml", "pytorch_model.bin")
    files = vocoder_files("vocos", str(tmp_path))
    assert (files.config.name, files.weights.name) == ("config.yaml", "pytorch_model.bin")
    with pytest.raises(ModelFilesError, match="name the repository"):
        vocoder_files("vocos", "hf://charactr/vocos-mel-24khz/pytorch_model.bin")


def test_the_vocoder_of_another_kind_of_mel_is_not_taken(tmp_path: Path) -> None:
    """BigVGAN's mel is another than that of Vocos: either decodes the other's into noise."""
    touch(tmp_path, "config.json", "bigvgan_generator.pt")
    files = vocoder_files("bigvgan", str(tmp_path))
    assert (files.config.name, files.weights.name) == ("config.json", "bigvgan_generator.pt")
    with pytest.raises(ModelFilesError, match=r"with a config\.yaml in it; the model speaks in mels for vocos"):
        vocoder_files("vocos", str(tmp_path))


# ---- the hub


class Hub(BaseHTTPRequestHandler):
    """Serves `files` as the Hugging Face hub does; branches and tags are at COMMIT."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.asked.append(f"{self.command} {self.path}")
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
            content = b""
        revision = self.path.split("/")[4]
        self.send_header("X-Repo-Commit", revision if len(revision) == len(COMMIT) else COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (Hub,), {"files": files, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def resolve(folder: Path, call: str, **environment: str) -> dict[str, Any]:
    """Runs a call of f5.hub in a fresh Python, as huggingface_hub reads its settings when imported."""
    program = f"""
import json
from f5_tts_server.f5 import hub
try:
    files = hub.{call}
    print(json.dumps({{name: str(path) for name, path in vars(files).items()}}))
except hub.ModelFilesError as error:
    print(json.dumps({{"error": str(error)}}))
"""
    process = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"HF_HOME": str(folder), "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
    )
    return {"log": process.stderr, **json.loads(process.stdout)}


def test_released_names_are_downloaded_once_at_their_revision(tmp_path: Path) -> None:
    released = hub.RELEASED["F5TTS_v1_Base"]
    base = f"/{released.repository}/resolve/{released.revision}/F5TTS_v1_Base"
    contents = {f"{base}/model_1250000.safetensors": b"weights", f"{base}/vocab.txt": b"a\nb\n"}
    with serving(contents) as (endpoint, asked):
        found = resolve(tmp_path, "backbone_files('F5TTS_v1_Base')", HF_ENDPOINT=endpoint)
    assert Path(found["weights"]).read_bytes() == b"weights"
    assert Path(found["vocab"]).read_bytes() == b"a\nb\n"
    assert all(released.revision in path for path in asked)
    assert "CC-BY-NC-4.0" in found["log"]  # said when downloading

    again = resolve(tmp_path, "backbone_files('F5TTS_v1_Base')", HF_HUB_OFFLINE="1")
    assert again["weights"] == found["weights"]
    assert "Downloading" not in again["log"]


def test_hub_names_with_and_without_a_revision(tmp_path: Path) -> None:
    contents = {
        "/someone/voice/resolve/main/deep/model.pt": b"newest",
        "/someone/voice/resolve/main/deep/vocab.txt": b"a\n",
        "/someone/voice/resolve/v2/model.pt": b"second",
        "/someone/words/resolve/main/words.txt": b"b\n",
    }
    with serving(contents) as (endpoint, _):
        main = resolve(tmp_path, "backbone_files('hf://someone/voice/deep/model.pt')", HF_ENDPOINT=endpoint)
        call = "backbone_files('hf://someone/voice@v2/model.pt', 'hf://someone/words/words.txt')"
        tagged = resolve(tmp_path / "2", call, HF_ENDPOINT=endpoint)
        missing = resolve(tmp_path, "backbone_files('hf://someone/voice/model.bin')", HF_ENDPOINT=endpoint)
    assert Path(main["weights"]).read_bytes() == b"newest"
    assert Path(tagged["weights"]).read_bytes() == b"second"
    assert Path(tagged["vocab"]).read_bytes() == b"b\n"
    assert missing["error"] == "someone/voice has no file model.bin at revision main"


@pytest.mark.parametrize(
    ("call", "put"),
    [
        ("backbone_files('E2TTS_Base')", "put model_1200000.safetensors and its vocab.txt into a folder"),
        ("vocoder_files('vocos')", "put config.yaml and pytorch_model.bin of charactr/vocos-mel-24khz into a folder"),
        (
            "vocoder_files('bigvgan')",
            "put config.json and bigvgan_generator.pt of nvidia/bigvgan_v2_24khz_100band_256x",
        ),
    ],
)
def test_without_a_network_the_error_says_what_to_put_where(tmp_path: Path, call: str, put: str) -> None:
    error = resolve(tmp_path, call, HF_HUB_OFFLINE="1")["error"]
    assert "the Hugging Face hub cannot be reached" in error
    assert "hf download" in error
    assert "HF_HOME" in error
    assert put in error
    assert "F5_MODEL" in error or "F5_VOCODER" in error


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    """huggingface_hub retried for half a minute where there is no network, while the server only said "loading"."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody listens here
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        answer = resolve(tmp_path, "backbone_files('F5TTS_v1_Base')", HF_ENDPOINT=endpoint)
    assert "the Hugging Face hub cannot be reached" in answer["error"]
    assert "Retry" not in answer["log"]


def test_a_mistyped_model_is_told_with_what_was_probably_meant() -> None:
    for typed, meant in (("F5TTS_v1_base", "F5TTS_v1_Base"), ("embeded", "embedded"), ("E2TTS-Base", "E2TTS_Base")):
        with pytest.raises(hub.ModelFilesError, match=f"did you mean {meant}?"):
            hub.backbone_files(typed)


def test_released_names_are_pinned_to_commits() -> None:
    for file in (*hub.RELEASED.values(), *hub.RELEASED_VOCODERS.values()):
        assert len(file.revision) == 40 and set(file.revision) <= set("0123456789abcdef")
