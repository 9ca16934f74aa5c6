"""Lists that are told page by page, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from f5_tts_server.inference_types import RequestError


class Listed(Protocol):
    """What has an id to go on from."""

    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=Listed)


def page_of(
    items: Sequence[Item], after: str | None, limit: int, told: Callable[[Item], dict[str, Any]]
) -> dict[str, Any]:
    """At most ``limit`` of the items, those that come after the one with an id. Raises RequestError where there is none."""
    start = 0
    if after is not None:
        start = 1 + next((index for index, item in enumerate(items) if item.id == after), -1)
        if start == 0:
            raise RequestError(422, "invalid_request", "after is the id of nothing in the list: begin anew", "after")
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": [told(item) for item in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + limit < len(items),
    }
