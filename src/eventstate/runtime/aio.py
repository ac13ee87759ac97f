"""The asyncio world. Imported only by async stores, so that sync users never load asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from eventstate.errors import ConfigurationError
from eventstate.runtime.base import Waiter
from eventstate.runtime.clock import SystemClock

T = TypeVar("T")

WORKERS = 4
"""One leads commits, the others scan."""


class AsyncioWaiter:
    """A wait on a future of one loop."""

    __slots__ = ("_future", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._woken = False
        self._future: asyncio.Future[None] | None = None

    async def wait(self, timeout: float | None = None) -> bool:
        # A future for each wait: cancelling one must not cancel the wake-up that a second wait relies on.
        if not self._woken:
            future = self._future = self._loop.create_future()
            if timeout is None:
                await future
            else:
                await asyncio.wait((future,), timeout=timeout)
        return self._woken

    def wake(self) -> None:
        self._woken = True
        future = self._future
        if future is not None and not future.done():
            future.set_result(None)


class AsyncioInterruption:
    """Cancels the task that made it, and knows its own cancellation from that of others."""

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self._task = task
        self._was_cancelling = task.cancelling() if task is not None else 0
        self._fired = False

    def fire(self) -> None:
        if self._task is not None and not self._fired and not self._task.done():
            self._fired = True
            self._task.cancel()

    def absorb(self, error: BaseException | None) -> bool:
        if not self._fired or self._task is None:
            return False
        self._fired = False
        # As in asyncio.timeout: where somebody else has cancelled too, theirs goes on.
        return self._task.uncancel() <= self._was_cancelling and isinstance(error, asyncio.CancelledError)


class AsyncioRuntime(SystemClock):
    """Waits on the running loop; blocking calls go to worker threads of its own.

    Made inside a running loop and bound to it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool: ThreadPoolExecutor | None = None
        self._spawned: set[asyncio.Task[None]] = set()

    @property
    def _workers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="eventstate")
        return self._pool

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def run_blocking(self, call: Callable[[], T]) -> T:
        self._check_loop()
        return await self._loop.run_in_executor(self._workers, call)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError("this store was opened in another event loop: open one in this loop")

    def waiter(self) -> AsyncioWaiter:
        self._check_loop()
        return AsyncioWaiter(self._loop)

    def wake(self, waiters: Sequence[Waiter]) -> None:
        self._soon(lambda: _wake_all(waiters))

    def start(self, waiter: Waiter, call: Callable[[], None], *, at_once: bool = False) -> None:
        if at_once:
            self._workers.submit(call)
        else:
            self._soon(lambda: self._workers.submit(call))

    def _soon(self, call: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed: nobody waits any more, but started work must still end
            call()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        self._check_loop()
        task = self._loop.create_task(work(), name=name)
        self._spawned.add(task)  # the loop itself keeps weak references only
        task.add_done_callback(self._spawned.discard)

    def interruption(self) -> AsyncioInterruption:
        return AsyncioInterruption(asyncio.current_task())

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


def _wake_all(waiters: Sequence[Waiter]) -> None:
    for waiter in waiters:
        assert isinstance(waiter, AsyncioWaiter)
        waiter.wake()
