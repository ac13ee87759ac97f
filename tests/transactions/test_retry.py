"""Trying again: what for, how often, with what pauses, and when it ends. Time is the test's own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from eventstate import (
    CommitUnknownError,
    LeaseLostError,
    LockTimeoutError,
    RetryPolicy,
    StoreUnavailableError,
    TransactionConflictError,
    TransactionManager,
    open_store,
)
from eventstate.core.retrying import Fate, fate_of
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.transactions.retry import retried

CONFLICT = TransactionConflictError(keys=("document g/a",))
AWAY = StoreUnavailableError(store="s", detail="away")
UNKNOWN = CommitUnknownError(token="t")


class OwnTime(BlockingRuntime):
    """Sleeps take no time, and chance is what the test says."""

    def __init__(self, chance: float = 1.0) -> None:
        self.pauses: list[float] = []
        self.chance = chance
        self.elapsed = 0.0

    def monotonic(self) -> float:
        return self.elapsed

    def random(self) -> float:
        return self.chance

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.elapsed += seconds


class Attempts:
    """Fails with these errors, one each, and then succeeds."""

    def __init__(self, *errors: BaseException, runtime: OwnTime | None = None, takes: float = 0.0) -> None:
        self._errors = list(errors)
        self._runtime = runtime
        self._takes = takes
        self.numbers: list[int] = []

    async def __call__(self, number: int) -> str:
        self.numbers.append(number)
        if self._runtime is not None:
            self._runtime.elapsed += self._takes
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def run(attempts: Attempts, policy: RetryPolicy, runtime: OwnTime) -> Any:
    return drive(retried(attempts, policy, runtime))


def test_success_needs_no_second_attempt() -> None:
    runtime, attempts = OwnTime(), Attempts()
    assert run(attempts, RetryPolicy(), runtime) == "done"
    assert (attempts.numbers, runtime.pauses) == ([1], [])


@pytest.mark.parametrize("failures", range(1, 7))
def test_attempts_are_counted_and_numbered(failures: int) -> None:
    errors = [TransactionConflictError(keys=(str(number),)) for number in range(failures)]
    runtime, attempts = OwnTime(), Attempts(*errors)
    if failures < 5:
        assert run(attempts, RetryPolicy(), runtime) == "done"
        assert attempts.numbers == list(range(1, failures + 2))
    else:
        with pytest.raises(TransactionConflictError) as caught:
            run(attempts, RetryPolicy(), runtime)
        assert caught.value is errors[4], "the last error is raised, as it is"
        assert attempts.numbers == [1, 2, 3, 4, 5]


def test_one_attempt_is_one_attempt() -> None:
    runtime, attempts = OwnTime(), Attempts(CONFLICT)
    with pytest.raises(TransactionConflictError):
        run(attempts, RetryPolicy(attempts=1), runtime)
    assert (attempts.numbers, runtime.pauses) == ([1], [])


def test_pauses_double_up_to_the_cap() -> None:
    runtime, attempts = OwnTime(), Attempts(*[CONFLICT] * 9)
    run(attempts, RetryPolicy(attempts=10, initial=0.01, cap=0.1), runtime)
    assert runtime.pauses == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_pauses_are_by_chance_over_the_whole_range(chance: float) -> None:
    runtime, attempts = OwnTime(chance), Attempts(*[CONFLICT] * 4)
    run(attempts, RetryPolicy(), runtime)
    assert runtime.pauses == pytest.approx([chance * bound for bound in (0.01, 0.02, 0.04, 0.08)])


def test_no_attempt_begins_after_the_deadline() -> None:
    for takes, expected in ((0.0, 10), (3.0, 3), (100.0, 1)):
        runtime = OwnTime()
        attempts = Attempts(*[CONFLICT] * 100, runtime=runtime, takes=takes)
        with pytest.raises(TransactionConflictError):
            run(attempts, RetryPolicy(attempts=1000, initial=1.0, cap=1.0, timeout=10.0), runtime)
        assert len(attempts.numbers) == expected
        assert runtime.elapsed - takes < 10.0, "a pause that leads beyond the deadline is not made"


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        LeaseLostError(resource="r", token="1-1"),
        UNKNOWN,
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_end_it_at_once(error: BaseException, number: int) -> None:
    runtime, attempts = OwnTime(), Attempts(*[CONFLICT, AWAY, CONFLICT][: number - 1], error)
    with pytest.raises(type(error)) as caught:
        run(attempts, RetryPolicy(), runtime)
    assert caught.value is error
    assert len(attempts.numbers) == number


def test_transient_errors_and_conflicts_are_alike() -> None:
    late = LockTimeoutError(resource="r", client_id="c", waited=1.0)
    attempts = Attempts(AWAY, CONFLICT, late, AWAY)
    assert run(attempts, RetryPolicy(), OwnTime()) == "done"


# Through a manager


@pytest.mark.backend("memory")
def test_the_operation_sees_which_attempt_it_is() -> None:
    seen: list[tuple[int, str]] = []
    with open_store("memory://") as store:
        faulty = FaultyStore(store, [Fault.UNAVAILABLE] * 3)

        def operation(tx: Any) -> None:
            seen.append((tx.attempt, tx.id))
            tx.put_document("c", "a", 1)

        TransactionManager(faulty).execute_transaction(operation)
    assert [number for number, _ in seen] == [1, 2, 3, 4]
    assert len({id for _, id in seen}) == 4, "each attempt has an id of its own"


@pytest.mark.backend("memory")
def test_a_policy_for_one_call_goes_before_that_of_the_manager() -> None:
    runs: list[int] = []
    with open_store("memory://") as store:
        manager = TransactionManager(FaultyStore(store, [Fault.UNAVAILABLE] * 100), retry=RetryPolicy(attempts=2))

        def operation(tx: Any) -> None:
            runs.append(1)
            tx.put_document("c", "a", 1)

        for policy, expected in ((None, 2), (RetryPolicy(attempts=1), 1), (RetryPolicy(attempts=4), 4)):
            runs.clear()
            with pytest.raises(StoreUnavailableError):
                manager.execute_transaction(operation, retry=policy)
            assert len(runs) == expected


@pytest.mark.backend("memory")
def test_a_lock_that_is_not_to_be_had_is_waited_for_again() -> None:
    with open_store("memory://") as store:
        manager = TransactionManager(store)
        other = TransactionManager(store)
        held = other.acquire_lock("r", "other")

        def operation(tx: Any) -> int:
            if tx.attempt == 3:
                other.release_lock(held)
            lock = manager.acquire_lock("r", f"me-{tx.attempt}", wait=0 if tx.attempt < 3 else 5)
            manager.release_lock(lock)
            tx.put_document("c", "a", tx.attempt)
            return tx.attempt

        assert manager.execute_transaction(operation) == 3


@pytest.mark.backend("memory")
def test_an_error_that_went_through_the_operation_keeps_its_fate() -> None:
    """An own error raised from one of the library is the operation's; one that passes through is not."""

    class Mine(Exception):
        pass

    runs: list[int] = []
    with open_store("memory://") as store:
        manager = TransactionManager(store)

        def wraps(tx: Any) -> None:
            runs.append(1)
            try:
                raise AWAY
            except StoreUnavailableError as error:
                raise Mine from error

        def passes(tx: Any) -> None:
            runs.append(1)
            raise AWAY

        with pytest.raises(Mine):
            manager.execute_transaction(wraps)
        assert len(runs) == 1
        runs.clear()
        with pytest.raises(StoreUnavailableError) as caught:
            manager.execute_transaction(passes)
        assert caught.value is AWAY
        assert len(runs) == 5
    assert fate_of(AWAY) is Fate.TRANSIENT


@pytest.mark.backend("memory")
def test_threads_that_collide_all_come_through_with_five_attempts() -> None:
    """Taking turns makes that likely enough to rely on, within one manager."""
    with open_store("memory://") as store:
        manager = TransactionManager(store)
        errors: list[BaseException] = []

        def count(tx: Any) -> None:
            tx.put_document("c", "n", (tx.get_document("c", "n") or 0) + 1)

        def work() -> None:
            try:
                for _ in range(50):
                    manager.execute_transaction(count)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert manager.execute_transaction(lambda tx: tx.get_document("c", "n")) == 400
