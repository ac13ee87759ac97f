"""What the simulated world does to its processes: they crash, stand still, and have clocks of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from eventstate.core.documents import HEAD, Batch, Key, Put, Require
from eventstate.stores.memory import MemoryStore
from eventstate.testing.simulation import Simulation, SimulationFailed, explore

pytestmark = pytest.mark.backend("memory")


def run(scenario: Any, seed: int = 1) -> Simulation:
    simulation = Simulation(seed)
    simulation.run(scenario)
    return simulation


def test_a_crash_is_the_end_of_all_tasks_of_a_process_and_no_clean_up_runs() -> None:
    seen: list[str] = []

    async def scenario(simulation: Simulation) -> None:
        runtime = simulation.runtime

        async def service() -> None:
            await runtime.sleep(5)
            seen.append("service")

        async def work(name: str) -> None:
            runtime.spawn(service, "service")
            try:
                await runtime.sleep(10)
                seen.append(f"{name} worked")
            finally:
                seen.append(f"{name} cleaned up")

        dead, alive = simulation.process("dead"), simulation.process("alive")
        tasks = [simulation.spawn(work(process.name), process=process) for process in (dead, alive)]
        await runtime.sleep(1)
        simulation.crash(dead)
        await simulation.all_ended(tasks)
        assert [task.is_crashed for task in tasks] == [True, False]
        assert seen == ["service", "alive worked", "alive cleaned up"]

    run(scenario)


def test_what_a_crash_leaves_behind_is_taken_apart_without_noise() -> None:
    async def scenario(simulation: Simulation) -> None:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                await simulation.runtime.sleep(1000)
            except BaseException:
                await simulation.runtime.sleep(1000)  # clean-up that waits
                raise

        async def work() -> None:
            async for _ in numbers():
                pass

        process = simulation.process("dead")
        simulation.spawn(work(), process=process)
        await simulation.runtime.sleep(1)
        simulation.crash(process)

    for seed in range(20):
        run(scenario, seed)


def test_something_happens_between_two_steps() -> None:
    async def scenario(simulation: Simulation) -> None:
        seen: list[int] = []
        for step in (30, 10):
            simulation.at_step(step, lambda: seen.append(simulation.steps))
        for _ in range(40):
            await simulation.runtime.sleep(0)
        assert seen == [10, 30]

    run(scenario)


def test_a_pause_holds_a_process_while_the_clock_goes_on() -> None:
    async def scenario(simulation: Simulation) -> None:
        simulation.slowness = 0.0
        ended: dict[str, float] = {}

        async def work(name: str) -> None:
            for _ in range(3):
                await simulation.runtime.sleep(1)
            ended[name] = simulation.elapsed

        slow, fast = simulation.process("slow"), simulation.process("fast")
        tasks = [simulation.spawn(work(process.name), process=process) for process in (slow, fast)]
        await simulation.runtime.sleep(0.5)
        slow.pause(60)
        await simulation.all_ended(tasks)
        assert ended == {"fast": 3.0, "slow": 62.5}

    for seed in range(20):
        run(scenario, seed)


def test_each_process_has_its_own_clocks() -> None:
    async def scenario(simulation: Simulation) -> None:
        one, two = simulation.process("one").runtime, simulation.process("two").runtime
        assert one.monotonic() != two.monotonic()
        assert one.now() == two.now()
        monotonic, now = one.monotonic(), one.now()
        one.turn_wall_clock(-3600)
        assert one.now() == now - 3_600_000_000
        assert two.now() == now
        await one.sleep(2)
        assert one.monotonic() == pytest.approx(monotonic + 2)

    run(scenario)


def test_an_error_of_a_service_is_an_error_of_the_run() -> None:
    async def scenario(simulation: Simulation) -> None:
        async def service() -> None:
            raise ValueError("out of order")

        simulation.runtime.spawn(service, "service")
        await simulation.runtime.sleep(10)

    with pytest.raises(SimulationFailed, match="out of order"):
        run(scenario)


def test_a_broken_rule_ends_the_run_whatever_is_made_of_it() -> None:
    async def scenario(simulation: Simulation) -> None:
        simulation.fail(AssertionError("a rule"))
        await simulation.runtime.sleep(10)

    with pytest.raises(SimulationFailed, match="a rule"):
        run(scenario)


def test_tasks_have_contexts_of_their_own_and_can_be_cancelled() -> None:
    async def scenario(simulation: Simulation) -> None:
        async def work() -> None:
            await simulation.runtime.sleep(1000)

        task = simulation.spawn(work())
        await simulation.runtime.sleep(1)
        task.cancel()
        await simulation.ended(task)
        assert isinstance(task.error, asyncio.CancelledError)
        assert simulation.elapsed == 1.0

    run(scenario)


def test_a_get_of_several_documents_may_be_torn() -> None:
    keys = [Key(HEAD, "g", name) for name in "ab"]
    seen: set[tuple[bytes, ...]] = set()

    async def scenario(simulation: Simulation) -> None:
        store = simulation.store(MemoryStore(simulation.runtime), reads_apart=True)

        async def write() -> None:
            for token in ("1", "2"):
                await store.commit(Batch(token, [Put(key, token.encode(), Require.ANY) for key in keys]))

        async def read() -> None:
            found = (await store.get(keys)).documents
            seen.add(tuple(found[key].body for key in keys if key in found))

        await simulation.together([write(), read()])

    explore(scenario, range(100))
    assert (b"1", b"1") in seen
    assert (b"1", b"2") in seen
