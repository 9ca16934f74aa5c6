"""The server keeps to its own OpenAPI document: schemathesis makes up requests, none of which may end in a 500."""

from __future__ import annotations

from pathlib import Path

from tests.schemathesis import made_up_requests
from tests.server import ROOT, running


def test_no_request_that_the_document_allows_or_forbids_ends_in_a_500(tmp_path: Path) -> None:
    flags = (
        "--max-text-chars",
        "200",
        "--max-body-mib",
        "1",
        "--voices-folder",
        str(tmp_path),
        "--queue-limit",
        "1000",
    )
    with running(*flags, toy={}) as server:
        done = made_up_requests(
            server,
            tmp_path,
            "--checks=not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
            "--max-examples=20",
            "--include-path-regex=^/(v1/generate|v1/health|livez|readyz|metrics)",
        )
        assert "Traceback" not in server.log
    assert done.returncode == 0, f"{ROOT}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
