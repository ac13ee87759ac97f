"""States and events of every supported kind come back as they were, live and replayed."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field

from eventstate import CorruptionError, EncodingError, Event, EventStateError, Machine, StateSnapshot
from eventstate.machines.shapes import Shape
from tests.machines.world import World, datas


class Level(enum.Enum):
    LOW = "low"
    HIGH = 10


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Address(BaseModel):
    model_config = ConfigDict(frozen=True)
    street: str
    zip_code: str = Field(alias="zip")


class Customer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    name: str = ""
    level: Level = Level.LOW
    seen: datetime | None = None
    balance: Decimal = Decimal(0)
    addresses: tuple[Address, ...] = ()
    tags: set[str] = Field(default_factory=set)


class Moved(BaseModel):
    model_config = ConfigDict(strict=True)
    address: Address
    at: datetime


class Credited(BaseModel):
    model_config = ConfigDict(strict=True)
    amount: Decimal
    level: Level = Level.HIGH


def live(customer: Customer, event: Moved | Credited) -> Customer:
    if isinstance(event, Moved):
        update: dict[str, Any] = {"addresses": (*customer.addresses, event.address), "seen": event.at}
    else:
        update = {"balance": customer.balance + event.amount, "level": event.level, "tags": {"b", "a"}}
    return customer.model_copy(update=update)


EAST = timezone(timedelta(hours=5, minutes=30))
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=EAST)
HOME = Address(street="Rue d'Été 5", zip="07030")


def check_round_trip(world: World, machine: Machine[Any, Any], events: list[Any], final: Any) -> None:
    """The state is the same right after the append, loaded, at its version, replayed, and in the history."""
    persister = world(machines=[machine], snapshot_every=2)
    after = persister.append(machine, "1", *events, expected=0)
    assert after.data == final
    assert type(after.data) is type(final)
    fresh = world(machines=[machine])
    for loaded in (
        fresh.load(machine, "1"),
        fresh.load(machine, "1", at_version=len(events)),
        fresh.rebuild(machine, "1", full=True),
    ):
        assert loaded.data == final
        assert type(loaded.data) is type(final)
    history = list(fresh.history(machine, "1"))
    assert datas(history) == events
    assert history[-1].to_state == final
    assert fresh.validate_consistency().is_consistent


def test_strict_models_with_aliases_nested_models_and_decimals(world: World) -> None:
    customers = Machine("customer", Customer(), live)
    events = [Moved(address=HOME, at=NOON), Credited(amount=Decimal("10.10"))]
    final = Customer(level=Level.HIGH, seen=NOON, balance=Decimal("10.10"), addresses=(HOME,), tags={"a", "b"})
    check_round_trip(world, customers, events, final)


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    price: Decimal
    size: Size = Size.SMALL


@dataclass
class Basket:
    lines: list[Line] = field(default_factory=list)
    by_day: dict[date, int] = field(default_factory=dict)
    opened: datetime | None = None
    level: Level = Level.LOW
    id: UUID = field(default_factory=lambda: UUID(int=5))


@dataclass(frozen=True)
class Put:
    line: Line
    day: date


def put(basket: Basket, event: Put) -> Basket:
    basket.lines.append(event.line)
    basket.by_day[event.day] = basket.by_day.get(event.day, 0) + 1
    return replace(basket, opened=basket.opened or NOON, level=Level.HIGH)


def test_dataclasses_with_enums_dates_and_decimals_that_evolve_changes_in_place(world: World) -> None:
    baskets = Machine("basket", Basket(), put)
    pen, ink = Line("pen", Decimal("1.50")), Line("ink", Decimal("0.10"), Size.LARGE)
    day = date(2024, 2, 29)
    final = Basket([pen, ink], {day: 2}, NOON, Level.HIGH)
    check_round_trip(world, baskets, [Put(pen, day), Put(ink, day)], final)


def count_in_place(state: dict[str, Any], event: Event) -> dict[str, Any]:
    state["n"] += event.data["by"]
    state["seen"].append(event.type)
    return state


def test_plain_states_that_evolve_changes_in_place(world: World) -> None:
    tally = Machine("tally", {"n": 0, "seen": []}, count_in_place)
    final = {"n": 5, "seen": ["up", "down", "up"]}
    check_round_trip(world, tally, [Event("up", {"by": 2}), Event("down", {"by": -1}), Event("up", {"by": 4})], final)
    persister = world(machines=[tally])
    assert persister.append(tally, "1", Event("up", {"by": 1}), expected=3).data == {
        **final,
        "n": 6,
        "seen": [*final["seen"], "up"],
    }
    assert tally.initial() == {"n": 0, "seen": []}


def test_changing_the_initial_state_later_changes_nothing(world: World) -> None:
    initial: dict[str, Any] = {"n": 0, "seen": []}
    tally = Machine("tally", initial, count_in_place)
    initial["n"] = 100
    tally.initial()["n"] = 200
    assert world(machines=[tally]).append(tally, "1", Event("up", {"by": 1}), expected=0).data["n"] == 1


def test_a_plain_state_with_a_tuple_is_a_list_wherever_it_comes_from(world: World) -> None:
    def pair(state: dict[str, Any], event: Event) -> dict[str, Any]:
        return {"pair": (event.data, *state.get("pair", ())[:1])}

    pairs = Machine("pair", {}, pair)
    persister = world(machines=[pairs])
    after = persister.append(pairs, "1", Event("a", 1), Event("b", 2), expected=0)
    assert after.data == {"pair": [2, 1]}
    assert persister.load(pairs, "1", at_version=2).data == persister.load(pairs, "1").data == after.data
    assert [t.to_state for t in persister.history(pairs, "1")] == [{"pair": [1]}, {"pair": [2, 1]}]
    # A recorded difference is taken to what was stored, at the time and at every replay.
    edited = StateSnapshot.new("pair-1", {"pair": [2, "x" * 50]})
    persister.log_transition(after, edited, "edited")
    assert persister.load(pairs, "1", at_version=3).data == edited.data
    assert persister.rebuild(pairs, "1", full=True).data == edited.data


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_without_json_form_is_refused_in_states_and_events(world: World, bad: float) -> None:
    class Reading(BaseModel):
        value: float = 0

    class Read(BaseModel):
        value: float
        spoil: bool = False

    def read(state: Any, event: Any) -> Any:
        return Reading(value=bad if event.spoil else event.value)

    readings = Machine("reading", Reading(), read, events=[Read])
    persister = world(machines=[readings])
    with pytest.raises(EncodingError):
        persister.append(readings, "1", Read(value=bad), expected=0)
    with pytest.raises(EncodingError):
        persister.append(readings, "1", Read(value=1, spoil=True), expected=0)
    assert world.everything() == []


@dataclass
class Sample:
    values: dict[str, Any]


class Loose(BaseModel):
    note: str | None = None
    values: dict[str, Any] = {}
    anything: Any = None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda bad: Sample({"x": bad}), "it.values.x"),
        (lambda bad: Sample({"w": None, "x": bad}), "it.values.x"),
        (lambda bad: Sample({"x": [1, (bad,)]}), "it.values.x[1][0]"),
        (lambda bad: Loose(values={"x": bad}), "it.values.x"),
        (lambda bad: Loose(anything={"x": None, "y": bad}), "it.anything.y"),
        (lambda bad: Loose(anything=bad), "it.anything"),
    ],
)
def test_nor_where_its_type_is_left_open(wrap: Callable[[float], Any], path: str, bad: float) -> None:
    value = wrap(bad)
    with pytest.raises(EncodingError, match="no JSON form") as caught:
        Shape(type(value), "it").encoded(value)
    assert caught.value.path == path
    Shape(type(value), "it").encoded(wrap(1.5))


@dataclass(frozen=True)
class Named:
    name: str


def join(state: str, event: Named) -> str:
    return state + event.name


def test_an_event_with_a_part_of_the_wrong_type_is_refused(world: World) -> None:
    names = Machine("names", "", join)
    persister = world(machines=[names])
    wrong: Any = 5
    with pytest.raises(EncodingError):
        persister.append(names, "1", Named(wrong), expected=0)
    with pytest.raises(EncodingError, match="it is no Named"):
        persister.append(names, "1", Event("Named", {"nom": "x"}), expected=0)
    with pytest.raises(EncodingError, match="it is no Named"):
        persister.append(names, "1", Event("Named"), expected=0)
    assert world.everything() == []
    assert (
        persister.append(names, "1", Event("Named", {"name": "a"}), Event("Named", Named("b")), expected=0).data == "ab"
    )


def test_evolve_must_return_a_state(world: World) -> None:
    def forgets(state: dict[str, int], event: Event) -> Any:
        state["n"] = 1

    def other_type(state: Customer, event: Named) -> Any:
        return {"name": event.name}

    forgetful = Machine("forgetful", {"n": 0}, forgets)
    strange = Machine("strange", Customer(), other_type)
    persister = world(machines=[forgetful, strange])
    with pytest.raises(EncodingError, match="evolve must return"):
        persister.append(forgetful, "1", Event("x"), expected=0)
    with pytest.raises(EncodingError):
        persister.append(strange, "1", Named("x"), expected=0)
    assert world.everything() == []


class Account(BaseModel):
    total: int = Field(default=0, ge=0)


def spend(account: Account, event: Event) -> Account:
    return account.model_copy(update={"total": account.total - event.data})  # validates nothing


def test_a_state_that_could_not_be_loaded_again_is_never_written(world: World) -> None:
    accounts = Machine("account", Account(), spend)
    persister = world(machines=[accounts])
    persister.append(accounts, "1", Event("earned", -5), expected=0)
    before = world.everything()
    with pytest.raises(EventStateError) as caught:
        persister.append(accounts, "1", Event("spent", 10), expected=1)
    assert world.everything() == before
    assert not isinstance(caught.value, CorruptionError)  # nothing stored is corrupt: evolve is wrong
    assert persister.load(accounts, "1").data == Account(total=5)


def test_errors_of_evolve_pass_unchanged_with_nothing_written(world: World) -> None:
    class Refusal(Exception):
        pass

    def refuses(total: int, event: Event) -> int:
        if event.data == 13:
            raise Refusal("not thirteen")
        return total + event.data

    picky = Machine("picky", 0, refuses)
    persister = world(machines=[picky])
    persister.append(picky, "1", Event("add", 1), expected=0)
    before = world.everything()
    with pytest.raises(Refusal, match="not thirteen") as caught:
        persister.append(picky, "1", Event("add", 2), Event("add", 13), expected=1)
    assert type(caught.value) is Refusal
    with pytest.raises(Refusal):
        persister.execute(picky, "1", lambda state: Event("add", 13))
    with pytest.raises(ZeroDivisionError):
        persister.execute(picky, "1", lambda state: state // 0)
    assert world.everything() == before
    assert persister.append(picky, "1", Event("add", 3), expected=1).data == 4
