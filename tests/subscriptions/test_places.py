"""Saved places: new ones hold back a prune that runs, unanswered ones are known again, outages are waited out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from eventstate import (
    ANY,
    DirectoryArchive,
    Event,
    RetentionManager,
    RetentionPolicy,
    StateMachinePersister,
    Store,
    StoreUnavailableError,
    Subscription,
    open_store,
)
from eventstate.core.documents import HEAD, Batch, Fetched, Key
from eventstate.stores.memory import MemoryStore
from eventstate.testing.faults import Fault, FaultyStore
from tests.subscriptions.hasty import HastyRuntime


def filled(store: Store, events: int = 3) -> StateMachinePersister:
    persister = StateMachinePersister(store)
    for version in range(events):
        persister.append("a-1", Event("x", state=version), expected=version)
    return persister


def versions(subscription: Subscription) -> list[int]:
    return [delivery.version for delivery in subscription.deliveries(until_caught_up=True)]


@pytest.mark.backend("memory")
@pytest.mark.parametrize("all_governors", [False, True])
def test_a_prune_that_runs_sees_a_new_subscription(all_governors: bool, tmp_path: Path) -> None:
    with open_store("memory://") as store:
        persister = filled(store, 10)
        faulty = FaultyStore(store)
        began: list[Batch] = []

        async def subscribe(batch: Batch) -> None:
            if not began and any(operation.key.kind == HEAD for operation in batch.operations):
                began.append(batch)
                with Subscription(persister, "late", all_governors=all_governors) as late:
                    assert next(late.deliveries()).version == 1

        faulty.before_commit = subscribe
        retention = RetentionManager(cast("Store", faulty), archive=DirectoryArchive(tmp_path))
        retention.prune(RetentionPolicy(keep_last=1))
        assert began
        with Subscription(persister, "late", all_governors=all_governors) as late:
            assert versions(late) == list(range(1, 11))


@pytest.mark.backend("memory")
@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.DELAYED])
def test_an_own_save_without_an_answer_is_no_conflict(fault: Fault) -> None:
    runtime = HastyRuntime()
    store = MemoryStore(runtime)
    persister = filled(store)
    outage: list[float] = []

    def script(batch: Batch) -> Fault:
        if not any(operation.key.id == "subscription:mails" for operation in batch.operations):
            return Fault.NONE
        if not outage:  # what makes it new goes through
            outage.append(0.0)
            return Fault.NONE
        if outage == [0.0]:
            outage.append(runtime.seconds + 60)  # longer than what is done to find out
            return fault
        return Fault.UNAVAILABLE if runtime.seconds < outage[1] else Fault.NONE

    faulty = FaultyStore(store, script)
    with Subscription(StateMachinePersister(cast("Store", faulty)), "mails", save_every=1) as subscription:
        assert subscription.run(lambda _: None, until_caught_up=True) == 3
    assert len(outage) == 2
    with Subscription(persister, "mails") as subscription:
        assert versions(subscription) == []


class OutageStore(FaultyStore):
    """Nothing can be read or written before a time."""

    def __init__(self, store: Store, runtime: HastyRuntime, seconds: float) -> None:
        super().__init__(store, self._fault)
        self._clock = runtime
        self.until = runtime.seconds + seconds
        self.refused = 0

    def _is_down(self) -> bool:
        is_down = self._clock.seconds < self.until
        self.refused += is_down
        return is_down

    def _fault(self, _batch: Batch) -> Fault:
        return Fault.UNAVAILABLE if self._is_down() else Fault.NONE

    async def get(self, keys: Sequence[Key]) -> Fetched:
        if self._is_down():
            raise StoreUnavailableError(store=self.url, detail="for a while")
        return await super().get(keys)


@pytest.mark.backend("memory")
@pytest.mark.parametrize("shared", [False, True])
def test_an_outage_at_the_beginning_is_waited_out(shared: bool) -> None:
    runtime = HastyRuntime()
    store = MemoryStore(runtime)
    filled(store)
    outage = OutageStore(store, runtime, 100)
    persister = StateMachinePersister(cast("Store", outage))
    with Subscription(persister, "mails", shared=shared, patience=300) as subscription:
        assert subscription.run(lambda _: None, until_caught_up=True) == 3
    assert outage.refused > 1


@pytest.mark.backend("memory")
def test_an_outage_is_waited_out_by_an_acknowledgement() -> None:
    runtime = HastyRuntime()
    store = MemoryStore(runtime)
    written = filled(store)
    outage = OutageStore(store, runtime, 0)
    persister = StateMachinePersister(cast("Store", outage))
    with Subscription(persister, "mails", patience=300) as subscription:
        items = subscription.deliveries()
        first = next(items)
        outage.until = runtime.seconds + 100
        subscription.ack(first)
        assert outage.refused > 1
    with Subscription(written, "mails") as subscription:
        assert versions(subscription) == [2, 3]


@pytest.mark.backend("memory")
def test_patience_ends() -> None:
    runtime = HastyRuntime()
    store = MemoryStore(runtime)
    filled(store)
    outage = OutageStore(store, runtime, 100)
    persister = StateMachinePersister(cast("Store", outage))
    with Subscription(persister, "mails", patience=20) as subscription, pytest.raises(StoreUnavailableError):
        subscription.run(lambda _: None, until_caught_up=True)
    assert 20 <= runtime.seconds < 60
    outage.until = 0
    with Subscription(persister, "mails", patience=20) as subscription:
        delivery = next(subscription.deliveries())
        outage.until = runtime.seconds + 1000
        with pytest.raises(StoreUnavailableError):
            subscription.ack(delivery)
        subscription.stop()
        before = runtime.seconds
        with pytest.raises(StoreUnavailableError):
            subscription.ack(delivery)
        assert runtime.seconds < before + 10, "who has stopped does not wait"
    outage.until = 0
    StateMachinePersister(store).append("a-1", Event("x", state=0), expected=ANY)
    with Subscription(persister, "mails") as subscription:
        assert versions(subscription) == [1, 2, 3, 4]
