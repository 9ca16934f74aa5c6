"""Servers of the toy model for the tests of the protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server import ServerThread, serving
from tests.toy_programs import ToyPrograms

if TYPE_CHECKING:
    from elevenlabs import ElevenLabs


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    """One for all tests that leave it as it was."""
    with serving(tmp_path_factory.mktemp("server"), ToyPrograms()) as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServerThread]]:
    """Starts servers of a test's own."""
    with ExitStack() as stack:

        def start(programs: ToyPrograms | None = None, **settings: Any) -> ServerThread:
            folder = tmp_path / f"server{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return stack.enter_context(serving(folder, programs or ToyPrograms(), **settings))

        yield start


@pytest.fixture
def own(serve: Callable[..., ServerThread]) -> ServerThread:
    """One that a test may change."""
    return serve()


@pytest.fixture
def elevenlabs(own: ServerThread) -> Iterator[ElevenLabs]:
    """ElevenLabs' SDK, calling `own`."""
    from elevenlabs import ElevenLabs

    with httpx.Client(timeout=30) as session:
        yield ElevenLabs(base_url=own.url, api_key="anything", httpx_client=session)


@pytest.fixture
def client(server: ServerThread) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as session:
        yield session
