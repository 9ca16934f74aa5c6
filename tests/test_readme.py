"""The documents that people read first: their links lead somewhere, and the table of endpoints is what is served."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from f5_tts_server.app import create_app
from f5_tts_server.inference_types import SamplingDefaults
from f5_tts_server.settings import Settings
from f5_tts_server.voices.store import VoiceStore
from tests.server import ROOT
from tests.toy_programs import ToyPrograms

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "training/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    ROOT / "f5_tts_server" / "embedded" / "assets" / "MODEL_CARD.md",
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_the_table_of_endpoints_is_what_is_served(tmp_path: Path) -> None:
    """Every path of the OpenAPI document is in the table, and every path of the table is served."""
    table = (ROOT / "README.md").read_text("utf-8").partition("## Endpoints")[2].partition("Fields, events")[0]
    paths = {re.sub(r"\{\w+\}", "{}", path) for path in re.findall(r"[` ](/[\w/{}.-]*)`", table)}
    sockets = {path for path in paths if path.endswith(("-input", "/speech/stream"))}  # not in OpenAPI documents
    app = create_app(
        Settings(compilation_cache=None),
        load=lambda _: ToyPrograms(),
        defaults=lambda _: SamplingDefaults(),
        voices=VoiceStore(None, tmp_path),
    )
    served = {re.sub(r"\{\w+\}", "{}", path) for path in app.openapi()["paths"]}
    assert served <= paths, f"not in the table: {sorted(served - paths)}"
    assert paths - sockets - served == {"/", "/docs", "/openapi.json"}
