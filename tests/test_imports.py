"""Imports run one way: what each part of the project may know of the others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "f5_tts_server"
MAY_IMPORT = {
    "inference_types": set(),
    "limits": set(),
    "byte_lru": set(),
    "remote_files": set(),
    "joiner": set(),
    "files": set(),
    "given_sounds": set(),
    "f5": {"byte_lru", "joiner", "given_sounds"},
    "embedded": {"f5", "given_sounds", "text"},
    "recognizer": {"inference_types", "f5", "embedded", "text"},
    "formats": set(),
    "engine": {"byte_lru", "inference_types", "joiner", "limits", "formats"},
    "tts_engine": {"byte_lru", "inference_types", "limits", "engine"},
    "text": {"inference_types", "limits", "given_sounds"},
    "editing": {"inference_types", "given_sounds", "f5", "recognizer", "text"},
    "voices": {"inference_types", "limits", "f5", "embedded", "recognizer", "files", "text"},
    "quality": {"inference_types"},
    "settings": {"engine", "quality", "remote_files"},
    "catalogue": {"f5", "inference_types", "limits", "quality", "settings"},
    "pool": {"inference_types", "catalogue", "engine", "settings", "tts_engine"},
    "serving": set(),
    "connections": set(),
    "models": {"f5", "embedded"},
    "loading": {"inference_types", "f5", "embedded", "models", "settings"},
    "json_log": set(),
    "tracing": {"inference_types"},
    "jobs": {"files", "limits", "text"},
    "api": {
        "files",
        "given_sounds",
        "inference_types",
        "limits",
        "formats",
        "text",
        "editing",
        "voices",
        "quality",
        "remote_files",
        "settings",
        "catalogue",
        "jobs",
    },
    "speak": {"inference_types", "f5", "embedded", "models", "voices"},
    "mcp_server": set(),
    "cli": {"app", "speak", "mcp_server", "__version__"},
    "offline": {
        "inference_types",
        "tts_engine",
        "pool",
        "api",
        "files",
        "formats",
        "jobs",
        "settings",
        "serving",
    },
    "app": {
        "__version__",
        "inference_types",
        "tts_engine",
        "api",
        "files",
        "voices",
        "recognizer",
        "remote_files",
        "settings",
        "serving",
        "connections",
        "catalogue",
        "pool",
        "loading",
        "jobs",
        "json_log",
        "tracing",
        "text",
        "offline",
    },
}


def imported(path: Path) -> set[str]:
    """The parts of the package that a file imports; anything outside of it that is ours is given by its own name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            top, _, rest = module.partition(".")
            if top == PACKAGE:
                names.add(rest.partition(".")[0])
            elif top in {"tests", "training", "benchmarks", "main"}:
                names.add(top)
    return names


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    folder = ROOT / PACKAGE
    files = list((folder / part).rglob("*.py")) if (folder / part).is_dir() else [folder / f"{part}.py"]
    assert files
    for path in files:
        forbidden = imported(path) - MAY_IMPORT[part] - {part}
        assert not forbidden, f"{path.relative_to(ROOT)} imports {', '.join(sorted(forbidden))}"


def test_protocols_do_not_import_each_other() -> None:
    """What they share lives in modules that make no router: a change for one protocol must not reach another."""
    folder = ROOT / PACKAGE / "api"
    protocols = {
        path.parent.name if path.name == "__init__.py" else path.stem
        for path in (*folder.glob("*.py"), *folder.glob("*/__init__.py"))
        if "\ndef router(" in path.read_text("utf-8")
    }
    assert {"generate", "openai_speech", "speech_websocket", "elevenlabs", "voices", "probes", "page"} <= protocols
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        if own == "__init__":
            continue  # the list of all of them
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}.api"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)][2:]
                assert not protocols & {names[0]} - {own}, f"{path.relative_to(ROOT)} imports {names[0]}"


def test_jax_stays_out_of_the_engine_and_the_http_layer() -> None:
    """They start, and are tested, without a device."""
    for part in ("inference_types.py", "tts_engine.py", "settings.py", "engine", "api", "formats", "text"):
        for path in (
            (ROOT / PACKAGE / part).rglob("*.py") if (ROOT / PACKAGE / part).is_dir() else [ROOT / PACKAGE / part]
        ):
            text = path.read_text("utf-8")
            assert "import jax" not in text and "from jax" not in text, path


def test_no_test_module_is_imported_by_another() -> None:
    """What tests share has modules of its own (`tests.server`, `tests.clips`, ...), and fixtures are found by pytest."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                shared = node.module.rpartition(".")[2]  # type: ignore[union-attr]
                assert not shared.startswith("test_") and shared != "conftest", f"{path} imports {node.module}"
