"""What only one of the two faces of task statuses can show: cancelled waits, threads, what is kept in memory."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc

import pytest

from eventstate import (
    AsyncJobTasks,
    ConfigurationError,
    CorruptionError,
    InvalidInputError,
    JobTasks,
    SchemaNewerError,
    StateMachinePersister,
    StoreUnavailableError,
    TaskUpdate,
    open_async_store,
    open_store,
)
from eventstate.core.documents import FeedPage
from eventstate.core.expected import ANY
from eventstate.jobs.migrations.steps import OWN
from eventstate.jobs.tasks.record import SCHEMA
from eventstate.testing.faults import Fault, FaultyStore

SHORT = 0.0005


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_wait_that_is_cancelled_takes_no_update_with_it(kind: str, sqlite_url: str) -> None:
    async def run() -> list[int]:
        async with open_async_store("memory://" if kind == "memory" else sqlite_url) as store:
            tasks = await AsyncJobTasks(store, "j", tasks=1)
            got: list[int] = []
            patience = SHORT

            async def write() -> None:
                for number in range(1, 41):
                    await tasks.reporter(0).report(number)
                    await asyncio.sleep(0)

            async with await tasks.subscribe() as updates:
                writing = asyncio.create_task(write())
                while len(got) < 40:
                    try:
                        got.append((await asyncio.wait_for(anext(updates), patience)).status.status)
                        patience = SHORT
                    except TimeoutError:
                        patience *= 1.2  # on a busy machine nothing at all can be done in a moment
                await writing
            assert [update async for update in updates] == []
            return got

    assert asyncio.run(run()) == list(range(1, 41))


@pytest.mark.backend("memory")
def test_cancelling_ends_a_subscription_at_once() -> None:
    async def run() -> None:
        async with open_async_store("memory://") as store:
            tasks = AsyncJobTasks(store, "j", tasks=1)
            updates = await tasks.subscribe()
            waiting = asyncio.create_task(anext(updates))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(waiting, 30)
            await updates.close()
            await updates.close()

    asyncio.run(run())


@pytest.mark.backend("memory")
def test_another_thread_ends_a_subscription() -> None:
    with open_store("memory://") as store, JobTasks(store, "j", tasks=1).subscribe() as updates:
        threading.Timer(0.1, updates.stop).start()
        assert list(updates) == []


@pytest.mark.backend("sqlite")
def test_a_subscriber_that_does_not_read_costs_no_memory(sqlite_url: str) -> None:
    text = "x" * 1000
    with open_store(f"{sqlite_url}?durability=off") as store:
        tasks = JobTasks(store, "j", tasks=1)
        reporter = tasks.reporter(0)
        with tasks.subscribe() as stalled:
            for number in range(2000):
                reporter.report(number, message=text)
            tracemalloc.start()
            found = [status_of(stalled.next(timeout=10)) for _ in range(1500)]
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert found == list(range(1500))
        assert peak < 1_000_000, "far less than the two megabytes that wait"


def status_of(update: TaskUpdate | None) -> int:
    assert update is not None
    return update.status.status


@pytest.mark.backend("memory")
def test_each_face_has_its_own_stores() -> None:
    async def run() -> None:
        async with open_async_store("memory://") as store:
            with pytest.raises(ConfigurationError, match="AsyncJobTasks"):
                JobTasks(store, "j", tasks=1)
            tasks = AsyncJobTasks(store, "j", tasks=1)
            with pytest.raises(ConfigurationError, match="await"):
                tasks.reporter(0)
            assert (await tasks.get()).status == 0
            assert tasks.tasks == 1

    asyncio.run(run())
    with open_store("memory://") as store, pytest.raises(ConfigurationError, match="JobTasks"):
        AsyncJobTasks(store, "j", tasks=1)


class SilentStore(FaultyStore):
    """A store whose feed gives no answer any more."""

    is_silent = False

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        if self.is_silent:
            raise StoreUnavailableError(store=self.url, detail="no connection")
        return await super().feed(after, limit=limit)


@pytest.mark.backend("memory")
def test_a_wait_is_no_longer_for_a_store_that_is_away() -> None:
    with open_store("memory://") as inner:
        store = SilentStore(inner)
        tasks = JobTasks(store, "j", tasks=1)
        with tasks.subscribe() as updates:
            assert updates.next(timeout=0) is None
            store.is_silent = True
            tasks.reporter(0).report(5)
            started = time.monotonic()
            for _ in range(3):
                assert updates.next(timeout=0.05) is None
            assert time.monotonic() - started < 10, "not the minutes that it has patience for"
            store.is_silent = False
            assert status_of(updates.next(timeout=10)) == 5


@pytest.mark.backend("memory")
@pytest.mark.parametrize("target", [0, -3, -(2**31)])
def test_a_barrier_that_waits_for_nothing_tells_what_is_there(target: int) -> None:
    with open_store("memory://") as store:
        tasks = JobTasks(store, "j", tasks=3)
        tasks.reporter(0).report(50)
        tasks.reporter(1).report(-3)
        barrier = tasks.synchronize(target=target, timeout=0)
        assert [status.status for status in barrier.statuses] == [50, -3, 0]
        assert barrier.complete == (target <= -3)


@pytest.mark.backend("memory")
def test_what_was_left_of_a_job_is_no_news_of_the_one_begun_anew() -> None:
    with open_store("memory://") as inner:
        store = FaultyStore(inner)
        old = JobTasks(store, "j", tasks=1)
        old.reporter(0).report(5)
        store.then(Fault.NONE, Fault.UNAVAILABLE)
        with pytest.raises(StoreUnavailableError):
            old.mark_deleted()
        anew = JobTasks(inner, "j", tasks=1)
        with anew.subscribe() as updates:
            old.mark_deleted()
            anew.reporter(0).report(6)
            update = updates.next(timeout=10)
            assert update is not None
            assert (update.deleted, update.status.status) == (False, 6)


@pytest.mark.backend("memory")
def test_what_is_no_policy_is_refused() -> None:
    with open_store("memory://") as store, pytest.raises(InvalidInputError, match="all_success"):
        JobTasks(store, "j", tasks=1).verdict("all_success")  # type: ignore[arg-type]


def test_a_job_of_a_later_release_is_refused(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        opened = JobTasks(store, "j", tasks=1)
        record = StateMachinePersister(store, governor="jobs/j")
        record.save_state("job", {"tasks": 1, "schema": 1, "migrated": 250}, expected=1)
        assert JobTasks(store, "j").tasks == 1, "what callers' migrations do is theirs"
        record.save_state("job", {"tasks": 1, "schema": 2}, expected=2)
        for number in (None, 1):
            with pytest.raises(SchemaNewerError) as caught:
                JobTasks(store, "j", tasks=number)
            assert (caught.value.found, caught.value.supported) == (2, 1)
        with pytest.raises(SchemaNewerError):
            opened.list()
        assert record.load("job").version == 3, "nothing was written"
        assert OWN[-1].version == SCHEMA, "jobs are created as the library's last migration leaves them"

    async def open_it() -> None:
        async with open_async_store(sqlite_url) as store:
            with pytest.raises(SchemaNewerError):
                await AsyncJobTasks(store, "j")

    asyncio.run(open_it())


@pytest.mark.backend("memory")
@pytest.mark.parametrize(
    "state", [{}, [1], {"status": "x"}, {"status": 2**40}, {"status": 1, "phase": "odd"}, {"status": 1, "outcome": 7}]
)
def test_what_something_else_recorded_is_a_typed_error_and_can_be_reported_over(state: object) -> None:
    with open_store("memory://") as store:
        tasks = JobTasks(store, "j", tasks=2)
        with tasks.subscribe() as updates:
            StateMachinePersister(store, governor=tasks.governor).save_state("main:0", state, expected=ANY)
            tasks.reporter(1).report(4)
            for call in (tasks.list, tasks.get, tasks.subscribe, lambda: updates.next(timeout=10)):
                with pytest.raises(CorruptionError, match="no status of a task"):
                    call()
            assert status_of(updates.next(timeout=10)) == 4, "it goes on after that"
        tasks.reporter(0).report(3)
        assert tasks.get().status == 3


@pytest.mark.backend("memory")
def test_what_is_no_record_of_a_job_is_a_typed_error() -> None:
    with open_store("memory://") as store:
        StateMachinePersister(store, governor="jobs/j").save_state("job", {"x": 1}, expected=ANY)
        with pytest.raises(CorruptionError, match="no record of a job"):
            JobTasks(store, "j", tasks=1)
