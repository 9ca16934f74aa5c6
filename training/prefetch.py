"""Batches made ahead of the step that uses them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

Batch = TypeVar("Batch")


def prefetch(batches: Iterator[Batch], ahead: int = 4) -> Iterator[Batch]:
    """Runs an endless iterator `ahead` items ahead on its own thread; its error surfaces here."""
    ready: queue.Queue[Batch | Exception] = queue.Queue(ahead)

    def fill() -> None:
        try:
            for batch in batches:
                ready.put(batch)
        except Exception as error:  # noqa: BLE001 - handed over and raised below
            ready.put(error)

    threading.Thread(target=fill, daemon=True).start()
    while True:
        item = ready.get()
        if isinstance(item, Exception):
            raise item
        yield item
