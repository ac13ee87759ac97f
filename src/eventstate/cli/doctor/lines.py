"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from eventstate.errors import EventStateError

Level = Literal["ok", "warn", "bad"]


class Line(NamedTuple):
    """One thing looked at."""

    name: str
    level: Level
    text: str


def ok(name: str, text: str) -> Line:
    return Line(name, "ok", text)


def warn(name: str, text: str) -> Line:
    return Line(name, "warn", text)


def bad(name: str, text: str) -> Line:
    return Line(name, "bad", text)


def guarded(name: str, check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    """The lines of a check; a library error in it becomes a bad line."""
    try:
        yield from check()
    except EventStateError as error:
        yield bad(name, str(error))


def shown_bytes(count: int) -> str:
    """A size for people."""
    if count < 1024:
        return f"{count:,} bytes"
    size, names = count / 1024, ["KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(names) > 1:
        size /= 1024
        del names[0]
    return f"{size:,.1f} {names[0]}"
