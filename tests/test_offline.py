"""Offline mode on the toy model: every line accounted for, bad ones aside, and a second run does what is missing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import soundfile

from f5_tts_server import offline
from f5_tts_server.api.request_builder import RequestBuilder
from f5_tts_server.catalogue import catalogue
from f5_tts_server.inference_types import SamplingDefaults
from f5_tts_server.pool import ModelPool
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
    folder: Path, lines: list[str], toy: ToyPrograms | None = None, load: Callable[[], ToyPrograms] | None = None
) -> tuple[int, list[dict[str, Any]], ToyPrograms]:
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    toy = toy or ToyPrograms()
    code = run_file(folder, load or (lambda: toy))
    results = folder / "out" / offline.RESULTS
    recorded = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    return code, recorded, toy


def run_file(folder: Path, load: Callable[[], ToyPrograms] = ToyPrograms) -> int:
    settings = Settings(offline=folder / "in.jsonl", out=folder / "out", max_concurrent_requests=4, queue_limit=0)
    engine = TTSEngine(load, settings.engine_options())
    return offline.run(engine, builder_of(folder, settings), settings)


def builder_of(folder: Path, settings: Settings) -> RequestBuilder:
    voices = VoiceStore(None, folder / "embedded")
    return RequestBuilder(
        voices, Transcriber(), catalogue(settings, lambda _: SamplingDefaults(nfe=4)), settings.timeout_s
    )


def test_every_line_gets_a_file_or_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "clip.wav").write_bytes(file(speech(2)))
    lines = [json.dumps({"id": f"clip-{i}", "gen_text": f"This is sentence number {i}.", "seed": i}) for i in range(12)]
    lines[3] = "{broken"
    lines[5] = json.dumps({"id": "../evil", "gen_text": "Hello."})
    lines[7] = json.dumps({"gen_text": "Hello.", "num_inference_steps": 0})
    lines[8] = json.dumps({"id": "own", "gen_text": "Hello.", "ref_audio": "clip.wav", "ref_text": "Words."})
    lines[9] = json.dumps({"id": "lost", "gen_text": "Hello.", "ref_audio": "lost.wav", "ref_text": "Words."})
    lines[10] = json.dumps({"id": "broke", "gen_text": "Now fail-vocode."})
    code, results, toy = run(folder, lines, ToyPrograms(step_s=0.04))
    assert code == 1, "lines have failed"
    assert "12 lines: 7 made, 0 made before, 5 failed" in capsys.readouterr().err
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


class Watched(ToyPrograms):
    """One row a step; tells how many steps were made before each segment was ready, and may interrupt at one."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        super().__init__(step_sizes=(1,), slots=8)
        self.ready_after: list[int] = []
        self._interrupt_at = interrupt_at

    def take(self, state: Any, slot: int, plan: Any) -> Any:
        self.ready_after.append(len(self.steps))
        if len(self.ready_after) == self._interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().take(state, slot, plan)


LINES = [json.dumps({"id": f"c{i}", "gen_text": f"Line {i}.", "seed": 1}) for i in range(8)]


def test_lines_choose_among_the_models_of_a_file(folder: Path) -> None:
    """Each is spoken with its own model's defaults; one is loaded only because a line asks for it, one never is."""
    entries = ("one, weights: one", "two, weights: two, load: first-use, aliases: [zwei], defaults: {quality: draft}",
               "three, weights: three, load: first-use")  # fmt: skip
    (folder / "models.yaml").write_text("\n".join(["models:", *(f"  - {{name: {entry}}}" for entry in entries)]))
    lines = [
        {"id": f"c{i}", **model} for i, model in enumerate(({}, {"model": "two"}, {"model": "zwei"}, {"model": "four"}))
    ]
    (folder / "in.jsonl").write_text(
        "\n".join(json.dumps({"gen_text": "A line.", "seed": 1, **line}) for line in lines)
    )
    settings = Settings(models_file=folder / "models.yaml", offline=folder / "in.jsonl", out=folder / "out")
    loaded: dict[str, ToyPrograms] = {}

    def load(chosen: Settings) -> ToyPrograms:
        return loaded.setdefault(chosen.model, ToyPrograms())

    models = catalogue(settings, lambda _: SamplingDefaults(nfe=8, cfg_strength=2.0, sway=True))
    builder = RequestBuilder(VoiceStore(None, folder / "embedded"), Transcriber(), models, settings.timeout_s)
    assert offline.run(ModelPool(models, load, settings.engine_options()), builder, settings) == 1
    results = {r["id"]: r for r in map(json.loads, (folder / "out" / offline.RESULTS).read_text().splitlines())}
    assert "'four' is unknown here; there is one, two, zwei, three" in results["c3"]["error"]
    made = {name: (folder / "out" / f"{name}.wav").read_bytes() for name in ("c0", "c1", "c2")}
    assert made["c1"] == made["c2"] != made["c0"], "the toy's samples depend on the number of steps"
    assert set(loaded) == {"one", "two"}


def test_lines_are_made_in_order(folder: Path) -> None:
    """All lines advanced together, so that none was ready before the last: 29 of 32 steps were made before the first."""
    toy = Watched()
    code, results, _ = run(folder, LINES, toy)
    assert code == 0
    assert toy.ready_after[0] <= 8, toy.ready_after
    assert all(abs(place - result["line"]) <= 1 for place, result in enumerate(results, 1)), results


def test_what_was_made_before_an_interruption_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, results, _ = run(folder, LINES, Watched(interrupt_at=5))
    assert code == 130
    made = {result["id"] for result in results}
    assert 3 <= len(made) <= 6 and all(result["status"] == "ok" for result in results)
    assert "the same command goes on from here" in capsys.readouterr().err
    assert {path.stem for path in (folder / "out").glob("*.wav")} == made
    assert not list((folder / "out").glob("*.part"))
    code, results, toy = run(folder, LINES)
    assert code == 0 and {result["id"] for result in results} == {f"c{i}" for i in range(8)}
    assert f"8 lines: {8 - len(made)} made, {len(made)} made before, 0 failed" in capsys.readouterr().err
    assert sum(len(slots) for _, slots in toy.steps) == 4 * (8 - len(made))


@pytest.mark.parametrize("bad", [[], ["{broken"]])
def test_without_a_line_to_make_the_model_is_not_loaded(folder: Path, bad: list[str]) -> None:
    """It was loaded and compiled, which takes minutes, to find out that there was nothing to do."""
    run(folder, LINES[:2])

    def load() -> ToyPrograms:
        raise AssertionError("loaded")

    code, results, _ = run(folder, [*LINES[:2], *bad], load=load)
    assert code == len(bad) and len(results) == 2 + len(bad)


def test_two_lines_of_one_id_are_not_written_over_each_other(folder: Path) -> None:
    lines = [json.dumps({"id": "same", "gen_text": text, "seed": 1}) for text in ("One.", "Two and more words.")]
    code, results, _ = run(folder, lines)
    assert code == 1
    assert [result["status"] for result in sorted(results, key=lambda result: result["line"])] == ["ok", "error"]


def test_what_is_no_result_is_passed_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out" / offline.RESULTS).write_text('no result\n[1]\n{"status": "ok"}\n')
    (folder / "in.jsonl").write_text("")
    assert run_file(folder) == 0
    assert capsys.readouterr().err.count("not a result") == 3


def test_a_model_that_does_not_load_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> ToyPrograms:
        raise FileNotFoundError("no weights here")

    code, results, _ = run(folder, LINES, load=load)
    assert code == 1 and results == []
    assert "no weights here" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_said_in_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(offline=folder / "none.jsonl", out=folder / "out")
    engine = TTSEngine(ToyPrograms, settings.engine_options())
    assert offline.run(engine, builder_of(folder, settings), settings) == 1
    assert "none.jsonl" in capsys.readouterr().err


def test_subtitles_become_a_track(folder: Path) -> None:
    cue = "00:00:{:02d},000 --> 00:00:{:02d},000\nAnn: Something that is said here.\n\n"
    (folder / "film.srt").write_text("1\n" + cue.format(1, 4) + "2\n" + cue.format(5, 6))
    line = {"id": "film", "subtitles": "film.srt", "voices": {"Ann": "ada"}}
    lines = [
        {**line, "overrun": "speak"},
        {**line, "id": "late"},
        {**line, "id": "lost", "subtitles": "lost.srt"},
        {**line, "id": "bad", "ref_audio": "film.srt"},
    ]
    code, results, _ = run(folder, [json.dumps(line) for line in lines])
    made, late, lost, bad = sorted(results, key=lambda result: result["line"])
    assert code == 1 and [late["cue"] for late in made["overruns"]] == [2]
    samples, _ = soundfile.read(str(folder / "out" / "film.wav"))
    assert not samples[: RATE - 480].any() and samples[RATE : 2 * RATE].any() and len(samples) > 6 * RATE
    assert "what is said does not fit its time" in late["error"] and "lost.srt" in lost["error"]
    assert "ref_audio_base64" in bad["error"]


BOOK = (
    "# The first part\n\n"
    + "\n\n".join(f"Paragraph number {n} of it." for n in range(6))
    + "\n\n# The second\n\nThe end."
)


def book(folder: Path, toy: ToyPrograms) -> int:
    (folder / "book.md").write_text(BOOK)
    settings = Settings(offline=folder / "book.md", out=folder / "out", max_concurrent_requests=4, queue_limit=0)
    engine = TTSEngine(lambda: toy, settings.engine_options())
    return offline.run(engine, builder_of(folder, settings), settings)


def test_a_book_is_made_and_goes_on_after_an_interruption(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pieces that are on the disk are not spoken again, and a finished book is not made again at all."""
    first = Watched(interrupt_at=4)
    assert book(folder, first) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("out/job_*/*.flac")}
    assert 1 <= len(kept) < 9 and not (folder / "out" / "book.m4b").exists()
    assert book(folder, ToyPrograms()) == 0
    pieces = {path.name: path.stat().st_mtime_ns for path in folder.glob("out/job_*/*.flac")}
    assert len(pieces) == 9 and kept.items() <= pieces.items()
    with av.open(str(folder / "out" / "book.m4b")) as file:
        assert [mark["metadata"]["title"] for mark in file.chapters()] == ["The first part", "The second"]
    again = Watched()
    assert book(folder, again) == 0 and not again.ready_after


def test_a_book_that_cannot_be_read_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "book.epub").write_bytes(b"no zip")
    settings = Settings(offline=folder / "book.epub", out=folder / "out")
    engine = TTSEngine(ToyPrograms, settings.engine_options())
    assert offline.run(engine, builder_of(folder, settings), settings) == 1
    assert "no EPUB" in capsys.readouterr().err
