"""A flag that any thread may raise and one caller waits for."""

from __future__ import annotations

import threading
from contextlib import suppress

from eventstate.runtime.base import Runtime, Waiter


class Signal:
    """Raised any number of times, seen once: a wait takes it down again.

    One caller waits at a time; `set` may be called from any thread.
    """

    __slots__ = ("_is_set", "_mutex", "_runtime", "_waiter")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._mutex = threading.Lock()
        self._is_set = False
        self._waiter: Waiter | None = None

    def set(self) -> None:
        """Raise the flag, and wake whoever waits for it."""
        with self._mutex:
            self._is_set = True
            waiter = self._waiter
        if waiter is not None:
            with suppress(RuntimeError):  # the waiter's loop was closed under it: nobody waits any more
                self._runtime.wake((waiter,))

    async def wait(self, timeout: float) -> bool:
        """True once the flag was raised since the last wait, False when ``timeout`` seconds have passed."""
        with self._mutex:
            if self._is_set:
                self._is_set = False
                return True
            waiter = self._waiter = self._runtime.waiter()
        try:
            await waiter.wait(timeout)
        except BaseException:
            # Cancelled, perhaps together with a wake-up: the flag stays up for the next wait.
            with self._mutex:
                self._waiter = None
            raise
        with self._mutex:
            was_set, self._is_set, self._waiter = self._is_set, False, None
        return was_set
