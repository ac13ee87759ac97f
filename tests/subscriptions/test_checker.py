"""The checker of deliveries finds a violation of each property, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.log.following import Place, Selection
from eventstate.testing.deliveries import (
    PROPERTIES,
    CommittedEntry,
    Got,
    Marked,
    Note,
    Property,
    Saved,
    Session,
    Truth,
    check_deliveries,
    note_of,
    plain_of,
    sessions_of,
)

A, B = ("g", "m-a"), ("g", "m-b")
SELECTION = Selection("g", actions=frozenset({"x", "y"}))
ENTRIES = [
    CommittedEntry(A, 1, ["x"], 1),
    CommittedEntry(B, 1, ["x", "other", "y"], 2),
    CommittedEntry(A, 2, ["y", "x"], 3),
    CommittedEntry(B, 4, ["other"], 4),
    CommittedEntry(A, 4, ["x"], 5),
    CommittedEntry(B, 5, ["y"], 6),
]
EVENTS = [
    Got(entry.stream, version, entry.position, action)
    for entry in ENTRIES
    for version, action in enumerate(entry.actions, entry.first)
    if action != "other"
]
FLOOR = {A: 4, B: 4}


def good() -> list[Session]:
    """Killed after a place was saved and more was delivered; then resumed from that place."""
    first: list[Note] = [*EVENTS[:3], Saved(Place(2)), *EVENTS[3:4]]
    second: list[Note] = [*EVENTS[3:6], Marked(FLOOR), EVENTS[6], Saved(Place(6))]
    return [Session(Place(0), first, was_killed=True), Session(Place(2), second)]


def unordered(sessions: list[Session]) -> list[Session]:
    """The positions of a store that has an order: those of B before those of A that were committed first."""
    return [Session(Place(0), [*EVENTS[1:3], EVENTS[0], *EVENTS[3:]])]


def doubled(sessions: list[Session]) -> list[Session]:
    return [sessions[0], sessions[1]._replace(notes=[EVENTS[0], *sessions[1].notes])]


def torn(sessions: list[Session]) -> list[Session]:
    """The events of one commit with another between them."""
    return [Session(Place(0), [EVENTS[1], EVENTS[0], EVENTS[2], *EVENTS[3:]])]


def skipped(sessions: list[Session]) -> list[Session]:
    return [sessions[0], sessions[1]._replace(notes=[*EVENTS[3:5], EVENTS[6]])]


def resumed_too_late(sessions: list[Session]) -> list[Session]:
    return [sessions[0], sessions[1]._replace(notes=list(EVENTS[5:]))]


def saved_too_early(sessions: list[Session]) -> list[Session]:
    return [sessions[0], sessions[1]._replace(notes=[EVENTS[3], EVENTS[4], Saved(Place(6)), *EVENTS[5:]])]


def marked_too_early(sessions: list[Session]) -> list[Session]:
    return [sessions[0], sessions[1]._replace(notes=[Marked(FLOOR), *EVENTS[3:]])]


def not_wanted(sessions: list[Session]) -> list[Session]:
    return [sessions[0]._replace(notes=[*EVENTS[:2], Got(B, 2, 2, "other"), EVENTS[2]]), sessions[1]]


PLANTED: list[tuple[Property, Callable[[list[Session]], list[Session]]]] = [
    ("ordered", unordered),
    ("unique", doubled),
    ("atomic", torn),
    ("reliable", skipped),
    ("resumable", resumed_too_late),
    ("bookmarkable", saved_too_early),
    ("bookmarkable", marked_too_early),
    ("filtered", not_wanted),
]


def test_what_is_right_passes() -> None:
    assert check_deliveries(Truth(ENTRIES, SELECTION), good()) == []


@pytest.mark.parametrize(("property", "plant"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_violation_is_found(property: Property, plant: Callable[[list[Session]], list[Session]]) -> None:
    violations = check_deliveries(Truth(ENTRIES, SELECTION), plant(good()))
    assert property in {violation.property for violation in violations}


def test_there_is_one_for_each() -> None:
    assert {property for property, _ in PLANTED} == set(PROPERTIES)


def without_positions(event: Got) -> Got:
    return event._replace(position=None)


@given(st.randoms(use_true_random=False), st.integers(0, len(EVENTS)))
def test_any_interleaving_passes_where_order_is_kept_in_streams_only(random: object, cut: int) -> None:
    """And every lost event is found."""
    truth = Truth([entry._replace(position=None) for entry in ENTRIES], SELECTION)
    whole: dict[tuple[str, str], list[list[Got]]] = {}
    for entry in ENTRIES:
        events = [
            without_positions(e) for e in EVENTS if e.stream == entry.stream and entry.first <= e.version <= entry.last
        ]
        if events:
            whole.setdefault(entry.stream, []).append(events)
    told: list[Got] = []
    while whole:
        stream = random.choice(sorted(whole))  # type: ignore[attr-defined]
        told += whole[stream].pop(0)
        if not whole[stream]:
            del whole[stream]
    assert check_deliveries(truth, [Session(Place(), told)]) == []
    if cut < len(told):
        lost = [*told[:cut], *told[cut + 1 :]]
        assert check_deliveries(truth, [Session(Place(), lost)]) != []


def test_a_session_of_a_killed_process_may_end_anywhere() -> None:
    truth = Truth(ENTRIES, SELECTION)
    cut = [Session(Place(0), EVENTS[:2], was_killed=True), Session(Place(0), EVENTS)]
    assert check_deliveries(truth, cut) == []
    assert check_deliveries(truth, [cut[0]._replace(was_killed=False), cut[1]]) != []


def test_logs_are_read_back() -> None:
    notes: list[Note] = [EVENTS[0], Marked(FLOOR), Saved(Place(3)), Saved(Place(None, {A: 2}))]
    lines = [plain_of(Place(0)), *map(plain_of, notes), plain_of(Place(1)), plain_of(EVENTS[1])]
    assert sessions_of(lines) == [Session(Place(0), notes, True), Session(Place(1), [EVENTS[1]])]
    assert [note_of(plain_of(note)) for note in notes] == notes
