"""A machine's replay of entries leads to what stepping through their events leads to; nothing of it can be reached."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate import Event, Machine, StateMachinePersister, StateSnapshot, open_store
from eventstate.core.delta import diff
from eventstate.core.format import DELETED, REOPENED, Entry
from eventstate.errors import EventStateError


@dataclass(frozen=True)
class Changed:
    values: dict[str, Any]


@dataclass(frozen=True)
class Counted:
    n: int
    by: str | None = None


def keep(state: dict[str, Any], event: Changed | Counted) -> dict[str, Any]:
    if isinstance(event, Changed):
        return event.values
    return {**state, "n": state.get("n", 0) + event.n, "by": event.by}


def keep_any(state: dict[str, Any], event: Event) -> dict[str, Any]:
    return {**state, event.type: event.data}


TYPED = Machine(
    "typed",
    {"n": 0},
    keep,
    renamed={"Added": "Counted"},
    schemas={"Counted": 2},
    upcasters={"Counted": {1: lambda data: {"n": data, "by": "old"}}},
)
UNTYPED = Machine("untyped", {"n": 0}, keep_any)
RECORDED: Machine[dict[str, Any], Any] = Machine("recorded", {"n": 0})

PLAIN_VALUES = st.dictionaries(st.text("ab", max_size=1), st.integers(-9, 9) | st.lists(st.integers(0, 9)), max_size=3)
TYPED_EVENTS = st.one_of(
    st.builds(lambda values: {"type": "Changed", "data": {"values": values}}, PLAIN_VALUES),
    st.builds(lambda n: {"type": "Counted", "v": 2, "data": {"n": n, "by": None}}, st.integers()),
    st.builds(lambda n: {"type": "Counted", "v": 2, "data": {"n": str(n)}}, st.integers()),
    st.builds(lambda n: {"type": "Counted", "data": n}, st.integers()),
    st.builds(lambda n: {"type": "Added", "data": n}, st.integers()),
    st.builds(lambda values: {"type": "saved", "state": values}, PLAIN_VALUES),
    st.sampled_from([{"type": DELETED}, {"type": REOPENED}]),
)
SELDOM = st.sampled_from(
    [
        {"type": "Unheard", "data": 1},
        {"type": "Counted", "v": 3, "data": {"n": 1}},
        {"type": "Counted", "v": 2, "data": {"n": "many"}},
        {"type": "saved", "delta": {"~gone": [1]}},
    ]
)


def entries_of(commits: list[list[Any]]) -> list[Entry]:
    entries: list[Entry] = []
    version = 0
    for bodies in copy.deepcopy(commits):
        first, version = version + 1, version + len(bodies)
        entries.append(Entry(version, first, b"", bodies, {"n": version, "at": 0, "c": {}, "e": bodies}))
    return entries


def place(version: int) -> str:
    return f"event {version}"


def outcome(run: Any) -> Any:
    try:
        return run()
    except (EventStateError, AttributeError, TypeError) as error:  # a fold of a deleted state fails in evolve itself
        return type(error), str(error)


def stepped(machine: Machine[Any, Any], entries: list[Entry], last: int) -> Any:
    state = machine.initial()
    for event in (event for entry in entries for event in entry.each() if event.version <= last):
        state = machine.step(state, event, place(event.version))
    return state


def commits_of(events: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    return st.lists(st.lists(events, min_size=1, max_size=3), max_size=4)


@given(commits_of(TYPED_EVENTS) | commits_of(TYPED_EVENTS | SELDOM), st.integers(0, 12))
@pytest.mark.parametrize("machine", [TYPED, UNTYPED, RECORDED], ids=lambda machine: machine.name)
def test_a_replay_is_as_many_steps(machine: Machine[Any, Any], commits: list[list[Any]], last: int) -> None:
    expected = outcome(lambda: stepped(machine, entries_of(commits), last))
    found = outcome(lambda: machine.replay(machine.initial(), iter(entries_of(commits)), last, place))
    assert found == expected


def test_what_a_history_hands_out_is_not_what_it_goes_on_with() -> None:
    """A fold may keep parts of an event as its state: they are never the caller's."""
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[TYPED])
        events = [Changed({"n": 1})] * 500  # as many as a history reads at once
        persister.append(TYPED, "1", *events, expected=0)
        persister.append(TYPED, "1", Counted(1), Counted(1), expected=500)
        states: list[Any] = []
        for transition in persister.history(TYPED, "1"):
            states.append(orjson.dumps(transition.from_state))
            if isinstance(transition.data, Changed):
                transition.data.values["n"] = 1000
            transition.to_state["n"] = 2000
        assert states[500:] == [b'{"n":1}', b'{"n":2,"by":null}']


def test_an_evolve_that_changes_its_state_in_place_does_not_change_the_events_in_a_history() -> None:
    def careless(state: dict[str, Any], event: Changed | Counted) -> dict[str, Any]:
        if isinstance(event, Changed):
            return event.values
        state["n"] += event.n
        return state

    machine = Machine("careless", {"n": 0}, careless)
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[machine])
        persister.append(machine, "1", Changed({"n": 1}), Counted(5), expected=0)
        first, second = persister.history(machine, "1")
        assert first.data == Changed({"n": 1})
        assert (second.from_state, second.to_state) == ({"n": 1}, {"n": 6})


def test_a_rebuilt_state_is_the_callers_own() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store, machines=[TYPED], snapshot_every=2)
        persister.append(TYPED, "1", Changed({"n": [1]}), Changed({"n": [2]}), expected=0)
        for version in (1, 2):
            loaded: StateSnapshot[Any] = persister.load("typed", "1", at_version=version)
            loaded.data["n"].append("spoiled")
            assert persister.load(TYPED, "1", at_version=version).data == {"n": [version]}
        assert diff(persister.load(TYPED, "1").data, {"n": [2]}) == {}
