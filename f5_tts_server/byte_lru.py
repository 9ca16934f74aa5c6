"""A bounded cache, least recently used out first, counted in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What a cache can hold: it knows its size in memory."""

    @property
    def nbytes(self) -> int: ...


Value = TypeVar("Value", bound=Sized)


class ByteLRU(Generic[Value]):
    """Values by key, at most ``limit`` bytes of them.

    One thread asks, so a value that several requests need is made once. The counters may be read from any thread.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[bytes, Value] = OrderedDict()
        self.nbytes = 0
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made by ``make`` if it is not here; a value above the limit is given but not kept."""
        if key in self._values:
            self._values.move_to_end(key)
            self.hits += 1
            return self._values[key]
        self.misses += 1
        value = make()
        if value.nbytes <= self._limit:
            self._values[key] = value
            self.nbytes += value.nbytes
            while self.nbytes > self._limit:
                _, oldest = self._values.popitem(last=False)
                self.nbytes -= oldest.nbytes
        return value
