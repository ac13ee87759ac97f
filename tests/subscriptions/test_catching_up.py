"""What `until_caught_up` counts from: the call, not the last time that everything was there."""

from __future__ import annotations

from typing import Any

import pytest

from eventstate import ANY, Event, StateMachinePersister, Subscription, open_store
from eventstate.machines.deliveries import Delivery


def test_what_was_committed_before_the_call_is_delivered_before_it_ends() -> None:
    with open_store("memory://") as store:
        persister = StateMachinePersister(store)
        persister.append("a-1", Event("x", state=0), expected=0)
        persister.append("a-1", Event("x", state=0), expected=1)
        subscription = Subscription(persister, state_id="a-1")
        first = next(iter(subscription))
        persister.append("a-1", Event("x", state=1), expected=2)
        later = [delivery.version for delivery in subscription.deliveries(until_caught_up=True)]
    assert [first.version, *later] == [1, 2, 3]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("options", [{}, {"shared": True}, {"state_id": "a-1"}, {"actions": ["x"]}])
def test_it_ends_though_others_write_as_fast(kind: str, options: dict[str, Any], sqlite_url: str) -> None:
    with open_store("memory://" if kind == "memory" else f"{sqlite_url}?durability=off") as store:
        persister = StateMachinePersister(store)
        for _ in range(150):
            persister.append("a-1", Event("x", state=0), expected=ANY)
        handled = 0

        def write(_delivery: Delivery) -> None:
            nonlocal handled
            handled += 1
            assert handled < 1000
            persister.append("a-1", *[Event("x", state=0)] * 2, expected=ANY)

        with Subscription(persister, "mails", on_poison="stop", attempts=1, **options) as subscription:
            assert subscription.run(write, until_caught_up=True) >= 150
