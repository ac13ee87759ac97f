"""The sync world: coroutines driven to their end on the caller's own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from eventstate.runtime.base import Waiter
from eventstate.runtime.clock import SystemClock

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that only waits through a `BlockingRuntime` and return its result.

    Raises:
        RuntimeError: the coroutine suspended, which means that it waited outside the runtime.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a coroutine of a sync store suspended: it waited outside its runtime")


class BlockingWaiter:
    """A wait on a bare lock: the cheapest wake-up that Python has."""

    __slots__ = ("_call", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._call: Callable[[], None] | None = None

    async def wait(self, timeout: float | None = None) -> bool:
        while self._lock.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            call, self._call = self._call, None
            if call is None:
                return True
            call()
        return False

    def wake(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:  # already awake and not yet asleep again
            pass

    def start(self, call: Callable[[], None]) -> None:
        self._call = call
        self.wake()


class BlockingInterruption:
    """Threads can't be cancelled: whoever fires this relies on the thread to look at a flag."""

    def fire(self) -> None:
        """Nothing."""

    def absorb(self, error: BaseException | None) -> bool:
        return False


class BlockingRuntime(SystemClock):
    """Waits by blocking the calling thread."""

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def run_blocking(self, call: Callable[[], T]) -> T:
        return call()

    def waiter(self) -> BlockingWaiter:
        return BlockingWaiter()

    def wake(self, waiters: Sequence[Waiter]) -> None:
        for waiter in waiters:
            assert isinstance(waiter, BlockingWaiter)
            waiter.wake()

    def start(self, waiter: Waiter, call: Callable[[], None], *, at_once: bool = False) -> None:
        assert isinstance(waiter, BlockingWaiter)
        waiter.start(call)

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        threading.Thread(target=lambda: drive(work()), name=name, daemon=True).start()

    def interruption(self) -> BlockingInterruption:
        return BlockingInterruption()

    def close(self) -> None:
        pass
