"""The graph of a history: who must come before whom."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from eventstate.testing.serializability.graph import REALTIME, RW, WR, WW, Graph
from eventstate.testing.serializability.history import Outcome, Transaction
from eventstate.testing.serializability.orders import NOBODY, KeyOrder


def add_dependencies(graph: Graph, order: KeyOrder) -> None:
    """What one key says: ww from each writer to the next, wr to who saw it, rw from there to the next writer."""
    key = order.known.key
    writer = NOBODY
    for owner in order.before[1:]:
        if owner != writer and writer != NOBODY:
            graph.join(writer, WW, owner, key)
        writer = owner
    at_end: list[tuple[int, int]] = [] if writer == NOBODY else [(writer, WW)]
    for reader, base in order.readers:
        seen, missed = order.before[base], order.after[base]
        if seen not in (NOBODY, reader):
            graph.join(seen, WR, reader, key)
        if missed == NOBODY:
            at_end.append((reader, RW))
        elif missed != reader:
            graph.join(reader, RW, missed, key)
    if order.unseen:
        _add_unseen(graph, at_end, order.unseen, key)


def _add_unseen(graph: Graph, sources: Iterable[tuple[int, int]], unseen: Sequence[int], key: str) -> None:
    """Arcs from each source to all the unseen ones but itself, in whatever order these were.

    Joint ``i`` of ``up_to`` leads to the first ``i`` + 1 of them, joint ``i`` of ``since`` to those from ``i`` on.
    """
    up_to = [graph.add_joint(number) for number in unseen]
    since = [graph.add_joint(number) for number in unseen]
    for place in range(1, len(unseen)):
        graph.extend_joint(up_to[place], up_to[place - 1])
        graph.extend_joint(since[place - 1], since[place])
    places = {number: place for place, number in enumerate(unseen)}
    for source, kind in sources:
        place = places.get(source)
        if place is None:
            graph.join(source, kind, up_to[-1], key)
            continue
        if place > 0:
            graph.join(source, kind, up_to[place - 1], key)
        if place < len(unseen) - 1:
            graph.join(source, kind, since[place + 1], key)


def add_real_time(graph: Graph, history: Sequence[Transaction], took_effect: Sequence[int]) -> None:
    """An edge from each transaction to all that started after its end, with a chain of joints, one for each end.

    Ends of unknown transactions don't count: these may take effect later. Equal times are no order.
    """
    ends = [
        (ended, number)
        for number in took_effect
        if (ended := history[number].ended) is not None and history[number].outcome is Outcome.COMMITTED
    ]
    ends.sort()
    times = [ended for ended, _ in ends]
    joints: list[int] = []
    for _, number in ends:
        joint = graph.add_joint()
        graph.join(number, REALTIME, joint)
        if joints:
            graph.extend_joint(joints[-1], joint)
        joints.append(joint)
    for number in took_effect:
        place = bisect_left(times, history[number].started)
        if place:
            graph.extend_joint(joints[place - 1], number)
