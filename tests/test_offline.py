"""Offline mode on the toy model: every line accounted for, bad ones aside, and a second run does what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from f5_tts_server import offline
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.inference_types import SamplingDefaults
from f5_tts_server.settings import Settings
from f5_tts_server.tts_engine import TTSEngine
from f5_tts_server.voices.store import VoiceStore
from f5_tts_server.voices.transcription import Transcriber
from tests.clips import embedded_voices, file, speech
from tests.toy_programs import RATE, ToyPrograms


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    embedded_voices(tmp_path / "embedded")
    return tmp_path


def run(
    folder: Path, lines: list[str], toy: ToyPrograms | None = None
) -> tuple[int, list[dict[str, Any]], ToyPrograms]:
    toy = toy or ToyPrograms()
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    settings = Settings(offline=folder / "in.jsonl", out=folder / "out", max_concurrent_requests=4, queue_limit=0)
    engine = TTSEngine(lambda: toy, settings.engine_options())
    voices = VoiceStore(None, folder / "embedded")
    builder = RequestBuilder(voices, Transcriber(), SamplingDefaults(nfe=4), settings.timeout_s)
    code = offline.run(engine, builder, settings)
    results = folder / "out" / offline.RESULTS
    recorded = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    return code, recorded, toy


def test_every_line_gets_a_file_or_an_error(folder: Path) -> None:
    (folder / "clip.wav").write_bytes(file(speech(2)))
    lines = [json.dumps({"id": f"clip-{i}", "gen_text": f"This is sentence number {i}.", "seed": i}) for i in range(12)]
    lines[3] = "{broken"
    lines[5] = json.dumps({"id": "../evil", "gen_text": "Hello."})
    lines[7] = json.dumps({"gen_text": "Hello.", "num_inference_steps": 0})
    lines[8] = json.dumps({"id": "own", "gen_text": "Hello.", "ref_audio": "clip.wav", "ref_text": "Words."})
    lines[9] = json.dumps({"id": "lost", "gen_text": "Hello.", "ref_audio": "lost.wav", "ref_text": "Words."})
    lines[10] = json.dumps({"id": "broke", "gen_text": "Now fail-vocode."})
    code, results, toy = run(folder, lines, ToyPrograms(step_s=0.04))
    assert code == 0
    assert sorted(result["line"] for result in results) == list(range(1, 13))
    good = [result for result in results if result["status"] == "ok"]
    assert sorted(result["line"] for result in good) == [1, 2, 3, 5, 7, 9, 12]
    for result in good:
        assert soundfile.info(str(folder / "out" / result["file"])).frames == round(result["duration"] * RATE)
    errors = {result["line"]: result["error"] for result in results if result["status"] == "error"}
    assert "not JSON" in errors[4] and "file name" in errors[6] and "num_inference_steps" in errors[8]
    assert "lost.wav" in errors[10] and "postprocess stage" in errors[11]
    assert {path.suffix for path in (folder / "out").iterdir()} == {".wav", ".jsonl"}, "nothing half-written is left"
    assert max(len(rows) for _, rows in toy.steps) > 1, "lines were made one after another"


def test_a_second_run_does_only_what_is_missing(folder: Path) -> None:
    lines = [json.dumps({"id": f"c{i}", "gen_text": f"Line {i}.", "seed": 1}) for i in range(4)]
    run(folder, lines[:2])
    with (folder / "out" / offline.RESULTS).open("a") as file:
        file.write('{"id": "c2", "status": "o')  # a crash in the middle of a record
    (folder / "out" / "c1.wav").unlink()
    code, _, toy = run(folder, lines)
    assert code == 0
    spoken = sum(len(slots) for _, slots in toy.steps) // 4
    assert spoken == 3, "the first line was made again, or another was not"
    _, _, toy = run(folder, [lines[0].replace("Line", "Word"), *lines[1:]])
    assert sum(len(slots) for _, slots in toy.steps) // 4 == 1, "a changed line must be made again, and only that"


def test_equal_lines_give_equal_files_whatever_runs_beside_them(folder: Path) -> None:
    lines = [json.dumps({"id": f"c{i}", "gen_text": "The very same words.", "seed": 3}) for i in range(6)]
    run(folder, lines)
    assert len({path.read_bytes() for path in (folder / "out").glob("*.wav")}) == 1


def test_a_file_that_is_not_there_is_said_in_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(offline=folder / "none.jsonl", out=folder / "out")
    engine = TTSEngine(ToyPrograms, settings.engine_options())
    voices = VoiceStore(None, folder / "embedded")
    builder = RequestBuilder(voices, Transcriber(), SamplingDefaults(), settings.timeout_s)
    assert offline.run(engine, builder, settings) == 1
    assert "none.jsonl" in capsys.readouterr().err
