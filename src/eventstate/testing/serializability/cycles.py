"""Cycles of the graph, each under the name of the weakest guarantee that forbids it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from eventstate.testing.serializability.anomalies import Anomaly, Edge, Kind, shown
from eventstate.testing.serializability.graph import REALTIME, RW, WR, WW, Graph, Step
from eventstate.testing.serializability.history import Transaction
from eventstate.testing.serializability.orders import KeyOrder

_NAMES: Final = {WW: "ww", WR: "wr", RW: "rw", REALTIME: "realtime"}
_LEVELS: Final = (WW | WR | RW | REALTIME, WW | WR | RW, WW | WR, WW)
"""Sets of kinds of edges, each a part of the one before."""
_SEARCHES: Final = ((WW, WW), (WR, WW | WR), (RW, WW | WR), (RW, WW | WR | RW))
"""The first edge of a cycle and the others, for G0, G1c, G-single and G2."""
_EFFORT: Final = 1_000_000
"""How many nodes the search for the shortest cycle of one component looks at, about."""


def cycle_anomalies(
    graph: Graph, history: Sequence[Transaction], orders: Mapping[str, KeyOrder], took_effect: Sequence[int]
) -> Iterator[Anomaly]:
    """One short cycle of each strongly connected component.

    A component that still holds cycles when its strongest kind of edge is left out is taken apart into these. In a
    very large one only some of the cycles are looked at, so that a shorter or weaker one may be missed; the name is
    always that of the cycle shown.
    """
    everything = [*took_effect, *range(graph.transactions, len(graph.arcs))]
    for component, kinds in _innermost(graph, everything, _LEVELS):
        yield _anomaly(_cycle_in(graph, history, component, kinds), history, orders)


def _innermost(graph: Graph, nodes: Sequence[int], levels: Sequence[int]) -> Iterator[tuple[Sequence[int], int]]:
    for component in graph.components(nodes, levels[0]):
        inner = list(_innermost(graph, component, levels[1:])) if len(levels) > 1 else []
        yield from inner or [(component, levels[0])]


def _cycle_in(graph: Graph, history: Sequence[Transaction], component: Sequence[int], kinds: int) -> Sequence[Step]:
    clock = kinds & REALTIME
    for first, rest in _SEARCHES:
        best: Sequence[Step] = ()
        for part in graph.components(component, (first | rest | clock) & kinds):
            inside = frozenset(part)
            for start in _starts(graph, history, inside, first):
                cycle = graph.shortest_cycle(start, inside, first, rest | clock)
                if cycle and (not best or len(cycle) < len(best)):
                    best = cycle
                if len(best) == 2:
                    return best
        if best:
            return best
    raise AssertionError("a strongly connected component without a cycle")


def _starts(graph: Graph, history: Sequence[Transaction], inside: Collection[int], first: int) -> Sequence[int]:
    """Transactions with such an edge, those first whose edge is against the clock, since it makes a cycle of two."""
    starts: list[int] = []
    against_clock: list[int] = []
    for node in inside:
        if node < graph.transactions:
            targets = [target for target, kind, _ in graph.arcs[node] if kind == first and target in inside]
            if any(_ended_before(graph, history, target, node) for target in targets):
                against_clock.append(node)
            elif targets:
                starts.append(node)
    return [*sorted(against_clock), *sorted(starts)][: max(8, _EFFORT // len(inside))]


def _ended_before(graph: Graph, history: Sequence[Transaction], one: int, other: int) -> bool:
    ended = history[one].ended if one < graph.transactions else None
    return ended is not None and ended < history[other].started


def _kind_of(cycle: Sequence[Step]) -> Kind:
    kinds = [step.kind for step in cycle]
    in_time = REALTIME in kinds
    if kinds.count(RW) > 1:
        return Kind.G2_REALTIME if in_time else Kind.G2
    if RW in kinds:
        return Kind.G_SINGLE_REALTIME if in_time else Kind.G_SINGLE
    if WR in kinds:
        return Kind.G1C_REALTIME if in_time else Kind.G1C
    return Kind.G0_REALTIME if in_time else Kind.G0


def _anomaly(cycle: Sequence[Step], history: Sequence[Transaction], orders: Mapping[str, KeyOrder]) -> Anomaly:
    edges = tuple(
        Edge(
            source=history[step.source].id,
            target=history[step.target].id,
            kind=_NAMES[step.kind],
            key=None if step.kind == REALTIME else step.key,
            reason=_reason(step, history, orders),
        )
        for step in cycle
    )
    circle = " -> ".join([*(edge.source for edge in edges), edges[0].source])
    return Anomaly(
        kind=_kind_of(cycle),
        transactions=tuple(edge.source for edge in edges),
        edges=edges,
        explanation=f"{circle}, since {'; '.join(edge.reason for edge in edges)}",
    )


def _reason(step: Step, history: Sequence[Transaction], orders: Mapping[str, KeyOrder]) -> str:
    source, target = history[step.source], history[step.target]
    if step.kind == REALTIME:
        return f"{source.id} ended before {target.id} started ({source.ended} < {target.started})"
    order = orders[step.key]
    theirs, longest = order.known.appends, order.longest
    if step.kind == WW:
        first, second = _neighbours(order, theirs[step.source], theirs[step.target])
        return f"{source.id} appended {first} to {step.key!r} before {target.id} appended {second}"
    if step.kind == WR:
        base = next(base for reader, base in order.readers if reader == step.target)
        value = next(value for value in reversed(longest[:base]) if value in theirs[step.source])
        return f"{target.id} read {value} from {step.key!r}, which {source.id} appended"
    base = next(base for reader, base in order.readers if reader == step.source)
    value = next(value for value in theirs[step.target] if value not in longest[:base])
    return f"{source.id} read {step.key!r} as {shown(longest[:base])}, without {value}, which {target.id} appended"


def _neighbours(order: KeyOrder, first: Sequence[int], second: Sequence[int]) -> tuple[int, int]:
    """A value of each, so that the one stands before the other, as close as it can be."""
    end = len(order.longest)
    pairs = [(a, b) for a in first for b in second if order.place.get(a, end) < order.place.get(b, end)]
    return min(pairs, key=lambda pair: order.place.get(pair[1], end) - order.place[pair[0]])
