"""What `until_caught_up` counts from: the call, not the last time that everything was there."""

from __future__ import annotations

from eventstate import Event, StateMachinePersister, Subscription, open_store


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
