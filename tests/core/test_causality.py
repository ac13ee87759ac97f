"""Laws of vector clocks."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.causality import VectorClock
from eventstate.errors import InvalidInputError

nodes = st.sampled_from(["a", "b", "c", "d"])
clocks = st.dictionaries(nodes, st.integers(min_value=0, max_value=3)).map(VectorClock)

MIRRORED = {"equal": "equal", "before": "after", "after": "before", "concurrent": "concurrent"}


def expected_order(one: VectorClock, other: VectorClock) -> str:
    """The definition, counter by counter."""
    pairs = [(one.get(node), other.get(node)) for node in "abcd"]
    ahead, behind = any(x > y for x, y in pairs), any(x < y for x, y in pairs)
    return {(False, False): "equal", (False, True): "before", (True, False): "after", (True, True): "concurrent"}[
        ahead, behind
    ]


@given(clocks, clocks)
def test_merge_is_commutative(one: VectorClock, other: VectorClock) -> None:
    assert one.merge(other) == other.merge(one)


@given(clocks, clocks, clocks)
def test_merge_is_associative(one: VectorClock, two: VectorClock, three: VectorClock) -> None:
    assert one.merge(two).merge(three) == one.merge(two.merge(three))


@given(clocks)
def test_merge_is_idempotent_and_the_empty_clock_is_neutral(clock: VectorClock) -> None:
    assert clock.merge(clock) == clock
    assert clock.merge(VectorClock()) == clock


@given(clocks, clocks)
def test_merge_takes_the_higher_counter_of_each_node(one: VectorClock, other: VectorClock) -> None:
    merged = one.merge(other)
    assert all(merged.get(node) == max(one.get(node), other.get(node)) for node in "abcd")
    assert not merged.happened_before(one)
    assert not merged.concurrent_with(other)


@given(clocks, clocks)
def test_compare_follows_the_counters_and_is_antisymmetric(one: VectorClock, other: VectorClock) -> None:
    assert one.compare(other) == expected_order(one, other)
    assert other.compare(one) == MIRRORED[one.compare(other)]
    assert one.happened_before(other) == (one.compare(other) == "before")
    assert one.concurrent_with(other) == (one.compare(other) == "concurrent")


@given(clocks, clocks, clocks)
def test_before_is_transitive(one: VectorClock, two: VectorClock, three: VectorClock) -> None:
    if one.happened_before(two) and two.happened_before(three):
        assert one.happened_before(three)


@given(clocks, nodes)
def test_a_tick_is_after_and_touches_one_node(clock: VectorClock, node: str) -> None:
    before = clock.as_dict()
    ticked = clock.tick(node)
    assert ticked.compare(clock) == "after"
    assert ticked.as_dict() == {**before, node: clock.get(node) + 1}
    assert clock.as_dict() == before


@given(clocks, nodes, nodes)
def test_ticks_of_two_nodes_are_concurrent(clock: VectorClock, one: str, other: str) -> None:
    assert clock.tick(one).concurrent_with(clock.tick(other)) == (one != other)


@given(clocks)
def test_equal_clocks_have_equal_hashes_and_survive_a_round_trip(clock: VectorClock) -> None:
    again = VectorClock(dict(reversed(clock.as_dict().items())))
    assert again == clock
    assert hash(again) == hash(clock)
    assert again.compare(clock) == "equal"
    assert eval(repr(clock)) == clock
    assert pickle.loads(pickle.dumps(clock)) == clock == copy.deepcopy(clock)


def test_a_node_at_zero_makes_no_difference() -> None:
    assert VectorClock({"a": 0, "b": 1}) == VectorClock({"b": 1})
    assert VectorClock({"a": 0, "b": 1}).as_dict() == {"b": 1}
    assert VectorClock().get("a") == 0


def test_a_clock_is_not_equal_to_other_things() -> None:
    assert VectorClock({"a": 1}) != {"a": 1}


def test_what_was_handed_in_or_out_is_not_the_clock() -> None:
    counters = {"a": 1}
    clock = VectorClock(counters)
    counters["a"] = 2
    clock.as_dict()["a"] = 3
    assert clock.get("a") == 1
    with pytest.raises((FrozenInstanceError, AttributeError)):
        clock._counters = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    "counters", [{"": 1}, {3: 1}, {None: 1}, {"a": -1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}]
)
def test_bad_counters_are_refused(counters: dict[Any, Any]) -> None:
    with pytest.raises(InvalidInputError):
        VectorClock(counters)
