"""Saving, updating, deleting and reopening states; what a caller does to its objects reaches nothing stored."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventstate import (
    ANY,
    ChangeMetadata,
    ConfigurationError,
    Event,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    StateSnapshot,
    VectorClock,
    VersionConflictError,
)
from tests.machines.world import Added, Order, Paid, Placed, World, datas, make_counter, make_orders


def test_a_saved_state_is_an_event_too(world: World) -> None:
    persister = world()
    saved = persister.save_state("doc", {"a": 1}, expected=0, action="drafted", changed_by="kim")
    assert (saved.id, saved.data, saved.version, saved.action) == ("doc", {"a": 1}, 1, "drafted")
    updated = persister.update_state("doc", {"a": 2}, expected=saved)
    assert persister.get_state("doc").data == {"a": 2}
    first, second = persister.history("doc")
    assert (first.action, first.from_state, first.to_state) == ("drafted", None, {"a": 1})
    assert (second.action, second.from_state, second.to_state) == ("updated", {"a": 1}, {"a": 2})
    assert first.metadata.changed_by == "kim"
    assert updated.version == 2


@pytest.mark.parametrize("state", [None, 0, "", "text", 1.5, True, [], [1, [2]], {}, {"": {"": None}}, -0.0, 2**63])
def test_any_json_value_can_be_a_state(world: World, state: Any) -> None:
    persister = world()
    persister.save_state("x", {"other": 1}, expected=0)
    persister.save_state("x", state, expected=1)
    for loaded in (persister.load("x"), persister.load("x", at_version=2), list(persister.history("x"))[1]):
        found = loaded.data if isinstance(loaded, StateSnapshot) else loaded.to_state
        assert repr(found) == repr(state)


def test_differences_come_back_as_full_states(world: World) -> None:
    persister = world(snapshot_every=3)
    base = {"title": "x" * 300, "lines": [{"n": i, "text": "y" * 20} for i in range(20)], "meta": {"tags": ["a"]}}
    states: list[dict[str, Any]] = [base]
    states.append({**base, "title": "z" * 300})
    states.append({**states[-1], "lines": [*base["lines"][:5], {"n": 99, "text": "new"}, *base["lines"][6:]]})
    states.append({k: v for k, v in states[-1].items() if k != "meta"})
    states.append({**states[-1], "meta": None, "more": {"deep": [1, [2, {"x": 1.0}]]}})
    states.append({"all": "other"})
    states.append(base)
    for version, state in enumerate(states):
        persister.save_state("doc", state, expected=version)
    deltas = [document.body for document in world.scan("entry", id="doc") if b'"delta"' in document.body]
    assert len(deltas) >= 4
    history = list(persister.history("doc"))
    assert [t.to_state for t in history] == states
    assert [t.from_state for t in history] == [None, *states[:-1]]
    assert [persister.load("doc", at_version=v + 1).data for v in range(len(states))] == states
    assert persister.rebuild("doc", full=True).data == base
    assert persister.validate_consistency().is_consistent


def test_transitions_between_states_that_no_evolve_explains(world: World) -> None:
    persister = world()
    first = persister.log_transition(None, StateSnapshot.new("job", {"at": "queued", "pad": "p" * 100}), "queued")
    to_state = StateSnapshot.new("job", {"at": "running", "pad": "p" * 100})
    second = persister.log_transition(first, to_state, "started", changed_by="w1", reason="free")
    assert (second.version, second.data["at"]) == (2, "running")
    with pytest.raises(VersionConflictError):
        persister.log_transition(first, to_state, "started")
    with pytest.raises(VersionConflictError):
        persister.log_transition(None, to_state, "queued")
    assert persister.log_transition(first, to_state, "again", expected=ANY).version == 3
    with pytest.raises(InvalidInputError, match="one id"):
        persister.log_transition(first, StateSnapshot.new("other", {}), "x")
    steps = [(t.action, t.from_state and t.from_state["at"], t.to_state["at"]) for t in persister.history("job")]
    assert steps == [("queued", None, "queued"), ("started", "queued", "running"), ("again", "running", "running")]


def test_updating_needs_a_state_that_exists(world: World) -> None:
    persister = world()
    with pytest.raises(StateNotFoundError) as caught:
        persister.update_state("doc", 1, expected=ANY)
    assert (caught.value.governor, caught.value.state_id) == ("default", "doc")
    assert world.everything() == []
    assert persister.update_state("doc", 1, expected=0).version == 1


def test_expected_says_what_the_stream_must_be(world: World) -> None:
    persister = world()
    saved = persister.save_state("doc", 1, expected=0)
    for wrong in (0, 2, 10**11):
        with pytest.raises(VersionConflictError) as caught:
            persister.save_state("doc", 2, expected=wrong)
        assert (caught.value.stream, caught.value.expected, caught.value.actual) == ("doc", wrong, 1)
    persister.save_state("doc", 2, expected=saved)
    with pytest.raises(VersionConflictError):
        persister.save_state("doc", 3, expected=saved)
    persister.save_state("doc", 3, expected=ANY)
    persister.save_state("doc", 4, expected=persister.load("doc", at_version=3))
    assert persister.load("doc").version == 4
    other = persister.save_state("other", 1, expected=0)
    with pytest.raises(InvalidInputError, match="'other'"):
        persister.save_state("doc", 5, expected=other)
    assert persister.load("doc").version == 4


def test_a_second_persister_that_remembers_an_old_version_is_not_fooled(world: World) -> None:
    one, two = world(), world()
    one.save_state("doc", 1, expected=0)
    two.save_state("doc", 2, expected=1)
    with pytest.raises(VersionConflictError):
        one.save_state("doc", 3, expected=1)
    assert one.save_state("doc", 3, expected=2).version == 3
    assert two.save_state("doc", 4, expected=ANY).version == 4
    assert datas([one.load("doc"), two.load("doc")]) == [4, 4]


def test_deleting_leaves_the_history_and_a_version(world: World) -> None:
    persister = world()
    saved = persister.save_state("doc", {"a": 1}, expected=0)
    with pytest.raises(VersionConflictError):
        persister.delete_state("doc", expected=5)
    with pytest.raises(StateNotFoundError):
        persister.delete_state("never", expected=ANY)
    assert persister.delete_state("doc", expected=saved, changed_by="kim", reason="old") == 2
    assert not persister.exists("doc")
    for call in (
        lambda: persister.load("doc"),
        lambda: persister.get_state("doc"),
        lambda: persister.load("doc", at_version=2),
        lambda: persister.save_state("doc", 1, expected=2),
        lambda: persister.save_state("doc", 1, expected=ANY),
        lambda: persister.update_state("doc", 1, expected=ANY),
        lambda: persister.append("doc", Event("x", state=1), expected=ANY),
        lambda: persister.execute("doc", "x", lambda state: None) and persister.create_snapshot("doc"),
        lambda: persister.create_snapshot("doc"),
        lambda: persister.rebuild("doc"),
    ):
        with pytest.raises((StateDeletedError, StateNotFoundError)) as caught:
            call()
        if isinstance(caught.value, StateDeletedError):
            assert (caught.value.state_id, caught.value.version) == ("doc", 2)
            assert "reopen=True" in str(caught.value)
    assert persister.load("doc", at_version=1).data == {"a": 1}
    deleted = list(persister.history("doc"))[1]
    assert (deleted.action, deleted.from_state, deleted.to_state) == ("$deleted", {"a": 1}, None)
    assert (deleted.metadata.changed_by, deleted.metadata.reason) == ("kim", "old")
    before = world.everything()
    assert persister.delete_state("doc", expected=2) == persister.delete_state("doc", expected=ANY) == 2
    assert world.everything() == before


def test_a_new_incarnation_continues_the_versions(world: World) -> None:
    persister = world(snapshot_every=2)
    persister.save_state("doc", {"a": "x" * 100}, expected=0)
    persister.delete_state("doc", expected=1)
    again = persister.save_state("doc", {"b": 2}, expected=2, reopen=True)
    assert (again.version, again.data) == (4, {"b": 2})
    assert [t.action for t in persister.history("doc")] == ["saved", "$deleted", "$reopened", "saved"]
    assert [t.to_state for t in persister.history("doc")][2:] == [None, {"b": 2}]
    persister.delete_state("doc", expected=4)
    third = persister.append("doc", Event("begun", state=[3]), Event("more", state=[3, 4]), expected=5, reopen=True)
    assert (third.version, third.data) == (8, [3, 4])
    assert persister.update_state("doc", [5], expected=third, action="on").version == 9
    assert persister.validate_consistency().is_consistent
    assert persister.rebuild("doc", full=True).data == [5]
    # Where nothing was deleted, it changes nothing.
    assert persister.save_state("doc", [6], expected=9, reopen=True).version == 10


def test_a_reopened_machine_begins_at_its_initial_state(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter])
    persister.append(counter, "a", Added(5), expected=0)
    persister.delete_state(counter, "a", expected=1)
    assert persister.append(counter, "a", Added(2), expected=2, reopen=True).data == 2
    assert [t.to_state for t in persister.history(counter, "a")] == [5, None, 0, 2]
    assert persister.load(counter, "a", at_version=4).data == 2


def test_metadata_is_kept_with_every_event(world: World) -> None:
    persister = world()
    when = datetime(2020, 5, 17, 8, 30, tzinfo=UTC)
    saved = persister.save_state(
        "doc",
        1,
        expected=0,
        changed_by="kim",
        reason="because",
        context={"ip": "::1", "n": [1]},
        correlation_id="req-1",
        causation_id="msg-1",
        occurred_at=when,
    )
    said = ChangeMetadata(
        changed_by="kim",
        reason="because",
        parent_version=0,
        context={"ip": "::1", "n": [1]},
        correlation_id="req-1",
        causation_id="msg-1",
        occurred_at=when,
    )
    [step] = persister.history("doc")
    assert saved.metadata == persister.load("doc").metadata == step.metadata == said
    assert persister.load("doc", at_version=1).metadata == said
    assert (step.occurred_at, step.effective_at) == (when, when)
    assert step.timestamp - datetime.now(UTC) < timedelta(minutes=1)
    own = Event("b", state=2, metadata=ChangeMetadata(reason="mine", parent_version=1))
    persister.append("doc", Event("a", state=2), own, expected=1, changed_by="lee", reason="ours")
    _, second, third = persister.history("doc")
    assert (second.metadata.changed_by, second.metadata.reason, second.metadata.parent_version) == ("lee", "ours", 1)
    assert (third.metadata.changed_by, third.metadata.reason, third.metadata.parent_version) == ("lee", "mine", 1)
    assert persister.load("doc").metadata == third.metadata


@pytest.mark.parametrize(
    "bad", [{"changed_by": 5}, {"reason": b"x"}, {"context": [1]}, {"context": {"x": object()}}, {"occurred_at": 5}]
)
def test_metadata_of_the_wrong_type_is_refused(world: World, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        world().save_state("doc", 1, expected=0, **bad)
    assert world.everything() == []


def test_clocks_count_the_commits_of_the_store(world: World) -> None:
    persister = world()
    one = persister.save_state("doc", 1, expected=0)
    two = persister.save_state("doc", 2, expected=1)
    assert one.causality == VectorClock({world.store.node: 1})
    assert two.causality == VectorClock({world.store.node: 2})
    assert [t.causality for t in persister.history("doc")] == [one.causality, two.causality]


def test_timestamps_never_go_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    persister = world()
    late = persister.save_state("doc", 1, expected=0).timestamp
    monkeypatch.setattr(type(world.store.runtime), "now", lambda self: 1_000_000)
    early = persister.save_state("doc", 2, expected=1).timestamp
    assert early == late
    assert persister.validate_consistency().is_consistent


def test_what_the_caller_does_to_its_objects_reaches_nothing_stored(world: World) -> None:
    persister = world()
    data: dict[str, Any] = {"list": [1]}
    context: dict[str, Any] = {"k": [1]}
    event = Event("x", data={"d": [1]}, state={"list": [1, 2]})
    saved = persister.save_state("doc", data, expected=0, context=context)
    data["list"].append("input")
    context["k"].append("input")
    saved.data["list"].append("output")
    saved.metadata.context["k"].append("output")
    loaded = persister.load("doc")
    loaded.data["list"].append("loaded")
    assert persister.load("doc").data == {"list": [1]}
    after = persister.append("doc", event, expected=saved)
    event.data["d"].append("input")
    event.state["list"].append("input")
    after.data["list"].append("output")
    next(iter(persister.history("doc"))).to_state["list"].append("history")
    page = persister.list_states()
    page.states[0].data["list"].append("page")
    persister.load("doc", at_version=1).data["list"].append("at version")
    assert persister.append("doc", Event("y", state=5), expected=after).version == 3
    first, second, _ = persister.history("doc")
    assert (first.to_state, second.to_state, second.data) == ({"list": [1]}, {"list": [1, 2]}, {"d": [1]})
    assert first.metadata.context == {"k": [1]}


def test_what_decide_does_to_its_state_reaches_nothing_stored(world: World) -> None:
    persister = world()
    persister.save_state("doc-1", {"list": [1]}, expected=0)

    def meddle(state: dict[str, Any]) -> Event:
        state["list"].append("meddled")
        return Event("x", state={"n": len(state["list"])})

    assert persister.execute("doc", "1", meddle).data == {"n": 2}
    assert next(iter(persister.history("doc-1"))).to_state == {"list": [1]}
    nothing = persister.execute("doc", "1", lambda state: state.clear())
    assert (nothing.version, nothing.data) == (2, {"n": 2})


def test_governors_are_apart(world: World) -> None:
    one, two = world(governor="one"), world(governor="two")
    one.save_state("doc", "one", expected=0, idempotency_key="k")
    two.save_state("doc", "two", expected=0, idempotency_key="k")
    two.save_state("doc", "two again", expected=1)
    assert (one.load("doc").data, one.load("doc").version) == ("one", 1)
    assert (two.load("doc").data, two.load("doc").version) == ("two again", 2)
    one.delete_state("doc", expected=1)
    assert not one.exists("doc")
    assert two.exists("doc")
    assert datas(two.list_states().states) == ["two again"]
    assert one.list_states().states == []
    assert one.list_governors() == two.list_governors() == ["one", "two"]
    assert (one.get_stats().total_events, two.get_stats().total_events) == (2, 2)
    assert [r.id for r in two.recover()] == ["doc"]
    assert len(list(one.states_at(datetime.now(UTC)))) == 0
    assert world(governor="three").list_states().states == []


@pytest.mark.parametrize(
    "events", [(), (Placed("x"),), (Event("x"),), (Event("$x", state=1),), (Event("", state=1),), ({"type": "x"},)]
)
def test_events_that_a_plain_stream_cannot_take(world: World, events: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInputError):
        world().append("doc", *events, expected=0)
    assert world.everything() == []


def test_a_plain_event_says_what_is_missing(world: World) -> None:
    with pytest.raises(ConfigurationError, match="says no state="):
        world().append("doc", Event("x"), expected=0)
    with pytest.raises(ConfigurationError, match="Placed needs its Machine"):
        world().append("doc", Placed("x"), expected=0)
    orders = make_orders()
    with pytest.raises(ConfigurationError, match="without a machine"):
        world(machines=[orders]).append(orders, "1", Event("Placed", state=Order()), expected=0)


def test_methods_say_which_id_is_missing(world: World) -> None:
    orders = make_orders()
    persister = world(machines=[orders])
    for call in (
        lambda: persister.load(orders),
        lambda: persister.exists(orders),
        lambda: persister.append(orders, expected=0),
    ):
        with pytest.raises(InvalidInputError, match="Pass its id"):
            call()
    with pytest.raises(InvalidInputError):
        persister.append(orders, "1", expected=0)
    with pytest.raises(InvalidInputError):
        persister.load(orders, 42)
    persister.append(orders, "42", Placed("x"), Paid(1), expected=0)
    assert persister.load(orders, "42").version == 2


@pytest.mark.parametrize("typed", [True, False])
def test_a_state_just_written_is_the_state_as_it_is_loaded(world: World, typed: bool) -> None:
    persister = world(machines=[make_orders()])
    if typed:
        written = persister.append("order-1", Event("Placed", {"line": "tea"}), expected=0, changed_by="kim")
    else:
        written = persister.save_state("doc", {"a": [1]}, expected=0, changed_by="kim", context={"x": 1})
    loaded = persister.load(written.id)
    for copied in (written, pickle.loads(pickle.dumps(written)), copy.copy(written), copy.deepcopy(written)):
        assert replace(copied, position=None) == loaded
        assert copied.metadata.changed_by == "kim"
        assert copied.timestamp == loaded.timestamp
    assert repr(written.data) in repr(written)
    with pytest.raises(AttributeError, match="no attribute 'versoin'"):
        _ = getattr(written, "versoin")  # noqa: B009
