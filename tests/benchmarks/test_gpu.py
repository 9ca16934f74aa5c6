"""The GPU benchmark's rehearsal: it is to run on the day that there is a GPU, and broke once when nobody looked."""

from __future__ import annotations

import json

import pytest

from benchmarks import gpu


def test_the_rehearsal_runs_to_its_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu", "--tiny"])
    assert gpu.main() == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["benchmark"] == "gpu"
    assert last["results"]["rehearsal"] is True
