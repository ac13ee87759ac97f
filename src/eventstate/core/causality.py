"""Vector clocks: which of two histories came first, or that neither did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from eventstate.errors import InvalidInputError

Order: TypeAlias = Literal["equal", "before", "after", "concurrent"]


@dataclass(frozen=True, slots=True, init=False, repr=False)
class VectorClock:
    """How much of each node's history is known: a counter per node, 0 where none is named.

    Immutable and hashable. Clocks are equal when their counters are, so a node at 0 makes no difference.
    """

    _counters: tuple[tuple[str, int], ...]

    def __init__(self, counters: Mapping[str, int] | None = None) -> None:
        """A clock with these counters; without any, the one that is before all others.

        Raises:
            InvalidInputError: a node is no text or empty, or a counter is no integer or below 0.
        """
        checked = (_checked(node, counter) for node, counter in (counters or {}).items())
        object.__setattr__(self, "_counters", tuple(sorted(pair for pair in checked if pair[1])))

    def get(self, node: str) -> int:
        """The counter of a node."""
        return dict(self._counters).get(node, 0)

    def as_dict(self) -> dict[str, int]:
        """A new dict of the counters above 0, in the order of the nodes' names."""
        return dict(self._counters)

    def tick(self, node: str) -> VectorClock:
        """The clock after one more event of ``node``."""
        return VectorClock({**self.as_dict(), node: self.get(node) + 1})

    def merge(self, other: VectorClock) -> VectorClock:
        """The clock of who knows both histories: the higher counter of each node."""
        merged = self.as_dict()
        for node, counter in other._counters:
            merged[node] = max(counter, merged.get(node, 0))
        return VectorClock(merged)

    def compare(self, other: VectorClock) -> Order:
        """Where this clock stands to ``other``; ``before`` means that ``other`` knows all of this one and more."""
        if self == other:
            return "equal"
        merged = self.merge(other)
        if merged == other:
            return "before"
        return "after" if merged == self else "concurrent"

    def happened_before(self, other: VectorClock) -> bool:
        """True if ``other`` knows all of this clock and more; equal clocks aren't before each other."""
        return self.compare(other) == "before"

    def concurrent_with(self, other: VectorClock) -> bool:
        """True if each of the two knows something that the other doesn't."""
        return self.compare(other) == "concurrent"

    def __repr__(self) -> str:
        return f"VectorClock({self.as_dict()!r})"


def stored_clock(counters: Mapping[str, int]) -> VectorClock:
    """A clock that this library wrote, so that nothing in it needs to be checked."""
    clock = VectorClock.__new__(VectorClock)
    object.__setattr__(clock, "_counters", tuple(sorted(counters.items())))
    return clock


def _checked(node: object, counter: object) -> tuple[str, int]:
    if not isinstance(node, str) or not node:
        raise InvalidInputError(f"{node!r:.80} can't be a node of a vector clock: nodes are text, not empty")
    if not isinstance(counter, int) or isinstance(counter, bool) or counter < 0:
        raise InvalidInputError(f"{counter!r:.80} can't be a counter of node {node!r:.80}: they are integers from 0")
    return node, counter
