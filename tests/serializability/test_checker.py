"""The checker on histories written by hand: each kind of anomaly once, and valid ones that come close."""

from __future__ import annotations

import time
from random import Random

import pytest

from eventstate.errors import InvalidInputError
from eventstate.testing.serializability import Anomaly, Kind, Transaction, check
from tests.serializability.histories import Lists, a, aborted, committed, r, serial_history, unknown
from tests.serializability.planted import AFTER, BEFORE, PLANTED


def kinds(history: list[Transaction], final: Lists | None = None) -> set[Kind]:
    return {anomaly.kind for anomaly in check(history, final=final)}


def only(history: list[Transaction], kind: Kind, final: Lists | None = None) -> Anomaly:
    found = [anomaly for anomaly in check(history, final=final) if anomaly.kind is kind]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(("kind", "history", "final", "besides"), PLANTED, ids=[row[0] for row in PLANTED])
def test_what_is_planted_is_found(
    kind: Kind, history: list[Transaction], final: Lists | None, besides: set[Kind]
) -> None:
    assert kinds(history, final) == {kind} | besides
    assert kinds(history[::-1], final) == {kind} | besides, "the order of the history says nothing"


def test_every_kind_is_planted() -> None:
    assert {row[0] for row in PLANTED} == set(Kind)


@pytest.mark.parametrize(
    ("kind", "history"),
    [
        (Kind.INTERNAL, [committed("A", a("x", 1), r("x", 1), r("x"))]),
        (Kind.INTERNAL, [committed("A", r("x")), committed("B", a("x", 1), r("x", 1), a("x", 2), r("x", 1))]),
        (Kind.INTERNAL, [committed("A", r("x", 1), a("x", 1))]),
        (Kind.INTERNAL, [committed("A", a("x", 1), a("x", 2)), committed("B", r("x", 2, 1))]),
        (Kind.INTERNAL, [committed("A", a("x", 1), a("x", 2)), committed("B", r("x", 2))]),
        (Kind.G0, [committed("A", a("x", 1), a("x", 3)), committed("B", a("x", 2)), committed("C", r("x", 1, 2, 3))]),
        (Kind.G0, [committed("A", a("x", 1), a("x", 3)), committed("B", a("x", 2)), committed("C", r("x", 1, 2))]),
        # A value of an aborted transaction between two others hides nothing.
        (Kind.G0_REALTIME, [
            committed("A", a("x", 1), at=BEFORE), aborted("B", a("x", 2)), committed("C", a("x", 3), at=AFTER),
            committed("D", r("x", 3, 2, 1)),
        ]),
        # In a list that is the beginning of no other.
        (Kind.G1A, [
            committed("A", a("x", 1)), aborted("B", a("x", 2)), committed("C", r("x", 1)), committed("D", r("x", 2)),
        ]),
        (Kind.GARBAGE_READ, [committed("A", a("x", 1), r("x", 1)), committed("B", r("x", 7))]),
        (Kind.DUPLICATES, [committed("A", a("x", 1), a("x", 2), r("x", 1, 2)), committed("B", r("x", 2, 2))]),
        # The unknown one is seen, so it took effect, and what it read counts.
        (Kind.G1C, [unknown("A", a("x", 1), r("y", 2)), committed("B", a("y", 2), r("x", 1))]),
        # It is seen only by another one that is unknown and seen.
        (Kind.GARBAGE_READ, [
            unknown("A", a("x", 1), r("x", 1, 9)), unknown("B", a("y", 2), r("x", 1)), committed("C", r("y", 2)),
        ]),
        # It may take effect late, but not before it started.
        (Kind.G1C_REALTIME, [committed("A", r("x", 1), at=BEFORE), unknown("B", a("x", 1), started=20)]),
    ],
)  # fmt: skip
def test_other_ways_to_be_wrong(kind: Kind, history: list[Transaction]) -> None:
    assert kind in kinds(history)


@pytest.mark.parametrize(
    ("kind", "history", "final"),
    [
        (Kind.DUPLICATES, [committed("A", a("x", 1))], {"x": (1, 1)}),
        (Kind.GARBAGE_READ, [committed("A", a("x", 1))], {"x": (1, 2)}),
        (Kind.G1A, [aborted("A", a("x", 1))], {"x": (1,)}),
        (Kind.INCOMPATIBLE_ORDER, [committed("A", a("x", 1), a("x", 2), r("x", 1, 2))], {"x": (2, 1)}),
        (Kind.LOST_APPEND, [unknown("A", a("x", 1), a("y", 2))], {"x": (1,), "y": ()}),
        (Kind.LOST_APPEND, [committed("A", a("x", 1)), committed("B", r("x", 1))], {"x": ()}),
    ],
)
def test_the_final_read_is_wrong(kind: Kind, history: list[Transaction], final: Lists) -> None:
    assert kind in kinds(history, final)


VALID: dict[str, tuple[list[Transaction], Lists | None]] = {
    "nothing": ([], None),
    "no operations": ([committed("A")], {}),
    "concurrent, each order is fine": (
        [committed("A", a("x", 1), a("y", 2)), committed("B", a("x", 3), a("y", 4)), committed("C", r("x", 3, 1))],
        None,
    ),
    "appended in the order of neither start nor end": (
        [committed("A", a("x", 1), at=(0, 50)), committed("B", a("x", 2), at=(10, 20))],
        {"x": (2, 1)},
    ),
    "ended at the moment when the other started": (
        [committed("A", a("x", 1), at=(0, 10)), committed("B", r("x"), at=(10, 20))],
        {"x": (1,)},
    ),
    "a read of the past that overlaps": (
        [committed("A", a("x", 1), at=(0, 20)), committed("B", r("x"), at=(15, 30))],
        {"x": (1,)},
    ),
    "an unknown one is seen": ([unknown("A", a("x", 1)), committed("B", r("x", 1))], {"x": (1,)}),
    "an unknown one is seen at the end": ([unknown("A", a("x", 1)), committed("B", r("x"))], {"x": (1,)}),
    "an unknown one is not seen": ([unknown("A", a("x", 1)), committed("B", r("x"), at=AFTER)], {"x": ()}),
    "an unknown one takes effect late": (
        [unknown("A", a("x", 1), started=0, ended=10), committed("B", r("x"), at=(20, 30))],
        {"x": (1,)},
    ),
    "an unseen unknown one may have read anything": ([unknown("A", a("x", 1), r("y", 9))], {"x": ()}),
    "an aborted one is not seen": ([aborted("A", a("x", 1)), committed("B", r("x"), at=AFTER)], {"x": ()}),
    "an aborted one may have read anything": ([aborted("A", r("x", 9, 9))], None),
    "empty reads": ([committed("A", r("x")), committed("B", a("x", 1)), committed("C", r("x"))], None),
    "own appends are seen": (
        [
            committed("A", a("x", 1), r("x", 1), a("x", 2), r("x", 1, 2), r("x", 1, 2)),
            committed("B", r("x", 1, 2), a("x", 3), r("x", 1, 2, 3)),
        ],
        {"x": (1, 2, 3)},
    ),
    "both lists at once, or none": (
        [committed("A", a("x", 1), a("y", 2)), committed("B", r("x", 1), r("y", 2)), committed("C", r("y"), r("x"))],
        None,
    ),
    "one read, and both appended": (
        [committed("A", r("x"), a("x", 1)), committed("B", a("x", 2))],
        {"x": (1, 2)},
    ),
    "an append that nobody read": ([committed("A", a("x", 1)), committed("B", r("x"))], None),
    "an append to a key that was not read at the end": ([committed("A", a("x", 1))], {"y": ()}),
}


@pytest.mark.parametrize(("history", "final"), VALID.values(), ids=VALID)
def test_a_valid_history_is_clean(history: list[Transaction], final: Lists | None) -> None:
    assert check(history, final=final) == []
    assert check(history[::-1], final=final) == []


def test_a_cycle_is_told_with_its_edges() -> None:
    history = [
        committed("A", a("x", 1), a("y", 2), at=BEFORE),
        committed("B", r("x", 1), r("y"), at=AFTER),
    ]
    found = only(history, Kind.G_SINGLE)
    assert set(found.transactions) == {"A", "B"}
    assert {(edge.source, edge.kind, edge.target, edge.key) for edge in found.edges} == {
        ("A", "wr", "B", "x"),
        ("B", "rw", "A", "y"),
    }
    assert "B read 1 from 'x', which A appended" in found.explanation
    assert "B read 'y' as [], without 2, which A appended" in found.explanation
    assert str(found).startswith("G-single: ")


def test_edges_go_round() -> None:
    for _, history, final, _ in PLANTED:
        for found in check(history, final=final):
            if found.edges:
                assert [edge.source for edge in found.edges] == list(found.transactions)
                assert [edge.target for edge in found.edges] == [*found.transactions[1:], found.transactions[0]]
                assert all(edge.reason in found.explanation and edge.reason in str(edge) for edge in found.edges)


def test_the_clock_is_told() -> None:
    history = [committed("A", a("x", 1), at=BEFORE), committed("B", r("x"), at=AFTER)]
    found = only(history, Kind.G_SINGLE_REALTIME, {"x": (1,)})
    assert "A ended before B started (10 < 20)" in found.explanation


def test_others_are_named_with_their_key() -> None:
    found = only([aborted("A", a("x", 1)), committed("B", r("x", 1))], Kind.G1A)
    assert (found.key, tuple(found.transactions)) == ("x", ("A", "B"))
    assert found.explanation == "B saw 1 in 'x', which A appended, but that aborted"


def test_a_long_list_is_shown_by_its_end() -> None:
    values = list(range(100, 200))
    history = [committed(f"t{value}", a("x", value)) for value in values]
    found = only([*history, committed("R", r("x", *values, 7))], Kind.GARBAGE_READ)
    assert len(found.explanation) < 200
    found = only([*history, committed("R", r("x", *values, 199))], Kind.DUPLICATES)
    assert "[199] more than once" in found.explanation
    assert "(101 values)" in found.explanation


def test_the_shortest_cycle_is_shown() -> None:
    # A ring of 20 with a chord that makes a cycle of three.
    ring = [committed(f"t{n}", a(f"k{n}", n), r(f"k{(n - 1) % 20}", (n - 1) % 20)) for n in range(20)]
    ring[2] = committed("t2", *ring[2].operations, a("chord", 100))
    ring[0] = committed("t0", *ring[0].operations, r("chord", 100))
    assert set(only(ring, Kind.G1C).transactions) == {"t0", "t1", "t2"}


def test_the_weakest_cycle_is_shown_even_if_a_stronger_one_is_shorter() -> None:
    history = [
        committed("A", r("x"), a("y", 1), r("w", 4)),
        committed("B", r("y"), a("x", 2), a("z", 3)),
        committed("C", r("z", 3), a("w", 4)),
    ]
    assert set(only(history, Kind.G_SINGLE).transactions) == {"A", "B", "C"}
    assert kinds(history) == {Kind.G_SINGLE}


def test_nobody_comes_before_itself() -> None:
    # Each is the next to append to the list that it read.
    history = [
        committed("A", r("x"), a("x", 1), r("z", 4)),
        committed("B", r("y"), a("y", 2), r("x", 1), a("z", 4)),
    ]
    found = only(history, Kind.G1C)
    assert set(found.transactions) == {"A", "B"}
    skew = [committed("A", r("x"), a("x", 1), r("y")), committed("B", r("y"), a("y", 2), r("x"))]
    assert set(only(skew, Kind.G2, {"x": (1,), "y": (2,)}).transactions) == {"A", "B"}


def test_a_lost_append_was_not_the_last_one() -> None:
    history = [committed("A", a("x", 1), at=BEFORE), committed("B", r("x"), at=AFTER)]
    assert kinds(history, {"x": ()}) == {Kind.LOST_APPEND}
    assert kinds(history) == {Kind.G_SINGLE_REALTIME}


def test_cycles_apart_are_found_apart() -> None:
    history = [
        transaction
        for n in range(5)
        for transaction in (
            committed(f"A{n}", a(f"x{n}", 1), r(f"y{n}", 2)),
            committed(f"B{n}", a(f"y{n}", 2), r(f"x{n}", 1)),
        )
    ]
    assert [anomaly.kind for anomaly in check(history)] == [Kind.G1C] * 5


def test_a_cycle_is_not_hidden_by_a_larger_one_of_the_clock() -> None:
    stale = [committed("A", a("x", 1), at=(0, 10)), committed("B", r("x"), r("y", 2), at=(50, 60))]
    inside = [
        committed("C", a("y", 2), r("z", 3), at=(20, 40)),
        committed("D", a("z", 3), r("y", 2), at=(20, 40)),
    ]
    assert kinds([*stale, *inside], {"x": (1,)}) == {Kind.G1C}
    assert kinds([*stale, committed("C", a("y", 2), at=(20, 40))], {"x": (1,)}) == {Kind.G_SINGLE_REALTIME}


def test_many_appends_that_nobody_read() -> None:
    # They may have any order among themselves, but come after all reads of the list without them.
    blind = [committed(f"w{n}", a("x", n)) for n in range(1, 200)]
    readers = [committed(f"r{n}", r("x")) for n in range(200)]
    assert check([*blind, *readers]) == []
    for n in (1, 100, 199):
        late = committed("late", r("x"), r("y", 7))
        saw = committed("saw", a("x", 1000 + n), a("y", 7))
        assert only([*blind, *readers, late, saw], Kind.G_SINGLE).transactions
    both = [committed("A", r("x"), a("x", 500)), committed("B", r("x"), a("x", 501))]
    assert kinds([*blind, *readers, *both]) == {Kind.LOST_UPDATE, Kind.G2}


@pytest.mark.parametrize(
    "history",
    [
        [committed("A"), committed("A")],
        [committed("A", a("x", 1)), aborted("B", a("x", 1))],
        [committed("A", a("x", 1), a("x", 1))],
        [committed("A", at=(2, 1))],
    ],
)
def test_what_is_no_history_is_refused(history: list[Transaction]) -> None:
    with pytest.raises(InvalidInputError):
        check(history)


@pytest.mark.serial
def test_a_long_history_takes_seconds() -> None:
    # About linear: twenty thousand take a second, though each has thousands of others before it in time.
    recorded = serial_history(Random(1), transactions=20_000, keys=8, length=150)
    begun = time.process_time()
    assert check(recorded.history, final=recorded.final) == []
    # And broken at both ends, so that everything lies on one cycle.
    first = next(n for n, one in enumerate(recorded.history) if a("k0", recorded.final["k0"][0]) in one.operations)
    late = committed("late", r("k0"), at=(10**9, 10**9))
    found = only([*recorded.history, late], Kind.G_SINGLE_REALTIME, recorded.final)
    assert set(found.transactions) == {recorded.history[first].id, "late"}
    assert time.process_time() - begun < 20
