"""Which ids can be used, and how a state id names its machine."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.ids import MAX_ID_BYTES, check_id, check_machine_name, encoded_length, machine_of
from eventstate.errors import InvalidIdError

usable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)


@given(usable)
def test_any_text_without_control_characters_will_do(value: str) -> None:
    assert check_id("id", value) == check_id("id", value) == value


@given(usable)
def test_the_length_counts_what_escaping_may_cost(value: str) -> None:
    """At least UTF-8's, and enough for three bytes for each ASCII character that isn't plain."""
    assert encoded_length(value) >= len(value.encode())
    ascii_only = "".join(c for c in value if c.isascii())
    assert encoded_length(ascii_only) >= len(quote(ascii_only, safe=""))


@given(st.text(min_size=1), st.sampled_from([chr(c) for c in [*range(32), 127]] + ["\ud800", "\udfff"]))
def test_control_characters_and_surrogates_are_refused_anywhere(value: str, bad: str) -> None:
    for text in (bad, value + bad, bad + value, value[:1] + bad + value[1:]):
        with pytest.raises(InvalidIdError):
            check_id("id", text)


def test_what_was_checked_once_is_still_checked_for_its_type() -> None:
    check_id("id", "1")
    for bad in (1, b"1", 1.0, True, None, ["1"]):
        with pytest.raises(InvalidIdError, match="must be text") as caught:
            check_id("governor", bad)
        assert caught.value.what == "governor"


@pytest.mark.parametrize(
    ("unit", "fits"),
    [("x", MAX_ID_BYTES), ("é", MAX_ID_BYTES // 2), ("/", MAX_ID_BYTES // 3), ("😀", MAX_ID_BYTES // 4)],
)
def test_the_longest_id(unit: str, fits: int) -> None:
    assert check_id("id", unit * fits) == unit * fits
    with pytest.raises(InvalidIdError, match=r"the limit is 1,400; use a hash of it"):
        check_id("id", unit * (fits + 1))


@given(usable)
def test_machine_names_have_no_dash(name: str) -> None:
    if "-" in name:
        with pytest.raises(InvalidIdError, match="use '_'"):
            check_machine_name(name)
    else:
        assert machine_of(f"{check_machine_name(name)}-42-b") == name


@pytest.mark.parametrize(
    ("id", "machine"), [("order-42", "order"), ("order", ""), ("-", ""), ("a-b-c", "a"), ("-x", "")]
)
def test_the_machine_of_a_state_id(id: str, machine: str) -> None:
    assert machine_of(id) == machine


@pytest.mark.parametrize("bad", ["", None, 5])
def test_no_name_is_none(bad: Any) -> None:
    with pytest.raises(InvalidIdError):
        check_machine_name(bad)
