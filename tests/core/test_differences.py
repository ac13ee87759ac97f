"""The differences shown to people are those that there are: nothing is left out, and nothing is made up."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given

from eventstate.core.differences import Difference, differences
from tests.core.test_delta import VALUES, exact


@given(VALUES, VALUES)
@example({"a": 1}, {"a": True})
@example([1, 2, 3], [1, 3])
@example([{"a": 1}, 2], [{"a": 2}, 3])
def test_there_are_some_where_values_differ_and_none_where_they_do_not(a: Any, b: Any) -> None:
    found = differences(a, b)
    assert bool(found) != exact(a, b)
    assert all(not exact(d.before, d.after) for d in found if d.kind == "changed")
    assert len({d.path for d in found if d.kind != "added"}) == len([d for d in found if d.kind != "added"])


@given(VALUES)
def test_a_value_has_no_difference_to_itself(value: Any) -> None:
    assert differences(value, value) == []


def test_each_place_is_named_once() -> None:
    before = {"name": "ada", "lines": [{"sku": "tea", "n": 1}, {"sku": "milk", "n": 2}], "a b": 1, "gone": [1]}
    after = {"name": "ada", "lines": [{"sku": "tea", "n": 3}, {"sku": "milk", "n": 2}], "a b": None, "new": {"x": 1}}
    assert differences(before, after) == [
        Difference("$.lines[0].n", "changed", 1, 3),
        Difference("$['a b']", "changed", 1, None),
        Difference("$.new", "added", None, {"x": 1}),
        Difference("$.gone", "removed", [1], None),
    ]


def test_runs_of_items() -> None:
    assert differences([1, 2, 3, 4], [1, 4]) == [
        Difference("$[1]", "removed", 2, None),
        Difference("$[2]", "removed", 3, None),
    ]
    assert differences([1, 4], [1, 2, 3, 4]) == [
        Difference("$[1]", "added", None, 2),
        Difference("$[2]", "added", None, 3),
    ]
    assert differences([1, 2, 3, 9], [1, 5, 9]) == [Difference("$[1:3]", "changed", [2, 3], [5])]
    assert differences([1, 2], [3, 4]) == [Difference("$[0]", "changed", 1, 3), Difference("$[1]", "changed", 2, 4)]
    assert differences(1, "1") == [Difference("$", "changed", 1, "1")]
