"""A typed stream read without its machine: what was recorded is shown, and what can't be says so."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import ANY, ConfigurationError, StateSnapshot
from tests.machines.world import Order, Paid, Placed, Shipped, World, make_orders


@pytest.fixture
def persister(world: World) -> Any:
    orders = make_orders()
    typed = world(machines=[orders], snapshot_every=2)
    typed.append(orders, "1", Placed("pen"), Paid(3), expected=0)
    typed.append(orders, "1", Shipped(), expected=2)
    typed.append(orders, "2", Placed("ink"), expected=0)
    return world()


def test_the_recorded_state_is_shown(persister: Any) -> None:
    loaded = persister.load("order-1")
    assert loaded.data == {"status": "shipped", "total": 3, "lines": ["pen"]}
    assert (loaded.version, loaded.action, loaded.recovered) == (3, "Shipped", False)
    assert [s.data["status"] for s in persister.list_states().states] == ["shipped", "placed"]
    assert persister.load_snapshot("order-1").data["status"] == "paid"
    assert persister.recover_all().current == 2
    assert persister.validate_consistency().is_consistent
    assert persister.get_stats().total_events == 4


def test_the_history_shows_raw_events(persister: Any) -> None:
    history = list(persister.history("order-1"))
    assert [(t.action, t.data) for t in history] == [
        ("Placed", {"line": "pen"}),
        ("Paid", {"amount": 3}),
        ("Shipped", {}),
    ]
    assert [(t.from_state, t.to_state, t.rebuilt) for t in history] == [(None, None, False)] * 3
    [last] = persister.history("order-1", from_version=3)
    assert (last.action, last.rebuilt) == ("Shipped", False) or (last.from_state, last.rebuilt) == (None, False)


def test_a_version_that_was_not_recorded_says_what_to_do(persister: Any) -> None:
    for version in (1, 3):
        with pytest.raises(ConfigurationError, match=r"machines=\[\.\.\.\]") as caught:
            persister.load("order-1", at_version=version)
        assert "order-1" in str(caught.value)


def test_appending_without_the_machine_is_refused(world: World, persister: Any) -> None:
    before = world.everything()
    with pytest.raises(ConfigurationError, match="needs its Machine"):
        persister.append("order-1", Shipped(), expected=ANY)
    assert world.everything() == before


def test_recorded_states_mix_with_typed_events(world: World) -> None:
    orders = make_orders()
    typed = world(machines=[orders], snapshot_every=0)
    placed = typed.append(orders, "1", Placed("pen"), expected=0)
    paid = StateSnapshot.new("order-1", Order("paid", 500, ("pen", "gift")))
    typed.log_transition(placed, paid, "Paid")
    typed.append(orders, "1", Paid(1), expected=2)
    fresh = world(machines=[orders])
    assert [t.to_state for t in fresh.history(orders, "1")] == [
        Order("placed", 0, ("pen",)),
        Order("paid", 500, ("pen", "gift")),
        Order("paid", 501, ("pen", "gift")),
    ]
    assert [t.data for t in fresh.history(orders, "1")] == [Placed("pen"), None, Paid(1)]
    assert fresh.rebuild(orders, "1", full=True).data.total == 501
