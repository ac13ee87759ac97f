"""Values that have no exact JSON form, or are too large: refused with the place, nothing written, store usable."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from eventstate import DocumentTooLargeError, EncodingError, Event, EventStateError, InvalidInputError
from tests.machines.world import World


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def nested_maps(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"k": value}
    return value


class Text(str):
    __slots__ = ()


class Number(int):
    pass


BAD: list[tuple[Any, str, str]] = [
    ({"a": [1, math.nan]}, "a[1]", "nan has no JSON form"),
    ({"a": math.inf}, "a", "inf"),
    ([-math.inf], "[0]", "-inf"),
    ({"a": {"b": 2**64}}, "a.b", "65 bits"),
    ({"a": -(2**63) - 1}, "a", "64 bits"),
    ({"a": 10**400}, "a", "bits; keep it as text"),
    ({"a": "x\ud800"}, "a", "lone surrogate"),
    ({"\udfff": 1}, "$", "lone surrogate"),
    ({"a": {1: 2}}, "a", "key 1 is not text"),
    ({"a": {None: 2}}, "a", "is not text"),
    ({("a",): 2}, "$", "is not text"),
    ({"a": b"x"}, "a", "bytes"),
    ({"a": {1, 2}}, "a", "set"),
    ({"a": object()}, "a", "object"),
    ({"a": datetime(2024, 1, 1, tzinfo=UTC)}, "a", "datetime"),
    ({"a": date(2024, 1, 1)}, "a", ""),
    ({"a": timedelta(1)}, "a", "timedelta"),
    ({"a": Decimal("1.5")}, "a", "Decimal"),
    ({"a": 1j}, "a", "complex"),
    ({"a": defaultdict(int)}, "", ""),
    ({"a": OrderedDict(b=1)}, "", ""),
    ({"a": Text("x")}, "", ""),
    ({"a": Number(1)}, "", ""),
    (nested(300), "", "deeper than 200"),
    (nested_maps(300), "", "deeper than 200"),
    (nested(100_000), "", "deeper than 200"),
]


@pytest.mark.parametrize(("value", "path", "problem"), BAD, ids=range(len(BAD)))
def test_values_without_an_exact_json_form(world: World, value: Any, path: str, problem: str) -> None:
    persister = world()
    persister.save_state("doc", {"x": 1}, expected=0)
    before = world.everything()
    calls = [
        lambda: persister.save_state("doc", value, expected=1),
        lambda: persister.save_state("new", value, expected=0),
        lambda: persister.append("doc", Event("x", state=value), expected=1),
        lambda: persister.append("doc", Event("x", data=value, state=1), expected=1),
        lambda: persister.execute("doc", "x", lambda state: Event("x", state=value)),
        lambda: persister.save_state("doc", 1, expected=1, context={"c": value}),
    ]
    for call in calls:
        with pytest.raises(EncodingError) as caught:
            call()
        assert path in caught.value.path
        assert problem in caught.value.problem
        assert caught.value.path in str(caught.value)
    assert world.everything() == before
    assert persister.save_state("doc", {"x": 2}, expected=1).version == 2


@pytest.mark.parametrize("levels", [195, 199, 200, 201, 202, 210])
@pytest.mark.parametrize("make", [nested, nested_maps])
def test_around_the_deepest_level_a_state_works_for_good_or_is_refused(world: World, make: Any, levels: int) -> None:
    persister = world(snapshot_every=1)
    try:
        persister.save_state("first", make(levels), expected=0)
        accepted = True
    except EncodingError:
        accepted = False
    assert accepted or levels > 200
    persister.save_state("doc", {"x": 1}, expected=0)
    persister.save_state("doc", make(190), expected=1)
    try:
        persister.save_state("doc", make(levels), expected=2)
        persister.save_state("doc", {"x": 1}, expected=3)
        assert persister.load("doc", at_version=3).data == make(levels)
        assert len(list(persister.history("doc"))) == 4
    except EncodingError:
        assert not accepted or levels > 200
    assert persister.validate_consistency().is_consistent


class Level(enum.Enum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"a": (1, (2,))}, {"a": [1, [2]]}),
        ({"a": Level.LOW}, {"a": 1}),
        ({"a": UUID(int=1)}, {"a": "00000000-0000-0000-0000-000000000001"}),
        ({"a": 2**64 - 1, "b": -(2**63)}, {"a": 2**64 - 1, "b": -(2**63)}),
        ({"": {"é\u2028 \x00\x7f": "\x00"}}, {"": {"é\u2028 \x00\x7f": "\x00"}}),
        ({"a": 0.1 + 0.2, "b": 5e-324, "c": 1e308}, {"a": 0.1 + 0.2, "b": 5e-324, "c": 1e308}),
        ("null", "null"),
    ],
)
def test_values_that_are_stored_exactly(world: World, value: Any, stored: Any) -> None:
    persister = world()
    assert persister.save_state("doc", value, expected=0).data == stored
    assert persister.load("doc").data == persister.load("doc", at_version=1).data == stored


@pytest.mark.parametrize(("size", "fits"), [(880_000, True), (913_000, True), (925_000, False), (5_000_000, False)])
def test_the_real_size_of_what_is_too_large(world: World, size: int, fits: bool) -> None:
    persister = world()
    data = {"pad": "x" * size}
    if fits:
        assert persister.save_state("doc", data, expected=0).data == data
        assert world().load("doc").data == data
        return
    with pytest.raises(DocumentTooLargeError) as caught:
        persister.save_state("doc", data, expected=0)
    assert size <= caught.value.size < size + 1000
    assert f"{caught.value.size:,} bytes" in str(caught.value)
    assert f"{caught.value.limit:,}" in str(caught.value)
    assert world.everything() == []


def test_many_events_and_streams_that_are_too_large_together(world: World) -> None:
    persister = world()
    events = [Event("x", state="y" * 200_000) for _ in range(10)]
    with pytest.raises(DocumentTooLargeError, match="the entry of 'doc'") as caught:
        persister.append("doc", *events, expected=0)
    assert caught.value.size > 2_000_000
    from eventstate import AppendTo

    with pytest.raises(DocumentTooLargeError, match="the batch"):
        persister.append_together(*(AppendTo(f"d{i}", Event("x", state="y" * 800_000), expected=0) for i in range(6)))
    with pytest.raises(InvalidInputError, match="operations; the limit is 500"):
        persister.append_together(*(AppendTo(f"d{i}", Event("x", state=1), expected=0) for i in range(300)))
    assert world.everything() == []


def test_what_is_wrong_in_one_call_does_not_reach_the_next(world: World) -> None:
    persister = world()
    for number in range(20):
        with pytest.raises(EventStateError):
            persister.save_state("doc", {"a": math.nan}, expected=number)
        assert persister.save_state("doc", number, expected=number).version == number + 1
