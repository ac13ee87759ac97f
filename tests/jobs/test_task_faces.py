"""What only one of the two faces of task statuses can show: cancelled waits, threads, what is kept in memory."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc

import pytest

from eventstate import AsyncJobTasks, ConfigurationError, JobTasks, TaskUpdate, open_async_store, open_store


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_wait_that_is_cancelled_takes_no_update_with_it(kind: str, sqlite_url: str) -> None:
    async def run() -> list[int]:
        async with open_async_store("memory://" if kind == "memory" else sqlite_url) as store:
            tasks = await AsyncJobTasks(store, "j", tasks=1)
            got: list[int] = []

            async def write() -> None:
                for number in range(1, 41):
                    await tasks.reporter(0).report(number)
                    await asyncio.sleep(0)

            async with await tasks.subscribe() as updates:
                writing = asyncio.create_task(write())
                while len(got) < 40:
                    try:
                        got.append((await asyncio.wait_for(anext(updates), 0.0005)).status.status)
                    except TimeoutError:
                        continue
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
                await asyncio.wait_for(waiting, 1.0)
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
