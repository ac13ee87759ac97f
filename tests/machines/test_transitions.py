"""Declared transitions: what they forbid is refused before anything is written, wherever it comes from."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from eventstate import (
    ANY,
    AppendTo,
    ConfigurationError,
    Event,
    IllegalTransitionError,
    Machine,
    StateSnapshot,
)
from tests.machines.world import Order, Paid, Placed, Shipped, World, free_orders, make_orders

orders = make_orders()


def placed(world: World) -> tuple[Any, StateSnapshot[Order]]:
    persister = world(machines=[orders])
    return persister, persister.append(orders, "1", Placed("pen"), expected=0)


Call = Callable[[Any, StateSnapshot[Order]], object]

REFUSED: dict[str, tuple[Call, str]] = {
    "append": (lambda p, s: p.append(orders, "1", Shipped(), expected=s), "placed"),
    "append any": (lambda p, s: p.append(orders, "1", Shipped(), expected=ANY), "placed"),
    "last of several": (lambda p, s: p.append(orders, "1", Paid(1), Shipped(), Shipped(), expected=s), "shipped"),
    "first of several": (lambda p, s: p.append(orders, "1", Shipped(), Paid(1), expected=s), "placed"),
    "execute": (lambda p, s: p.execute(orders, "1", lambda order: [Paid(1), Placed("x")]), "paid"),
    "raw event": (lambda p, s: p.append(orders, "1", Event("Shipped", {}), expected=s), "placed"),
    "log_transition": (
        lambda p, s: p.log_transition(s, StateSnapshot.new("order-1", replace(s.data, status="shipped")), "Shipped"),
        "placed",
    ),
    "save_state": (lambda p, s: p.save_state("order-1", s.data, expected=s, action="corrected"), "placed"),
    "update_state": (lambda p, s: p.update_state("order-1", s.data, expected=s), "placed"),
    "new": (lambda p, s: p.append(orders, "2", Paid(1), expected=0), "new"),
    "save new": (lambda p, s: p.save_state("order-2", Order("placed"), expected=0), "new"),
    "together": (
        lambda p, s: p.append_together(
            AppendTo(orders, "2", Placed("x"), expected=0), AppendTo(orders, "1", Shipped(), expected=1)
        ),
        "placed",
    ),
}


@pytest.mark.parametrize("way", REFUSED)
def test_an_illegal_action_is_refused_before_anything_is_written(world: World, way: str) -> None:
    call, state = REFUSED[way]
    persister, snapshot = placed(world)
    before = world.everything()
    with pytest.raises(IllegalTransitionError) as caught:
        call(persister, snapshot)
    assert world.everything() == before
    assert (caught.value.machine, caught.value.state) == ("order", state)
    assert caught.value.target is None
    legal = {"new": ("Placed",), "placed": ("Placed", "Paid"), "paid": ("Paid", "Shipped"), "shipped": ()}[state]
    assert caught.value.legal == legal
    assert f"legal here: {', '.join(legal) or 'nothing'}" in str(caught.value)
    assert persister.append(orders, "1", Paid(1), expected=snapshot).data.status == "paid"


def test_evolve_must_go_where_the_declaration_says(world: World) -> None:
    stubborn = Machine(
        "stubborn",
        Order(),
        lambda order, event: replace(order, status="shipped"),
        events=[Placed],
        state_of="status",
        transitions=[("new", "Placed", "placed")],
    )
    persister = world(machines=[stubborn])
    with pytest.raises(IllegalTransitionError, match="correct evolve or the declaration") as caught:
        persister.append(stubborn, "1", Placed("pen"), expected=0)
    assert caught.value.target == "shipped"
    with pytest.raises(IllegalTransitionError) as caught:
        persister.save_state("stubborn-1", Order("paid"), expected=0, action="Placed")
    assert caught.value.target == "paid"
    assert world.everything() == []


def test_recorded_states_follow_the_declaration_too(world: World) -> None:
    persister, snapshot = placed(world)
    paid = persister.save_state("order-1", replace(snapshot.data, status="paid", total=7), expected=1, action="Paid")
    shipped = StateSnapshot.new("order-1", replace(paid.data, status="shipped"))
    assert persister.log_transition(paid, shipped, "Shipped").data == Order("shipped", 7, ("pen",))
    assert [t.action for t in persister.history(orders, "1")] == ["Placed", "Paid", "Shipped"]


def test_deleting_and_reopening_need_no_declared_transition(world: World) -> None:
    persister, _ = placed(world)
    assert persister.delete_state(orders, "1", expected=1) == 2
    reopened = persister.append(orders, "1", Placed("ink"), expected=2, reopen=True)
    assert reopened.data == Order("placed", 0, ("ink",))
    assert reopened.version == 4
    with pytest.raises(IllegalTransitionError):
        persister.append(orders, "1", Shipped(), expected=4)


def test_the_legal_actions_of_a_state() -> None:
    assert orders.actions(Order()) == ("Placed",)
    assert orders.actions(Order("paid")) == ("Paid", "Shipped")
    assert orders.actions(Order("shipped")) == ()
    assert orders.actions(Order("no such state")) == ()
    with pytest.raises(ConfigurationError, match="declares no transitions"):
        free_orders().actions(Order())
    with pytest.raises(ConfigurationError, match="declares no transitions"):
        free_orders(state_of="status").diagram()


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True)
class Light:
    colour: Colour = Colour.RED


def set_colour(light: Light, event: Event) -> Light:
    return Light(Colour(event.data))


def set_door(door: dict[str, str], event: Event) -> dict[str, str]:
    return {"is": event.data}


def fill(level: int, event: Event) -> int:
    return level + event.data


def test_the_declared_state_can_be_an_enum_a_key_or_computed(world: World) -> None:
    by_enum = Machine(
        "light",
        Light(),
        set_colour,
        state_of="colour",
        transitions=[("red", "go", "green"), ("green", "stop", "red")],
    )
    by_key = Machine(
        "door",
        {"is": "open"},
        set_door,
        state_of="is",
        transitions=[("open", "close", "closed")],
    )
    by_function = Machine(
        "tank",
        0,
        fill,
        state_of=lambda level: "full" if level >= 10 else "filling",
        transitions=[("filling", "pour", "filling"), ("filling", "pour", "full"), ("full", "drain", "filling")],
    )
    persister = world(machines=[by_enum, by_key, by_function])
    persister.append(by_enum, "1", Event("go", "green"), Event("stop", "red"), expected=0)
    persister.append(by_key, "1", Event("close", "closed"), expected=0)
    persister.append(by_function, "1", Event("pour", 5), Event("pour", 5), Event("drain", -9), expected=0)
    with pytest.raises(IllegalTransitionError):
        persister.append(by_enum, "1", Event("stop", "red"), expected=2)
    with pytest.raises(IllegalTransitionError):
        persister.append(by_key, "1", Event("open", "open"), expected=1)
    with pytest.raises(IllegalTransitionError):
        persister.append(by_function, "1", Event("drain", -1), expected=3)
    assert by_function.actions(10) == ("drain",)


@pytest.mark.parametrize("state_of", ["colour", "is", lambda state: 5])
def test_a_state_that_does_not_say_where_it_is(world: World, state_of: Any) -> None:
    lost = Machine(
        "lost", {"at": "home"}, lambda state, event: state, state_of=state_of, transitions=[("a", "go", "b")]
    )
    with pytest.raises(ConfigurationError, match="state_of"):
        world(machines=[lost]).append(lost, "1", Event("go"), expected=0)
    assert world.everything() == []


LINE = re.compile(
    r"stateDiagram-v2"
    r'|    state "[^"\n]*" as s\d+'
    r"|    (\[\*\]|s\d+) --> (\[\*\]|s\d+)(: [^:;\n\"]+)?"
    r"|    classDef current [a-z:;,\-0-9]+"
    r"|    class s\d+ current"
)


def unescaped(text: str) -> str:
    """What Mermaid shows: it takes #name; and #code; for characters."""
    text = text.replace("#quot;", '"').replace("#colon;", ":").replace("#59;", ";")
    return text.replace("#35;", "#")


def parsed(diagram: str) -> tuple[dict[str, str], set[tuple[str, str, str]], str | None]:
    """The names of the states, the arrows between them by name, and the state that is marked."""
    lines = diagram.split("\n")
    assert lines[0] == "stateDiagram-v2"
    for line in lines:
        assert LINE.fullmatch(re.sub(r"#\w+;", "", line)), line
    names = {id: unescaped(name) for name, id in re.findall(r'state "(.*)" as (s\d+)', diagram)} | {"[*]": "[*]"}
    arrows = re.findall(r"^    (\S+) --> (\S+?)(?:: (.*))?$", diagram, re.MULTILINE)
    marked = re.findall(r"class (s\d+) current", diagram)
    assert len(marked) <= 1
    edges = {(names[source], unescaped(action), names[target]) for source, target, action in arrows}
    return names, edges, names[marked[0]] if marked else None


def test_the_diagram_draws_the_declaration_and_marks_the_current_state() -> None:
    names, edges, marked = parsed(orders.diagram(Order("paid")))
    assert set(names.values()) == {"new", "placed", "paid", "shipped", "[*]"}
    assert edges == {
        ("[*]", "", "new"),
        ("new", "Placed", "placed"),
        ("placed", "Placed", "placed"),
        ("placed", "Paid", "paid"),
        ("paid", "Paid", "paid"),
        ("paid", "Shipped", "shipped"),
        ("shipped", "", "[*]"),
    }
    assert marked == "paid"
    assert parsed(orders.diagram())[2] is None
    assert parsed(orders.diagram(Order("elsewhere")))[2] is None


def test_the_diagram_takes_any_names() -> None:
    odd = ['say "hi"', "a:b", "x;y", "#35;", "end", "two\nlines", "café → 茶"]
    table = [(odd[i], f'do: "{odd[i]}"; now', odd[(i + 1) % len(odd)]) for i in range(len(odd))]
    machine = Machine("odd", odd[0], lambda state, event: state, state_of=lambda state: state, transitions=table)
    names, edges, marked = parsed(machine.diagram(odd[2]))
    shown = [name.replace("\n", " ") for name in odd]
    assert set(names.values()) == {*shown, "[*]"}
    assert len(edges) == len(table) + 1
    assert marked == "x;y"
