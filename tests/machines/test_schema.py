"""Code moves on, stored data stays: upcasters, renamed events, changed folds, and data of newer code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest

from eventstate import (
    ConfigurationError,
    Event,
    IllegalTransitionError,
    Machine,
    SchemaError,
    SchemaNewerError,
    StateMachinePersister,
    UnknownEventError,
    UpcastError,
    open_store,
)
from eventstate.core import fold as fold_module
from eventstate.machines import machine as machine_module
from tests.machines.world import Added, Order, Paid, Placed, Shipped, World, add, datas, evolve, make_counter


@dataclass(frozen=True)
class Weighed:
    """Schema 1 said ``{"kg": 2.5}``, schema 2 ``{"grams": 2500}``, schema 3 says the unit."""

    amount: int
    unit: str


def weigh(total: int, event: Weighed) -> int:
    return total + event.amount


UPCASTERS: dict[str, dict[int, Callable[[Any], Any]]] = {
    "Weighed": {
        1: lambda data: {"grams": round(data["kg"] * 1000)},
        2: lambda data: {"amount": data["grams"], "unit": "g"},
    }
}


def scales(schema: int, rules: Callable[[int, Any], int] | None = None, **options: Any) -> Machine[int, Any]:
    """The machine as it was declared at each schema of its event."""
    if schema == 3:
        return Machine("scale", 0, weigh, schemas={"Weighed": 3}, upcasters=UPCASTERS, **options)
    steps = {"Weighed": {old: step for old, step in UPCASTERS["Weighed"].items() if old < schema}}
    return Machine("scale", 0, rules or untyped, schemas={"Weighed": schema}, upcasters=steps, **options)


def untyped(total: int, event: Event) -> int:
    return total + round(event.data.get("grams", event.data.get("kg", 0) * 1000))


def test_old_events_are_brought_to_the_present_schema_one_step_at_a_time(world: World) -> None:
    old, middle, new = scales(1), scales(2), scales(3)
    world(machines=[old]).append(old, "1", Event("Weighed", {"kg": 2.5}), expected=0)
    world(machines=[middle]).append(middle, "1", Event("Weighed", {"grams": 10}), expected=1)
    persister = world(machines=[new])
    assert persister.append(new, "1", Weighed(1, "g"), expected=2).data == 2511
    assert [t.to_state for t in persister.history(new, "1")] == [2500, 2510, 2511]
    assert datas(persister.history(new, "1")) == [Weighed(2500, "g"), Weighed(10, "g"), Weighed(1, "g")]
    assert persister.rebuild(new, "1", full=True).data == 2511
    assert persister.load(new, "1", at_version=1).data == 2500
    assert persister.validate_consistency().is_consistent


def test_the_stored_bytes_stay_as_they_were_written(world: World) -> None:
    old, new = scales(1), scales(3)
    world(machines=[old]).append(old, "1", Event("Weighed", {"kg": 2.5}), expected=0)
    before = [document.body for document in world.scan("entry")]
    persister = world(machines=[new])
    list(persister.history(new, "1"))
    persister.append(new, "1", Weighed(1, "g"), expected=1)
    assert [document.body for document in world.scan("entry")][:1] == before


def test_a_failing_upcaster_is_named_with_the_event_and_nothing_is_written(world: World) -> None:
    old, new = scales(1, fold_version=1), scales(3, fold_version=2)
    persister = world(machines=[old])
    persister.append(old, "good", Event("Weighed", {"kg": 1}), expected=0)
    persister.append(old, "bad", Event("Weighed", {"kg": 1}), Event("Weighed", {"lb": 1}), expected=0)
    before = world.everything()
    persister = world(machines=[new])
    for call in (
        lambda: persister.load(new, "bad"),
        lambda: persister.load(new, "bad", at_version=2),
        lambda: list(persister.history(new, "bad")),
        lambda: persister.append(new, "bad", Weighed(1, "g"), expected=2),
    ):
        with pytest.raises(UpcastError) as caught:
            call()
        assert "scale-bad version 2" in caught.value.where
        assert "'Weighed' from schema 1" in caught.value.problem
        assert "KeyError" in caught.value.problem
    assert world.everything() == before
    assert persister.load(new, "good").data == 1000
    assert persister.load(new, "bad", at_version=1).data == 1000
    report = persister.validate_consistency()
    assert [finding.state_id for finding in report.findings] == ["scale-bad"]


def test_data_of_newer_code_is_refused_loudly(world: World) -> None:
    new, old = scales(3, fold_version=2), scales(1)
    world(machines=[new]).append(new, "1", Weighed(1, "g"), expected=0)
    before = world.everything()
    persister = world(machines=[old])
    for call in (
        lambda: persister.load(old, "1"),
        lambda: persister.load(old, "1", at_version=1),
        lambda: list(persister.history(old, "1")),
        lambda: persister.append(old, "1", Event("Weighed", {"kg": 1}), expected=1),
    ):
        with pytest.raises(SchemaNewerError, match="newer than 1") as caught:
            call()
        assert (caught.value.found, caught.value.supported) == (3, 1)
        assert "scale-1" in caught.value.where
    assert world.everything() == before


def test_renamed_events_are_read_by_their_new_name(world: World) -> None:
    old = Machine("order", Order(), evolve, events={"Bought": Placed, "Paid": Paid, "Shipped": Shipped})
    world(machines=[old]).append(old, "1", Placed("pen"), Paid(3), expected=0)
    new = Machine("order", Order(), evolve, renamed={"Bought": "Placed"}, fold_version=2)
    persister = world(machines=[new])
    assert persister.load(new, "1").data == Order("paid", 3, ("pen",))
    assert datas(persister.history(new, "1")) == [Placed("pen"), Paid(3)]
    assert [t.action for t in persister.history(new, "1")] == ["Bought", "Paid"]


def test_upcasters_of_a_renamed_event_go_by_its_new_name(world: World) -> None:
    old = Machine("scale", 0, untyped, events={})
    world(machines=[old]).append(old, "1", Event("Put", {"kg": 2}), expected=0)
    new = scales(3, renamed={"Put": "Weighed"}, fold_version=2)
    persister = world(machines=[new])
    assert persister.load(new, "1").data == 2000
    assert datas(persister.history(new, "1")) == [Weighed(2000, "g")]


def test_an_event_type_that_is_no_longer_known(world: World) -> None:
    full = Machine("order", Order(), evolve)
    world(machines=[full]).append(full, "1", Placed("pen"), Paid(3), expected=0)
    partial = Machine("order", Order(), evolve, events=[Placed])
    persister = world(machines=[partial])
    assert persister.load(partial, "1").data == Order("paid", 3, ("pen",))  # the kept state needs no replay
    assert persister.load(partial, "1", at_version=1).data == Order("placed", 0, ("pen",))
    for call in (
        lambda: persister.load(partial, "1", at_version=2),
        lambda: list(persister.history(partial, "1")),
        lambda: persister.rebuild(partial, "1", full=True),
    ):
        with pytest.raises(UnknownEventError, match="'Paid'") as caught:
            call()
        assert "order-1 version 2" in caught.value.where
        assert caught.value.known == ("Placed",)
    [finding] = persister.validate_consistency().findings
    assert "Paid" in finding.problem


def double(total: int, event: Added) -> int:
    return total + 2 * event.n


def test_a_changed_fold_rebuilds_kept_states(world: World) -> None:
    first = make_counter()
    persister = world(machines=[first], snapshot_every=2)
    persister.append(first, "a", Added(1), expected=0)
    persister.append(first, "a", Added(2), expected=1)
    persister.append(first, "a", Added(3), expected=2)
    second = Machine("counter", 0, double, fold_version=2)
    persister = world(machines=[second], snapshot_every=2)
    loaded = persister.load(second, "a")
    assert (loaded.data, loaded.version, loaded.recovered) == (12, 3, True)
    assert persister.load(second, "a", at_version=2).data == 6
    assert persister.load_snapshot(second, "a") is None
    assert persister.validate_consistency().is_consistent
    report = persister.recover_all()
    assert (report.total, report.rebuilt) == (1, 1)
    # The next append leaves a head of the new fold behind.
    assert persister.append(second, "a", Added(4), expected=3).data == 20
    loaded = persister.load(second, "a")
    assert (loaded.data, loaded.recovered) == (20, False)
    assert persister.recover_all().current == 1


def test_an_append_from_a_loaded_state_of_a_changed_fold(world: World) -> None:
    first = make_counter()
    world(machines=[first]).append(first, "a", Added(1), Added(2), expected=0)
    second = Machine("counter", 0, double, fold_version=2)
    persister = world(machines=[second])
    assert persister.append(second, "a", Added(1), expected=persister.load(second, "a")).data == 8
    assert persister.execute(second, "a", lambda total: Added(total)).data == 24


@dataclass(frozen=True)
class Person:
    first: str = ""
    last: str = ""


def meet(state: Any, event: Event) -> Any:
    return event.data


def split_name(plain: Any) -> Any:
    first, _, last = plain["name"].partition(" ")
    return {"first": first, "last": last}


def test_kept_states_of_an_old_schema_are_brought_up_by_state_upcasters(world: World) -> None:
    old = Machine("person", {"name": ""}, meet)
    persister = world(machines=[old], snapshot_every=1)
    persister.append(old, "1", Event("met", {"name": "Ada Lovelace"}), expected=0)
    new = Machine("person", Person(), lambda state, event: state, state_schema=2, state_upcasters={1: split_name})
    persister = world(machines=[new])
    loaded = persister.load(new, "1")
    assert (loaded.data, loaded.recovered) == (Person("Ada", "Lovelace"), False)
    snapshot = persister.load_snapshot(new, "1")
    assert snapshot is not None
    assert snapshot.data == Person("Ada", "Lovelace")


def test_without_a_state_upcaster_the_state_is_rebuilt(world: World) -> None:
    old = Machine("person", {"name": ""}, meet)
    persister = world(machines=[old], snapshot_every=1)
    persister.append(old, "1", Event("met", {"name": "Ada Lovelace"}), expected=0)

    def rebuild(state: Person, event: Event) -> Person:
        return Person(**split_name(event.data))

    new = Machine("person", Person(), rebuild, state_schema=2)
    loaded = world(machines=[new]).load(new, "1")
    assert (loaded.data, loaded.recovered) == (Person("Ada", "Lovelace"), True)


def test_a_failing_state_upcaster_says_where(world: World) -> None:
    old = Machine("person", {"name": ""}, meet)
    world(machines=[old]).append(old, "1", Event("met", {"nom": "Ada"}), expected=0)
    new = Machine("person", Person(), lambda state, event: state, state_schema=2, state_upcasters={1: split_name})
    with pytest.raises(UpcastError, match="KeyError") as caught:
        world(machines=[new]).load(new, "1")
    assert "person-1" in caught.value.where


def test_a_state_of_newer_code_is_refused(world: World) -> None:
    new = Machine("counter", 0, add, state_schema=4, state_upcasters={1: int, 2: int, 3: int})
    world(machines=[new]).append(new, "a", Added(1), expected=0)
    old = make_counter()
    with pytest.raises(SchemaNewerError) as caught:
        world(machines=[old]).load(old, "a")
    assert (caught.value.found, caught.value.supported) == (4, 1)


def test_a_state_upcaster_for_a_gap_is_not_used(world: World) -> None:
    """From schema 1 to 3 with only the second step given, the state is rebuilt, not half upcast."""
    old = make_counter()
    world(machines=[old]).append(old, "a", Added(1), Added(2), expected=0)
    new = Machine("counter", 0, add, state_schema=3, state_upcasters={2: lambda plain: plain * 1000})
    loaded = world(machines=[new]).load(new, "a")
    assert (loaded.data, loaded.recovered) == (3, True)


def test_a_stored_event_that_no_longer_fits_its_type_is_named(world: World) -> None:
    old = Machine("counter", 0, lambda total, event: total, events={})
    world(machines=[old]).append(old, "a", Event("Added", {"count": 1}), expected=0)
    new = make_counter(fold_version=2)
    with pytest.raises(SchemaError, match="it is no Added of schema 1") as caught:
        world(machines=[new]).load(new, "a")
    assert "counter-a version 1" in caught.value.where
    [finding] = world(machines=[new]).validate_consistency().findings
    assert "it is no Added" in finding.problem


def test_what_upcasters_make_that_is_no_event_is_named(world: World) -> None:
    old = scales(1)
    world(machines=[old]).append(old, "1", Event("Weighed", {"kg": 2.5}), expected=0)
    steps: dict[str, dict[int, Callable[[Any], Any]]] = {"Weighed": {1: dict, 2: lambda data: {"amount": "much"}}}
    new = Machine("scale", 0, weigh, schemas={"Weighed": 3}, upcasters=steps, fold_version=2)
    with pytest.raises(UpcastError, match="the upcasters made something of it, but it is no Weighed") as caught:
        world(machines=[new]).load(new, "1")
    assert "scale-1 version 1" in caught.value.where


@pytest.mark.parametrize("machine", [make_counter(), Machine("counter", 0, lambda total, event: total), None])
def test_an_event_of_a_newer_library_is_refused_loudly(world: World, machine: Machine[int, Any] | None) -> None:
    """Types that begin with ``$`` are the library's own; one that it does not know must not be passed to anybody."""
    with patch.object(machine_module, "RESERVED", "\0"), patch.object(fold_module, "RESERVED", "\0"):
        old = Machine("counter", 0, lambda total, event: total, events={})
        world(machines=[old]).append(old, "a", Event("$merged", {"n": 1}), expected=0)
    persister = world(machines=[machine] if machine is not None else [])
    for call in (
        lambda: persister.load("counter-a", at_version=1),
        lambda: persister.rebuild("counter-a", full=True),
        lambda: list(persister.history("counter-a")),
    ):
        with pytest.raises(SchemaError, match=r"'\$merged' is an event of a newer eventstate") as caught:
            call()
        assert "counter-a version 1" in caught.value.where
    [finding] = persister.validate_consistency().findings
    assert "$merged" in finding.problem


class NoSuchItemError(Exception):
    """An error of the caller's own."""


def fragile(total: int, event: Added) -> int:
    if event.n == 13:
        raise NoSuchItemError("thirteen")
    return total + event.n


def test_an_evolve_that_raises_is_named_with_the_place(world: World) -> None:
    """The error is the caller's own, unchanged; a note says at which event of which stream."""
    good = make_counter()
    world(machines=[good]).append(good, "a", Added(1), Added(13), Added(2), expected=0)
    bad = Machine("counter", 0, fragile, fold_version=2)
    persister = world(machines=[bad])
    place = "evolve of machine 'counter' raised this at event default/counter-a version 2 (Added)"
    for call in (
        lambda: persister.load(bad, "a"),
        lambda: persister.load(bad, "a", at_version=3),
        lambda: list(persister.history(bad, "a")),
        lambda: persister.rebuild(bad, "a", full=True),
        lambda: persister.append(bad, "a", Added(1), expected=3),
    ):
        with pytest.raises(NoSuchItemError) as caught:
            call()
        assert caught.value.args == ("thirteen",)
        assert caught.value.__notes__ == [place]
    assert persister.load(bad, "a", at_version=1).data == 1
    [lost] = persister.recover()
    assert lost.status == "lost"
    assert lost.problem is not None
    assert place in lost.problem
    [finding] = persister.validate_consistency().findings
    assert "NoSuchItemError: thirteen" in finding.problem
    with pytest.raises(NoSuchItemError) as caught:
        persister.append(bad, "b", Added(1), Added(13), expected=0)
    assert caught.value.__notes__ == [place.replace("counter-a", "counter-b")]


def test_what_can_not_be_followed_is_refused_when_it_is_declared() -> None:
    for options in (
        {"schemas": {"Weighed": 0}},
        {"schemas": {"Weighed": True}},
        {"schemas": {"Weihged": 2}, "upcasters": {"Weihged": {1: dict}}},
        {"upcasters": {"Weihged": {}}},
        {"schemas": {"Weighed": 3}, "upcasters": {"Weighed": {1: dict}}},
        {"schemas": {"Weighed": 2}, "upcasters": {"Weighed": {0: dict, 1: dict}}},
        {"upcasters": {"Weighed": {1: dict}}},
        {"renamed": {"Put": "Weihged"}},
        {"renamed": {"Weighed": "Put"}},
        {"renamed": {"Laid": "Put", "Put": "Weighed"}},
        {"state_upcasters": {1: dict}},
        {"state_schema": 2, "state_upcasters": {0: dict}},
    ):
        with pytest.raises(ConfigurationError, match="machine 'scale'"):
            Machine("scale", 0, weigh, **options)  # type: ignore[arg-type]


def test_declared_transitions_bind_new_events_only(world: World) -> None:
    """History written before a rule existed can still be read."""
    loose = Machine("order", Order(), evolve)
    world(machines=[loose]).append(loose, "1", Shipped(), Placed("pen"), expected=0)
    strict = Machine(
        "order", Order(), evolve, state_of="status", transitions=[("placed", "Paid", "paid")], fold_version=2
    )
    persister = world(machines=[strict])
    assert persister.load(strict, "1").data.status == "placed"
    with pytest.raises(IllegalTransitionError):
        persister.append(strict, "1", Shipped(), expected=2)
    assert persister.append(strict, "1", Paid(1), expected=2).version == 3


LARGE = "x" * 70_000


def _in_dollars() -> Any:
    def evolve(state: Any, event: Any) -> Any:
        return {**state, "dollars": state["dollars"] + event.data["amount"]}

    return Machine("acc", {"dollars": 0, "pad": LARGE}, evolve)


def _in_cents() -> Any:
    def evolve(state: Any, event: Any) -> Any:
        if event.type == "Trimmed":
            return {**state, "pad": ""}
        return {**state, "cents": state["cents"] + event.data["amount"] * 100}

    upcasters = {1: lambda old: {"pad": old["pad"], "cents": old["dollars"] * 100}}
    return Machine("acc", {"cents": 0, "pad": LARGE}, evolve, state_schema=2, state_upcasters=upcasters)


@pytest.mark.parametrize("event", ["Paid", "Trimmed"])
@pytest.mark.parametrize("snapshot_every", [0, 2])
@pytest.mark.parametrize("by_number", [True, False])
def test_a_state_too_large_for_its_head_is_upcast_once(event: str, snapshot_every: int, by_number: bool) -> None:
    with open_store("memory://") as store:
        old, new = _in_dollars(), _in_cents()
        StateMachinePersister(store, machines=[old]).append(old, "1", Event("Paid", {"amount": 5}), expected=0)
        persister = StateMachinePersister(store, machines=[new], snapshot_every=snapshot_every)
        loaded = persister.load(new, "1")
        expected = 1 if by_number else loaded
        after = persister.append(new, "1", Event(event, {"amount": 0}), expected=expected)
        other = StateMachinePersister(store, machines=[new])
        assert loaded.data["cents"] == after.data["cents"] == other.load(new, "1").data["cents"] == 500
