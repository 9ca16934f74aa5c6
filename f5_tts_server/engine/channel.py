"""A bounded queue between two stages, with two classes of items and an end."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

# After this many urgent items in a row one of the others goes first, so that they cannot starve.
URGENT_IN_A_ROW = 8


class Closed(Exception):
    """The channel has been closed: there is nothing to wait for any more."""


class Channel(Generic[Item]):
    """First in, first out within a class; urgent items first. Safe for any number of threads."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._urgent: deque[Item] = deque()
        self._others: deque[Item] = deque()
        self._row = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def put(self, item: Item, *, urgent: bool = False) -> None:
        """Wait for room, then add. Raises `Closed`."""
        with self._changed:
            while len(self) >= self.capacity and not self._closed:
                self._changed.wait()
            if self._closed:
                raise Closed
            (self._urgent if urgent else self._others).append(item)
            self._changed.notify_all()

    def get(self) -> Item:
        """Wait for an item. Raises `Closed`."""
        with self._changed:
            while not len(self) and not self._closed:
                self._changed.wait()
            if self._closed:
                raise Closed
            return self._pop()

    def drain(self) -> list[Item]:
        """All that is here now, without waiting. Raises `Closed`."""
        with self._changed:
            if self._closed:
                raise Closed
            return [self._pop() for _ in range(len(self))]

    def close(self) -> None:
        """Drop what is here and wake everyone who waits."""
        with self._changed:
            self._closed = True
            self._urgent.clear()
            self._others.clear()
            self._changed.notify_all()

    def _pop(self) -> Item:
        urgent = bool(self._urgent) and (not self._others or self._row < URGENT_IN_A_ROW)
        self._row = self._row + 1 if urgent else 0
        self._changed.notify_all()
        return (self._urgent if urgent else self._others).popleft()
