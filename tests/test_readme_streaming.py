"""README_STREAMING.md tells the truth: its lines work when pasted, its tables are complete, the two languages agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from f5_tts_server.settings import PREFIX, Settings
from tests.server import ROOT, running

ENGLISH = (ROOT / "README_STREAMING.md").read_text("utf-8")
CHINESE = (ROOT / "README_STREAMING.zh-CN.md").read_text("utf-8")


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_every_setting_is_in_the_table(text: str) -> None:
    named = set(re.findall(rf"`({PREFIX}[A-Z0-9_]+)`", text.partition("<!-- settings -->")[2]))
    assert {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} <= named


def test_the_two_languages_have_the_same_sections_and_commands() -> None:
    def without_comments(blocks: list[str]) -> list[str]:
        return [re.sub(r"(?m)\s*#.*$", "", block) for block in blocks]

    assert len(re.findall(r"(?m)^## ", ENGLISH)) == len(re.findall(r"(?m)^## ", CHINESE)) == 12
    for language in ("sh", "bash", "json"):
        assert without_comments(code_blocks(ENGLISH, language)) == without_comments(code_blocks(CHINESE, language))


def test_links_lead_somewhere() -> None:
    for text in (ENGLISH, CHINESE):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / target).exists(), target


def test_the_lines_work_when_pasted(tmp_path: Path) -> None:
    with running(toy={"step_s": 0.001}) as server:
        for block in code_blocks(ENGLISH, "bash"):
            command = "set -e -o pipefail\n" + block.replace("http://127.0.0.1:8000", server.url)
            done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{block}\n{done.stderr}"
            if "1000" in block:
                assert "num_inference_steps" in done.stdout and "64" in done.stdout
            else:
                assert '"error"' not in done.stdout, done.stdout
    for name in ("speech.wav", "clip.wav", "borrowed.wav"):
        samples, rate = soundfile.read(str(tmp_path / name))
        assert rate == 24_000 and len(samples) > 12_000


def test_the_client_streams_and_saves(tmp_path: Path) -> None:
    client = [sys.executable, str(ROOT / "streaming_client_example.py")]
    with running(toy={"step_s": 0.001}) as server:
        for extra in ([], ["--whole"]):
            command = [
                *client,
                "--url",
                server.url,
                "--no-play",
                "--seed",
                "3",
                "Hello to everyone here today.",
                *extra,
            ]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "first audio after" in done.stdout and "real-time factor" in done.stdout
            (tmp_path / "output.wav").rename(tmp_path / f"output{len(extra)}.wav")
        assert (tmp_path / "output0.wav").read_bytes() == (tmp_path / "output1.wav").read_bytes()
        (tmp_path / "output.wav").write_bytes(b"from before")
        for refused, words in ((["--voice", "nobody"], "nobody"), (["fail-vocode"], "output.wav.part")):
            command = [*client, "--url", server.url, "--no-play", *refused]
            failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert failed.returncode == 1 and words in failed.stderr and "Traceback" not in failed.stderr
            # It was opened, and so emptied, before the server had said a word.
            assert (tmp_path / "output.wav").read_bytes() == b"from before"
