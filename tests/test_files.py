"""Files that are there as a whole or not at all, also after a crash and with two writers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from f5_tts_server.files import replace_file


def test_what_a_crash_left_half_written_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "job.json.part").write_bytes(b"ha")
    replace_file(tmp_path / "job.json", b"whole", sole=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"job.json": b"whole"}


def test_a_fault_leaves_the_file_before_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    for sole in (True, False):
        with pytest.raises(OSError):
            replace_file(tmp_path / "name", b"data", sole=sole)
        assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    """With one name for what is half written, one of them met the other's file."""
    path = tmp_path / "shared"

    def write(letter: bytes) -> None:
        for _ in range(10):
            replace_file(path, letter * 10_000)
            assert path.read_bytes() in (b"a" * 10_000, b"b" * 10_000)

    with ThreadPoolExecutor(2) as pool:
        for written in [pool.submit(write, letter) for letter in (b"a", b"b")]:
            written.result()
    assert [one.name for one in tmp_path.iterdir()] == ["shared"]
