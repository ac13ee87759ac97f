"""Clients that wait for each other: one gives way, told by whom, and nobody else does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

from eventstate.core import waits as core_waits
from eventstate.core.documents import Batch, Committed, Delete, Put, Require
from eventstate.core.leases import Fence
from eventstate.core.waits import decode_wait, encode_wait
from eventstate.errors import DeadlockDetectedError
from eventstate.stores.base import Store
from eventstate.testing.conformance.lock_queue import leave_wait
from eventstate.testing.conformance.lock_suite import (
    LONG,
    SHORT,
    LockSuite,
    acquire,
    acquire_all,
    fences,
    waits,
)
from eventstate.testing.conformance.persisters import GOVERNOR, stored
from eventstate.testing.conformance.suite import case, committed, raises, unique
from eventstate.transactions import waiting
from eventstate.transactions.locks import Request
from eventstate.transactions.waiting import mark, survey_waits


class DeadlockCases(LockSuite):
    """Circles of two and three, found by those in them."""

    async def _circle(self, stores: Sequence[Store], turn: int = 0) -> None:
        """Each holds a lock and waits for that of the next, all at once: one gives way, and the others get theirs.

        The victim releases what it holds, and so does whoever has got both.
        """
        clients = [f"{turn}.{place}" for place in range(len(stores))]
        lockings = [self.locking(store) for store in stores]
        held = [await acquire(locking, f"r{name}", name) for locking, name in zip(lockings, clients, strict=True)]

        async def wait(place: int) -> list[DeadlockDetectedError]:
            locking, wanted = lockings[place], f"r{clients[(place + 1) % len(clients)]}"
            try:
                await locking.release(await acquire(locking, wanted, clients[place], wait=60))
            except DeadlockDetectedError as error:
                return [error]
            finally:
                await locking.release(held[place])
            return []

        outcomes = await self.together([partial(wait, place) for place in range(len(clients))])
        victims = [(place, error) for place, errors in enumerate(outcomes) for error in errors]
        assert len(victims) == 1, f"{len(victims)} gave way: {victims}"
        ((place, error),) = victims
        assert error.client_id == clients[place]
        assert error.cycle[0] == clients[place], "the victim is named first"
        turned = [clients[(place + step) % len(clients)] for step in range(len(clients))]
        assert list(error.cycle) == turned, "each waits for the next"
        assert error.resource == f"r{turned[1]}"
        assert " -> ".join([*turned, turned[0]]) in str(error)

    @case
    async def test_of_two_one_gives_way(self) -> None:
        store, apart = self.open(), self.open(apart=True)
        for turn in range(self.rounds):
            await self._circle([store, apart] if turn % 2 else [apart, store], turn)
        assert await waits(store) == []

    @case
    async def test_of_three_one_gives_way(self) -> None:
        store, apart = self.open(), self.open(apart=True)
        for turn in range(self.rounds):
            await self._circle([store, apart, store], turn)
        assert await waits(store) == []

    @case
    async def test_who_began_to_wait_last_gives_way(self) -> None:
        store = self.open()
        first, second = self.locking(store), self.locking(store)
        mine, theirs = await acquire(first, "r1", "first"), await acquire(second, "r2", "second")

        async def early() -> None:
            await first.release(await acquire(first, "r2", "first", wait=60))
            await first.release(mine)

        async def late() -> None:
            await self.waiting(store, 1)
            with raises(DeadlockDetectedError) as caught:
                await acquire(second, "r1", "second", wait=60)
            assert caught.error.cycle == ("second", "first")
            assert not theirs.is_lost, "it holds what it held"
            await second.release(theirs)

        await self.together([early, late])
        assert await waits(store) == []

    @case
    async def test_others_who_wait_are_left_in_peace(self) -> None:
        """A queue behind the circle, and another lock; all get their turn."""
        store = self.open()
        lockings = [self.locking(store) for _ in range(4)]
        held = [await acquire(lockings[n], f"r{n}", str(n)) for n in range(2)]
        victims: list[str] = []

        async def wait(client: int, wanted: str) -> None:
            locking = lockings[client]
            try:
                await locking.release(await acquire(locking, wanted, str(client), wait=60))
            except DeadlockDetectedError:
                victims.append(str(client))
            if client < 2:
                await locking.release(held[client])

        await self.together(
            [partial(wait, 0, "r1"), partial(wait, 1, "r0"), partial(wait, 2, "r0"), partial(wait, 3, "r1")]
        )
        assert len(victims) == 1, victims
        assert victims[0] in ("0", "1"), "who was not in the circle gave way"

    @case
    async def test_waits_without_a_circle_are_none(self) -> None:
        """A chain, a queue, an expired lease, and a wait for an earlier life of one's own."""
        store = self.open()
        locking = self.locking(store)
        for n in range(4):
            await acquire(locking, f"r{n}", str(n))
            await leave_wait(store, str(n), f"r{n + 1}")
        await leave_wait(store, "other", "r1")
        await leave_wait(store, "0", "r0")
        assert await locking.deadlocks() == []
        await acquire(locking, "r4", "0", ttl=SHORT)  # which closes it
        assert [set(found) for found in await locking.deadlocks()] in ([{"0", "1", "2", "3"}], [])
        await self.expired(locking, "r4")
        assert [found for found in await locking.deadlocks() if len(found) == 1] == []

    async def _closed(self, store: Store) -> None:
        """Two dead clients in a circle."""
        locking = self.locking(store)
        for n in range(2):
            await acquire(locking, f"r{n}", str(n))
        for n in range(2):
            await leave_wait(store, str(n), f"r{1 - n}", since=1_000 + n)

    @case
    async def test_a_circle_is_told_once(self) -> None:
        """By whoever looks first: its victim knows, and is in no circle any more."""
        store = self.open()
        await self._closed(store)
        surveys = [await survey_waits(self.locking(store).locks) for _ in range(3)]
        assert [[found.clients for found in survey.deadlocks] for survey in surveys] == [[("1", "0")]] * 3
        assert await self.locking(store).deadlocks() == [("1", "0")]
        cycles = [decode_wait(document).wait.cycle for document in await waits(store)]
        assert sorted(cycles) == [(), ("1", "0")]
        for survey in surveys:
            assert not await mark(self.locking(store).locks, survey.deadlocks[0]), "marked twice"
        assert await self.locking(store).deadlocks() == []

    @case
    async def test_of_many_who_look_at_once_one_tells(self) -> None:
        stores = self.open(), self.open(apart=True)
        await self._closed(stores[0])
        lockings = [self.locking(stores[n % 2]) for n in range(self.writers)]
        surveys = [await survey_waits(locking.locks) for locking in lockings]
        told = await self.together(
            [
                partial(mark, locking.locks, survey.deadlocks[0])
                for locking, survey in zip(lockings, surveys, strict=True)
            ]
        )
        assert sum(told) == 1
        assert sum(bool(decode_wait(document).wait.cycle) for document in await waits(stores[0])) == 1

    @case
    async def test_nobody_gives_way_once_the_circle_is_open(self) -> None:
        """Any part of it is another than it was read: a wait, a lock, or the wait of the victim itself."""
        store = self.open()
        locking = self.locking(store)

        async def other_left() -> None:
            documents = [document for document in await waits(store) if decode_wait(document).wait.client_id == "0"]
            await committed(store, *(Delete(document.key, Require.EXISTS) for document in documents))

        async def victim_beat() -> None:
            (victim,) = [d for d in await waits(store) if decode_wait(d).wait.client_id == "1"]
            token = unique()
            body = encode_wait(decode_wait(victim).wait._replace(beats=1), token)
            await committed(store, Put(victim.key, body, victim.revision))

        for change in (other_left, victim_beat, partial(locking.break_lock, "r0"), partial(locking.break_lock, "r1")):
            await self._closed(store)
            (found,) = (await survey_waits(locking.locks)).deadlocks
            await change()
            assert not await mark(locking.locks, found), "told, though the circle is open"
            assert not any(decode_wait(document).wait.cycle for document in await waits(store))
            for resource in ("r0", "r1"):
                await locking.break_lock(resource)
            for document in await waits(store):
                await committed(store, Delete(document.key, Require.EXISTS))

    @case
    async def test_the_dead_are_in_no_circle(self) -> None:
        store = self.open()
        with patch.object(core_waits, "STALE_MICROS", 200_000):
            await self._closed(store)
            await self.runtime.sleep(0.4)
            assert await self.locking(store).deadlocks() == []
            await self.swept(store, "r0", "1")

    @case
    async def test_a_victim_takes_nothing_though_it_could(self) -> None:
        """Told to give way, it does, even where the lock is free by then: others count on it."""
        store = self.open()
        locking, other = self.locking(store), self.locking(store)
        lock = await acquire(other, "r0", "holder")

        async def tells() -> None:
            await self.waiting(store, 1)
            while True:
                (document,) = await waits(store)
                stored_wait = decode_wait(document)
                token = unique()
                body = encode_wait(stored_wait.wait._replace(cycle=("victim", "holder")), token)
                put = Put(document.key, body, document.revision)
                if isinstance(await store.commit(Batch(token, [put])), Committed):
                    break
            await other.release(lock)

        async def waits_for() -> None:
            with raises(DeadlockDetectedError) as caught:
                await acquire(locking, "r0", "victim", wait=60)
            assert caught.error.cycle == ("victim", "holder")

        await self.together([waits_for, tells])
        assert await fences(store, "r0") == []
        assert await waits(store) == []

    @case
    async def test_several_locks_at_once_give_way_and_begin_anew(self) -> None:
        """Against one who takes them one by one in another order."""
        store = self.open()
        many, single = self.locking(store), self.locking(store)
        lock = await acquire(single, "b", "single")
        victims: list[str] = []

        async def all_at_once() -> None:
            await many.release_all(await acquire_all(many, ["a", "b"], "many", wait=60))

        async def one_by_one() -> None:
            await self.waiting(store, 1)
            try:
                await single.release(await acquire(single, "a", "single", wait=60))
            except DeadlockDetectedError:
                victims.append("single")
            await single.release(lock)

        await self.together([all_at_once, one_by_one])
        assert len(victims) <= 1
        assert await waits(store) == []
        assert await fences(store, "a") == await fences(store, "b") == []

    @case
    async def test_a_lease_that_ends_opens_the_circle(self) -> None:
        """Found by nobody, since nobody looks; the expired lock is taken as any other."""
        store = self.open()
        with patch.object(waiting, "find_deadlocks", _finds_nothing):
            locking = self.locking(store)
            await acquire(locking, "r0", "0", ttl=LONG)
            await acquire(locking, "r1", "1", ttl=1.0)
            await leave_wait(store, "1", "r0")
            taken = await acquire(locking, "r1", "0", wait=60)
            assert await fences(store, "r1") == [taken.fence.number]

    @case
    async def test_the_marks_of_a_circle_are_its_fences(self) -> None:
        """A lock that changed hands to the same client meanwhile is another: its old fence does not count."""
        store = self.open()
        locking = self.locking(store)
        await self._closed(store)
        (found,) = (await survey_waits(locking.locks)).deadlocks
        assert {fence.resource for fence in found.fences} == {"r0", "r1"}
        assert all(isinstance(fence, Fence) and fence.governor == GOVERNOR for fence in found.fences)
        await locking.break_lock("r0")
        assert await locking.locks.take(await locking.locks.look("r0"), Request("r0", "0", LONG, None)) is not None
        assert not await mark(locking.locks, found)
        (again,) = (await survey_waits(locking.locks)).deadlocks
        assert await mark(locking.locks, again)
        victim = decode_wait(await stored(store, again.victim.document.key))
        assert victim.wait.cycle == again.clients


def _finds_nothing(*_args: Any) -> list[Any]:
    return []
