"""Made-up requests to the clients' routes: whatever the document allows or forbids, none may end in a 500."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from tests.schemathesis import made_up_requests
from tests.server import running


def test_no_made_up_request_ends_in_a_500(tmp_path: Path) -> None:
    flags = ("--max-body-mib", "1", "--queue-limit", "1000", "--voices-folder", str(tmp_path / "voices"))
    with running(*flags, toy={}) as server:
        done = made_up_requests(
            server,
            tmp_path,
            "--checks=not_a_server_error",
            "--max-examples=5",
            "--exclude-path-regex=^/(v1/generate|v1/health|livez|readyz|metrics)",  # tests/test_openapi.py
        )
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def test_every_reference_of_the_document_leads_to_a_schema(client: httpx.Client) -> None:
    """The events' schema once referred to definitions of its own, which are not looked for in a part of a document."""
    document = client.get("/openapi.json").json()
    names = set(re.findall(r'"\$ref": "(.*?)"', json.dumps(document)))
    assert names and names <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
