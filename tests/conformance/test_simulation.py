"""Racing appends with lost answers, late copies and cancelled callers, over thousands of seeded schedules."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from eventstate.core.documents import Refused
from eventstate.core.expected import ANY
from eventstate.errors import (
    CommitUnknownError,
    ConflictError,
    EventStateError,
    StateNotFoundError,
    StoreUnavailableError,
)
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.together import AppendTo
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import TALLIES, Added
from eventstate.testing.faults import Fault, FaultyStore, flaky
from eventstate.testing.simulation import Simulation, SimulationFailed, Task, explore

pytestmark = pytest.mark.backend("memory")

FAULTS = (Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.DELAYED, Fault.UNAVAILABLE)
SHORT = 1000
LONG = 60_000
STREAMS = ("1", "2")


@dataclass
class Tale:
    """What the writers were told of each mark they tried to append."""

    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    unknown: dict[str, str] = field(default_factory=dict)


def flaky_way(simulation: Simulation, store: Store, rate: float) -> FaultyStore:
    """A way to the store that goes wrong at times, and whose held copies arrive at some time."""
    return FaultyStore(store, flaky(simulation.random, rate, FAULTS, cut_off=rate / 5))


async def late_deliveries(simulation: Simulation, faulty: FaultyStore, is_over: Callable[[], bool]) -> None:
    while not is_over() or faulty.held:
        await simulation.runtime.sleep(simulation.random.random() * simulation.random.choice((0.1, 3, 30)))
        if faulty.held:
            await faulty.deliver(simulation.random.randrange(len(faulty.held)))


def persister(store: Store) -> AsyncStateMachinePersister:
    return AsyncStateMachinePersister(store, governor="shop", machines=[TALLIES], snapshot_every=3, keep_snapshots=2)


async def one_append(simulation: Simulation, writer: AsyncStateMachinePersister, name: str, tale: Tale) -> None:
    """Append some events in some way; note what was said about them."""
    way, id = simulation.random.randrange(4), simulation.random.choice(STREAMS)
    marks = [f"{name}.{part}" for part in range(simulation.random.randrange(1, 4))]
    events = [Added(mark) for mark in marks]
    try:
        if way == 0:
            await writer.append(TALLIES, id, *events, expected=ANY)
        elif way == 1:
            version = (await writer.load(TALLIES, id)).version if await writer.exists(TALLIES, id) else 0
            await writer.append(TALLIES, id, *events, expected=version)
        elif way == 2:
            await writer.execute(TALLIES, id, lambda _tally: events)
        else:
            await writer.append_together(*(AppendTo(TALLIES, stream, *events, expected=ANY) for stream in STREAMS))
        tale.done.update(marks)
    except (ConflictError, StoreUnavailableError):
        tale.failed.update(marks)
    except CommitUnknownError as error:
        try:
            is_there = await writer.settle(error.token)
        except CommitUnknownError:
            tale.unknown.update(dict.fromkeys(marks, error.token))
        else:
            (tale.done if is_there else tale.failed).update(marks)


async def some_upkeep(simulation: Simulation, writer: AsyncStateMachinePersister) -> None:
    """Now and then a snapshot or a rebuild, which rewrite heads in between."""
    call = simulation.random.choice((None, None, writer.create_snapshot, writer.rebuild))
    try:
        if call is not None:
            await call(TALLIES, simulation.random.choice(STREAMS))
    except (StateNotFoundError, CommitUnknownError, StoreUnavailableError):
        pass  # what counts is what they leave behind


async def marks_of(store: Store) -> dict[str, list[str]]:
    """The marks in each stream's history, each history checked against its state and its chain."""
    reader = persister(store)
    found: dict[str, list[str]] = {}
    for id in STREAMS:
        if await reader.exists(TALLIES, id):
            found[id] = [step.data.mark async for step in reader.history(TALLIES, id)]
            assert list((await reader.load(TALLIES, id)).data.marks) == found[id]
    report = await reader.validate_consistency()
    assert report.is_consistent, report.findings
    return found


async def check(store: Store, tale: Tale) -> None:
    for mark, token in tale.unknown.items():
        (tale.done if await persister(store).settle(token) else tale.failed).add(mark)
    counts = [Counter(marks) for marks in (await marks_of(store)).values()]
    for mark in tale.done:
        assert any(count[mark] for count in counts), f"{mark} was acknowledged and is lost"
    for count in counts:
        for mark, times in count.items():
            assert times == 1, f"{mark} is there {times} times"
            assert mark not in tale.failed, f"{mark} was said to have failed and is there"


async def racing(simulation: Simulation) -> None:
    """Three writers, each with its own memory of tips and its own bad line to the store."""
    store = simulation.store()
    tale = Tale()
    ended: list[int] = []
    lines = [flaky_way(simulation, store, 0.3) for _ in range(3)]

    async def write(number: int) -> None:
        writer = persister(lines[number])
        for turn in range(3):
            await some_upkeep(simulation, writer)
            await one_append(simulation, writer, f"{number}.{turn}", tale)
        ended.append(number)

    deliveries = [late_deliveries(simulation, line, lambda: len(ended) == 3) for line in lines]
    await simulation.together([*(write(number) for number in range(3)), *deliveries])
    await check(store, tale)


async def racing_with_keys(simulation: Simulation) -> None:
    """Two processes given the same commands, both cancelled at any moment and run again until they are answered."""
    store = simulation.store()
    lines = [flaky_way(simulation, store, 0.25) for _ in range(2)]
    ended: list[int] = []
    versions: dict[str, set[int]] = {}

    async def command(line: FaultyStore, key: str) -> None:
        result: Any = await persister(line).append(TALLIES, "1", Added(key), expected=ANY, idempotency_key=key)
        versions.setdefault(key, set()).add(result.version)

    async def until_answered(number: int) -> None:
        for key in ("a", "b", "c"):
            for _attempt in range(60):
                task = simulation.spawn(command(lines[number], key))
                await cancel_some(simulation, task)
                if task.error is None:
                    break
                assert isinstance(
                    task.error, asyncio.CancelledError | CommitUnknownError | ConflictError | StoreUnavailableError
                ), task.error
            else:
                raise AssertionError(f"command {key} never came to an end")
        ended.append(number)

    deliveries = [late_deliveries(simulation, line, lambda: len(ended) == 2) for line in lines]
    await simulation.together([until_answered(0), until_answered(1), *deliveries])
    marks = (await marks_of(store))["1"]
    assert sorted(marks) == ["a", "b", "c"], marks
    for key, told in versions.items():
        assert told == {marks.index(key) + 1}, f"{key} is at {marks.index(key) + 1}, its callers were told {told}"


async def cancel_some(simulation: Simulation, task: Task[Any]) -> None:
    """Wait for a task's end; two in five are cancelled before."""
    is_doomed = simulation.random.random() < 0.4
    patience = simulation.random.randrange(1, 30)
    while not task.is_done:
        await simulation.runtime.sleep(0.0)
        patience -= 1
        if is_doomed and patience == 0:
            task.cancel()


async def racing_with_deletions(simulation: Simulation) -> None:
    """Appends, deletions and new incarnations of one stream: versions count on, nothing lands in a deleted state."""
    store = simulation.store()
    lines = [flaky_way(simulation, store, 0.15) for _ in range(3)]
    ended: list[int] = []

    async def act(number: int) -> None:
        writer = persister(lines[number])
        for turn in range(3):
            try:
                if number == 0:
                    await writer.delete_state(TALLIES, "1", expected=ANY)
                else:
                    await writer.append(TALLIES, "1", Added(f"{number}.{turn}"), expected=ANY, reopen=number == 1)
            except EventStateError:
                continue  # every refusal is fine; what counts is the history that is left
        ended.append(number)

    deliveries = [late_deliveries(simulation, line, lambda: len(ended) == 3) for line in lines]
    await simulation.together([*(act(number) for number in range(3)), *deliveries])
    reader = persister(store)
    report = await reader.validate_consistency()
    assert report.is_consistent, report.findings
    deleted = False
    if report.total_events:
        marks: list[str] = []
        async for step in reader.history(TALLIES, "1"):
            assert deleted == (step.action == "$reopened"), f"{step.action} at version {step.version}"
            deleted = step.action == "$deleted"
            marks += [step.data.mark] if step.action == "Added" else []
        assert len(set(marks)) == len(marks), marks
        assert await reader.exists(TALLIES, "1") != deleted


SCENARIOS = [racing, racing_with_keys, racing_with_deletions]
BY_NAME = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)


@BY_NAME
def test_nothing_is_lost_and_nothing_comes_twice(scenario: Any) -> None:
    explore(scenario, range(SHORT))


@pytest.mark.torture
@pytest.mark.timeout(3600)
@BY_NAME
def test_nothing_is_lost_and_nothing_comes_twice_for_long(scenario: Any) -> None:
    explore(scenario, range(SHORT, SHORT + LONG))


@BY_NAME
def test_a_seed_is_a_run(scenario: Any) -> None:
    traces = set()
    for seed in range(20):
        first, second = Simulation(seed), Simulation(seed)
        first.run(scenario)
        second.run(scenario)
        assert (first.trace, first.steps) == (second.trace, second.steps), f"seed {seed} gave two runs"
        traces.add(first.trace)
    assert len(traces) == 20, "different seeds gave the same run"


def test_a_failure_names_its_seed() -> None:
    async def fails(simulation: Simulation) -> None:
        await simulation.runtime.sleep(1)
        assert simulation.seed != 3, "three"

    with pytest.raises(SimulationFailed, match=r"seed 3: AssertionError: three"):
        explore(fails, range(10))


def test_waiting_for_ever_is_told() -> None:
    async def waits(simulation: Simulation) -> None:
        await simulation.runtime.waiter().wait()

    with pytest.raises(SimulationFailed, match="wait for ever"):
        explore(waits, [0])


def test_time_is_virtual_and_waits_end() -> None:
    seen: list[Any] = []

    async def scenario(simulation: Simulation) -> None:
        runtime = simulation.runtime
        waiter = runtime.waiter()

        async def wake() -> None:
            await runtime.sleep(3600)
            runtime.wake([waiter])

        simulation.spawn(wake())
        seen.append(await waiter.wait(10))
        seen.append(await waiter.wait(86_400))
        seen.append(round(runtime.monotonic()))

    explore(scenario, [1])
    assert seen == [False, True, 3600]


def test_a_refused_late_copy_is_refused() -> None:
    """The simulated store tells late copies apart from resends, as any store does."""

    async def scenario(simulation: Simulation) -> None:
        store = simulation.store()
        line = FaultyStore(store, [Fault.DELAYED])
        await persister(line).append(TALLIES, "1", Added("a"), expected=0)
        assert isinstance(await line.deliver(), Refused)

    explore(scenario, range(20))
