"""The world of one simulation: virtual time, tasks that a scheduler runs, and processes that crash or stand still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import copy_context
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from eventstate.runtime.base import Waiter

T = TypeVar("T")

START: Final = 1_700_000_000_000_000
"""Where virtual time begins, microseconds since 1970."""

_MAX_AWAITS: Final = 1000
"""How many awaits the clean-up of one task may have before it counts as endless."""


class Crashed(BaseException):
    """The process of this task has crashed: nothing of it runs any more, no clean-up either."""


class Switch(NamedTuple):
    """Yielded by a task that lets others go first."""

    def __await__(self) -> Generator[Switch, None, None]:
        yield self


class Until(NamedTuple):
    """Yielded by a task that waits for a time, a waiter, or whichever comes first."""

    time: float | None
    waiter: SimulatedWaiter | None = None

    def __await__(self) -> Generator[Until, None, None]:
        yield self


SWITCH: Final = Switch()


class Scheduler(Protocol):
    """What a runtime needs of the scheduler."""

    elapsed: float

    def make_ready(self, task: Task[Any]) -> None: ...
    def spawn_service(self, coroutine: Coroutine[Any, Any, None], name: str) -> None: ...
    def chance(self) -> float: ...
    def count(self) -> int: ...
    @property
    def running(self) -> Task[Any]: ...


class Task(Generic[T]):
    """A coroutine that the scheduler runs; its result once it has ended.

    Attributes:
        error: what it ended with; `Crashed` if its process did.
        ended: woken when it ends.
    """

    def __init__(
        self, scheduler: Scheduler, number: int, name: str, coroutine: Coroutine[Any, Any, T], process: Process | None
    ) -> None:
        self.number = number
        self.name = name
        self.coroutine = coroutine
        self.process = process
        self.context = copy_context()
        self.outcome: T | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self.is_ready = False
        self.is_service = False
        self.wakes_at = 0
        """Which of its entries among the sleeping counts."""
        self.waiter: SimulatedWaiter | None = None
        self.to_throw: BaseException | None = None
        self.ended: SimulatedWaiter | None = None
        self._scheduler = scheduler

    def __lt__(self, other: Task[Any]) -> bool:
        return self.number < other.number

    @property
    def is_crashed(self) -> bool:
        return isinstance(self.error, Crashed)

    def cancel(self) -> None:
        """Have CancelledError raised where the task waits, as asyncio does."""
        if not self.is_done:
            self.to_throw = asyncio.CancelledError()
            self._scheduler.make_ready(self)

    def unwind(self) -> None:
        """Take the coroutine apart, once nothing of the simulation counts any more."""
        for _ in range(_MAX_AWAITS):
            try:
                self.context.run(self.coroutine.throw, Crashed())
            except BaseException:  # noqa: BLE001 - it has ended, and how is of no interest any more
                return
            # Its clean-up waits for something: end that wait as well.


class Process:
    """Some tasks of a simulation that crash together, stand still together, and see the same clocks.

    Attributes:
        runtime: of the stores that this process uses.
        paused_until: in elapsed time.
    """

    def __init__(self, scheduler: Scheduler, name: str, runtime: SimulatedRuntime) -> None:
        self.name = name
        self.runtime = runtime
        self.is_crashed = False
        self.paused_until = 0.0
        self._scheduler = scheduler

    def pause(self, seconds: float) -> None:
        """Let none of its tasks go on for a time, while the clock does."""
        self.paused_until = max(self.paused_until, self._scheduler.elapsed + seconds)


class SimulatedWaiter:
    """A wait that the scheduler knows about."""

    __slots__ = ("_scheduler", "is_awake", "task")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.is_awake = False
        self.task: Task[Any] | None = None

    async def wait(self, timeout: float | None = None) -> bool:
        if not self.is_awake:
            await Until(None if timeout is None else self._scheduler.elapsed + timeout, self)
        return self.is_awake

    def wake(self) -> None:
        self.is_awake = True
        if self.task is not None:
            self._scheduler.make_ready(self.task)


class SimulatedInterruption:
    """Cancels the task that made it."""

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        self._fired = False

    def fire(self) -> None:
        if not self._fired:
            self._fired = True
            self._task.cancel()

    def absorb(self, error: BaseException | None) -> bool:
        fired, self._fired = self._fired, False
        return fired and isinstance(error, asyncio.CancelledError)


class SimulatedRuntime:
    """Implements `eventstate.runtime.base.Runtime` in virtual time, with a seed for everything random.

    Args:
        scheduler: whose time and tasks these are.
        monotonic_from: what the monotonic clock shows at the beginning; each process has its own.
    """

    def __init__(self, scheduler: Scheduler, monotonic_from: float = 0.0) -> None:
        self._scheduler = scheduler
        self._from = monotonic_from
        self._turned = 0

    def now(self) -> int:
        return START + self._turned + int(self._scheduler.elapsed * 1_000_000)

    def monotonic(self) -> float:
        return self._from + self._scheduler.elapsed

    def random(self) -> float:
        return self._scheduler.chance()

    def unique(self) -> str:
        return f"u{self._scheduler.count():021d}"

    async def sleep(self, seconds: float) -> None:
        await Until(self._scheduler.elapsed + max(seconds, 0.0))

    async def run_blocking(self, call: Callable[[], T]) -> T:
        await SWITCH
        return call()

    def waiter(self) -> SimulatedWaiter:
        return SimulatedWaiter(self._scheduler)

    def wake(self, waiters: Sequence[Waiter]) -> None:
        for waiter in waiters:
            assert isinstance(waiter, SimulatedWaiter)
            waiter.wake()

    def start(self, waiter: Waiter, call: Callable[[], None], *, at_once: bool = False) -> None:
        call()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._scheduler.spawn_service(work(), name)

    def interruption(self) -> SimulatedInterruption:
        return SimulatedInterruption(self._scheduler.running)

    def close(self) -> None:
        """Nothing is held."""

    def turn_wall_clock(self, seconds: float) -> None:
        """Set the wall clock forward or back; the monotonic one goes on as before."""
        self._turned += int(seconds * 1_000_000)
