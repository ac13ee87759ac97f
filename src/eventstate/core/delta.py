"""Exact differences between two JSON values, themselves plain JSON.

A delta is one of:

    {}                  nothing changed
    [value]             replaced as a whole by ``value``
    {edit: ...}         edits inside an object: "=name": new value, "~name": delta, "-name": null (removed),
                        or inside an array: "=i:j": the items that replace those from i up to j, "~i": delta

Positions are those of the old array; whether an edit is of an object or of an array follows from the
old value. Equality is exact: 1, 1.0 and true differ, and so do 0.0 and -0.0. The order of names in
an object means nothing.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from eventstate.core.codec import JSON

_ABSENT: Final[Any] = object()
_ARRAY_EDIT: Final = re.compile(r"~(0|[1-9][0-9]*)|=(0|[1-9][0-9]*):(0|[1-9][0-9]*)")


def diff(a: JSON, b: JSON) -> dict[str, Any] | list[Any]:
    """The delta that turns ``a`` into ``b``; it shares nothing with them. Takes time in proportion to their sizes."""
    if a is b:
        return {}
    if isinstance(a, dict) and isinstance(b, dict):
        return {} if _equal(a, b) else _diff_objects(a, b)
    if isinstance(a, list) and isinstance(b, list):
        if _equal(a, b):
            return {}
        return _diff_items(a, b) if len(a) == len(b) else _splice(a, b)
    return {} if _same(a, b) else [_copy(b)]


def apply(delta: JSON, a: JSON) -> JSON:
    """The value that ``delta`` makes of ``a``: exactly ``b`` for a ``diff(a, b)``. It shares nothing with them.

    Raises:
        ValueError: ``delta`` isn't a delta, or not one for this ``a``.
    """
    return patch(_copy(delta), _copy(a))


def patch(delta: JSON, a: JSON) -> JSON:
    """The same for a caller who needs neither afterwards: ``a`` is changed, and parts of ``delta`` go on in it.

    Raises:
        ValueError: as above; ``a`` may be half changed.
    """
    if isinstance(delta, dict):
        if isinstance(a, dict):
            return _edit_object(delta, a)
        if not delta:
            return a
        if isinstance(a, list):
            return _edit_array(delta, a)
        raise ValueError(f"a delta with edits needs an object or an array, not {a!r:.80}")
    if isinstance(delta, list) and len(delta) == 1:
        return delta[0]
    raise ValueError(f"a delta is an object or an array of one value, not {delta!r:.80}")


def _diff_objects(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any] | list[Any]:
    if a.keys().isdisjoint(b) and a:
        return [_copy(b)]
    edits: dict[str, Any] = {}
    for name, value in b.items():
        old = a.get(name, _ABSENT)
        if type(value) is str and type(old) is str:
            if value != old:
                edits["=" + name] = value
            continue
        change = diff(old, value) if old is not _ABSENT else [_copy(value)]
        if isinstance(change, list):
            edits["=" + name] = change[0]
        elif change:
            edits["~" + name] = change
    edits.update(("-" + name, None) for name in a if name not in b)
    return edits


def _diff_items(a: list[Any], b: list[Any]) -> dict[str, Any]:
    """Arrays of one length, item by item; neighbours that were replaced share an edit."""
    edits: dict[str, Any] = {}
    runs: dict[int, list[Any]] = {}
    start = 0
    for i, change in enumerate(map(diff, a, b)):
        if isinstance(change, list):
            runs.setdefault(start, []).append(change[0])
            continue
        start = i + 1
        if change:
            edits[f"~{i}"] = change
    return edits | {f"={start}:{start + len(items)}": items for start, items in runs.items()}


def _splice(a: list[Any], b: list[Any]) -> dict[str, Any]:
    """Arrays of different lengths: what lies between the common beginning and the common end is replaced."""
    shorter = min(len(a), len(b))
    start = 0
    while start < shorter and _same(a[start], b[start]):
        start += 1
    tail = 0
    while tail < shorter - start and _same(a[-1 - tail], b[-1 - tail]):
        tail += 1
    return {f"={start}:{len(a) - tail}": _copy(b[start : len(b) - tail])}


def _edit_object(edits: dict[str, Any], a: dict[str, Any]) -> JSON:
    for edit, change in edits.items():
        sort, name = edit[:1], edit[1:]
        if sort == "=":
            a[name] = change
            continue
        if sort not in ("~", "-"):
            raise ValueError(f"{edit!r:.80} is no edit of an object")
        if "=" + name in edits or ("-" if sort == "~" else "~") + name in edits:
            raise ValueError("a delta edits one name twice")
        if name not in a:
            raise ValueError(f"a delta changes {name!r:.80}, which isn't there")
        if sort == "~":
            a[name] = patch(change, a[name])
        else:
            del a[name]
    return a


def _edit_array(edits: dict[str, Any], a: list[Any]) -> JSON:
    places = sorted((*_range(edit), edit) for edit in edits)
    done = 0
    for start, end, edit in places:
        change = edits[edit]
        if not done <= start <= end <= len(a) or (edit[0] == "=" and not isinstance(change, list)):
            raise ValueError(f"{edit!r:.80}: {change!r:.80} is no edit of an array of {len(a)} after its item {done}")
        done = end
    for start, end, edit in reversed(places):  # from the end, so that the positions before stay as they were
        if edit[0] == "~":
            a[start] = patch(edits[edit], a[start])
        else:
            a[start:end] = edits[edit]
    return a


def _range(edit: str) -> tuple[int, int]:
    match = _ARRAY_EDIT.fullmatch(edit)
    if match is None:
        raise ValueError(f"{edit!r:.80} is no edit of an array")
    item, start, end = match.groups()
    return (int(item), int(item) + 1) if item else (int(start), int(end))


def _copy(value: JSON) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _equal(a: JSON, b: JSON) -> bool:
    """True only for exactly equal values, and for most of them; at the speed of C."""
    if a != b:
        return False
    try:
        return orjson.dumps(a) == orjson.dumps(b)
    except TypeError:  # it holds what only slower looks can tell, such as integers beyond 64 bits
        return False


def _same(a: JSON, b: JSON) -> bool:
    """Exact equality: stops at the first difference."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return len(a) == len(b) and all(name in b and _same(value, b[name]) for name, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return repr(a) == repr(b) if isinstance(a, float) else a == b  # 0.0 == -0.0, but their texts differ
