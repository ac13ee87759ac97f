"""How far somebody has read: a position in store order, or a version for each stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import orjson

from eventstate.errors import InvalidInputError

Stream = tuple[str, str]
"""A governor and a state id."""


class Place(NamedTuple):
    """A place to go on reading from; everything at or before it has been seen.

    Attributes:
        position: in store order, where the store has one; 0 is the beginning.
        versions: the last version seen of each stream, where order is kept in each stream only.
        hint: from where the feed is worth looking at, where it is a hint only.
    """

    position: int | None = None
    versions: Mapping[Stream, int] = {}
    hint: int = 0

    def __str__(self) -> str:
        """Text that `place_of` reads back."""
        if self.position is not None:
            return str(self.position)
        streams: dict[str, dict[str, int]] = {}
        for (governor, id), version in self.versions.items():
            streams.setdefault(governor, {})[id] = version
        return orjson.dumps({"streams": streams, "hint": self.hint}, option=orjson.OPT_SORT_KEYS).decode()


BEGINNING = Place()
"""Before everything, in either order."""


def place_of(text: str | int) -> Place:
    """The place that a text stands for.

    Raises:
        InvalidInputError: none.
    """
    try:
        plain: Any = orjson.loads(text) if isinstance(text, str) else text
        if isinstance(plain, int) and not isinstance(plain, bool) and plain >= 0:
            return Place(plain)
        members = cast("dict[str, Any]", plain)
        streams = cast("dict[str, dict[str, Any]]", members["streams"])
        versions = {(governor, id): int(n) for governor, ids in streams.items() for id, n in ids.items()}
        return Place(None, versions, int(members.get("hint", 0)))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidInputError(
            f"{text!r} is no place to read from: pass 'beginning', 'now', or one that a subscription gave"
        ) from None
