"""The difference between two JSON values for people: one line for each place that is not the same."""

from __future__ import annotations

import re
from typing import Any, Final, Literal, NamedTuple, cast

from eventstate.core.codec import JSON
from eventstate.core.delta import diff

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Kind = Literal["added", "removed", "changed"]


class Difference(NamedTuple):
    """One place where two values differ.

    Attributes:
        path: where, such as ``$.lines[2].price``. Items that were added are counted in the new array, all others
            in the old one; ``$.lines[1:3]`` is a run of old items that others have replaced.
        kind: ``added``, ``removed`` or ``changed``.
        before, after: the values; None for the one that is not there.
    """

    path: str
    kind: Kind
    before: Any
    after: Any


def differences(before: JSON, after: JSON) -> list[Difference]:
    """Where two values differ, in the order of the paths as they are met; empty for equal ones."""
    found: list[Difference] = []
    _walk("$", before, diff(before, after), found)
    return found


def _walk(path: str, old: Any, delta: dict[str, Any] | list[Any], found: list[Difference]) -> None:
    if isinstance(delta, list):
        found.append(Difference(path, "changed", old, delta[0]))
    elif isinstance(old, dict):
        _walk_object(path, cast("dict[str, Any]", old), delta, found)
    else:
        _walk_array(path, old, delta, found)


def _walk_object(path: str, old: dict[str, Any], edits: dict[str, Any], found: list[Difference]) -> None:
    for edit, change in edits.items():
        sort, name = edit[0], edit[1:]
        place = path + _member(name)
        if sort == "~":
            _walk(place, old[name], change, found)
        elif sort == "-":
            found.append(Difference(place, "removed", old[name], None))
        elif name in old:
            found.append(Difference(place, "changed", old[name], change))
        else:
            found.append(Difference(place, "added", None, change))


def _walk_array(path: str, old: list[Any], edits: dict[str, Any], found: list[Difference]) -> None:
    for edit, change in edits.items():
        if edit[0] == "~":
            index = int(edit[1:])
            _walk(f"{path}[{index}]", old[index], change, found)
        else:
            start, end = map(int, edit[1:].split(":"))
            _replaced(path, old, start, end, change, found)


def _replaced(path: str, old: list[Any], start: int, end: int, items: list[Any], found: list[Difference]) -> None:
    """The items from ``start`` up to ``end``, replaced by others: in pairs where there are as many."""
    if len(items) == end - start:
        for index, (before, after) in enumerate(zip(old[start:end], items, strict=True), start):
            found.append(Difference(f"{path}[{index}]", "changed", before, after))
    elif start == end:
        found.extend(Difference(f"{path}[{i}]", "added", None, item) for i, item in enumerate(items, start))
    elif not items:
        found.extend(Difference(f"{path}[{i}]", "removed", old[i], None) for i in range(start, end))
    else:
        found.append(Difference(f"{path}[{start}:{end}]", "changed", old[start:end], items))


def _member(name: str) -> str:
    return f".{name}" if _NAME.fullmatch(name) else f"[{name!r}]"
