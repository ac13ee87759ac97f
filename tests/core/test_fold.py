"""Replaying entries leads to what stepping through their events leads to, one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.delta import diff
from eventstate.core.fold import PLAIN
from eventstate.core.format import DELETED, REOPENED, Entry
from eventstate.errors import ConfigurationError, CorruptionError, EventStateError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def entry_of(first: int, bodies: list[Any]) -> Entry:
    version = first + len(bodies) - 1
    return Entry(version, first, b"", bodies, {"n": version, "at": 0, "c": {}, "e": bodies})


def place(version: int) -> str:
    return f"event {version}"


@st.composite
def streams(draw: st.DrawFn) -> list[Entry]:
    """Entries of whole states, differences, deletions and reopenings."""
    entries: list[Entry] = []
    state: Any = None
    for _ in range(draw(st.integers(0, 5))):
        bodies: list[Any] = []
        for _ in range(draw(st.integers(1, 3))):
            sort = draw(st.sampled_from(["state", "delta", "delta", DELETED, REOPENED]))
            before, state = state, None if sort.startswith("$") else draw(VALUES)
            change = {"state": copy.deepcopy(state), "delta": diff(before, state)}.get(sort)
            bodies.append({"type": sort} if sort.startswith("$") else {"type": "saved", sort: change})
        entries.append(entry_of(entries[-1].version + 1 if entries else 1, bodies))
    return entries


def stepped(entries: list[Entry], last: int) -> Any:
    state = PLAIN.initial()
    for event in (event for entry in entries for event in entry.each() if event.version <= last):
        state = PLAIN.step(state, event, place(event.version))
    return state


@given(streams(), st.integers(0, 16))
def test_a_replay_is_as_many_steps(entries: list[Entry], last: int) -> None:
    kept = copy.deepcopy(entries)
    expected = stepped(entries, last)
    assert entries == kept
    assert PLAIN.replay(PLAIN.initial(), iter(entries), last, place) == expected


@given(streams(), st.integers(0, 16))
def test_a_replay_can_be_cut_between_any_two_entries(entries: list[Entry], cut: int) -> None:
    whole = stepped(entries, 99)
    begun = PLAIN.replay(PLAIN.initial(), entries[:cut], 99, place)
    assert PLAIN.replay(begun, entries[cut:], 99, place) == whole


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"type": "Paid", "data": 1}, ConfigurationError),
        ({"type": "saved", "delta": {"~gone": [1]}}, CorruptionError),
        ({"type": "saved", "delta": 5}, CorruptionError),
        ({"type": "saved", "delta": {"": 1}}, CorruptionError),
    ],
)
def test_an_event_that_does_not_fit_is_named(body: dict[str, Any], error: type[EventStateError]) -> None:
    first = {"type": "saved", "state": {"a": 1}}
    with pytest.raises(error, match="event 2") as stepping:
        stepped([entry_of(1, [first, body])], 2)
    with pytest.raises(error, match="event 2") as replaying:
        PLAIN.replay(None, [entry_of(1, [first, body])], 2, place)
    assert str(replaying.value) == str(stepping.value)
