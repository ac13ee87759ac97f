"""A seeded world: the shipped coroutines interleaved at every call of the store, in virtual time.

One thread, no event loop: a scheduler picks which task goes on, by a random generator with a seed. The same seed
gives the same run, step by step, so a failure is found again by its number::

    async def scenario(simulation: Simulation) -> None:
        store = simulation.store()
        ...
        await simulation.together(writer(store, n) for n in range(3))

    explore(scenario, seeds=range(1000))

Tasks that belong to a `process` can crash in the middle of anything, and stand still while the clock goes on.
"""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Callable, Coroutine, Iterable, Sequence
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any, Final, TypeVar

from eventstate.core.documents import Batch, CommitResult, FeedPage, Fetched, Key, Page
from eventstate.runtime.base import Runtime
from eventstate.stores.base import Capabilities, Closing, Store
from eventstate.stores.memory import MemoryStore
from eventstate.stores.watching import Watch
from eventstate.testing.simulated_runtime import SWITCH, Crashed, Process, SimulatedRuntime, Task, Until

__all__ = ["Crashed", "Deadlock", "Process", "Scenario", "Simulation", "SimulationFailed", "Task", "explore"]

T = TypeVar("T")

MAX_STEPS: Final = 200_000

Scenario = Callable[["Simulation"], Coroutine[Any, Any, None]]


class SimulationFailed(AssertionError):  # noqa: N818 - an assertion about a seed
    """A scenario failed. The message says with which seed; the cause is what failed."""

    def __init__(self, seed: int, error: BaseException) -> None:
        super().__init__(f"seed {seed}: {type(error).__name__}: {error}")
        self.seed = seed


class Deadlock(Exception):  # noqa: N818 - a state of the scenario rather than an error in it
    """Tasks are left, and none of them can ever go on."""


class YieldingStore(Closing):
    """A store whose every call lets other tasks go on before it and after it.

    With ``reads_apart`` others also go on between the documents of one `get`, which the port allows.
    """

    def __init__(self, store: Store, *, reads_apart: bool = False) -> None:
        self._store = store
        self._reads_apart = reads_apart

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def node(self) -> str:
        return self._store.node

    @property
    def epoch(self) -> int:
        return self._store.epoch

    @property
    def runtime(self) -> Runtime:
        return self._store.runtime

    @property
    def capabilities(self) -> Capabilities:
        return self._store.capabilities

    async def get(self, keys: Sequence[Key]) -> Fetched:
        return await self._between(self._get_apart(keys) if self._reads_apart else self._store.get(keys))

    async def _get_apart(self, keys: Sequence[Key]) -> Fetched:
        fetched = await self._store.get(keys[:1])
        found = {**fetched.documents}
        for key in keys[1:]:
            await SWITCH
            fetched = await self._store.get((key,))
            found.update(fetched.documents)
        return Fetched(found, fetched.read_at)

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

    def watch(self, keys: Sequence[Key]) -> Watch:
        return self._store.watch(keys)

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _between(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            await SWITCH
            result = await call
        finally:
            call.close()
        await SWITCH
        return result


class Simulation:
    """The scheduler of one seed.

    Attributes:
        seed: names the run.
        runtime: what the scenario's stores wait through.
        random: draws the scenario's own choices.
        steps: how often a task went on.
        elapsed: virtual seconds since the beginning.
        slowness: how likely time passes at a step although somebody could go on: a slow task is as possible as a
            fast one.
        has_wall_clock_jumps: whether a scenario that turns wall clocks should do so in this run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(f"scenario {seed}")
        self.steps = 0
        self.elapsed = 0.0
        self.slowness = 0.1
        self.has_wall_clock_jumps = True
        self.runtime = SimulatedRuntime(self)
        self._chances = random.Random(seed)
        self._choice = random.Random(f"scheduler {seed}")
        # Some runs let a task go on for a while before another's turn: races of one slow task with many fast steps.
        self._persistence = self._choice.choice((0.0, 0.0, 0.5, 0.9))
        self._count = 0
        self._tasks: list[Task[Any]] = []
        self._ready: list[Task[Any]] = []
        self._sleeping: list[tuple[float, int, int, Task[Any]]] = []
        self._naps = 0
        self._planned: list[tuple[int, int, Callable[[], None]]] = []
        self._plans = 0
        self._trace: list[object] = []
        self._running: Task[Any] | None = None
        self._last: Task[Any] | None = None
        self._failure: BaseException | None = None

    @property
    def trace(self) -> str:
        """A digest of the order in which tasks went on, and when: equal for equal runs."""
        return sha256(repr(self._trace).encode()).hexdigest()

    def store(self, within: Store | None = None, *, reads_apart: bool = False) -> Store:
        """A new memory store, or one that is given, each call of which is a place where tasks change."""
        return YieldingStore(within or MemoryStore(self.runtime), reads_apart=reads_apart)

    # Tasks and processes

    def process(self, name: str) -> Process:
        """A new process, with clocks of its own; spawn its first task with ``process=``."""
        return Process(self, name, SimulatedRuntime(self, self.random.random() * 1e5))

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str = "", *, process: Process | None = None) -> Task[T]:
        """Have a coroutine run beside the others from now on, by default in the process of whoever spawns it."""
        if process is None and self._running is not None:
            process = self._running.process
        task = Task(self, len(self._tasks), name or f"task {len(self._tasks)}", coroutine, process)
        self._tasks.append(task)
        self._trace.append(task.name)
        self.make_ready(task)
        return task

    async def together(self, coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Run coroutines beside each other; their results, once all have ended, or the first error among them."""
        tasks = [self.spawn(coroutine) for coroutine in coroutines]
        await self.all_ended(tasks)
        return [task.outcome for task in tasks]  # pyright: ignore[reportReturnType] - each has ended without an error

    async def all_ended(self, tasks: Sequence[Task[Any]]) -> None:
        """Wait until tasks have ended; the first error among them is raised. A crash is none."""
        for task in tasks:
            await self.ended(task)
        for task in tasks:
            if task.error is not None and not task.is_crashed:
                raise task.error

    async def ended(self, task: Task[Any], timeout: float | None = None) -> bool:
        """True once a task has ended, False when ``timeout`` seconds have passed before."""
        if task.ended is None:
            task.ended = self.runtime.waiter()
        return task.is_done or await task.ended.wait(timeout)

    def crash(self, process: Process) -> None:
        """Stop a process for good, in the middle of whatever it does. What it has sent is on its way."""
        process.is_crashed = True
        for task in self._tasks:
            if task.process is process and not task.is_done:
                assert task is not self._running, "a task can't crash its own process: let another do it"
                self._unready(task)
                self._end(task, Crashed(f"{process.name} has crashed"))

    def at_step(self, step: int, happening: Callable[[], None]) -> None:
        """Have something happen between two steps: before the step of that number."""
        self._plans += 1
        heappush(self._planned, (step, self._plans, happening))

    def fail(self, error: BaseException) -> None:
        """End the run with an error, whatever the running task makes of it."""
        self._failure = self._failure or error

    # For the runtimes

    @property
    def running(self) -> Task[Any]:
        assert self._running is not None
        return self._running

    def chance(self) -> float:
        return self._chances.random()

    def count(self) -> int:
        self._count += 1
        return self._count

    def spawn_service(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """A task that nobody waits for: its error is the run's."""
        self.spawn(coroutine, name).is_service = True

    def make_ready(self, task: Task[Any]) -> None:
        if task.is_done or task.is_ready:
            return
        task.is_ready = True
        task.wakes_at = 0
        if task.waiter is not None:
            task.waiter.task = None
            task.waiter = None
        insort(self._ready, task)

    # Running

    def run(self, scenario: Scenario) -> None:
        """Run a scenario to its end, and what it spawned with it.

        Raises:
            SimulationFailed: it raised, or a service that nobody waits for did.
        """
        main = self.spawn(scenario(self), "scenario")
        try:
            while not main.is_done and self._failure is None:
                self._step()
        except Deadlock as error:
            raise SimulationFailed(self.seed, error) from error
        finally:
            self._running = None
            for task in self._tasks:
                if not task.is_done or task.is_crashed:
                    task.unwind()
        error = self._failure or main.error
        if error is not None:
            raise SimulationFailed(self.seed, error) from error

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Deadlock(f"no end after {MAX_STEPS:,} steps")
        self._running = None
        while self._planned and self._planned[0][0] <= self.steps:
            heappop(self._planned)[2]()
        task = self._next()
        self._trace.append(task.number)
        self._go_on(task)

    def _next(self) -> Task[Any]:
        """The task that goes on, by chance; time passes where nobody can, or by chance too."""
        chance = self._choice.random
        while True:
            ready = self._ready
            if not ready or (self._sleeping and chance() < self.slowness):
                task = self._passed_time()
            elif len(ready) == 1:
                task = ready[0]
            else:
                last = self._last
                stays = last is not None and last.is_ready and chance() < self._persistence
                task = last if stays else ready[int(chance() * len(ready))]
            if task is None:
                continue
            if task.process is None or task.process.paused_until <= self.elapsed:
                self._last = task
                return task
            self._unready(task)
            self._sleep(task, task.process.paused_until)

    def _passed_time(self) -> Task[Any] | None:
        """Let time pass until the first of the sleeping awakes, and return it; None if none sleeps any more."""
        sleeping = self._sleeping
        first: Task[Any] | None = None
        while sleeping and (first is None or sleeping[0][0] <= self.elapsed):
            time, _, nap, task = heappop(sleeping)
            if task.wakes_at != nap:
                continue
            if first is None:
                first = task
                if time > self.elapsed:
                    self.elapsed = time
                    self._trace.append(time)
            self.make_ready(task)
        if first is None and not self._ready:
            left = ", ".join(task.name for task in self._tasks if not task.is_done)
            raise Deadlock(f"{left} wait for ever")
        return first

    def _sleep(self, task: Task[Any], time: float) -> None:
        self._naps += 1
        task.wakes_at = self._naps
        heappush(self._sleeping, (time, task.number, self._naps, task))

    def _unready(self, task: Task[Any]) -> None:
        task.wakes_at = 0
        if task.is_ready:
            task.is_ready = False
            self._ready.remove(task)

    def _go_on(self, task: Task[Any]) -> None:
        error, task.to_throw = task.to_throw, None
        self._running = task
        try:
            if error is None:
                yielded = task.context.run(task.coroutine.send, None)
            else:
                yielded = task.context.run(task.coroutine.throw, error)
        except StopIteration as stop:
            task.outcome = stop.value
            self._unready(task)
            self._end(task, None)
        except BaseException as raised:  # noqa: BLE001 - handed to whoever waits for the task
            self._unready(task)
            self._end(task, raised)
        else:
            if yielded is not SWITCH and task.to_throw is None:
                self._wait(task, yielded)

    def _wait(self, task: Task[Any], until: Until) -> None:
        time, waiter = until
        if time is not None and time <= self.elapsed:
            return
        if waiter is not None:
            waiter.task = task
            task.waiter = waiter
        self._unready(task)
        if time is not None:
            self._sleep(task, time)

    def _end(self, task: Task[Any], error: BaseException | None) -> None:
        task.error = error
        task.is_done = True
        if task.ended is not None:
            task.ended.wake()
        if error is not None and task.is_service and not task.is_crashed:
            self.fail(error)


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
