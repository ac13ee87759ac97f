"""The sync and the asyncio world: one test body, written as a coroutine, runs in both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from eventstate.runtime.aio import AsyncioRuntime
from eventstate.runtime.base import Runtime
from eventstate.runtime.blocking import BlockingRuntime, drive

T = TypeVar("T")

JOIN_SECONDS = 90.0
"""A thread or task that runs longer than this is stuck."""


class SteeredRuntime(Runtime, Protocol):
    """A runtime whose clock a test sets, and whose sleeps take no time though the clock moves on."""

    shift: int
    """Microseconds added to the wall clock."""


class _SteeredBlockingRuntime(BlockingRuntime):
    def __init__(self) -> None:
        self.shift = 0
        self._slept = 0.0

    def now(self) -> int:
        return super().now() + self.shift

    def monotonic(self) -> float:
        return super().monotonic() + self._slept

    async def sleep(self, seconds: float) -> None:
        self._slept += seconds


class _SteeredAsyncioRuntime(AsyncioRuntime):
    def __init__(self) -> None:
        super().__init__()
        self.shift = 0
        self._slept = 0.0

    def now(self) -> int:
        return super().now() + self.shift

    def monotonic(self) -> float:
        return super().monotonic() + self._slept

    async def sleep(self, seconds: float) -> None:
        self._slept += seconds
        await asyncio.sleep(0)


class World(Protocol):
    """Where a test's coroutines run, and what they may wait through."""

    name: str

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine; may be called again and again."""
        ...

    def runtime(self) -> Runtime:
        """The runtime for stores. Called inside `run`."""
        ...

    def steered(self) -> SteeredRuntime:
        """A runtime of this world with a clock that the test sets. Called inside `run`."""
        ...

    async def settled(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
        """Run calls at the same time, threads or tasks; the result or the exception of each, in order."""
        ...

    def close(self) -> None: ...


async def together(world: World, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Run calls at the same time; their results, in order. The first exception is raised, once all have ended."""
    results: list[T] = []
    for outcome in await world.settled(calls):
        if isinstance(outcome, BaseException):
            raise outcome
        results.append(outcome)
    return results


class BlockingWorld:
    """Plain calls; at the same time means in threads."""

    name = "sync"

    def __init__(self) -> None:
        self._runtime = BlockingRuntime()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return drive(coroutine)

    def runtime(self) -> Runtime:
        return self._runtime

    def steered(self) -> SteeredRuntime:
        return _SteeredBlockingRuntime()

    async def settled(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
        outcomes: list[T | BaseException] = [RuntimeError("this call never ended")] * len(calls)
        start = threading.Barrier(len(calls))

        async def awaited(call: Callable[[], Awaitable[T]]) -> T:
            return await call()

        def run(index: int) -> None:
            start.wait(JOIN_SECONDS)
            try:
                outcomes[index] = drive(awaited(calls[index]))
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                outcomes[index] = error

        threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(JOIN_SECONDS)
        return outcomes

    def close(self) -> None:
        """Nothing is held."""


class AsyncioWorld:
    """One event loop; at the same time means in tasks."""

    name = "asyncio"

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._runtimes: list[AsyncioRuntime] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def runtime(self) -> Runtime:
        return self._kept(AsyncioRuntime())

    def steered(self) -> SteeredRuntime:
        return self._kept(_SteeredAsyncioRuntime())

    async def settled(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
        gathered = asyncio.gather(*(call() for call in calls), return_exceptions=True)
        return await asyncio.wait_for(gathered, JOIN_SECONDS)

    def close(self) -> None:
        for runtime in self._runtimes:
            runtime.close()
        self._runner.close()

    def _kept(self, runtime: R) -> R:
        self._runtimes.append(runtime)
        return runtime


R = TypeVar("R", bound=AsyncioRuntime)
