"""The smallest histories that have each kind of anomaly."""

from __future__ import annotations

from eventstate.testing.serializability import Kind, Transaction
from tests.serializability.histories import Lists, a, aborted, committed, r

BEFORE, AFTER = (0, 10), (20, 30)

# Kind, history, final lists; and everything that is found with it, where it is more than the kind.
PLANTED: list[tuple[Kind, list[Transaction], Lists | None, set[Kind]]] = [
    (
        Kind.G0,
        [committed("A", a("x", 1), a("y", 2)), committed("B", a("x", 3), a("y", 4))],
        {"x": (1, 3), "y": (4, 2)},
        set(),
    ),
    (
        Kind.G1C,
        [committed("A", a("x", 1), r("y", 2)), committed("B", a("y", 2), r("x", 1))],
        None,
        set(),
    ),
    (
        Kind.G_SINGLE,
        [committed("A", a("x", 1), a("y", 2)), committed("B", r("x", 1), r("y")), committed("C", r("y", 2))],
        None,
        set(),
    ),
    (
        Kind.G2,
        [committed("A", r("x"), a("y", 1)), committed("B", r("y"), a("x", 2))],
        {"x": (2,), "y": (1,)},
        set(),
    ),
    (
        Kind.G0_REALTIME,
        [committed("A", a("x", 1), at=BEFORE), committed("B", a("x", 2), at=AFTER)],
        {"x": (2, 1)},
        set(),
    ),
    (
        Kind.G1C_REALTIME,
        [committed("A", r("x", 1), at=BEFORE), committed("B", a("x", 1), at=AFTER)],
        None,
        set(),
    ),
    (
        Kind.G_SINGLE_REALTIME,
        [committed("A", a("x", 1), at=BEFORE), committed("B", r("x"), at=AFTER)],
        {"x": (1,)},
        set(),
    ),
    (
        Kind.G2_REALTIME,
        [
            committed("A", r("x"), at=AFTER),
            committed("B", a("x", 1), r("y"), at=(0, 30)),
            committed("C", a("y", 2), at=BEFORE),
        ],
        None,
        set(),
    ),
    (Kind.G1A, [aborted("A", a("x", 1)), committed("B", r("x", 1))], None, set()),
    (
        Kind.G1B,
        [committed("A", a("x", 1), a("x", 2)), committed("B", r("x", 1))],
        None,
        {Kind.G_SINGLE},
    ),
    (
        Kind.LOST_UPDATE,
        [committed("A", r("x", 9), a("x", 1)), committed("B", r("x", 9), a("x", 2)), committed("C", a("x", 9))],
        None,
        {Kind.G2},
    ),
    (Kind.LOST_APPEND, [committed("A", a("x", 1)), committed("B", a("x", 2))], {"x": (2,)}, set()),
    (Kind.DUPLICATES, [committed("A", a("x", 1)), committed("B", r("x", 1, 1))], None, set()),
    (Kind.GARBAGE_READ, [committed("A", r("x", 1))], None, set()),
    (
        Kind.INCOMPATIBLE_ORDER,
        [committed("A", a("x", 1)), committed("B", a("x", 2)), committed("C", r("x", 1, 2)), committed("D", r("x", 2))],
        None,
        set(),
    ),
    (Kind.INTERNAL, [committed("A", a("x", 1), r("x"))], None, set()),
]
