"""JSON text of values: exact both ways, or refused with the place."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.codec import MAX_DEPTH, check_plain, decode, encode
from eventstate.errors import CorruptionError, EncodingError

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30)

spoilers = st.sampled_from([math.nan, math.inf, -math.inf, 2**64, -(2**63) - 1, "\ud800", "a\udfffb", b"x", {1}, 1j])


@given(values)
def test_values_come_back_exactly(value: Any) -> None:
    encoded = encode(value)
    assert repr(decode(encoded, "here")) == repr(value)
    assert repr(json.loads(encoded)) == repr(value)  # what any other reader of JSON sees


@given(values, spoilers, st.lists(st.sampled_from(["key", 0]), min_size=0, max_size=6))
def test_one_bad_part_anywhere_is_named(around: Any, bad: Any, path: list[Any]) -> None:
    value = bad
    expected = ""
    for step in reversed(path):
        value = [value, around] if step == 0 else {"key": value, "other": around}
        expected = ("[0]" if step == 0 else ".key") + expected
    with pytest.raises(EncodingError) as caught:
        encode(value, "$.data")
    assert caught.value.path == "$.data" + expected


@given(values)
def test_what_can_be_encoded_is_plain(value: Any) -> None:
    check_plain(value, "$")


@pytest.mark.parametrize("bad", [{1: 2}, {None: 1}, {True: 1}, {b"a": 1}, {("a",): 1}, {1.5: 1}])
def test_keys_must_be_text(bad: Any) -> None:
    with pytest.raises(EncodingError, match="is not text") as caught:
        encode({"a": [bad]})
    assert caught.value.path == "$.a[0]"


def test_the_text_null_is_no_reason_to_refuse() -> None:
    assert decode(encode({"null": ["null", None, "not null"]}), "here") == {"null": ["null", None, "not null"]}


def nested(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


def test_depth() -> None:
    assert decode(encode(nested(MAX_DEPTH)), "here") == nested(MAX_DEPTH)
    for levels in (MAX_DEPTH + 10, 2000, 100_000):
        with pytest.raises(EncodingError, match="deeper than 200") as caught:
            encode(nested(levels))
        assert len(str(caught.value)) < 200


def test_the_path_of_the_first_problem_in_a_large_value_is_found() -> None:
    with pytest.raises(EncodingError) as caught:
        encode({"rows": [{"n": i} for i in range(5000)] + [{"n": math.nan}]})
    assert caught.value.path == "$.rows[5000].n"


@pytest.mark.parametrize("text", [b"", b"{", b"{'a': 1}", b"nan", b"\xff", b'{"a":1}x', b'"\\ud800"'])
def test_what_is_no_json_is_corrupt(text: bytes) -> None:
    with pytest.raises(CorruptionError, match="not JSON") as caught:
        decode(text, "entry g/s:1")
    assert caught.value.where == "entry g/s:1"


def test_encoding_is_orjsons_own_where_nothing_is_odd() -> None:
    value = {"b": [1, 2.5, "é\n"], "a": {}}
    assert encode(value) == orjson.dumps(value)


def test_nulls_that_are_known_hide_no_number_without_a_form() -> None:
    assert encode({"a": None, "b": "x"}, nulls=1) == b'{"a":null,"b":"x"}'
    assert encode({"a": None, "b": "null"}, nulls=1) == b'{"a":null,"b":"null"}'
    for value in (float("nan"), [float("inf")]):
        with pytest.raises(EncodingError):
            encode({"a": None, "b": value}, nulls=1)
