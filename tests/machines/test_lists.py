"""Finding states: lists with filters and pages, several at once, and numbers."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import ANY, Event, InvalidInputError, StoreStats
from tests.machines.world import Added, Order, Paid, Placed, Shipped, World, make_counter, make_orders


def ids(page: Any) -> list[str]:
    return [state.id for state in page.states]


def filled(world: World) -> Any:
    orders, counter = make_orders(), make_counter()
    persister = world(machines=[orders, counter], snapshot_every=2)
    persister.append(orders, "1", Placed("a"), expected=0)
    persister.append(orders, "2", Placed("a"), Paid(1), expected=0)
    persister.append(orders, "3", Placed("a"), Paid(1), Shipped(), expected=0)
    persister.append(orders, "4", Placed("a"), expected=0)
    persister.append(counter, "x", Added(1), expected=0)
    persister.save_state("order", "no machine", expected=0)
    persister.save_state("orders-1", "another machine", expected=0)
    persister.append("orders-2", Event("opened", state=1), Event("closed", state=2), expected=0)
    persister.delete_state(orders, "4", expected=1)
    return persister


ALL = ["counter-x", "order", "order-1", "order-2", "order-3", "orders-1", "orders-2"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ALL),
        ({"prefix": "order-"}, ["order-1", "order-2", "order-3"]),
        ({"prefix": "order"}, ALL[1:]),
        ({"prefix": "zzz"}, []),
        ({"machine": "order"}, ["order-1", "order-2", "order-3"]),
        ({"machine": "orders"}, ["orders-1", "orders-2"]),
        ({"machine": "nothing"}, []),
        ({"state": "placed"}, ["order-1"]),
        ({"state": "shipped", "machine": "order"}, ["order-3"]),
        ({"state": "closed"}, ["orders-2"]),
        ({"state": "saved"}, ["order", "orders-1"]),
        ({"state": "new"}, []),
        ({"after": "order-2"}, ["order-3", "orders-1", "orders-2"]),
        ({"after": "order-2", "machine": "order"}, ["order-3"]),
        ({"prefix": "order-2", "machine": "order"}, ["order-2"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_filters_and_pages(world: World, options: dict[str, str], expected: list[str], limit: int) -> None:
    persister = filled(world)
    found: list[str] = []
    after = options.get("after", "")
    for _ in range(20):
        page = persister.list_states(**{**options, "after": after}, limit=limit)
        assert len(page.states) <= limit
        found += ids(page)
        if page.next is None:
            break
        after = page.next
    assert found == expected


def test_a_list_holds_whole_states(world: World) -> None:
    persister = filled(world)
    state = persister.list_states(machine="order", state="paid").states[0]
    assert state == persister.load("order-2")
    assert (state.data, state.version, state.action) == (Order("paid", 1, ("a",)), 2, "Paid")
    assert persister.append("order", "2", Shipped(), expected=state).version == 3


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_must_hold_something(world: World, limit: int) -> None:
    with pytest.raises(InvalidInputError, match="at least one"):
        world().list_states(limit=limit)


def test_a_list_of_large_states_and_of_rewritten_heads(world: World) -> None:
    persister = world()
    for i in range(4):
        persister.save_state(f"big-{i}", {"n": i, "pad": "x" * 100_000}, expected=0)
    assert [s.data["n"] for s in persister.list_states().states] == [0, 1, 2, 3]
    assert persister.append("big-2", Event("x", state=1), expected=persister.list_states().states[2]).version == 2


def test_several_states_at_once(world: World) -> None:
    persister = filled(world)
    found = persister.batch_get_states(["order-1", "order-4", "nothing", "counter-x", "order-1"])
    assert list(found) == ["order-1", "order-4", "nothing", "counter-x"]
    assert found["order-4"] is found["nothing"] is None
    assert (found["order-1"].data.status, found["counter-x"].data) == ("placed", 1)
    assert persister.batch_get_states([]) == {}
    with pytest.raises(InvalidInputError):
        persister.batch_get_states(["order-1", ""])


def test_numbers(world: World) -> None:
    assert filled(world).get_stats() == StoreStats(
        total_states=7,
        deleted_states=1,
        total_events=13,
        total_versions=13,
        max_version=3,
        total_snapshots=3,
        states_by_machine={"": 3, "counter": 1, "order": 4},
    )
    empty = world(governor="empty").get_stats()
    assert (empty.total_states, empty.total_events, empty.max_version, empty.states_by_machine) == (0, 0, 0, {})


def test_existence(world: World) -> None:
    persister = filled(world)
    assert persister.exists("order-1")
    assert persister.exists("order", "1")
    assert not persister.exists("order-4")
    assert not persister.exists("order-9")
    persister.save_state("order-4", Order("placed"), expected=ANY, action="Placed", reopen=True)
    assert persister.exists("order-4")
