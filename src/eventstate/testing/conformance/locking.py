"""Who holds a lock: one at a time, by the store's clock, under numbers that only grow."""

from __future__ import annotations

from functools import partial
from typing import Any

from eventstate.core.documents import LEASE, LOCK, Put, Require
from eventstate.core.leases import counter_key, decode_counter, fence_of, lease_key
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidIdError,
    InvalidInputError,
    LeaseLostError,
    LockAlreadyHeldError,
    LockTimeoutError,
)
from eventstate.testing.conformance.lock_suite import (
    ENDS,
    LONG,
    SHORT,
    LockSuite,
    R,
    acquire,
    acquire_all,
    attempt,
    fences,
    holder,
    lock_documents,
    number,
    waits,
)
from eventstate.testing.conformance.persisters import GOVERNOR, stored
from eventstate.testing.conformance.suite import case, committed, raises
from eventstate.testing.faults import FaultyStore
from eventstate.transactions.locks import DistributedLock, Request

HOUR_MICROS = 3_600_000_000


class LockingCases(LockSuite):
    """Taking, keeping and giving back."""

    @case
    async def test_a_lock_is_held_by_one_until_it_is_released(self) -> None:
        store = self.open()
        first, second = self.locking(store), self.locking(self.open(apart=True))
        lock = await acquire(first, client_id="a", purpose="count")
        assert (lock.resource, lock.client_id, lock.ttl, lock.purpose) == (R, "a", LONG, "count")
        assert not lock.is_lost
        with raises(LockTimeoutError) as caught:
            await acquire(second, client_id="b")
        assert (caught.error.holder, caught.error.resource, caught.error.client_id) == ("a", R, "b")
        assert await fences(store) == [number(lock)]
        await first.release(lock)
        assert lock.is_lost
        assert await fences(store) == []
        assert await holder(store) is None
        again = await acquire(second, client_id="b")
        assert number(again) > number(lock)
        assert await fences(store) == [number(again)]
        assert await waits(store) == []

    @case
    async def test_of_many_who_ask_at_once_one_gets_it(self) -> None:
        stores = self.open(), self.open(apart=True)
        lockings = [self.locking(stores[n % 2]) for n in range(self.writers)]
        last = 0
        for _ in range(self.rounds):
            outcomes = await self.world.settled(
                [partial(acquire, locking, client_id=str(n)) for n, locking in enumerate(lockings)]
            )
            won = [outcome for outcome in outcomes if isinstance(outcome, DistributedLock)]
            lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            assert len(won) == 1, f"{won} hold it, others: {lost}"
            assert all(isinstance(error, LockTimeoutError) for error in lost), lost
            assert number(won[0]) > last
            last = number(won[0])
            await lockings[outcomes.index(won[0])].release(won[0])

    @case
    async def test_nobody_is_inside_with_another(self) -> None:
        """Those who wait as well: each does what is only right when alone, with a pause in its middle."""
        stores = self.open(), self.open(apart=True)
        inside: list[str] = []
        numbers: list[int] = []

        async def work(name: int) -> None:
            locking = self.locking(stores[name % 2])
            for _ in range(4):
                lock = await acquire(locking, client_id=str(name), wait=60)
                inside.append(str(name))
                numbers.append(number(lock))
                await self.runtime.sleep(0.002)
                assert inside == [str(name)], "two hold one lock"
                inside.clear()
                await locking.release(lock)

        await self.together([partial(work, name) for name in range(self.writers)])
        assert numbers == sorted(set(numbers)), "numbers are not in the order of the holds"
        assert len(numbers) == 4 * self.writers
        assert await waits(stores[0]) == []

    # Numbers

    @case
    async def test_numbers_grow_whatever_ends_a_hold(self) -> None:
        store = self.open()
        locking = self.locking(store)
        seen: list[int] = []
        for turn in range(2):
            for end, ttl in ENDS.items():
                lock = await acquire(locking, client_id=f"{end.__name__} {turn}", ttl=ttl)
                seen.append(number(lock))
                assert await fences(store) == [seen[-1]], f"before the lock is {end.__name__}"
                await end(self, locking, lock)
                assert seen[-1] not in await fences(store), f"the fence stands though the lock is {end.__name__}"
                info = await locking.break_lock(R)
                if info is not None:
                    seen.append(fence_of(GOVERNOR, R, info.lock_token).number)
        assert seen == sorted(set(seen)), seen
        assert await fences(store) == []

    @case
    async def test_every_change_of_hands_replaces_the_counter(self) -> None:
        """And nothing else does: renewals leave the counter and the fence alone."""
        store = self.open()
        locking = self.locking(store)
        key = counter_key(GOVERNOR, R)
        revisions: list[str] = []

        async def moved() -> None:
            revisions.append((await stored(store, key)).revision)
            assert len(set(revisions)) == len(revisions), "the counter is what it was"

        for end, ttl in ENDS.items():
            lock = await acquire(locking, client_id=end.__name__, ttl=ttl)
            await moved()
            before = await lock_documents(store)
            await locking.extend(lock)
            after = await lock_documents(store)
            changed = {kind.kind for kind in before.keys() | after.keys() if before.get(kind) != after.get(kind)}
            assert changed == {LEASE}, "a renewal writes the lease, and no more"
            await end(self, locking, lock)
            await moved()
            if await locking.break_lock(R) is not None:
                await moved()

    @case
    async def test_what_was_read_before_a_change_takes_nothing(self) -> None:
        """A lock read as free, or as expired, and taken after others had it: refused, however it looks now."""
        store = self.open()
        locking, other = self.locking(store), self.locking(store)
        request = Request(R, "late", LONG, None)
        for ttl in (0.0, SHORT):
            for end in ENDS:
                held = None
                if ttl:
                    held = await acquire(other, client_id="before", ttl=ttl)
                    await self.expired(locking)
                state = await locking.locks.look(R)
                if held is not None:
                    await other.break_lock(R)
                lock = await acquire(other, client_id=end.__name__, ttl=ENDS[end])
                assert await locking.locks.take(state, request) is None, "taken from whoever has it"
                await end(self, other, lock)
                assert await locking.locks.take(state, request) is None, "taken by what it was before"
                await other.break_lock(R)
        state = await locking.locks.look(R)
        assert await locking.locks.take(state, request) is not None

    @case
    async def test_of_a_renewal_and_a_takeover_one_wins(self) -> None:
        store = self.open()
        holding, taking = self.locking(store), self.locking(self.open(apart=True))
        for turn in range(self.rounds):
            lock = await acquire(holding, client_id=f"a{turn}", ttl=0.05)
            await self.expired(taking)
            state = await taking.locks.look(R)
            renewed, taken = await self.world.settled(
                [
                    partial(holding.extend, lock),
                    partial(taking.locks.take, state, Request(R, f"b{turn}", LONG, None)),
                ]
            )
            if isinstance(renewed, BaseException):
                assert isinstance(renewed, LeaseLostError), renewed
                assert lock.is_lost
                assert isinstance(taken, DistributedLock), taken
                assert await fences(store) == [number(taken)]
            else:
                assert taken is None
                assert await fences(store) == [number(lock)]
            await taking.break_lock(R)

    @case
    async def test_of_many_who_end_a_hold_one_does(self) -> None:
        store = self.open()
        locking = self.locking(store)
        for turn in range(self.rounds):
            lock = await acquire(locking, client_id=str(turn), ttl=0.02)
            await self.expired(locking)
            others = [self.locking(store) for _ in range(3)]
            cleaned = await self.world.settled([partial(other.cleanup) for other in others])
            assert sum(count for count in cleaned if isinstance(count, int)) == 1, cleaned
            with raises(LeaseLostError):
                await locking.release(lock)

    # Time

    @case
    async def test_an_expired_lock_is_anybodys(self) -> None:
        store = self.open()
        locking, other = self.locking(store), self.locking(store)
        lock = await acquire(locking, ttl=SHORT)
        await self.expired(other)
        taken = await acquire(other, client_id="b")
        assert number(taken) > number(lock)
        for call in (partial(locking.extend, lock), partial(locking.release, lock)):
            with raises(LeaseLostError) as caught:
                await call()
            assert (caught.error.resource, caught.error.token) == (R, lock.lock_token)
        assert lock.is_lost
        with raises(LeaseLostError):
            lock.check()
        assert await fences(store) == [number(taken)]
        await other.extend(taken)

    @case
    async def test_an_expired_lock_that_nobody_took_goes_on(self) -> None:
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking, ttl=SHORT)
        await self.expired(locking)
        await self.until(_lost(lock), "it is taken for lost by its own process")
        lock.ttl, lock.lease = LONG, lock.lease._replace(ttl=int(LONG * 1e6))
        await locking.extend(lock)
        assert not lock.is_lost
        lock.check()
        with raises(LockTimeoutError):
            await acquire(self.locking(store), client_id="b")
        await locking.release(lock)

    @case
    async def test_an_extended_lock_lasts(self) -> None:
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking, ttl=2.0)
        first = lock.expires_at
        for _ in range(6):
            await self.runtime.sleep(0.4)
            await locking.extend(lock)
            with raises(LockTimeoutError):
                await acquire(self.locking(store), client_id="b")
        assert lock.expires_at > first
        (info,), _ = await locking.page(None)
        assert info.renewals == 6
        await locking.release(lock)

    @case
    async def test_only_the_clock_of_the_store_ends_a_lease(self) -> None:
        """Whatever a process takes for the time: an hour ahead it ends nothing early, an hour behind nothing late."""
        store = self.open()
        runtime = self.world.steered()
        jumping = FaultyStore(store, runtime=runtime)
        ours, theirs = self.locking(jumping), self.locking(store)
        lock = await acquire(theirs, client_id="a")
        for runtime.shift in (HOUR_MICROS, -HOUR_MICROS):
            with raises(LockTimeoutError):
                await acquire(ours, client_id="b")
            assert await ours.cleanup() == 0
            (info,), _ = await ours.page(None)
            assert 0 < info.expires_in <= LONG
        await theirs.release(lock)
        for before in (HOUR_MICROS, -HOUR_MICROS):
            runtime.shift = before
            mine = await acquire(ours, client_id="b")
            for runtime.shift in (0, HOUR_MICROS, -HOUR_MICROS):
                assert not mine.is_lost
            with raises(LockTimeoutError):
                await acquire(theirs, client_id="a")
            await ours.release(mine)
        short = await acquire(theirs, client_id="a", ttl=SHORT)
        runtime.shift = -HOUR_MICROS
        await self.expired(ours)
        assert number(await acquire(ours, client_id="b")) > number(short)

    # Once more by the same client

    @case
    async def test_who_holds_it_gets_it_again_only_when_asked_for(self) -> None:
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking, client_id="a")
        with raises(LockAlreadyHeldError) as caught:
            await acquire(locking, client_id="a", wait=5)
        assert (caught.error.resource, caught.error.client_id) == (R, "a")
        with raises(LockTimeoutError):
            await acquire(locking, client_id="b", reentrant=True)
        with raises(LockTimeoutError):  # another process under the same name is another holder
            await acquire(self.locking(store), client_id="a", reentrant=True)
        again = await acquire(locking, client_id="a", reentrant=True)
        assert again is lock
        await locking.release(again)
        assert not lock.is_lost
        with raises(LockTimeoutError):
            await acquire(self.locking(store), client_id="b")
        await locking.release(R, lock.lock_token)
        assert await fences(store) == []
        await acquire(self.locking(store), client_id="b")

    @case
    async def test_a_lost_lock_is_not_held_once_more(self) -> None:
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking, client_id="a", ttl=SHORT)
        await self.until(_lost(lock), "its time is over")
        again = await acquire(locking, client_id="a", reentrant=True, wait=5)
        assert number(again) > number(lock)
        for reentrant in (True, False):  # broken by others, and nobody has told this process
            await self.locking(store).break_lock(R)
            third = await acquire(locking, client_id="a", reentrant=reentrant)
            assert number(third) > number(again)
            assert again.is_lost
            again = third

    # By resource and token

    @case
    async def test_resource_and_token_stand_for_the_lock(self) -> None:
        """In any process: what one acquired another extends and releases."""
        store = self.open()
        locking, other = self.locking(store), self.locking(store)
        lock = await acquire(locking, client_id="a", ttl=5.0, purpose="p")
        extended = await other.extend(R, lock.lock_token)
        assert (extended.client_id, extended.ttl, extended.purpose) == ("a", 5.0, "p")
        assert extended.fence == lock.fence
        for wrong in ("1-99", f"{lock.lock_token}0", "7-1"):
            with raises(LeaseLostError):
                await other.release(R, wrong)
            with raises(LeaseLostError):
                await other.extend(R, wrong)
        with raises(LeaseLostError):
            await other.release("another", lock.lock_token)
        await other.release(R, lock.lock_token)
        assert await fences(store) == []
        for call in (partial(locking.release, lock), partial(other.release, R, lock.lock_token)):
            with raises(LeaseLostError):
                await call()

    # Several at once

    @case
    async def test_several_locks_come_all_or_none(self) -> None:
        store = self.open()
        locking, other = self.locking(store), self.locking(store)
        locks = await acquire_all(locking, ["c", "a", "b", "a"])
        assert [lock.resource for lock in locks] == ["c", "a", "b"], "in the order asked for"
        assert [number(lock) % 10**9 for lock in locks] == [1, 1, 1]
        await locking.release_all(locks)
        taken = await acquire(other, "b", "b")
        with raises(LockTimeoutError) as caught:
            await acquire_all(locking, ["c", "b", "a"])
        assert (caught.error.resource, caught.error.holder) == ("b", "b")
        for resource in "ac":
            assert await holder(store, resource) is None, f"{resource} is still held"
        await other.release(taken)
        own = await acquire(locking, "b", "a")
        with raises(LockAlreadyHeldError):
            await acquire_all(locking, ["a", "b"])
        assert await holder(store, "a") is None
        assert not own.is_lost
        assert await acquire_all(locking, []) == []

    @case
    async def test_several_locks_in_any_order_never_stand_still(self) -> None:
        store = self.open()
        orders = (["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"], ["c", "a"])
        inside: dict[str, int] = {}

        async def work(client: int) -> None:
            locking = self.locking(store)
            for _ in range(3):
                locks = await acquire_all(locking, orders[client], str(client), wait=60)
                for lock in locks:
                    assert inside.setdefault(lock.resource, client) == client
                await self.runtime.sleep(0.002)
                for lock in locks:
                    del inside[lock.resource]
                await locking.release_all(locks)

        await self.together([partial(work, client) for client in range(len(orders))])
        assert {key.kind for key in await lock_documents(store)} == {LOCK}, "something is left behind"

    # Seeing, breaking, cleaning up

    @case
    async def test_locks_are_listed_as_they_are(self) -> None:
        store = self.open()
        locking = self.locking(store)
        names = ["a/b%!", "é:1", "r", "__x__", ".."]
        locks = {name: await acquire(locking, name, f"by {name}", purpose=f"for {name}") for name in names}
        expired = await acquire(locking, "short", "s", ttl=SHORT)
        await self.expired(locking, "short")
        await locking.release(await acquire(locking, "free"))
        infos, after = await locking.page(None)
        assert after is None
        assert [info.resource for info in infos] == sorted([*names, "short"])
        for info in infos:
            lock = locks.get(info.resource, expired)
            assert (info.client_id, info.purpose) == (lock.client_id, lock.purpose)
            assert (info.lock_token, info.renewals, info.waiting) == (lock.lock_token, 0, 0)
            assert info.is_expired == (info.resource == "short")
            assert abs((info.acquired_at - lock.acquired_at).total_seconds()) < 30
        assert await self.locking(store, governor="other").page(None) == ([], None)

    @case
    async def test_more_locks_than_a_page(self) -> None:
        if self.rounds < 12:  # where each commit takes long
            return
        store = self.open()
        locking = self.locking(store)
        names = sorted(f"r{n}" for n in range(230))
        for name in names:
            await acquire(locking, name)
        found: list[str] = []
        after: str | None = None
        while True:
            infos, after = await locking.page(after)
            found += [info.resource for info in infos]
            if after is None:
                break
        assert found == names

    @case
    async def test_a_broken_lock_is_void_at_once(self) -> None:
        store = self.open()
        locking, other = self.locking(store), self.locking(store)
        assert await other.break_lock(R) is None
        lock = await acquire(locking, client_id="a", purpose="p")
        info = await other.break_lock(R)
        assert info is not None
        assert (info.client_id, info.lock_token, info.purpose) == ("a", lock.lock_token, "p")
        assert await other.break_lock(R) is None
        taken = await acquire(other, client_id="b")
        with raises(LeaseLostError):
            await locking.extend(lock)
        with raises(LeaseLostError):
            await locking.release(lock)
        assert await fences(store) == [number(taken)], "who had lost it ended the hold of another"

    @case
    async def test_cleaning_up_ends_what_is_over_and_no_more(self) -> None:
        store = self.open()
        locking = self.locking(store)
        kept = await acquire(locking, "kept")
        for name in ("x", "y", "z"):
            await acquire(locking, name, ttl=SHORT)
            await self.expired(locking, name)
        assert await locking.cleanup() == 3
        assert await locking.cleanup() == 0
        assert {key.id for key in await lock_documents(store) if key.kind == LEASE} == {"kept"}
        await locking.extend(kept)
        for name in ("x", "y", "z"):
            assert number(await acquire(locking, name, "next")) % 10**9 == 2

    @case
    async def test_governors_have_their_own_locks(self) -> None:
        store = self.open()
        one, other = self.locking(store, governor="one"), self.locking(store, governor="other")
        lock = await acquire(one)
        await acquire(other)
        with raises(ConfigurationError):
            await other.release(lock)
        with raises(ConfigurationError):
            await other.extend(lock)
        assert not lock.is_lost
        await one.release(lock)
        assert await fences(store, governor="one") == []
        assert len(await fences(store, governor="other")) == 1

    # What can't be

    @case
    async def test_bad_input_is_told_before_anything_is_written(self) -> None:
        store = self.open()
        locking = self.locking(store)
        take: Any = acquire
        take_all: Any = acquire_all
        anything: Any = locking
        for wrong in ("", None, 7, "a\nb", "x" * 2000, "\ud800"):
            for call in (partial(take, locking, wrong), partial(take, locking, R, wrong)):
                with raises(InvalidIdError):
                    await call()
            with raises(InvalidIdError):
                await anything.break_lock(wrong)
        for wrong in (0, -1, 1e-9, float("nan"), float("inf"), 8 * 86_400, "5", None, True):
            with raises(InvalidInputError):
                await take(locking, ttl=wrong)
        for wrong in (-1, float("nan"), float("inf"), "5", None, True):
            with raises(InvalidInputError):
                await take(locking, wait=wrong)
            for resources in (["a"], []):
                with raises(InvalidInputError):
                    await take_all(locking, resources, wait=wrong)
        for wrong in (7, b"x", "\ud800"):
            with raises(InvalidInputError):
                await take(locking, purpose=wrong)
        with raises(InvalidInputError):
            await take_all(locking, "abc")
        with raises(InvalidIdError):
            await take_all(locking, ["a", ""])
        for call in (anything.release, anything.extend):
            with raises(InvalidInputError):
                await call(R)
            for wrong in ("", "1", "x-1", "1-x", "0-1", "-1-1", "1--1", "1-1-1", "1_0-1", " 1-1", "1-01", 7, b"1-1"):
                with raises(InvalidInputError):
                    await call(R, wrong)
            with raises(InvalidIdError):
                await call(None, "1-1")
        governors: Any = partial(self.locking, store)
        for wrong in ("", None, "a\nb"):
            with raises(InvalidIdError):
                governors(governor=wrong)
        assert await lock_documents(store) == {}

    @case
    async def test_damaged_documents_are_told(self) -> None:
        store = self.open()
        locking = self.locking(store)
        for key in (counter_key(GOVERNOR, R), lease_key(GOVERNOR, R)):
            for body in (b"\xff", b"[]", b'{"t":"x"}'):
                await acquire(locking, client_id="a")
                before = await stored(store, key)
                await committed(store, Put(key, body, Require.EXISTS))
                error = await attempt(acquire(self.locking(store), client_id="b"))
                assert isinstance(error, CorruptionError | LockTimeoutError), error
                if key.kind == LEASE:
                    assert isinstance(error, CorruptionError)
                    with raises(CorruptionError):
                        await locking.page(None)
                await committed(store, Put(key, before.body, Require.EXISTS))
                await locking.break_lock(R)

    @case
    async def test_a_free_lock_is_kept_for_nobody_who_has_left(self) -> None:
        """Released for somebody whose wait was over just then: the next one gets it without waiting."""
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking)
        key = counter_key(GOVERNOR, R)
        await locking.release(lock)
        body = (await stored(store, key)).body
        await committed(store, Put(key, body[:-1] + b',"next":"nobody"}', Require.EXISTS))
        assert decode_counter(await stored(store, key)).next == "nobody"
        await acquire(self.locking(store), client_id="b")


def _lost(lock: DistributedLock) -> Any:
    async def is_lost() -> bool:
        return lock.is_lost

    return is_lost
