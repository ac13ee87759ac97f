"""What the rest of the library may ask of the world it runs in."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Waiter(Protocol):
    """One wait of one caller for one event that another thread or task announces."""

    async def wait(self, timeout: float | None = None) -> bool:
        """True once woken, False when ``timeout`` seconds have passed."""
        ...


class Interruption(Protocol):
    """A way to end the caller's work from outside, where its world has one."""

    def fire(self) -> None:
        """Cancel the task that made this, if it is an asyncio task; a thread goes on. From the same loop only."""
        ...

    def absorb(self, error: BaseException | None) -> bool:
        """Whether this error is the cancellation that `fire` caused; it is taken back then."""
        ...


class Runtime(Protocol):
    """Time, randomness and waiting. Passed in, never guessed from the surroundings."""

    def now(self) -> int:
        """Wall clock, microseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""
        ...

    def random(self) -> float:
        """A number in [0, 1) for jitter."""
        ...

    def unique(self) -> str:
        """A new unique id: 22 URL-safe characters."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def run_blocking(self, call: Callable[[], T]) -> T:
        """The result of ``call``, which may block: inline for sync callers, in a worker thread otherwise."""
        ...

    def waiter(self) -> Waiter: ...

    def wake(self, waiters: Sequence[Waiter]) -> None:
        """Wake waiters made by this runtime; callable from any thread."""
        ...

    def start(self, waiter: Waiter, call: Callable[[], None], *, at_once: bool = False) -> None:
        """Have ``call``, which may block, run soon on behalf of whoever waits on ``waiter``; from any thread.

        A sync waiter's own thread runs it; an asyncio waiter's loop hands it to a worker thread,
        after the tasks that are ready now have had their turn, or ``at_once`` without waiting for the loop.
        """
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Have a coroutine run beside the caller: on a thread of its own for sync callers, else as a task.

        It does not keep the process alive, and must end by itself when it is not needed any more.
        """
        ...

    def interruption(self) -> Interruption:
        """A way to end what the caller does from now on."""
        ...

    def close(self) -> None:
        """Let go of worker threads; the store that was opened with this runtime calls it."""
        ...
