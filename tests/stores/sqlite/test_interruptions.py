"""Cancellation, interrupts and closing in the middle of commits: outcomes are found again, and the store goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest

from eventstate import (
    ANY,
    AsyncStateMachinePersister,
    Event,
    StateMachinePersister,
    StoreClosedError,
    open_async_store,
    open_store,
)
from eventstate.stores.sqlite.engine import Engine
from eventstate.stores.sqlite.writing import Writing
from tests.stores.sqlite.world import engine_of

pytestmark = pytest.mark.backend("sqlite")


@pytest.mark.parametrize("delay", [0, 0.0002, 0.001, 0.003])
def test_the_outcome_of_a_cancelled_append_is_found_again_by_its_key(sqlite_url: str, delay: float) -> None:
    async def main() -> Counter[str]:
        outcomes: Counter[str] = Counter()
        async with open_async_store(sqlite_url) as store:
            persister = AsyncStateMachinePersister(store)
            for number in range(30):
                before = number
                key = f"k{number}"
                call = persister.append("doc", Event("x", state=number), expected=before, idempotency_key=key)
                task = asyncio.create_task(call)
                await asyncio.sleep(delay)
                task.cancel()
                try:
                    await task
                    outcomes["done"] += 1
                except asyncio.CancelledError:
                    outcomes["cancelled"] += 1
                there = await persister.exists("doc") and (await persister.load("doc")).version == before + 1
                outcomes["written" if there else "not written"] += 1
                again = await persister.append("doc", Event("x", state=number), expected=before, idempotency_key=key)
                assert (again.version, again.data) == (before + 1, number)
            states = [t.to_state async for t in persister.history("doc")]
            assert states == list(range(30))
            assert (await persister.validate_consistency()).is_consistent
        return outcomes

    outcomes = asyncio.run(main())
    assert outcomes["done"] + outcomes["cancelled"] == 30


def test_a_cancelled_crowd_leaves_the_store_usable(sqlite_url: str) -> None:
    async def main() -> None:
        async with open_async_store(sqlite_url) as store:
            persister = AsyncStateMachinePersister(store)
            for round_ in range(5):
                tasks = [
                    asyncio.create_task(persister.append(f"d{n}", Event("x", state=round_), expected=ANY))
                    for n in range(40)
                ]
                await asyncio.sleep(0.001 * round_)
                for task in tasks[::2]:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(result, asyncio.CancelledError) for result in results[::2] if result is None)
                assert not any(isinstance(result, BaseException) for result in results[1::2])
            async with asyncio.timeout(60):
                await persister.append("after", Event("x", state=1), expected=0)
            assert (await persister.validate_consistency()).is_consistent

    asyncio.run(main())


def test_a_timeout_around_an_append_is_kept_within_reason(sqlite_url: str) -> None:
    async def main() -> None:
        async with open_async_store(sqlite_url) as store:
            persister = AsyncStateMachinePersister(store)
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await persister.append("doc", Event("x", state=1), expected=0)
            assert time.monotonic() - began < 30
            assert (await persister.append("doc", Event("x", state=2), expected=ANY)).version in (1, 2)

    asyncio.run(main())


@pytest.mark.parametrize("where", ["begin", "apply", "commit", "committed"])
def test_an_interrupt_in_the_leader_reaches_it_alone(
    sqlite_url: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Followers' commits are settled as if nothing had been; the leader's own is there or not."""
    interrupted = threading.Event()

    def once() -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def interrupting(original: Any, *, after: bool = False) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if not after:
                once()
            result = original(*args, **options)
            once()
            return result

        return call

    owner, name = {"begin": (Engine, "_begin"), "apply": (Writing, "apply")}.get(where, (Engine, "_finish"))
    outcomes: Counter[str] = Counter()
    mutex = threading.Lock()

    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        persister.save_state("warm", 1, expected=0)

        def work(number: int) -> None:
            try:
                persister.append(f"doc-{number}", Event("x", state=number), expected=0)
                outcome = "done"
            except KeyboardInterrupt:
                outcome = "interrupted"
            except BaseException as error:
                outcome = repr(error)
            with mutex:
                outcomes[outcome] += 1

        monkeypatch.setattr(owner, name, interrupting(getattr(owner, name), after=where == "committed"))
        engine = engine_of(store)
        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(12)]
        with engine.group.quiet:  # so that a group forms
            for thread in threads:
                thread.start()
            time.sleep(0.1)
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert outcomes == {"done": 11, "interrupted": 1}
        there = [s.id for s in persister.list_states(prefix="doc-").states]
        assert len(there) in (11, 12)
        assert persister.append("after", Event("x", state=1), expected=0).version == 1
        assert persister.validate_consistency().is_consistent
        assert persister.get_stats().max_version == 1


def test_closing_while_threads_commit(sqlite_url: str) -> None:
    for _ in range(5):
        store = open_store(sqlite_url)
        persister = StateMachinePersister(store)
        acknowledged: Counter[str] = Counter()
        odd: list[BaseException] = []

        def work(name: int, persister: StateMachinePersister = persister) -> None:
            for number in range(10_000):
                try:
                    persister.append(f"doc-{name}", Event("x", state=number), expected=ANY)
                except StoreClosedError:
                    return
                except BaseException as error:
                    odd.append(error)  # noqa: B023
                    return
                acknowledged[f"doc-{name}"] += 1  # noqa: B023

        before = persister.get_stats().total_events
        threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        store.close()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert odd == []
        with open_store(sqlite_url) as again:
            assert StateMachinePersister(again).get_stats().total_events == before + acknowledged.total()


def test_closing_while_tasks_commit_and_read(sqlite_url: str) -> None:
    async def main() -> None:
        store = open_async_store(sqlite_url)
        persister = AsyncStateMachinePersister(store)
        ended: Counter[str] = Counter()

        async def write(name: int) -> None:
            try:
                while True:
                    await persister.append(f"doc-{name}", Event("x", state=1), expected=ANY)
            except StoreClosedError:
                ended["closed"] += 1

        async def read() -> None:
            try:
                while True:
                    await persister.list_states()
            except StoreClosedError:
                ended["closed"] += 1

        tasks = [asyncio.create_task(write(name)) for name in range(8)] + [asyncio.create_task(read())]
        await asyncio.sleep(0.05)
        await store.aclose()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        assert ended == {"closed": 9}

    asyncio.run(main())


def test_another_store_goes_on_when_one_closes_in_the_middle(sqlite_url: str) -> None:
    """The leader may be asked for by a store whose runtime is just closing."""

    async def main() -> None:
        async with open_async_store(sqlite_url) as stays:
            persister = AsyncStateMachinePersister(stays)
            for _ in range(10):
                leaves = open_async_store(sqlite_url)
                other = AsyncStateMachinePersister(leaves)
                calls = [
                    (other if n % 2 else persister).append(f"doc-{n}", Event("x", state=1), expected=ANY)
                    for n in range(10)
                ]
                tasks = [asyncio.create_task(call) for call in calls]
                await asyncio.sleep(0)
                await leaves.aclose()
                results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
                assert all(r is None or not isinstance(r, BaseException) for r in results[::2])
                assert {type(r) for r in results[1::2] if isinstance(r, BaseException)} <= {StoreClosedError}

    asyncio.run(main())
