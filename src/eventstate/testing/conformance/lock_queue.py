"""Waiting for a lock: seen by others, woken by what happens, in the order in which it began, and gone at its end."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any
from unittest.mock import patch

from eventstate.core import waits as core_waits
from eventstate.core.documents import LEASE, Batch, Put, Require
from eventstate.core.leases import counter_key, decode_counter
from eventstate.core.waits import Wait, decode_wait, encode_wait, wait_key
from eventstate.errors import LockTimeoutError
from eventstate.stores.base import Store
from eventstate.testing.conformance.lock_suite import (
    SHORT,
    LockSuite,
    R,
    acquire,
    attempt,
    fences,
    number,
    released,
    waits,
)
from eventstate.testing.conformance.persisters import GOVERNOR, stored
from eventstate.testing.conformance.suite import case, raises, remove, unique
from eventstate.testing.faults import FaultyStore
from eventstate.transactions import waiting
from eventstate.transactions.locks import DistributedLock


class QueueCases(LockSuite):
    """Clients that wait for one lock."""

    async def _wait(self, store: Store, client_id: str, wait: float = 60.0, resource: str = R) -> DistributedLock:
        return await acquire(self.locking(store), resource, client_id, wait=wait)

    @case
    async def test_a_release_wakes_who_waits(self) -> None:
        """It is the change that wakes: nobody looks by himself within an hour. Likewise where the lock is broken."""
        stores = self.open(), self.open(apart=True)
        with patch.object(waiting, "SCAN_SECONDS", 3600.0), patch.object(waiting, "BEAT_SECONDS", 3600.0):
            for n, name in enumerate(("released", "broken")):
                for waiter in stores:
                    locking = self.locking(stores[0])
                    lock = await acquire(locking, f"{n}")

                    async def ends(locking: Any = locking, lock: Any = lock, name: str = name) -> float:
                        await self.waiting(stores[0], 1)
                        await self.runtime.sleep(0.3)  # it sleeps by now
                        if name == "released":
                            await locking.release(lock)
                        else:
                            await locking.break_lock(lock.resource)
                        return self.runtime.monotonic()

                    async def waits_for(waiter: Store = waiter, resource: str = f"{n}") -> float:
                        taken = await self._wait(waiter, "b", resource=resource)
                        now = self.runtime.monotonic()
                        await self.locking(waiter).release(taken)
                        return now

                    had, ended = await self.together([waits_for, ends])
                    assert had - ended < self.patience, f"not woken when it was {name}"

    @case
    async def test_the_end_of_a_lease_wakes_who_waits(self) -> None:
        """Nothing is written when it ends."""
        store = self.open()
        with patch.object(waiting, "SCAN_SECONDS", 3600.0), patch.object(waiting, "BEAT_SECONDS", 3600.0):
            lock = await acquire(self.locking(store), client_id="a", ttl=SHORT)
            began = self.runtime.monotonic()
            taken = await self._wait(store, "b")
            assert number(taken) > number(lock)
            assert self.runtime.monotonic() - began < self.patience
        assert await waits(store) == []

    @case
    async def test_who_waits_longest_goes_first(self) -> None:
        stores = self.open(), self.open(apart=True)
        locking = self.locking(stores[0])
        lock = await acquire(locking)
        order: list[int] = []
        clients = 5

        async def wait(place: int) -> None:
            await self.waiting(stores[0], place)
            taken = await self._wait(stores[place % 2], f"client {place}")
            order.append(place)
            await self.runtime.sleep(0.01)
            await self.locking(stores[place % 2]).release(taken)

        async def ends() -> None:
            await self.waiting(stores[0], clients)
            (info,), _ = await locking.page(None)
            assert info.waiting == clients
            await locking.release(lock)

        await self.together([*(partial(wait, place) for place in range(clients)), ends])
        assert order == list(range(clients))
        assert await waits(stores[0]) == []

    @case
    async def test_who_waits_longest_goes_first_when_a_lease_ends_too(self) -> None:
        store = self.open()
        order: list[int] = []
        with patch.object(waiting, "QUEUE_STEP_SECONDS", 1.0), patch.object(waiting, "SCAN_SECONDS", 0.05):
            await acquire(self.locking(store), client_id="who dies", ttl=1.0)

            async def wait(place: int) -> None:
                await self.waiting(store, place)
                taken = await self._wait(store, f"client {place}")
                order.append(place)
                await self.locking(store).release(taken)

            await self.together([partial(wait, place) for place in range(3)])
        assert order == [0, 1, 2]

    @case
    async def test_nobody_comes_between_a_release_and_who_waited(self) -> None:
        """However fast: the lock is kept for the one who waited longest."""
        store = self.open()
        lock = await acquire(self.locking(store))
        refused: list[LockTimeoutError] = []
        slow = FaultyStore(store)

        async def newcomer(batch: Batch) -> None:
            if any(isinstance(operation, Put) and operation.key.kind == LEASE for operation in batch.operations):
                error = await attempt(acquire(self.locking(store), client_id="newcomer"))
                assert isinstance(error, LockTimeoutError), "somebody who did not wait came first"
                refused.append(error)

        slow.before_commit = newcomer

        async def ends() -> None:
            await self.waiting(store, 1)
            await released(self, self.locking(store), lock)

        taken, _ = await self.together([partial(self._wait, slow, "who waits"), ends])
        assert isinstance(taken, DistributedLock)
        assert len(refused) == 1
        assert await fences(store) == [number(taken)]
        assert decode_counter(await stored(store, counter_key(GOVERNOR, R))).next is None

    @case
    async def test_a_lock_is_kept_for_the_dead_for_a_moment_only(self) -> None:
        store = self.open()
        lock = await acquire(self.locking(store))
        await leave_wait(store, "dead")
        await self.locking(store).release(lock)
        with raises(LockTimeoutError) as caught:
            await acquire(self.locking(store), client_id="b")
        assert caught.error.holder is None
        with patch.object(core_waits, "STALE_MICROS", 3_600_000_000):  # also for one who lives and does not come
            await acquire(self.locking(store), client_id="b", wait=self.patience)

    @case
    async def test_a_lock_is_kept_for_nobody_who_gave_up(self) -> None:
        """He left between the release and his turn."""
        store = self.open()
        lock = await acquire(self.locking(store))
        document = await leave_wait(store, "who gives up")
        await self.locking(store).release(lock)
        await remove(store, document)
        await acquire(self.locking(store), client_id="b")

    @case
    async def test_waits_of_the_dead_count_for_nothing(self) -> None:
        """And are swept away by whoever sees them."""
        store = self.open()
        with patch.object(core_waits, "STALE_MICROS", 200_000):
            lock = await acquire(self.locking(store))
            await leave_wait(store, "dead")
            await self.runtime.sleep(0.4)
            (info,), _ = await self.locking(store).page(None)
            assert info.waiting == 0
            await self.locking(store).release(lock)
            taken = await acquire(self.locking(store), client_id="b")
            await self.swept(store)
            await self.locking(store).release(taken)
            await leave_wait(store, "dead")
            await self.runtime.sleep(0.4)
            assert await self.locking(store).cleanup() == 0
            assert await waits(store) == []

    @case
    async def test_who_waits_shows_that_he_lives(self) -> None:
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking)

        async def ends() -> None:
            await self.waiting(store, 1)

            async def has_beaten() -> bool:
                (document,) = await waits(store)
                return decode_wait(document).wait.beats >= 3

            await self.until(has_beaten, "three beats")
            await locking.release(lock)

        with patch.object(waiting, "BEAT_SECONDS", 0.05):
            await self.together([partial(self._wait, store, "b"), ends])
        assert await waits(store) == []

    @case
    async def test_who_was_taken_for_dead_waits_on(self) -> None:
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking)

        async def ends() -> None:
            await self.waiting(store, 1)
            (document,) = await waits(store)
            await remove(store, document.key)
            await self.waiting(store, 1)
            (again,) = await waits(store)
            assert again.key == document.key, "it lost its place"
            await locking.release(lock)

        taken, _ = await self.together([partial(self._wait, store, "b"), ends])
        assert taken is not None
        assert await fences(store) == [number(taken)]

    @case
    async def test_a_wait_that_ends_leaves_nothing(self) -> None:
        store = self.open()
        await acquire(self.locking(store), client_id="a")
        began = self.runtime.monotonic()
        with raises(LockTimeoutError) as caught:
            await acquire(self.locking(store), client_id="b", wait=0.3)
        assert self.runtime.monotonic() - began >= 0.3
        assert 0.3 <= caught.error.waited < self.patience
        assert caught.error.holder == "a"
        assert await waits(store) == []

    @case
    async def test_who_stops_waiting_leaves_nothing(self) -> None:
        """A task that is cancelled, at any moment; only where calls can be cancelled."""
        if self.world.name == "sync":
            return
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking)
        for steps in range(0, 60, 3):
            task = asyncio.ensure_future(self._wait(store, "b"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        await self.waiting(store, 0)
        await locking.release(lock)
        for steps in range(0, 60, 3):
            task = asyncio.ensure_future(self._wait(store, "b"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await self.locking(store).release(task.result())
            await acquire(self.locking(store), client_id="c", wait=self.patience)
            await self.locking(store).break_lock(R)

    @case
    async def test_who_waits_for_an_earlier_life_of_his_own_gets_it_when_that_ends(self) -> None:
        store = self.open()
        before = await acquire(self.locking(store), client_id="a", ttl=SHORT)
        again = await self._wait(store, "a")
        assert number(again) > number(before)


async def leave_wait(store: Store, client_id: str, resource: str = R, *, since: int | None = None) -> Any:
    """The document of a client that waits and is never heard of again; its key."""
    now = (await store.get([counter_key(GOVERNOR, resource)])).read_at
    wait = Wait(resource, client_id, now if since is None else since)
    key, token = wait_key(GOVERNOR, wait, unique()), unique()
    await store.commit(Batch(token, [Put(key, encode_wait(wait, token), Require.ABSENT)]))
    return key
