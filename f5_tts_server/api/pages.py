"""Lists that are told page by page, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from f5_tts_server.inference_types import invalid_field


class Listed(Protocol):
    """What has an id to go on from."""

    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=Listed)


def start_after(items: Sequence[Listed], after: str | None, field: str) -> int:
    """Where a page begins that comes after the item with an id. Raises RequestError, naming the field, where there is none."""
    if not after:
        return 0
    for index, item in enumerate(items):
        if item.id == after:
            return index + 1
    raise invalid_field(
        field, f"{field} is {after[:64]!r}, which is the id of nothing in this list: begin anew without it"
    )


def page_of(
    items: Sequence[Item], after: str | None, limit: int, told: Callable[[Item], dict[str, Any]]
) -> dict[str, Any]:
    """At most ``limit`` of the items, those that come after the one with an id. Raises RequestError where there is none."""
    start = start_after(items, after, "after")
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": [told(item) for item in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + limit < len(items),
    }
