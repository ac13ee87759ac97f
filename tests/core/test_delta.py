"""Deltas give back exactly what they were made from, stay small, and share nothing."""

from __future__ import annotations

import copy
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventstate.core.delta import apply, diff

NAMES = st.sampled_from(["", "a", "b", "=", "~", "-", "=a", "~a", "-a", "0", "0:1"])
SCALARS = st.one_of(
    st.sampled_from([0, 1, 1.0, 0.0, -0.0, True, False, None, "", "a", "1", 2**63]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
)


def containers(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=6) | st.dictionaries(NAMES, items, max_size=6)


VALUES: st.SearchStrategy[Any] = st.recursive(SCALARS, containers, max_leaves=30)


def exact(a: Any, b: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart, and 0.0 and -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(exact(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(exact(x, y) for x, y in zip(a, b, strict=True))
    return repr(a) == repr(b)


def containers_in(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(part for item in value.values() for part in containers_in(item))]
    if isinstance(value, list):
        return [value, *(part for item in value for part in containers_in(item))]
    return []


def spoil(value: Any) -> None:
    """Change every container in place."""
    for part in containers_in(value):
        if isinstance(part, dict):
            part.clear()
            part["spoiled"] = True
        else:
            part[:] = ["spoiled"]


def size(value: Any) -> int:
    return len(orjson.dumps(value))


@st.composite
def edited(draw: st.DrawFn) -> tuple[Any, Any]:
    """A value, and the same with one or two places changed."""
    before = draw(st.recursive(SCALARS, containers, max_leaves=30))
    after = copy.deepcopy(before)
    for _ in range(draw(st.integers(1, 2))):
        parts = containers_in(after)
        if not parts:
            return before, draw(VALUES)
        part = draw(st.sampled_from(parts))
        if isinstance(part, dict):
            name = draw(NAMES)
            if name in part and draw(st.booleans()):
                del part[name]
            else:
                part[name] = draw(VALUES)
        else:
            at = draw(st.integers(0, len(part)))
            part[at : at + draw(st.integers(0, 2))] = draw(st.lists(VALUES, max_size=2))
    return before, after


def assert_exact(a: Any, b: Any) -> None:
    a_before, b_before = copy.deepcopy(a), copy.deepcopy(b)
    delta = diff(a, b)
    stored = orjson.loads(orjson.dumps(delta)) if not has_huge_int(delta) else copy.deepcopy(delta)
    assert exact(apply(delta, a), b)
    assert exact(apply(stored, a), b)
    assert exact(a, a_before)
    assert exact(b, b_before)
    assert (delta == {}) == exact(a, b)


def has_huge_int(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_huge_int(item) for item in value.values())
    if isinstance(value, list):
        return any(has_huge_int(item) for item in value)
    return isinstance(value, int) and not -(2**63) <= value < 2**64


@given(VALUES, VALUES)
@example(1, 1.0)
@example(1, True)
@example(0, False)
@example(0.0, -0.0)
@example([0.0], [-0.0])
@example({"a": 0.0, "b": 1}, {"a": -0.0, "b": 1})
@example([1, 2, 3], [1.0, True, 3, 4])
@example({"a": None}, {})
@example({}, {"a": None})
@example({}, [])
@example([], {})
@example([], None)
@example([[]], [{}])
@example({"a": {}}, {"a": []})
@example([1, 2], [2, 1])
@example([[1, 2], [3]], [[1, 2, 3], []])
@example([1, 1, 1], [1, 1])
@example({"": 1}, {"": 2})
def test_applying_a_difference_gives_exactly_the_new_value(a: Any, b: Any) -> None:
    assert_exact(a, b)


@given(edited())
def test_applying_the_difference_of_an_edited_value_gives_exactly_the_new_value(pair: tuple[Any, Any]) -> None:
    assert_exact(*pair)


@given(VALUES)
def test_no_difference_is_empty_whatever_the_order_of_names(value: Any) -> None:
    def turned(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: turned(item) for name, item in reversed(part.items())}
        return [turned(item) for item in part] if isinstance(part, list) else part

    assert diff(value, turned(value)) == {}


@given(edited())
def test_nothing_is_shared(pair: tuple[Any, Any]) -> None:
    a, b = pair
    delta = diff(a, b)
    kept_delta, kept_b = copy.deepcopy(delta), copy.deepcopy(b)
    spoil(b)
    assert exact(delta, kept_delta)
    result = apply(delta, a)
    kept_a = copy.deepcopy(a)
    spoil(delta)
    assert exact(result, kept_b)
    spoil(result)
    assert exact(a, kept_a)


ORDER = {
    "id": "42",
    "customer": {"name": "Ada", "address": {"street": "Long Street 1", "city": "Paris"}},
    "lines": [{"sku": f"sku-{n}", "quantity": n, "price": 10.5} for n in range(100)],
    "tags": ["new", "gift", "export"],
}


def changed(change: Any) -> Any:
    after = copy.deepcopy(ORDER)
    change(after)
    return after


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda o: None, {}),
        (lambda o: o["customer"]["address"].update(city="Rome"), {"~customer": {"~address": {"=city": "Rome"}}}),
        (lambda o: o.update(paid=True), {"=paid": True}),
        (lambda o: o.pop("id"), {"-id": None}),
        (lambda o: o["lines"][57].update(quantity=0), {"~lines": {"~57": {"=quantity": 0}}}),
        (lambda o: o["lines"].append({"sku": "x"}), {"~lines": {"=100:100": [{"sku": "x"}]}}),
        (lambda o: o["lines"].pop(0), {"~lines": {"=0:1": []}}),
        (lambda o: o["tags"].insert(1, "fast"), {"~tags": {"=1:1": ["fast"]}}),
        (lambda o: o["tags"].__setitem__(slice(0, 2), ["x", "y"]), {"~tags": {"=0:2": ["x", "y"]}}),
        (lambda o: o.update(tags=[]), {"~tags": {"=0:3": []}}),
        (lambda o: o.update(customer={"company": "Ada & Co"}), {"=customer": {"company": "Ada & Co"}}),
    ],
)
def test_a_small_edit_has_a_small_delta(change: Any, expected: Any) -> None:
    after = changed(change)
    assert diff(ORDER, after) == expected
    assert exact(apply(expected, ORDER), after)


def test_two_edits_in_one_list_of_the_same_length_stay_small() -> None:
    after = changed(lambda o: (o["lines"][0].update(quantity=7), o["lines"][99].update(quantity=7)))
    assert diff(ORDER, after) == {"~lines": {"~0": {"=quantity": 7}, "~99": {"=quantity": 7}}}


@given(VALUES, VALUES)
def test_a_delta_is_never_much_larger_than_both_values(a: Any, b: Any) -> None:
    if not (has_huge_int(a) or has_huge_int(b)):
        assert size(diff(a, b)) <= 4 * (size(a) + size(b)) + 16


@pytest.mark.parametrize(
    ("delta", "value"),
    [
        (None, {}),
        ("x", {}),
        (1, 1),
        (True, 1),
        ([], 1),
        ([1, 2], 1),
        ({"=a": 1}, 1),
        ({"=a": 1}, None),
        ({"~a": {}}, {}),
        ({"-a": None}, {}),
        ({"?a": 1}, {"a": 1}),
        ({"": 1}, {"": 1}),
        ({"=a": 1, "~a": {}}, {"a": 1}),
        ({"=a": 1, "-a": None}, {"a": 1}),
        ({"~a": 5}, {"a": 1}),
        ({"~0": {}}, []),
        ({"~-1": [2]}, [1]),
        ({"~ 0": [2]}, [1]),
        ({"~00": [2]}, [1]),
        ({"~٠": [2]}, [1]),
        ({"=0": [2]}, [1]),
        ({"=0:2": []}, [1]),
        ({"=1:0": []}, [1, 2]),
        ({"=0:1": 5}, [1]),
        ({"=0:1": None}, [1]),
        ({"=0:2": [], "~1": [3]}, [1, 2]),
        ({"=0:2": [], "=1:3": []}, [1, 2, 3]),
        ({"-0": None}, [1]),
        ({"~" + "9" * 5000: [1]}, [1]),
    ],
)
def test_a_bad_delta_is_a_value_error(delta: Any, value: Any) -> None:
    kept = copy.deepcopy(value)
    with pytest.raises(ValueError):
        apply(delta, value)
    assert exact(value, kept)


@given(VALUES, VALUES)
def test_any_json_as_a_delta_gives_a_value_or_a_value_error(delta: Any, value: Any) -> None:
    try:
        apply(delta, value)
    except ValueError:
        pass


def nested(depth: int, leaf: Any, wrap: Any) -> Any:
    for _ in range(depth):
        leaf = wrap(leaf)
    return leaf


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: [inner],
        lambda inner: {"a": inner},
        lambda inner: {"a": inner, "b": [inner] if not isinstance(inner, list | dict) else 0},
    ],
)
def test_values_as_deep_as_the_codec_allows_work(wrap: Any) -> None:
    a, b = nested(249, 1, wrap), nested(249, 2, wrap)
    delta = diff(a, b)
    orjson.dumps(delta)
    assert exact(apply(delta, a), b)


def test_the_time_grows_with_the_size_only() -> None:
    def seconds(n: int) -> float:
        a = [nested(100, n, lambda inner: [inner]) for n in range(n)]
        b = [*copy.deepcopy(a[1:]), nested(100, -1, lambda inner: [inner, 1]), 5]
        began = time.perf_counter()
        diff(a, b)
        diff(a, b[1:])
        return time.perf_counter() - began

    small = min(seconds(20) for _ in range(3))
    assert min(seconds(200) for _ in range(3)) < 40 * small + 0.05
