"""Who asks: the name of the key that the running task serves."""

from __future__ import annotations

from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("caller", default="")


def current_caller() -> str:
    """A configured name, or the beginning of the key's digest; empty where no key is needed."""
    return _current.get()


def serve_caller(name: str) -> None:
    """What the running task does from here on is for that caller."""
    _current.set(name)
