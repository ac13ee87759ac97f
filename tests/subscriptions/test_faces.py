"""What only one of the two faces can show: cancelled waits, threads, what is kept in memory."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc

import pytest

from eventstate import (
    ANY,
    AsyncStateMachinePersister,
    AsyncSubscription,
    StateMachinePersister,
    Subscription,
    open_async_store,
    open_store,
)

EVENTS = 60
SHORT = 0.0005


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_wait_that_is_cancelled_takes_nothing_with_it(kind: str, sqlite_url: str) -> None:
    url = "memory://" if kind == "memory" else sqlite_url

    async def run() -> list[int]:
        async with open_async_store(url) as store:
            persister = AsyncStateMachinePersister(store)
            got: list[int] = []
            patience = SHORT

            async def write() -> None:
                for number in range(EVENTS):
                    await persister.save_state("one", number, expected=ANY)
                    await asyncio.sleep(0)

            writing = asyncio.create_task(write())
            async with AsyncSubscription(persister) as subscription:
                items = aiter(subscription)
                while len(got) < EVENTS:
                    try:
                        got.append((await asyncio.wait_for(anext(items), patience)).data)
                        patience = SHORT
                    except TimeoutError:
                        patience *= 1.2  # on a busy machine nothing at all can be done in a moment
            await writing
            return got

    assert asyncio.run(run()) == list(range(EVENTS))


@pytest.mark.backend("sqlite")
def test_one_thread_looks_for_all_subscriptions_of_a_process(sqlite_url: str) -> None:
    others = threading.enumerate()  # of other tests, some of which may be about to end
    with open_store(sqlite_url) as store:
        persister = StateMachinePersister(store)
        subscriptions = [Subscription(persister, start="now") for _ in range(20)]
        counts = [0] * len(subscriptions)

        def listen(number: int) -> None:
            for _ in subscriptions[number]:
                counts[number] += 1
                subscriptions[number].stop()

        threads = [threading.Thread(target=listen, args=(number,)) for number in range(len(subscriptions))]
        for thread in threads:
            thread.start()
        while not all(subscription.is_caught_up for subscription in subscriptions):
            threading.Event().wait(0.01)
        own = [thread.name for thread in threading.enumerate() if thread not in others]
        assert own.count("eventstate-sqlite-watch") == 1
        persister.save_state("one", 1, expected=0)
        for thread in threads:
            thread.join(30)
        assert counts == [1] * len(subscriptions)


@pytest.mark.backend("sqlite")
def test_a_slow_subscriber_keeps_a_page_and_writers_do_not_wait(sqlite_url: str) -> None:
    text = "x" * 1000
    with open_store(f"{sqlite_url}?durability=off") as store:
        persister = StateMachinePersister(store)
        with Subscription(persister) as slow:
            items = iter(slow)
            persister.save_state("first", text, expected=0)
            next(items)
            for number in range(3000):
                persister.save_state(f"m-{number % 10}", text, expected=ANY)
            tracemalloc.start()
            for _ in range(2000):
                next(items)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 2_000_000, "far less than the three megabytes that wait"


@pytest.mark.backend("memory")
def test_another_thread_ends_a_wait() -> None:
    with open_store("memory://") as store, Subscription(StateMachinePersister(store), "name") as subscription:
        threading.Timer(0.1, subscription.stop).start()
        assert list(subscription) == []
        assert subscription.run(print) == 0
