"""Which events may go, and what keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstate.core.documents import PIN, Delete, Document, Key, Put, Require
from eventstate.core.format import DELETED, REOPENED, Base, Entry, Tip, unborn
from eventstate.core.pins import Pin, Pins, decode_pin, pin_key, pin_operations, register_key, unpin_operations
from eventstate.core.retention import Cut, Policies, RetentionPolicy, kept_snapshots
from eventstate.errors import ConfigurationError, CorruptionError, InvalidIdError

AT = datetime(2024, 1, 1, tzinfo=UTC)


def entry(first: int, types: list[str], at: int) -> Entry:
    version = first + len(types) - 1
    return Entry(version, first, b"%043d" % version, [{"type": type_} for type_ in types], {"at": at})


entries = st.lists(
    st.tuples(st.lists(st.sampled_from(["a", "b", DELETED, REOPENED]), min_size=1, max_size=4), st.integers(0, 5)),
    min_size=1,
    max_size=12,
)


def stream(shape: list[tuple[list[str], int]]) -> list[Entry]:
    """Entries that follow each other, with times that never go back."""
    made: list[Entry] = []
    version = at = 0
    for types, later in shape:
        at += later
        made.append(entry(version + 1, types, at))
        version += len(types)
    return made


policies = st.builds(
    RetentionPolicy,
    max_age=st.none() | st.integers(1, 30).map(lambda n: timedelta(microseconds=n)),
    keep_last=st.none() | st.integers(1, 20),
    keep_snapshots=st.none() | st.integers(1, 3),
)


@given(entries, policies, st.sets(st.integers(1, 40)), st.none() | st.integers(0, 40))
def test_a_cut_is_the_longest_that_all_rules_let_go(
    shape: list[tuple[list[str], int]], policy: RetentionPolicy, snapshots: set[int], pinned: int | None
) -> None:
    log = stream(shape)
    last = log[-1].version
    now = log[-1].at + 3
    kept = tuple(sorted(n for n in snapshots if n <= last))
    tip = unborn("shop", "a")._replace(version=last, last=last, snapshots=kept)
    limit = policy.limit(tip) if pinned is None else min(policy.limit(tip), pinned)
    cut = Cut(limit, policy.horizon(now))
    for one in log:
        if not cut.takes(one, 10):
            break

    def may_go(one: Entry) -> bool:
        age, number = policy.max_age, policy.keep_last
        return (
            policy.prunes
            and one.version < last
            and (pinned is None or one.version <= pinned)
            and (age is None or timedelta(microseconds=now - one.at) > age)
            and (number is None or one.version <= last - number)
            and (
                policy.keep_snapshots is None
                or (len(kept) >= policy.keep_snapshots and one.version <= kept[-policy.keep_snapshots])
            )
        )

    gone = [one for one in log if may_go(one)]
    while gone and gone[-1].events[-1]["type"] == DELETED:
        gone.pop()
    assert cut.base == (Base(gone[-1].version, gone[-1].digest) if gone else None)
    assert cut.events == sum(len(one.events) for one in gone)
    assert cut.size == 10 * len(gone)
    assert cut.reopened == sum(event["type"] == REOPENED for one in gone for event in one.events)
    assert cut.at == (gone[-1].at if gone else 0)


def test_a_policy_for_each_machine() -> None:
    one, other = RetentionPolicy(keep_last=1), RetentionPolicy(keep_last=2)
    found = Policies(one, {"order": other})
    assert found.of("order-42") is other
    assert found.of("orders-42") is one
    assert found.of("note") is one
    with pytest.raises(InvalidIdError):
        Policies(one, {"order-42": other})


@pytest.mark.parametrize(
    "wrong", [{"keep_last": 0}, {"keep_last": "3"}, {"keep_snapshots": 0}, {"max_age": timedelta(seconds=-1)}]
)
def test_rules_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RetentionPolicy(**wrong)


@given(st.sets(st.integers(1, 30)), st.integers(1, 30))
def test_snapshots_from_the_base_on_stay(snapshots: set[int], base: int) -> None:
    kept, dropped = kept_snapshots(tuple(snapshots), base)
    assert kept[0] == base
    assert set(kept) == {n for n in snapshots if n > base} | {base}
    assert set(dropped) == {n for n in snapshots if n < base}


def pin(name: str, **options: Any) -> Pin:
    return Pin(name=name, kind="hold", at=AT, **options)


def test_the_strictest_pin_counts() -> None:
    pins = Pins(
        [
            pin("a", state_id="order-1", from_version=7),
            pin("b", state_id="order-1", from_version=5),
            pin("c", machine="order", from_version=6),
            pin("d", machine="bill"),
        ]
    )
    limits = {id: pins.limit(id) for id in ("order-1", "order-2", "bill-1", "note")}
    assert {id: limit and (limit.version, limit.pin.name) for id, limit in limits.items()} == {
        "order-1": (4, "b"),
        "order-2": (5, "c"),
        "bill-1": (0, "d"),
        "note": None,
    }
    everything = Pins([pin("all")]).limit("note")
    assert everything is not None
    assert everything.version == 0


def test_a_pin_and_its_register_are_one_batch() -> None:
    members = {"kind": "fork", "stream": "order-1", "from": 3, "at": 0, "n": 9}
    made, register = pin_operations("shop", "fork:order-2", members, "t")
    assert isinstance(made, Put)
    assert isinstance(register, Put)
    assert (made.when, register.when) == (Require.ABSENT, Require.ANY)
    assert register.key == register_key("shop")
    found = decode_pin(Document(made.key, made.body, "", 0))
    assert found is not None
    assert (found.kind, found.name, found.state_id, found.from_version) == ("fork", "order-2", "order-1", 3)
    assert decode_pin(Document(register.key, register.body, "", 0)) is None
    assert unpin_operations("shop", "fork:order-2") == (Delete(made.key, Require.ANY),)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"kind":"hold"}', b'{"kind":"hold","at":"x"}'])
def test_what_is_no_pin_is_told(body: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_pin(Document(Key(PIN, "shop", "hold:a"), body, "", 0))


@pytest.mark.parametrize("name", ["", "a\0", "x" * 1400])
def test_names_of_pins_are_ids(name: str) -> None:
    with pytest.raises(InvalidIdError):
        pin_key("shop", "hold", name)


def test_a_tip_without_events_has_nothing_to_go() -> None:
    tip: Tip = unborn("shop", "a")
    assert RetentionPolicy(keep_last=3).limit(tip) <= 0
    assert RetentionPolicy().limit(tip._replace(version=9)) == 0
