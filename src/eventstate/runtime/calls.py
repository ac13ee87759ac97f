"""Calls beside the caller, for asyncio: a coroutine as a task, a function that blocks in a thread of its own.

Imported by what is for asyncio only, so that sync users never load it.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Outcome(NamedTuple, Generic[T_co]):
    """How a call ended.

    Attributes:
        value: what it returned, unless there is an error.
        error: what it raised.
        is_cancelled: it was told to end, and let that pass.
    """

    value: T_co | None = None
    error: BaseException | None = None
    is_cancelled: bool = False


class Call(Generic[T]):
    """A call under way. Made, and used, inside one running loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._ended: asyncio.Future[Outcome[T]] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_told = False

    @classmethod
    def of_coroutine(cls, work: Callable[[], Coroutine[Any, Any, T]], name: str) -> Call[T]:
        """Begin a coroutine."""
        call = cls(name)
        task = call._task = call._loop.create_task(call._run(work), name=name)
        task.add_done_callback(call._note)
        return call

    @classmethod
    def in_thread(cls, work: Callable[[], T], name: str) -> Call[T]:
        """Begin a function in a thread that keeps no process from ending, with the caller's context variables."""
        call = cls(name)
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(call._block, work), name=name, daemon=True).start()
        return call

    @property
    def outcome(self) -> Outcome[T]:
        """How it ended; only once it has."""
        return self._ended.result()

    def cancel(self) -> None:
        """Have a coroutine end, as a cancelled task does. Once: again would disturb it while it tidies up.

        A function in a thread goes on.
        """
        if not self._is_told:
            self.insist()

    def insist(self) -> None:
        """The same, for one that did not end when it was told to."""
        self._is_told = True
        if self._task is not None:
            self._task.cancel()

    def abandon(self) -> None:
        """Tell it again, and take it for cancelled whatever it does: nobody waits for it any more."""
        self.insist()
        self._end(Outcome(None, asyncio.CancelledError(), is_cancelled=True))

    def cancel_after(self, seconds: float) -> None:
        """Cancel it when it has not ended by then."""
        self._timer = self._loop.call_later(seconds, self.cancel)

    async def end(self, on_cancel: Callable[[], None]) -> BaseException | None:
        """Wait until it has ended, come what may: each cancellation of the caller calls ``on_cancel`` instead.

        Returns:
            The first of these cancellations, for the caller to raise if nothing else is left to do.
        """
        return await _until(self._ended, on_cancel)

    async def _run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        try:
            outcome = Outcome(await work())
        except asyncio.CancelledError as error:
            outcome = Outcome[T](None, error, is_cancelled=True)
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # nobody told this one
                outcome = Outcome[T](None, RuntimeError("something that it waited for was cancelled"))
        except GeneratorExit:  # its loop is gone
            raise
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it, or doesn't
            outcome = Outcome[T](None, error)
        self._end(outcome)

    def _note(self, task: asyncio.Task[None]) -> None:
        """Where it was cancelled before it had begun, nothing else tells."""
        if task.cancelled():
            self._end(Outcome(None, asyncio.CancelledError(), is_cancelled=True))

    def _block(self, work: Callable[[], T]) -> None:
        try:
            outcome = Outcome(work())
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it, or doesn't
            outcome = Outcome[T](None, error)
        try:
            self._loop.call_soon_threadsafe(self._end, outcome)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    def _end(self, outcome: Outcome[T]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._ended.done():
            self._ended.set_result(outcome)


async def uninterrupted(work: Coroutine[Any, Any, T], on_cancel: Callable[[], None]) -> T:
    """The result of a coroutine that is not cancelled with its caller: each cancellation calls ``on_cancel`` instead.

    Raises:
        CancelledError: the caller was cancelled, and the work has ended since.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled = await _until(task, on_cancel)
    if cancelled is None:
        return task.result()
    raise cancelled from None if task.cancelled() else task.exception()


async def _until(future: asyncio.Future[Any], on_cancel: Callable[[], None]) -> BaseException | None:
    cancelled: BaseException | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
            on_cancel()
    return cancelled
