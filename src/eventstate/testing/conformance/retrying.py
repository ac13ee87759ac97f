"""What transactions try again, how often, and that many of them come through."""

from __future__ import annotations

from functools import partial

from eventstate.core.retrying import RetryPolicy
from eventstate.errors import (
    DeadlockDetectedError,
    InvalidInputError,
    StateNotFoundError,
    StoreUnavailableError,
    TransactionConflictError,
)
from eventstate.testing.conformance.doubt import LOST_ANSWER, UNAVAILABLE
from eventstate.testing.conformance.persisters import TALLIES, Added
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.conformance.undertaking import (
    NOTES,
    ORDERS,
    PATIENT,
    Sequence,
    TransactionSuite,
    Tx,
    count_up,
    get_note,
    put_note,
)


class PersistenceCases(TransactionSuite):
    """What is tried again, and how often."""

    @case
    async def test_conflicts_are_retried_as_often_as_the_policy_says(self) -> None:
        store = self.open()
        other = self.manager(store)
        for attempts in (1, 2, 5):
            faulty = self.faulty(store)
            policy = RetryPolicy(attempts=attempts) if attempts != 5 else None  # 5 is what there is without a policy
            manager = self.manager(faulty, retry=policy)
            happening = Sequence(partial(other.meanwhile, count_up, "n"), times=attempts)

            async def operation(tx: Tx, happening: Sequence) -> None:
                value = await get_note(tx, "n") or 0
                await happening.here()
                assert tx.attempt == happening.attempts
                await tx.put_document(NOTES, "n", value + 100)

            with raises(TransactionConflictError) as caught:
                await manager.run(operation, happening)
            assert happening.attempts == attempts
            assert any("notes/n" in key for key in caught.error.keys) or store.capabilities.feed_order == "stream"
        assert await self.notes(store) == {"n": 8}

    @case
    async def test_one_who_comes_through_at_last_does_so_once(self) -> None:
        store = self.open()
        other = self.manager(store)
        happening = Sequence(partial(other.meanwhile, count_up, "n"), times=4)

        async def operation(tx: Tx) -> int:
            value = await get_note(tx, "n") or 0
            await happening.here()
            await tx.put_document(NOTES, "n", value + 100)
            return value

        assert await self.manager(self.faulty(store)).run(operation) == 4
        assert await self.notes(store) == {"n": 104}

    @case
    async def test_deadlocks_and_a_store_that_is_away_are_tried_again(self) -> None:
        store = self.open()
        faulty = self.faulty(store, UNAVAILABLE, UNAVAILABLE)
        manager = self.manager(faulty)
        assert await manager.run(put_note, "a", 1) == 1
        errors = [DeadlockDetectedError(resource="r", client_id="c", cycle=("c", "d"))]

        async def operation(tx: Tx) -> None:
            await tx.put_document(NOTES, "b", 1)
            if errors:
                raise errors.pop()

        await manager.run(operation)
        assert await self.notes(store) == {"a": 1, "b": 1}

    @case
    async def test_the_deadline_ends_it(self) -> None:
        store = self.open()
        faulty = self.faulty(store, *(UNAVAILABLE,) * 1000)
        runtime = faulty.runtime
        began = runtime.monotonic()
        policy = RetryPolicy(attempts=1000, initial=1.0, cap=1.0, timeout=10.0)
        with raises(StoreUnavailableError):
            await self.manager(faulty, retry=policy, keep_records=False).run(put_note, "a", 1)
        assert len(faulty.sent) < 200
        assert 5 < runtime.monotonic() - began <= 11

    @case
    async def test_permanent_errors_are_not_tried_again(self) -> None:
        store = self.open()
        for problem in (ValueError("v"), StateNotFoundError(governor="g", state_id="s"), InvalidInputError("i")):
            runs: list[int] = []

            async def operation(tx: Tx, runs: list[int], problem: Exception) -> None:
                runs.append(1)
                await tx.put_document(NOTES, "a", 1)
                raise problem

            with raises(type(problem)) as caught:
                await self.manager(store).run(operation, runs, problem)
            assert caught.error is problem
            assert len(runs) == 1
        assert await self.notes(store) == {}


class CrowdCases(TransactionSuite):
    """Many at the same time, each with a manager of its own or all with one."""

    @case
    async def test_nothing_is_lost_among_many(self) -> None:
        store = self.open()
        shared = self.manager(store, retry=PATIENT)
        managers = [shared, shared, *(self.manager(store, retry=PATIENT) for _ in range(2))]

        async def both(tx: Tx, mark: str) -> None:
            await count_up(tx, "n")
            await tx.append(TALLIES, "1", Added(mark))

        async def work(number: int) -> None:
            for turn in range(4):
                await managers[number].run(both, f"{number}.{turn}")

        await self.together([partial(work, number) for number in range(len(managers))])
        assert await self.notes(store) == {"n": 16}
        assert len(set(await self.marks(self.persister(store)))) == 16

    @case
    async def test_of_those_who_take_the_last_one_one_does(self) -> None:
        store = self.open()
        managers = [self.manager(store, retry=PATIENT) for _ in range(4)]

        async def take(tx: Tx, name: str) -> bool:
            if len(await tx.list_documents(ORDERS)) >= 2:
                return False
            await tx.put_document(ORDERS, name, 1)
            return True

        outcomes = await self.together([partial(m.run, take, str(n)) for n, m in enumerate(managers)])
        assert sum(outcomes) == 2

    @case
    async def test_lost_answers_among_many_neither_lose_nor_double(self) -> None:
        store = self.open()

        async def work() -> None:
            manager = self.manager(self.faulty(store, *(LOST_ANSWER,) * 8), retry=PATIENT)
            for _ in range(3):
                await manager.run(count_up, "n")

        await self.together([work] * 3)
        assert await self.notes(store) == {"n": 9}
