"""Asynchronous tests run on asyncio, the server's event loop."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
