"""Taking turns: those that collided go one after the other, nobody waits for long, nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from eventstate.core.documents import Key
from eventstate.runtime.aio import AsyncioRuntime
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.testing.simulation import Simulation, explore
from eventstate.transactions import turns as module
from eventstate.transactions.turns import PATIENCE_SECONDS, URGENT_ATTEMPT, Turn, Turns

A, B, C = (Key("document", "g", id) for id in "abc")
BOUND = 60.0


async def queued(turns: Turns, order: list[str], name: str, attempt: int, *keys: Key) -> None:
    turn = turns.turn()
    try:
        await turn.begin(attempt, keys)
        order.append(name)
        await settled()
    finally:
        turn.end()


async def settled() -> None:
    """Let all others go as far as they get."""
    for _ in range(50):
        await asyncio.sleep(0)


def play(
    scenario: Callable[[Turns], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, patience: float = BOUND
) -> None:
    """Run tasks that take turns, by default with endless patience: what is stuck is then seen as stuck."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", patience)

    async def main() -> None:
        turns = Turns(AsyncioRuntime())
        await asyncio.wait_for(scenario(turns), BOUND / 2)
        assert not turns, "a queue was left behind"

    asyncio.run(main())


def test_whoever_meets_nobody_does_not_wait() -> None:
    turns = Turns(BlockingRuntime())
    turn = turns.turn()
    drive(turn.begin(1, ()))
    drive(turn.respect(A))
    assert turn.keys == []
    turn.end()
    drive(turn.begin(2, (A, B)))
    assert turn.keys == [A, B]
    assert turns
    turn.end()
    assert not turns


def test_those_that_collided_go_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(turns: Turns) -> None:
        inside: list[int] = []

        async def enter(number: int) -> None:
            turn = turns.turn()
            await turn.begin(2, (A,))
            inside.append(number)
            await settled()
            assert inside == [number]
            inside.clear()
            turn.end()

        await asyncio.gather(*(enter(number) for number in range(5)))

    play(scenario, monkeypatch)


def test_first_come_first_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(turns: Turns) -> None:
        order: list[str] = []
        first = turns.turn()
        await first.begin(2, (A,))
        tasks = []
        for name in "xyz":
            tasks.append(asyncio.create_task(queued(turns, order, name, 2, A)))
            await settled()
        assert order == []
        first.end()
        await asyncio.gather(*tasks)
        assert order == ["x", "y", "z"]

    play(scenario, monkeypatch)


def test_two_keys_in_two_orders_are_no_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(turns: Turns) -> None:
        order: list[str] = []
        sets = [(A, B), (B, A), (C, A, B), (B, C), (A,), (C, B)]
        await asyncio.gather(*(queued(turns, order, str(number), 2, *keys) for number, keys in enumerate(sets)))
        assert len(order) == 6

    play(scenario, monkeypatch)


def test_the_urgent_have_it_to_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(turns: Turns) -> None:
        order: list[str] = []
        urgent = turns.turn()
        await urgent.begin(URGENT_ATTEMPT, (A,))
        others = [
            asyncio.create_task(queued(turns, order, name, attempt, *keys))
            for name, attempt, keys in (("new", 1, ()), ("second", 2, (B,)), ("urgent", URGENT_ATTEMPT + 1, (C,)))
        ]
        await settled()
        assert order == [], "somebody went beside the urgent one"
        urgent.end()
        await asyncio.gather(*others)
        assert order == ["new", "second", "urgent"]

    play(scenario, monkeypatch)


def test_newcomers_queue_for_what_others_collided_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(turns: Turns) -> None:
        order: list[str] = []
        first = turns.turn()
        await first.begin(2, (A,))

        async def newcomer(key: Key) -> None:
            turn = turns.turn()
            await turn.begin(1, ())
            await turn.respect(key)
            order.append(key.id)
            turn.end()

        tasks = [asyncio.create_task(newcomer(key)) for key in (A, B)]
        await settled()
        assert order == ["b"]
        first.end()
        await asyncio.gather(*tasks)
        assert order == ["b", "a"]

    play(scenario, monkeypatch)


def test_one_who_has_a_place_queues_for_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who each hold what the other wants next would wait for each other."""

    async def scenario(turns: Turns) -> None:
        async def reads_both(first: Key, second: Key) -> None:
            turn = turns.turn()
            await turn.begin(2, (first,))
            await settled()
            await turn.respect(second)
            turn.end()

        await asyncio.gather(reads_both(A, B), reads_both(B, A))

    play(scenario, monkeypatch)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(turns: Turns) -> None:
        order: list[str] = []
        slow = turns.turn()
        await slow.begin(2, (A,))
        await queued(turns, order, "impatient", 2, A)
        assert order == ["impatient"]
        monkeypatch.setattr(module, "PATIENCE_SECONDS", BOUND)
        late = asyncio.create_task(queued(turns, order, "late", 2, A))
        await settled()
        assert order == ["impatient"]
        slow.end()
        await late
        assert order == ["impatient", "late"]

    play(scenario, monkeypatch, patience=0.05)
    assert 0 < PATIENCE_SECONDS <= 5


def test_one_that_is_cancelled_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(turns: Turns) -> None:
        order: list[str] = []
        first = turns.turn()
        await first.begin(2, (A,))
        waiting = [asyncio.create_task(queued(turns, order, name, 2, A)) for name in "xy"]
        await settled()
        waiting[0].cancel()
        await settled()
        first.end()
        await waiting[1]
        assert order == ["y"]
        assert waiting[0].cancelled()

    play(scenario, monkeypatch)


def test_nobody_waits_for_ever() -> None:
    """Any attempts over any keys, in any order of events; the simulation tells who would wait without end."""

    async def scenario(simulation: Simulation) -> None:
        turns = Turns(simulation.runtime)

        async def work() -> None:
            for _ in range(4):
                turn = turns.turn()
                keys = simulation.random.sample([A, B, C], simulation.random.randrange(4))
                await turn.begin(simulation.random.randrange(1, 6), keys)
                for key in simulation.random.sample([A, B, C], 2):
                    await turn.respect(key)
                    await simulation.runtime.sleep(simulation.random.random() * 0.01)
                turn.end()

        await simulation.together(work() for _ in range(5))
        assert not turns

    explore(scenario, range(200))


def test_one_that_is_done_may_end_twice() -> None:
    turns = Turns(BlockingRuntime())
    turn = turns.turn()
    drive(turn.begin(2, (A,)))
    turn.end()
    turn.end()
    assert not turns


def test_threads_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", BOUND)
    turns = Turns(BlockingRuntime())
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for turn_number in range(40):
            turn = turns.turn()
            drive(turn.begin(2 + turn_number % 2, (A, B) if number % 2 else (B, A)))
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.0002)
            inside.remove(number)
            turn.end()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive(), "a thread waits for ever"
    assert len(most) == 240
    assert not turns


def test_tasks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", BOUND)
    inside: list[int] = []

    async def main() -> None:
        turns = Turns(AsyncioRuntime())

        async def work(number: int) -> None:
            for _ in range(20):
                turn: Turn = turns.turn()
                await turn.begin(2, (A,))
                inside.append(number)
                await asyncio.sleep(0)
                assert inside == [number]
                inside.clear()
                turn.end()

        await asyncio.wait_for(asyncio.gather(*(work(number) for number in range(8))), BOUND)
        assert not turns

    asyncio.run(main())


def test_the_store_is_never_wrong_whatever_the_turns_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a courtesy: without it, or with one that lets all in at once, nothing is lost."""
    from eventstate import RetryPolicy, TransactionManager, open_store

    async def nobody_waits(_self: Any, _turn: Turn, _key: Key, *, is_new: bool) -> None:
        return None

    monkeypatch.setattr(Turns, "enter", nobody_waits)
    with open_store("memory://") as store:
        manager = TransactionManager(store, retry=RetryPolicy(attempts=10_000, initial=0.001, cap=0.01, timeout=BOUND))

        def count(tx: Any) -> None:
            tx.put_document("c", "n", (tx.get_document("c", "n") or 0) + 1)

        threads = [
            threading.Thread(target=lambda: [manager.execute_transaction(count) for _ in range(25)], daemon=True)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
        assert manager.execute_transaction(lambda tx: tx.get_document("c", "n")) == 100
