"""Locks whose steps go unanswered: nobody believes to hold what he does not, and no ghost outlives its lease."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from eventstate.core.documents import LEASE, Batch, Committed, Put, Refused
from eventstate.errors import LeaseLostError, LockTimeoutError, StoreUnavailableError
from eventstate.testing.conformance.lock_suite import (
    LONG,
    SHORT,
    LockSuite,
    R,
    acquire,
    fences,
    holder,
    lock_documents,
    number,
    waits,
)
from eventstate.testing.conformance.suite import case, raises, remove
from eventstate.testing.faults import Fault, FaultyStore, on_call
from eventstate.transactions.locking import Locking

NEVER_ANSWERED = (Fault.LOST_REQUEST,) * 1000
SETTLED = (
    (Fault.LOST_ANSWER,),
    (Fault.LOST_REQUEST,),
    (Fault.LOST_REQUEST, Fault.LOST_ANSWER),
    (Fault.LOST_ANSWER, Fault.UNAVAILABLE, Fault.LOST_REQUEST),
    (Fault.DELAYED,),
    (Fault.DELAYED, Fault.LOST_ANSWER),
)
"""After these the answer comes at last."""


class LockDoubtCases(LockSuite):
    """Each step of a lock, through faults."""

    async def _deliver(self, store: FaultyStore) -> list[object]:
        """Bring all late copies to the store."""
        results: list[object] = []
        while store.held:
            results.append(await store.deliver())
        return results

    async def _free(self, store: Any, what: str) -> None:
        """Fail unless anybody can have the lock at once."""
        locking = self.locking(store)
        lock = await acquire(locking, client_id="who asks after it")
        assert not lock.is_lost, what
        await locking.release(lock)

    @case
    async def test_an_acquire_is_settled(self) -> None:
        store = self.open()
        last = 0
        for faults in SETTLED:
            faulty = self.faulty(store, *faults)
            locking = self.locking(faulty)
            lock = await acquire(locking, client_id="a")
            assert number(lock) > last, faults
            last = number(lock)
            assert all(isinstance(result, Refused) for result in await self._deliver(faulty)), faults
            assert await fences(store) == [last], faults
            with raises(LockTimeoutError):
                await acquire(self.locking(store), client_id="b")
            await locking.extend(lock)
            await locking.release(lock)
            assert await fences(store) == [], faults

    @case
    async def test_a_lock_that_was_had_and_ended_is_not_believed_held(self) -> None:
        """Applied, but its answer lost; and before it is asked for again others have ended it, and hold it or not."""
        for others_hold in (True, False):
            store = self.open()
            other = self.locking(store)
            resource = f"{R} {others_hold}"
            faulty = self.faulty(store, Fault.LOST_ANSWER)

            async def ends(other: Locking = other, held: bool = others_hold, resource: str = resource) -> None:
                assert await other.break_lock(resource) is not None
                if held:
                    await acquire(other, resource, "b")

            faulty.before_commit = on_call(2, ends)
            locking = self.locking(faulty)
            with raises(LockTimeoutError):
                await acquire(locking, resource, "a")
            held = await holder(store, resource)
            assert (held is not None) == others_hold
            assert len(await fences(store, resource)) == others_hold

    @case
    async def test_a_namesake_is_not_oneself(self) -> None:
        """The request is lost, and another process under the same client id gets the lock: its, and nobody else's."""
        store = self.open()
        twin = self.locking(store)
        faulty = self.faulty(store, Fault.LOST_REQUEST)
        faulty.before_commit = on_call(2, partial(_acquired, twin))
        with raises(LockTimeoutError):
            await acquire(self.locking(faulty), client_id="a")
        late = self.faulty(store, Fault.DELAYED)
        late.before_commit = on_call(2, partial(_acquired, twin, "another"))
        with raises(LockTimeoutError):
            await acquire(self.locking(late), "another", "a")
        assert [type(result) for result in await self._deliver(late)] == [Refused]

    @case
    async def test_what_was_not_sent_holds_nothing(self) -> None:
        store = self.open()
        faulty = self.faulty(store, Fault.UNAVAILABLE)
        with raises(StoreUnavailableError):
            await acquire(self.locking(faulty), client_id="a")
        await self._free(store, "nothing was sent")

    @case
    async def test_what_is_never_answered_holds_nothing(self) -> None:
        store = self.open()
        silent = self.faulty(store, *NEVER_ANSWERED)
        with raises(StoreUnavailableError):
            await acquire(self.locking(silent), client_id="a")
        await self._free(store, "no request arrived")
        deaf = self.faulty(store, Fault.LOST_ANSWER, *(Fault.LOST_REQUEST,) * 4)
        sent: list[Batch] = []

        async def silent_until_given_up(batch: Batch) -> None:
            sent.append(batch)
            if batch.token == sent[0].token and len(sent) > 1:
                deaf.then(Fault.LOST_REQUEST)

        deaf.before_commit = silent_until_given_up
        with raises(StoreUnavailableError):
            await acquire(self.locking(deaf), client_id="a")
        deaf.before_commit = None
        await self._free(store, "it was applied, given up and given back")

    @case
    async def test_a_copy_that_comes_when_all_is_given_up_holds_until_its_lease_ends(self) -> None:
        store = self.open()
        late = self.faulty(store, Fault.DELAYED, *NEVER_ANSWERED)
        with raises(StoreUnavailableError):
            await acquire(self.locking(late), client_id="a", ttl=SHORT)
        assert [type(result) for result in await self._deliver(late)] == [Committed]
        (ghost,) = await fences(store)
        other = self.locking(store)
        await self.expired(other)
        lock = await acquire(other, client_id="b")
        assert number(lock) > ghost
        assert await fences(store) == [number(lock)]

    @case
    async def test_who_is_cancelled_leaves_no_hold(self) -> None:
        """Before anything was applied, or after; where a copy comes later still, its lease ends."""
        store = self.open()
        for fault in (Fault.CANCELLED_BEFORE, Fault.CANCELLED_AFTER):
            faulty = self.faulty(store, fault)
            with raises(asyncio.CancelledError):
                await acquire(self.locking(faulty), client_id="a")
            await self._free(store, f"{fault}")
        late = self.faulty(store, Fault.CANCELLED_DELAYED)
        with raises(asyncio.CancelledError):
            await acquire(self.locking(late), client_id="a", ttl=SHORT)
        await self._deliver(late)
        other = self.locking(store)
        await self.expired(other)
        await acquire(other, client_id="b")

    @case
    async def test_who_is_cancelled_while_waiting_leaves_no_wait(self) -> None:
        """Whichever of its commits it is: joining the queue, or taking the lock when its turn has come."""
        store = self.open()
        other = self.locking(store)
        for fault in (Fault.CANCELLED_BEFORE, Fault.CANCELLED_AFTER):
            held = await acquire(other, client_id="b")
            faulty = self.faulty(store, fault)
            with raises(asyncio.CancelledError):
                await acquire(self.locking(faulty), client_id="a", wait=30)
            assert await waits(store) == [], f"{fault} while it joined the queue"
            await other.release(held)

            held = await acquire(other, client_id="b")
            turn = FaultyStore(store, _when_it_takes(fault))

            async def cancelled(turn: FaultyStore = turn) -> None:
                with raises(asyncio.CancelledError):
                    await acquire(self.locking(turn), client_id="a", wait=30)

            async def gives_way(held: Any = held) -> None:
                await self.waiting(store, 1)
                await other.release(held)

            await self.together([cancelled, gives_way])
            assert await waits(store) == [], f"{fault} while it took the lock"
            await self._free(store, f"{fault} while it took the lock")

    @case
    async def test_a_wait_is_settled(self) -> None:
        """Every commit of a waiting client loses its answer once, or its first copy."""
        store = self.open()
        other = self.locking(store)
        for fault in (Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.DELAYED):
            held = await acquire(other, client_id="b")
            faulty = FaultyStore(store, _once_each(fault))

            async def wait(faulty: FaultyStore = faulty) -> int:
                locking = self.locking(faulty)
                lock = await acquire(locking, client_id="a", wait=30)
                await locking.release(lock)
                return number(lock)

            async def gives_way(held: Any = held) -> int:
                await self.waiting(store, 1)
                await self.runtime.sleep(0.05)
                await other.release(held)
                return number(held)

            mine, before = await self.together([wait, gives_way])
            assert mine > before
            for result in await self._deliver(faulty):
                # A copy of the first wait makes a ghost, which counts for nothing after some seconds.
                assert isinstance(result, Refused) or fault is Fault.DELAYED
            assert await fences(store) == []
            await _without_ghosts(store)

    @case
    async def test_a_wait_that_others_changed_before_it_was_known_goes_on(self) -> None:
        """Its first document is written, the answer lost, and swept away by others before it is asked for again."""
        store = self.open()
        other = self.locking(store)
        held = await acquire(other, client_id="b")
        faulty = self.faulty(store, Fault.LOST_ANSWER)

        async def sweep() -> None:
            (document,) = await waits(store)
            await remove(store, document.key)

        faulty.before_commit = on_call(2, sweep)

        async def wait() -> int:
            return number(await acquire(self.locking(faulty), client_id="a", wait=30))

        async def gives_way() -> None:
            await self.until(partial(_has_wait_again, store, faulty), "the wait is there again")
            await other.release(held)

        mine, _ = await self.together([wait, gives_way])
        assert isinstance(mine, int)
        assert mine > number(held)

    @case
    async def test_a_release_is_settled(self) -> None:
        store = self.open()
        for faults in SETTLED:
            locking = self.locking(store)
            lock = await acquire(locking, client_id="a")
            faulty = self.faulty(store, *faults)
            await self.locking(faulty).release(lock)
            assert all(isinstance(result, Refused) for result in await self._deliver(faulty))
            assert await fences(store) == [], faults
            assert await holder(store) is None

    @case
    async def test_who_released_is_not_told_that_it_was_lost(self) -> None:
        """The answer is lost, and the next one has the lock before it is asked for again; or has had it."""
        store = self.open()
        other = self.locking(store)
        lock = await acquire(self.locking(store), client_id="a")
        faulty = self.faulty(store, Fault.LOST_ANSWER)
        faulty.before_commit = on_call(2, partial(_acquired, other))
        await self.locking(faulty).release(lock)
        (held,) = await fences(store)
        assert held == number(lock) + 1
        late = self.faulty(store, Fault.DELAYED)
        await self.locking(late).break_lock(R)
        assert all(isinstance(result, Refused) for result in await self._deliver(late))

    @case
    async def test_who_lost_it_is_told_though_the_answer_is_missing(self) -> None:
        store = self.open()
        for fault in (Fault.LOST_REQUEST, Fault.LOST_ANSWER, Fault.DELAYED):
            lock = await acquire(self.locking(store), client_id="a")
            other = self.locking(store)
            await other.break_lock(R)
            mine = await acquire(other, client_id="b")
            for step in ("release", "extend"):
                faulty = self.faulty(store, fault)
                with raises(LeaseLostError):
                    await getattr(self.locking(faulty), step)(lock)
                assert all(isinstance(result, Refused) for result in await self._deliver(faulty))
            assert await fences(store) == [number(mine)]
            await other.release(mine)

    @case
    async def test_a_renewal_is_settled_and_its_late_copy_is_harmless(self) -> None:
        store = self.open()
        locking = self.locking(store)
        for faults in SETTLED:
            lock = await acquire(locking, client_id="a")
            faulty = self.faulty(store, *faults)
            before = await holder(store)
            await self.locking(faulty).extend(lock)
            assert before is not None
            after = await holder(store)
            assert after is not None
            assert after.revision != before.revision, faults
            await locking.release(lock)
            next_one = await acquire(locking, client_id="b")
            theirs = await holder(store)
            assert all(isinstance(result, Refused) for result in await self._deliver(faulty)), "a ghost renewed"
            assert await holder(store) == theirs
            await locking.release(next_one)

    @case
    async def test_an_end_by_others_is_settled(self) -> None:
        """Break and cleanup, each once and only what was there."""
        store = self.open()
        for faults in SETTLED:
            lock = await acquire(self.locking(store), client_id="a", ttl=SHORT)
            await self.expired(self.locking(store))
            faulty = self.faulty(store, *faults)
            await self.locking(faulty).cleanup()
            assert await fences(store) == []
            mine = await acquire(self.locking(store), client_id="b")
            assert all(isinstance(result, Refused) for result in await self._deliver(faulty))
            assert await fences(store) == [number(mine)]
            assert number(mine) > number(lock)
            faulty = self.faulty(store, *faults)
            await self.locking(faulty).break_lock(R)
            again = await acquire(self.locking(store), client_id="c", ttl=LONG)
            assert all(isinstance(result, Refused) for result in await self._deliver(faulty))
            assert await fences(store) == [number(again)]
            await self.locking(store).break_lock(R)
        assert LEASE not in {key.kind for key in await lock_documents(store)}


def _when_it_takes(fault: Fault) -> Any:
    """Nothing happens to other commits than the first that writes a lease."""
    over: list[bool] = []

    def script(batch: Batch) -> Fault:
        takes = any(isinstance(operation, Put) and operation.key.kind == LEASE for operation in batch.operations)
        if not takes or over:
            return Fault.NONE
        over.append(True)
        return fault

    return script


def _once_each(fault: Fault) -> Any:
    """Each batch meets the fault when it is sent first."""
    seen: set[str] = set()

    def script(batch: Batch) -> Fault:
        if batch.token in seen:
            return Fault.NONE
        seen.add(batch.token)
        return fault

    return script


async def _acquired(locking: Locking, resource: str = R) -> None:
    await acquire(locking, resource, "a")


async def _has_wait_again(store: Any, faulty: FaultyStore) -> bool:
    return len(faulty.sent) >= 2 and len(await waits(store)) == 1


async def _without_ghosts(store: Any) -> None:
    for document in await waits(store):
        await remove(store, document.key)
