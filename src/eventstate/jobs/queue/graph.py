"""The order in which jobs that depend on each other are queued, and circles among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventstate.errors import DependencyCycleError


def in_order(depends_on: Mapping[str, Sequence[str]]) -> list[str]:
    """All names, each after those that it depends on; otherwise as they come. Names that are not keys count as there.

    Raises:
        DependencyCycleError: some depend on each other in a circle, which the error names.
    """
    ordered: dict[str, None] = {}
    for root in depends_on:
        if root not in ordered:
            _descend(root, depends_on, ordered)
    return list(ordered)


def _descend(root: str, depends_on: Mapping[str, Sequence[str]], ordered: dict[str, None]) -> None:
    """Add a name after all below it: without recursion, since chains may be long."""
    path: dict[str, int] = {root: 0}
    while path:
        name, position = path.popitem()
        below = depends_on[name]
        while position < len(below) and (below[position] in ordered or below[position] not in depends_on):
            position += 1
        if position == len(below):
            ordered[name] = None
            continue
        following = below[position]
        path[name] = position + 1
        if following in path:
            names = list(path)
            raise DependencyCycleError(cycle=tuple(names[names.index(following) :]))
        path[following] = 0
