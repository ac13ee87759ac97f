"""Dataclasses stored without pydantic: the shortcut gives what pydantic gives, or leaves the value to it."""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from pydantic.errors import PydanticSchemaGenerationError

from eventstate.errors import EncodingError, EventStateError
from eventstate.machines.records import Record, record_of
from eventstate.machines.shapes import Shape


@dataclass(frozen=True, slots=True)
class Order:
    event_type: ClassVar[str] = "ordered"
    number: int
    customer: str
    total: float
    paid: bool
    status: Literal["open", "closed", 3]
    note: str | None = None
    size: int | str = 0
    tags: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    lines: list[Any] | None = None
    anything: Any = None
    nothing: None = None


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.just("open"),
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
ODD = st.one_of(
    JSON,
    st.just(float("nan")),
    st.just(2**70),
    st.just("\ud800"),
    st.just(datetime(2030, 1, 1, tzinfo=UTC)),
    st.just(Decimal("1.5")),
    st.just(uuid.UUID(int=7)),
    st.just((1, 2)),
    st.just({1: 2}),
    st.just({"a", "b"}),
    st.just(b"raw"),
)
NAMES = [f.name for f in dataclasses.fields(Order)]


def by_pydantic(type_: type[Any]) -> Shape:
    """The same shape without its shortcut."""
    shape = Shape(type_, "$.it")
    shape._record = None
    return shape


def outcome(call: Any) -> Any:
    try:
        return "value", call()
    except EventStateError as error:
        return "error", type(error).__name__, str(error)
    except ValueError as error:
        return "error", type(error).__name__, str(error)


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, ODD)))
def test_what_is_stored_is_what_pydantic_would_store(values: dict[str, Any]) -> None:
    order = Order(**values)
    assert outcome(lambda: Shape(Order, "$.it").encoded(order)) == outcome(lambda: by_pydantic(Order).encoded(order))


RIGHT = {
    "number": st.integers(-(2**63), 2**63 - 1),
    "customer": st.text(),
    "total": st.floats(allow_nan=False, allow_infinity=False),
    "paid": st.booleans(),
    "status": st.sampled_from(["open", "closed", 3]),
    "note": st.none() | st.text(),
    "size": st.integers(0, 9) | st.text(),
    "tags": st.lists(st.text(), max_size=3),
    "counts": st.dictionaries(st.text(), st.integers(0, 9), max_size=3),
    "rest": st.dictionaries(st.text(), JSON, max_size=3),
    "lines": st.none() | st.lists(JSON, max_size=3),
    "anything": JSON,
    "nothing": st.none(),
}


@given(st.fixed_dictionaries(RIGHT))
def test_right_values_take_the_shortcut_both_ways(values: dict[str, Any]) -> None:
    record = record_of(Order)
    assert isinstance(record, Record)
    order = Order(**values)
    assert record.to_plain(order) == values
    assert record.from_plain(values) == order
    assert by_pydantic(Order).encoded(order) == Shape(Order, "$.it").encoded(order)
    assert by_pydantic(Order).from_plain(values) == order


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys([*NAMES, "unknown"], JSON)) | JSON,
    st.fixed_dictionaries({}, optional=RIGHT),
)
def test_what_is_read_is_what_pydantic_would_read(wrong: Any, right: dict[str, Any]) -> None:
    for plain in (wrong, {**wrong, **right} if isinstance(wrong, dict) else right):
        fast = outcome(lambda plain=plain: Shape(Order, "$.it").from_plain(plain))
        slow = outcome(lambda plain=plain: by_pydantic(Order).from_plain(plain))
        assert repr(fast) == repr(slow), "types count too: 1 is not 1.0"


def test_a_subclass_that_holds_more_is_refused_as_before() -> None:
    @dataclass(frozen=True)
    class Bigger(Order):
        more: int = 1

    with pytest.raises(EncodingError, match="declare them"):
        Shape(Order, "$.it").encoded(Bigger(1, "c", 1.0, True, "open"))


@dataclass
class Checked:
    number: int

    def __post_init__(self) -> None:
        self.number += 1


@dataclass
class Derived:
    number: int
    twice: int = field(init=False, default=2)


@dataclass
class Bounded:
    number: Annotated[int, Field(gt=0)]


@dataclass
class Defaulted:
    number: int = Field(default=1, gt=0)


@dataclass
class Renamed:
    number: Annotated[int, Field(alias="n")]


@dataclass(init=False)
class Handmade:
    number: int

    def __init__(self, number: str) -> None:
        self.number = int(number)


@dataclass
class Scaled:
    """`@dataclass` leaves this constructor alone."""

    number: int

    def __init__(self, number: int = 0) -> None:
        self.number = number * 100


@dataclass
class Listed:
    number: Annotated[int, []] | None


@dataclass
class Nested:
    order: Order


@dataclass
class Given:
    number: int
    scale: InitVar[int] = 1


@dataclass
class When:
    at: datetime


class Inherits(Order):
    """No dataclass of its own."""


@pytest.mark.parametrize(
    "type_",
    [Checked, Derived, Bounded, Defaulted, Renamed, Handmade, Scaled, Listed, Nested, Given, When, Inherits, int, dict],
)
def test_what_pydantic_might_treat_otherwise_is_left_to_it(type_: type[Any]) -> None:
    assert record_of(type_) is None


class Alien:
    """Nothing that pydantic knows."""


@dataclass
class Strange:
    alien: Alien


def test_types_that_pydantic_refuses_are_refused_when_they_are_declared() -> None:
    with pytest.raises(PydanticSchemaGenerationError, match="Alien"):
        Shape(Strange, "$.it")
