"""A graph of what comes before what, its strongly connected components and its short cycles."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple, TypeAlias

WW: Final = 1
WR: Final = 2
RW: Final = 4
REALTIME: Final = 8
_THROUGH: Final = 16
"""Leads on from a joint. No set of kinds leaves it out."""

Arc: TypeAlias = tuple[int, int, str]
"""Target, kind, key: a plain tuple, for there are ten of them for each transaction."""


class Step(NamedTuple):
    """One edge of a cycle."""

    source: int
    kind: int
    key: str
    target: int


class Graph:
    """Nodes below ``transactions`` are transactions, the others are joints.

    A joint stands for the edges from everything that leads to it to everything it leads to, so that there are
    n + m arcs instead of n * m. Its edges have the kind of the arc to it. Joints alone never form a cycle.
    """

    def __init__(self, transactions: int) -> None:
        self.transactions = transactions
        self.arcs: list[list[Arc]] = [[] for _ in range(transactions)]

    def join(self, source: int, kind: int, target: int, key: str = "") -> None:
        """An arc from a transaction."""
        self.arcs[source].append((target, kind, key))

    def add_joint(self, *targets: int) -> int:
        """A new joint that leads to these nodes."""
        self.arcs.append([(target, _THROUGH, "") for target in targets])
        return len(self.arcs) - 1

    def extend_joint(self, joint: int, target: int) -> None:
        """Let a joint lead to one more node."""
        self.arcs[joint].append((target, _THROUGH, ""))

    def components(self, nodes: Iterable[int], kinds: int) -> list[list[int]]:
        """The strongly connected components with more than one node, of these nodes and arcs of these kinds."""
        # Tarjan's algorithm, with a stack of its own: paths are longer than Python's.
        kinds |= _THROUGH
        found: list[list[int]] = []
        order = dict.fromkeys(nodes, 0)
        closed = len(order) + 1
        low: dict[int, int] = {}
        unassigned: list[int] = []
        for root in order:
            if order[root]:
                continue
            path = [(root, iter(self.arcs[root]))]
            order[root] = low[root] = len(low) + 1
            unassigned.append(root)
            while path:
                node, arcs = path[-1]
                for target, kind, _ in arcs:
                    # Nodes left out count as closed, those that were not reached yet have number 0.
                    if kind & kinds and (number := order.get(target, closed)) < low[node]:
                        if number:
                            low[node] = number
                            continue
                        path.append((target, iter(self.arcs[target])))
                        order[target] = low[target] = len(low) + 1
                        unassigned.append(target)
                        break
                else:
                    path.pop()
                    if path:
                        above = path[-1][0]
                        low[above] = min(low[above], low[node])
                    if low[node] == order[node]:
                        component = _taken_down_to(node, unassigned)
                        order.update(dict.fromkeys(component, closed))
                        if len(component) > 1:
                            found.append(component)
        return found

    def shortest_cycle(self, start: int, inside: Collection[int], first: int, rest: int) -> list[Step] | None:
        """The shortest cycle from a transaction through ``inside``: an arc of ``first``, then of ``rest``."""
        rest |= _THROUGH
        came: dict[int, tuple[int, int, str]] = {}
        queue = deque([start])
        kinds = first
        while queue:
            node = queue.popleft()
            for target, kind, key in self.arcs[node]:
                if kind & kinds and target in inside and target not in came:
                    came[target] = (node, kind, key)
                    if target == start:
                        return self._way_back(start, came)
                    # Joints are passed at once: they add nothing to the length.
                    if target < self.transactions:
                        queue.append(target)
                    else:
                        queue.appendleft(target)
            kinds = rest
        return None

    def _way_back(self, start: int, came: dict[int, tuple[int, int, str]]) -> list[Step]:
        steps: list[Step] = []
        target = node = start
        while not steps or node != start:
            node, kind, key = came[node]
            if node < self.transactions:
                steps.append(Step(node, kind, key, target))
                target = node
        return steps[::-1]


def _taken_down_to(node: int, stack: list[int]) -> list[int]:
    at = len(stack) - 1
    while stack[at] != node:
        at -= 1
    component = stack[at:]
    del stack[at:]
    return component
