"""The asyncio world. Imported only by async stores, so that sync users never load asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from eventstate.errors import ConfigurationError
from eventstate.runtime.base import Waiter
from eventstate.runtime.clock import SystemClock

T = TypeVar("T")

WORKERS = 4
"""One leads commits, the others scan."""


class AsyncioWaiter:
    """A wait on a future of one loop."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[None] = loop.create_future()

    async def wait(self, timeout: float | None = None) -> bool:
        # Shielded: cancelling one wait must not cancel the wake-up that a second wait relies on.
        if timeout is None:
            await asyncio.shield(self._future)
            return True
        try:
            await asyncio.wait_for(asyncio.shield(self._future), timeout)
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class AsyncioRuntime(SystemClock):
    """Waits on the running loop; blocking calls go to worker threads of its own.

    Made inside a running loop and bound to it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool: ThreadPoolExecutor | None = None

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

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


def _wake_all(waiters: Sequence[Waiter]) -> None:
    for waiter in waiters:
        assert isinstance(waiter, AsyncioWaiter)
        waiter.wake()
