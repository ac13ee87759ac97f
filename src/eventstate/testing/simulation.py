"""A seeded world: the shipped coroutines interleaved at every call of the store, in virtual time.

One thread, no event loop: a scheduler picks which task goes on, by a random generator with a seed. The same seed
gives the same run, step by step, so a failure is found again by its number::

    async def scenario(simulation: Simulation) -> None:
        store = simulation.store()
        ...
        await simulation.together(writer(store, n) for n in range(3))

    explore(scenario, seeds=range(1000))
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

from eventstate.core.documents import Batch, CommitResult, FeedPage, Fetched, Key, Page
from eventstate.runtime.base import Runtime, Waiter
from eventstate.stores.base import Capabilities, Closing, Store
from eventstate.stores.memory import MemoryStore

T = TypeVar("T")

MAX_STEPS: Final = 200_000
START: Final = 1_700_000_000_000_000
"""Where virtual time begins, microseconds since 1970."""

Scenario = Callable[["Simulation"], Coroutine[Any, Any, None]]


class SimulationFailed(AssertionError):  # noqa: N818 - an assertion about a seed
    """A scenario failed. The message says with which seed; the cause is what failed."""

    def __init__(self, seed: int, error: BaseException) -> None:
        super().__init__(f"seed {seed}: {type(error).__name__}: {error}")
        self.seed = seed


class Deadlock(Exception):  # noqa: N818 - a state of the scenario rather than an error in it
    """Tasks are left, and none of them can ever go on."""


@dataclass(frozen=True, slots=True)
class _Switch:
    """Yielded by a task that lets others go first."""

    def __await__(self) -> Generator[_Switch, None, None]:
        yield self


@dataclass(frozen=True, slots=True)
class _Until:
    """Yielded by a task that waits for a time, a waiter, or whichever comes first."""

    time: float | None
    waiter: SimulatedWaiter | None = None

    def __await__(self) -> Generator[_Until, None, None]:
        yield self


class Task(Generic[T]):
    """A coroutine that the scheduler runs; its result once it has ended."""

    def __init__(self, name: str, coroutine: Coroutine[Any, Any, T]) -> None:
        self.name = name
        self.coroutine = coroutine
        self.outcome: T | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self.wait: _Until | None = None
        self.to_throw: BaseException | None = None
        self.ended: SimulatedWaiter | None = None

    def cancel(self) -> None:
        """Have CancelledError raised where the task waits, as asyncio does."""
        if not self.is_done:
            self.to_throw = asyncio.CancelledError()
            self.wait = None


class SimulatedWaiter:
    """A wait that the scheduler knows about."""

    def __init__(self, runtime: SimulatedRuntime) -> None:
        self._runtime = runtime
        self.is_awake = False

    async def wait(self, timeout: float | None = None) -> bool:
        deadline = None if timeout is None else self._runtime.monotonic() + timeout
        if not self.is_awake:
            await _Until(deadline, self)
        return self.is_awake


class SimulatedRuntime:
    """Implements `eventstate.runtime.base.Runtime` in virtual time, with a seed for everything random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._elapsed = 0.0
        self._count = 0

    def now(self) -> int:
        return START + int(self._elapsed * 1_000_000)

    def monotonic(self) -> float:
        return self._elapsed

    def random(self) -> float:
        return self._random.random()

    def unique(self) -> str:
        self._count += 1
        return f"u{self._count:021d}"

    async def sleep(self, seconds: float) -> None:
        await _Until(self._elapsed + max(seconds, 0.0))

    async def run_blocking(self, call: Callable[[], T]) -> T:
        await _Switch()
        return call()

    def waiter(self) -> SimulatedWaiter:
        return SimulatedWaiter(self)

    def wake(self, waiters: Sequence[Waiter]) -> None:
        for waiter in waiters:
            assert isinstance(waiter, SimulatedWaiter)
            waiter.is_awake = True

    def start(self, waiter: Waiter, call: Callable[[], None], *, at_once: bool = False) -> None:
        call()

    def close(self) -> None:
        """Nothing is held."""

    def advance(self, time: float) -> None:
        """Move the clock to a time, never back."""
        self._elapsed = max(self._elapsed, time)


class YieldingStore(Closing):
    """A store whose every call lets other tasks go on before it and after it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def node(self) -> str:
        return self._store.node

    @property
    def runtime(self) -> Runtime:
        return self._store.runtime

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    async def get(self, keys: Sequence[Key]) -> Fetched:
        return await self._between(self._store.get(keys))

    async def scan(
        self,
        kind: str,
        owner: str,
        *,
        id: str | None = None,
        prefix: str = "",
        after: Key | None = None,
        limit: int = 1000,
    ) -> Page:
        return await self._between(self._store.scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit))

    async def owners(self, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        return await self._between(self._store.owners(after=after, limit=limit))

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        return await self._between(self._store.feed(after, limit=limit))

    async def commit(self, batch: Batch) -> CommitResult:
        return await self._between(self._store.commit(batch))

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _between(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            await _Switch()
            result = await call
        finally:
            call.close()
        await _Switch()
        return result


class Simulation:
    """The scheduler of one seed.

    Attributes:
        seed: names the run.
        runtime: what the scenario's stores wait through.
        random: draws the scenario's own choices.
        steps: how often a task went on.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.runtime = SimulatedRuntime(seed)
        self.random = random.Random(f"scenario {seed}")
        self.steps = 0
        self._choice = random.Random(f"scheduler {seed}")
        self._tasks: list[Task[Any]] = []
        self._trace = sha256()

    @property
    def trace(self) -> str:
        """A digest of the order in which tasks went on: equal for equal runs."""
        return self._trace.hexdigest()

    def store(self) -> Store:
        """A new memory store, each call of which is a place where tasks change."""
        return YieldingStore(MemoryStore(self.runtime))

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str = "") -> Task[T]:
        """Have a coroutine run beside the others from now on."""
        task = Task(name or f"task {len(self._tasks)}", coroutine)
        self._tasks.append(task)
        return task

    async def together(self, coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Run coroutines beside each other; their results, once all have ended, or the first error among them."""
        tasks = [self.spawn(coroutine) for coroutine in coroutines]
        for task in tasks:
            await self.ended(task)
        for task in tasks:
            if task.error is not None:
                raise task.error
        return [task.outcome for task in tasks]  # pyright: ignore[reportReturnType] - each has ended without an error

    async def ended(self, task: Task[Any], timeout: float | None = None) -> bool:
        """True once a task has ended, False when ``timeout`` seconds have passed before."""
        if task.ended is None:
            task.ended = self.runtime.waiter()
        return task.is_done or await task.ended.wait(timeout)

    def run(self, scenario: Scenario) -> None:
        """Run a scenario to its end, and what it spawned with it.

        Raises:
            SimulationFailed: it raised, or a task that nobody waited for did.
        """
        main = self.spawn(scenario(self), "scenario")
        try:
            while not main.is_done:
                self._step()
        except Deadlock as error:
            raise SimulationFailed(self.seed, error) from error
        finally:
            for task in self._tasks:
                task.coroutine.close()
        if main.error is not None:
            raise SimulationFailed(self.seed, main.error) from main.error

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Deadlock(f"no end after {MAX_STEPS:,} steps")
        live = [task for task in self._tasks if not task.is_done]
        self._tasks = live
        ready = [task for task in live if self._is_ready(task)]
        sleeping = [task for task in live if task.wait is not None and task.wait.time is not None and task not in ready]
        # Time may pass while others could go on: a slow task is as possible as a fast one.
        if sleeping and (not ready or self._choice.random() < 0.1):
            first = min(sleeping, key=_time_of)
            self.runtime.advance(_time_of(first))
            ready = [first]
        if not ready:
            raise Deadlock(f"{', '.join(task.name for task in live)} wait for ever")
        self._go_on(self._choice.choice(ready))

    def _is_ready(self, task: Task[Any]) -> bool:
        wait = task.wait
        if wait is None or (wait.waiter is not None and wait.waiter.is_awake):
            return True
        return wait.time is not None and wait.time <= self.runtime.monotonic()

    def _go_on(self, task: Task[Any]) -> None:
        self._trace.update(task.name.encode() + b"\n")
        error, task.to_throw = task.to_throw, None
        task.wait = None
        try:
            yielded = task.coroutine.throw(error) if error is not None else task.coroutine.send(None)
        except StopIteration as stop:
            task.outcome, task.is_done = stop.value, True
        except BaseException as raised:  # noqa: BLE001 - handed to whoever waits for the task
            task.error, task.is_done = raised, True
        else:
            if isinstance(yielded, _Until):
                task.wait = yielded
            return
        if task.ended is not None:
            task.ended.is_awake = True


def _time_of(task: Task[Any]) -> float:
    assert task.wait is not None
    assert task.wait.time is not None
    return task.wait.time


def explore(scenario: Scenario, seeds: Iterable[int]) -> int:
    """Run a scenario once for each seed; how many steps that took in all.

    Raises:
        SimulationFailed: with the first seed that fails.
    """
    steps = 0
    for seed in seeds:
        simulation = Simulation(seed)
        simulation.run(scenario)
        steps += simulation.steps
    return steps
