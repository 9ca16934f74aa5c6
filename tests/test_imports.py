"""Imports run one way: what each part of the project may know of the others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "inference_types": set(),
    "f5": set(),
    "formats": set(),
    "engine": {"inference_types", "formats"},
    "tts_engine": {"inference_types", "engine"},
    "manuscript": {"inference_types"},
    "voices": {"inference_types", "f5"},
    "settings": {"engine"},
    "serving": set(),
    "loading": {"inference_types", "f5", "settings"},
    "api": {"inference_types", "engine", "formats", "manuscript", "voices", "settings"},
    "offline": {"inference_types", "tts_engine", "api", "formats", "voices", "settings"},
    "streaming_client_example": set(),
    "main": {"inference_types", "tts_engine", "api", "voices", "settings", "serving", "loading", "offline"},
}
OURS = set(MAY_IMPORT) | {"tests", "training", "benchmarks"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").partition(".")[0])
    return names & OURS


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    files = list((ROOT / part).rglob("*.py")) if (ROOT / part).is_dir() else [ROOT / f"{part}.py"]
    assert files
    for path in files:
        forbidden = imported(path) - MAY_IMPORT[part] - {part}
        assert not forbidden, f"{path.relative_to(ROOT)} imports {', '.join(sorted(forbidden))}"


def test_jax_stays_out_of_the_engine_and_the_http_layer() -> None:
    """They start, and are tested, without a device."""
    for part in ("inference_types.py", "tts_engine.py", "settings.py", "engine", "api", "formats", "manuscript"):
        for path in (ROOT / part).rglob("*.py") if (ROOT / part).is_dir() else [ROOT / part]:
            text = path.read_text("utf-8")
            assert "import jax" not in text and "from jax" not in text, path
