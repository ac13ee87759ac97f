"""What is written under a lock: accepted while it is held, refused for ever once it has moved on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from eventstate.core.documents import Check
from eventstate.core.expected import ANY
from eventstate.core.leases import Fence, lease_key
from eventstate.errors import ConfigurationError, InvalidInputError, LeaseLostError
from eventstate.machines.states import StateSnapshot
from eventstate.machines.together import AppendTo
from eventstate.testing.conformance.lock_suite import (
    ENDS,
    LONG,
    SHORT,
    LockSuite,
    R,
    acquire,
    fences,
    number,
)
from eventstate.testing.conformance.persisters import GOVERNOR, TALLIES, Added, Face, everything
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import Fault, FaultyStore, on_call

Call = Callable[[], Coroutine[Any, Any, Any]]


class FenceCases(LockSuite):
    """``fence=`` on everything that appends."""

    def _calls(self, persister: Face, fence: Any, turn: int) -> dict[str, Call]:
        """Every way to append, on streams that are there."""
        return {
            "append": partial(persister.append, TALLIES, "1", Added(f"a{turn}"), expected=ANY, fence=fence),
            "append_together": partial(
                persister.append_together,
                AppendTo(TALLIES, "1", Added(f"t{turn}"), expected=ANY),
                AppendTo(TALLIES, "2", Added(f"t{turn}"), expected=ANY),
                fence=fence,
            ),
            "execute": partial(persister.execute, TALLIES, "1", _decide, f"e{turn}", fence=fence),
            "save_state": partial(persister.save_state, "doc", {"turn": turn}, expected=ANY, fence=fence),
            "update_state": partial(persister.update_state, "doc", {"turn": -turn}, expected=ANY, fence=fence),
            "log_transition": partial(
                persister.log_transition,
                None,
                StateSnapshot(id="doc", data={"logged": turn}),
                "logged",
                expected=ANY,
                fence=fence,
            ),
            "delete_state": partial(persister.delete_state, f"gone-{turn}", expected=ANY, fence=fence),
        }

    async def _prepare(self, persister: Face, turn: int) -> None:
        await persister.append(TALLIES, "1", Added(f"before {turn}"), expected=ANY)
        await persister.save_state("doc", {"before": turn}, expected=ANY)
        await persister.save_state(f"gone-{turn}", {}, expected=ANY)

    @case
    async def test_everything_is_written_while_the_lock_is_held(self) -> None:
        store = self.open()
        locking, persister = self.locking(store), self.persister(store)
        lock = await acquire(locking)
        for turn, fence in enumerate((lock, lock.fence, [lock], (lock, lock.fence))):
            await self._prepare(persister, turn)
            for name, call in self._calls(persister, fence, turn).items():
                before = await everything(store)
                await call()
                assert await everything(store) != before, f"{name} wrote nothing"
                await locking.extend(lock)

    @case
    async def test_nothing_is_written_once_the_lock_has_moved_on(self) -> None:
        """Released, broken, taken over or cleaned up; by who knows the stream and by who reads it first."""
        store = self.open()
        locking, persister = self.locking(store), self.persister(store)
        other = await acquire(locking, "another")
        for turn, (end, ttl) in enumerate(ENDS.items()):
            await self._prepare(persister, turn)
            lock = await acquire(locking, client_id=end.__name__, ttl=ttl)
            await end(self, locking, lock)
            before = await everything(store)
            for face in (persister, self.persister(store)):
                for fence in (lock, lock.fence, [other, lock]):
                    for name, call in self._calls(face, fence, turn).items():
                        with raises(LeaseLostError) as caught:
                            await call()
                        assert (caught.error.resource, caught.error.token) == (R, lock.lock_token), name
                        assert await everything(store) == before, f"{name} wrote, though the lock is {end.__name__}"
            await locking.break_lock(R)
        await persister.append(TALLIES, "1", Added("x"), expected=ANY, fence=other)

    @case
    async def test_a_fence_is_judged_at_the_commit_itself(self) -> None:
        """The lock moves on between the last look and the commit."""
        store = self.open()
        locking = self.locking(store)
        for end, ttl in ENDS.items():
            lock = await acquire(locking, client_id=end.__name__, ttl=ttl)
            slow = FaultyStore(store)
            slow.before_commit = on_call(1, partial(end, self, locking, lock))
            before = await everything(store)
            with raises(LeaseLostError):
                await self.persister(slow).append(TALLIES, "1", Added("late"), expected=ANY, fence=lock)
            assert await everything(store) == before
            await locking.break_lock(R)

    @case
    async def test_a_late_copy_under_an_old_fence_is_dead(self) -> None:
        """Sent while the lock was held, it arrives when another has it."""
        store = self.open()
        locking = self.locking(store)
        lock = await acquire(locking, ttl=SHORT)
        late = self.faulty(store, Fault.DELAYED)

        async def moves_on() -> None:
            await self.expired(locking)
            await acquire(self.locking(store), client_id="b")

        persister = self.persister(store)
        await persister.append(TALLIES, "1", Added("early"), expected=0, fence=lock)
        late.before_commit = on_call(2, moves_on)
        with raises(LeaseLostError):
            await self.persister(late).append(TALLIES, "1", Added("late"), expected=ANY, fence=lock)
        while late.held:
            await late.deliver()
        assert await self.marks(persister) == ["early"]

    @case
    async def test_a_commit_made_under_the_lock_counts_though_it_is_asked_for_later(self) -> None:
        """Its answer was lost, then the lock moved on: it is committed, and its key says so."""
        store = self.open()
        locking = self.locking(store)
        for key in (None, "the key"):
            lock = await acquire(locking)
            lossy = self.faulty(store, Fault.LOST_ANSWER)
            lossy.before_commit = on_call(2, partial(_break, self, store))
            persister = self.persister(lossy)
            append = partial(persister.append, TALLIES, f"{key}", Added("a"), expected=0, fence=lock)
            written = await append(idempotency_key=key)
            assert written.version == 1
            if key is not None:
                assert (await append(idempotency_key=key)).version == 1
            with raises(LeaseLostError):
                await persister.append(TALLIES, f"{key}", Added("b"), expected=1, fence=lock)
            assert await self.marks(persister, f"{key}") == ["a"]

    @case
    async def test_renewals_are_not_in_the_way_of_commits(self) -> None:
        """Both as often as they can be made; not one is refused, however they fall together."""
        store = self.open()
        locking = self.locking(store)
        persister = self.persister(self.open())
        lock = await acquire(locking)
        noted = FaultyStore(store)
        renewing = self.locking(noted)
        over: list[bool] = []

        async def write() -> None:
            for version in range(self.rounds * 4):
                await persister.append(TALLIES, "1", Added(str(version)), expected=version, fence=lock)
                await self.runtime.sleep(0)
            over.append(True)

        async def renew() -> None:
            while not over:
                await renewing.extend(lock)
                await self.runtime.sleep(0)

        await self.together([write, renew])
        assert len(noted.sent) >= 2
        for sent in noted.sent:
            written = [operation.key for operation in sent.operations if not isinstance(operation, Check)]
            assert written == [lease_key(GOVERNOR, R)], "a renewal writes the lease, and no more"
        assert await fences(store) == [number(lock)]
        assert not lock.is_lost

    @case
    async def test_holders_take_turns_and_their_writes_do_not_mix(self) -> None:
        """Leases so short that many are lost: what is in the stream goes from one hold to the next, never back."""
        stores = self.open(), self.open(apart=True)
        refused: list[int] = []

        async def work(name: int) -> None:
            store = stores[name % 2]
            locking, persister = self.locking(store), self.persister(store)
            for turn in range(4):
                lock = await acquire(locking, client_id=f"{name}.{turn}", ttl=0.05, wait=60)
                for part in range(3):
                    if (name + turn) % 2:
                        await self.runtime.sleep(0.03)  # at times too long
                    try:
                        mark = f"{number(lock)}/{part}"
                        await persister.append(TALLIES, "1", Added(mark), expected=ANY, fence=lock)
                    except LeaseLostError:
                        refused.append(number(lock))
                        break
                await locking.release_all([lock])

        await self.together([partial(work, name) for name in range(4)])
        marks = [mark.split("/") for mark in await self.marks(self.persister(stores[0]))]
        numbers = [int(found) for found, _ in marks]
        assert numbers == sorted(numbers), "a hold wrote after a later one"
        assert [int(part) for _, part in marks] == [
            n for found in dict.fromkeys(numbers) for n in range(numbers.count(found))
        ]

    @case
    async def test_only_a_lock_is_a_fence(self) -> None:
        store = self.open()
        persister = self.persister(store)
        foreign = await acquire(self.locking(store, governor="other"))
        own = await acquire(self.locking(store))
        info = (await self.locking(store).page(None))[0][0]
        for wrong in ("1-1", 7, object(), own.lock_token, info, [own, "1-1"], (GOVERNOR, R, 1), {own}):
            for name, call in self._calls(persister, wrong, 0).items():
                with raises(InvalidInputError) as caught:
                    await call()
                assert "fence=" in str(caught.error), name
        for call in self._calls(persister, foreign, 0).values():
            with raises(ConfigurationError):
                await call()
        for made_up in (Fence(GOVERNOR, R, number(own) + 1), Fence(GOVERNOR, "never locked", 10**9 + 1)):
            with raises(LeaseLostError):
                await persister.append(TALLIES, "1", Added("x"), expected=ANY, fence=made_up)
        assert await everything(store) == {}

    @case
    async def test_all_of_several_locks_must_be_held(self) -> None:
        store = self.open()
        locking, persister = self.locking(store), self.persister(store)
        locks = [await acquire(locking, name, ttl=LONG) for name in "abc"]
        await persister.append(TALLIES, "1", Added("x"), expected=0, fence=locks)
        await locking.release(locks[1])
        with raises(LeaseLostError) as caught:
            await persister.append(TALLIES, "1", Added("y"), expected=1, fence=locks)
        assert caught.error.resource == "b"
        await persister.append(TALLIES, "1", Added("z"), expected=1, fence=[locks[0], locks[2]])
        assert await self.marks(persister) == ["x", "z"]


def _decide(_state: Any, mark: str) -> Added:
    return Added(mark)


async def _break(suite: LockSuite, store: Any) -> None:
    assert await suite.locking(store).break_lock(R) is not None
