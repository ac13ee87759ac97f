"""Open, in use, closed, or inherited by a forked child."""

from __future__ import annotations

import os
import threading

from eventstate.errors import StoreClosedError, StoreForkedError
from eventstate.runtime.base import Runtime, Waiter


class Lifecycle:
    """Counts the calls in flight, so that close can let them end. Safe to use from many threads.

    Used as a context around each call.

    Raises:
        StoreClosedError: on entry, after `end`.
        StoreForkedError: on entry, in a child forked after opening: gRPC does not survive a fork.
    """

    def __init__(self, runtime: Runtime, store: str) -> None:
        self._runtime = runtime
        self._store = store
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._calls = 0
        self._closed = False
        self._idle: Waiter | None = None

    @property
    def is_inherited(self) -> bool:
        return os.getpid() != self._pid

    def __enter__(self) -> None:
        if os.getpid() != self._pid:
            raise StoreForkedError(store=self._store)
        with self._lock:
            if self._closed:
                raise StoreClosedError(store=self._store)
            self._calls += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._calls -= 1
            idle = self._idle if self._calls == 0 else None
        if idle is not None:
            self._runtime.wake((idle,))

    async def end(self, timeout: float) -> bool:
        """Let no further call in and wait for those inside, up to ``timeout`` seconds. False if already ended."""
        with self._lock:
            if self._closed:
                return False
            self._closed = True
            if self._calls == 0:
                return True
            self._idle = self._runtime.waiter()
        await self._idle.wait(timeout)
        return True
