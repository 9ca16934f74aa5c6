"""A bounded queue between two stages, with an end. It never waits: stages look, and are woken when it is worth a look."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Closed(Exception):
    """The channel has been closed: there is nothing to do any more."""


class Channel(Generic[Item]):
    """First in, first out. Safe for any number of threads.

    Args:
        capacity: items beyond which the channel is full. A writer looks before it begins what it will put; another may
            do so at the same time, so there may be a few more.
        reader: set when something has come, or the end.
        writers: set when there is room again, or the end.
    """

    def __init__(self, capacity: int, *, reader: threading.Event, writers: tuple[threading.Event, ...]) -> None:
        self.capacity = capacity
        self._reader = reader
        self._writers = writers
        self._items: deque[Item] = deque()
        self._closed = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        return len(self._items) >= self.capacity

    def put(self, item: Item) -> None:
        """Raises `Closed`."""
        with self._lock:
            if self._closed:
                raise Closed
            self._items.append(item)
        self._reader.set()

    def drain(self) -> list[Item]:
        """All that is here now. Raises `Closed`."""
        with self._lock:
            if self._closed:
                raise Closed
            items = list(self._items)
            self._items.clear()
        if items:
            for writer in self._writers:
                writer.set()
        return items

    def close(self) -> None:
        """Drop what is here; whoever uses the channel from now on is told."""
        with self._lock:
            self._closed = True
            self._items.clear()
        self._reader.set()
        for writer in self._writers:
            writer.set()
