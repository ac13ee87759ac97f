"""What a machine is told, and what it says when its parts contradict each other."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Optional, Union

import pytest

from eventstate import ConfigurationError, Event, InvalidIdError, Machine, UnknownEventError
from tests.machines.world import Added, Order, Paid, Placed, World, add, datas, evolve, make_counter, make_orders


class Adder:
    def __call__(self, total: int, event: Added) -> int:
        return total + event.n

    def method(self, total: int, event: Added) -> int:
        return total + event.n


def with_bonus(bonus: int, total: int, event: Added) -> int:
    return total + event.n + bonus


def second_only(total, event: Added) -> int:
    return total + event.n


def any_event(total: int, event: Any) -> int:
    return total + 1


def maybe(total: int, event: Optional[Added]) -> int:  # noqa: UP045
    return total + event.n if event else total


def old_union(total: int, event: Union[Added, Placed]) -> int:  # noqa: UP007
    return total


def base_event(total: int, event: Event) -> int:
    return total + event.data


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (add, ("Added",)),
        (old_union, ("Added", "Placed")),
        (maybe, ("Added",)),
        (second_only, ("Added",)),
        (Adder(), ("Added",)),
        (Adder().method, ("Added",)),
        (functools.partial(with_bonus, 1), ("Added",)),
        (any_event, ()),
        (base_event, ()),
        (lambda total, event: total, ()),
        (None, ()),
    ],
)
def test_event_types_are_read_from_evolves_annotation(rules: Any, names: tuple[str, ...]) -> None:
    assert Machine("m", 0, rules).event_types == names


@pytest.mark.parametrize("rules", [second_only, Adder(), Adder().method, functools.partial(with_bonus, 0)])
def test_whatever_can_be_called_can_evolve(world: World, rules: Any) -> None:
    counter = Machine("counter", 0, rules)
    persister = world(machines=[counter])
    assert persister.append(counter, "a", Added(2), Added(3), expected=0).data == 5
    assert persister.load(counter, "a").data == 5


def test_union_annotations_name_the_events(world: World) -> None:
    orders = make_orders()
    assert orders.event_types == ("Placed", "Paid", "Shipped")
    persister = world(machines=[orders])
    persister.append(orders, "1", Placed("pen"), Paid(3), expected=0)
    assert datas(persister.history(orders, "1")) == [Placed("pen"), Paid(3)]


def test_events_can_be_given_under_stored_names(world: World) -> None:
    orders = Machine("order", Order(), evolve, events={"order.placed": Placed, "order.paid": Paid})
    assert orders.event_types == ("order.placed", "order.paid")
    persister = world(machines=[orders])
    persister.append(orders, "1", Placed("pen"), Paid(3), expected=0)
    assert [t.action for t in persister.history(orders, "1")] == ["order.placed", "order.paid"]
    assert persister.load(orders, "1", at_version=2).data == Order("paid", 3, ("pen",))


def test_events_can_be_given_as_types_alone() -> None:
    assert Machine("order", Order(), lambda order, event: order, events=[Placed, Paid]).event_types == (
        "Placed",
        "Paid",
    )


def test_an_event_class_may_say_its_stored_name(world: World) -> None:
    @dataclass(frozen=True)
    class Renamed:
        event_type = "was_added"
        n: int

    def count(total: int, event: Any) -> int:
        return total + event.n

    counter = Machine("counter", 0, count, events=[Renamed])
    persister = world(machines=[counter])
    persister.append(counter, "a", Renamed(4), expected=0)
    assert [(t.action, t.data) for t in persister.history(counter, "a")] == [("was_added", Renamed(4))]


def test_a_machine_without_events_takes_any(world: World) -> None:
    counter = Machine("counter", 0, base_event)
    persister = world(machines=[counter])
    assert persister.append(counter, "a", Event("up", 2), Event("down", -1), expected=0).data == 1
    assert persister.load(counter, "a", at_version=1).data == 2
    assert datas(persister.history(counter, "a")) == [Event("up", 2), Event("down", -1)]


def test_an_event_that_is_not_declared_is_refused(world: World) -> None:
    orders = make_orders()
    persister = world(machines=[orders])
    with pytest.raises(UnknownEventError) as caught:
        persister.append(orders, "1", Added(1), expected=0)
    assert (caught.value.machine, caught.value.event_type) == ("order", "Added")
    assert caught.value.known == ("Placed", "Paid", "Shipped")
    with pytest.raises(UnknownEventError, match="evolve's annotation"):
        persister.append(orders, "1", Event("Lost", {}), expected=0)
    assert world.everything() == []


def test_annotations_that_cannot_be_resolved_are_named() -> None:
    def local(total: int, event: Missing) -> int:  # pyright: ignore[reportUndefinedVariable] # noqa: F821
        return total

    with pytest.raises(ConfigurationError, match="Missing"):
        Machine("m", 0, local)


@pytest.mark.parametrize("name", ["", "a-b", "a\nb", 3, None])
def test_names_that_cannot_be_used(name: Any) -> None:
    with pytest.raises(InvalidIdError):
        Machine(name, 0)


@dataclass(frozen=True)
class Reserved:
    event_type = "$mine"


class Opaque:
    pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fold_version": 0}, "fold_version"),
        ({"state_schema": 0}, "state_schema"),
        ({"transitions": [("a", "b", "c")]}, "state_of="),
        ({"transitions": [("a", "b")], "state_of": str}, "no transition"),
        ({"events": {"one": Added, "two": Added}}, "two names"),
        ({"events": [Reserved]}, "reserved"),
        ({"events": [Opaque]}, "Opaque can't be stored"),
        ({"schemas": {"Added": 2}}, "no upcaster for 'Added' from schema 1"),
        ({"schemas": {"Added": 4}, "upcasters": {"Added": {1: dict, 3: dict}}}, "from schema 2"),
        ({"upcasters": {"Added": {1: dict}}}, "beyond its schema"),
    ],
)
def test_declarations_that_contradict_themselves(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Machine("m", 0, add, **options)


def test_two_events_of_one_name_are_refused() -> None:
    def other() -> type:
        @dataclass(frozen=True)
        class Added:
            text: str

        return Added

    with pytest.raises(ConfigurationError, match="'Added'"):
        Machine("m", 0, lambda total, event: total, events=[Added, other()])


def test_an_initial_state_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Opaque can't be stored"):
        Machine("m", Opaque())


def test_a_persister_takes_one_machine_of_a_name(world: World) -> None:
    orders = make_orders()
    assert world(machines=[orders, orders]).governor == "default"
    with pytest.raises(ConfigurationError, match="two machines are named 'order'"):
        world(machines=[orders, make_orders()])


def test_a_machine_of_another_persister_is_refused(world: World) -> None:
    persister = world(machines=[make_orders()])
    with pytest.raises(ConfigurationError, match=r"machines=\[\.\.\.\]"):
        persister.load(make_orders(), "1")


def test_streams_can_be_named_in_three_ways(world: World) -> None:
    counter = make_counter()
    persister = world(machines=[counter])
    persister.append(counter, "a", Added(1), expected=0)
    persister.append("counter", "a", Added(2), expected=1)
    persister.append("counter-a", Added(3), expected=2)
    assert persister.load(counter, "a").data == persister.load("counter", "a").data == 6
    assert persister.load("counter-a").id == "counter-a" == counter.state_id("a")
    assert persister.exists(counter, "a")
    assert persister.delete_state("counter", "a", expected=3) == 4
