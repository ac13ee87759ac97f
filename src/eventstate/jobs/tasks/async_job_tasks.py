"""The asyncio face of task statuses: the methods of `JobTasks`, awaited."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Self

from eventstate.errors import ConfigurationError, TaskStatusNotFoundError
from eventstate.jobs.tasks.following import TaskBarrier, TaskFollowing, TaskUpdate, synchronize
from eventstate.jobs.tasks.policies import Order, TaskOutcome, TaskPhase, TaskPolicy, TaskVerdict, all_success
from eventstate.jobs.tasks.reporting import Reporting
from eventstate.jobs.tasks.status import FAILED, FINISHED, MAIN, STARTED, TaskStatus
from eventstate.jobs.tasks.tracking import TaskTracking
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


class AsyncJobTasks:
    """`JobTasks` for asyncio; its store is one of `open_async_store`.

    ``tasks = await AsyncJobTasks(store, "nightly", tasks=8)``: it is opened when it is awaited, or at its first method
    that is.
    """

    def __init__(self, store: Store, job: str, *, tasks: int | None = None) -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use JobTasks with it")
        self._tracking = TaskTracking(store, job, tasks)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._itself().__await__()

    async def _itself(self) -> Self:
        await self._tracking.find_or_create()
        return self

    async def _opened(self) -> TaskTracking:
        await self._tracking.find_or_create()
        return self._tracking

    @property
    def job(self) -> str:
        """As `JobTasks.job`."""
        return self._tracking.job

    @property
    def tasks(self) -> int:
        """As `JobTasks.tasks`."""
        return self._tracking.opened.tasks

    @property
    def governor(self) -> str:
        """As `JobTasks.governor`."""
        return self._tracking.governor

    def reporter(self, task: int, *, attempt: int = 1) -> AsyncTaskReporter:
        """As `JobTasks.reporter`."""
        return AsyncTaskReporter(Reporting(self._tracking, task, attempt))

    async def get(self, *, task: int | None = None, tag: str | None = None, order: Order = None) -> TaskStatus:
        """As `JobTasks.get`."""
        return await (await self._opened()).get(task, tag, order)

    async def get_or_default(self, *, task: int, tag: str = MAIN) -> TaskStatus:
        """As `JobTasks.get_or_default`."""
        try:
            return await self.get(task=task, tag=tag)
        except TaskStatusNotFoundError:
            return self._tracking.default(task, tag)

    async def verdict(self, policy: TaskPolicy | None = None, *, tag: str | None = None) -> TaskVerdict:
        """As `JobTasks.verdict`."""
        return await (await self._opened()).verdict(policy or all_success(), tag)

    async def synchronize(
        self, tag: str = MAIN, target: int = FINISHED, *, timeout: float | None = None, wait_for_errors: bool = False
    ) -> TaskBarrier:
        """As `JobTasks.synchronize`."""
        return await synchronize(await self._opened(), tag, target, timeout, wait_for_errors=wait_for_errors)

    async def subscribe(self, *, task: int | None = None, tag: str | None = None) -> AsyncTaskSubscription:
        """As `JobTasks.subscribe`."""
        following = TaskFollowing(await self._opened(), task, tag)
        await following.start()
        return AsyncTaskSubscription(following)

    async def delete(self) -> None:
        """As `JobTasks.delete`."""
        await (await self._opened()).delete()

    async def mark_deleted(self) -> None:
        """As `JobTasks.mark_deleted`."""
        await (await self._opened()).mark_deleted()

    async def close(self) -> None:
        """As `JobTasks.close`."""
        await (await self._opened()).close()

    async def list(self, *, task: int | None = None, tag: str | None = None) -> Sequence[TaskStatus]:
        """As `JobTasks.list`."""
        return await (await self._opened()).statuses(task, tag)


class AsyncTaskReporter:
    """`TaskReporter` for asyncio. Made by `AsyncJobTasks.reporter`."""

    def __init__(self, reporting: Reporting) -> None:
        self._reporting = reporting

    @property
    def task(self) -> int:
        """As `TaskReporter.task`."""
        return self._reporting.task

    @property
    def attempt(self) -> int:
        """As `TaskReporter.attempt`."""
        return self._reporting.attempt

    async def report(
        self,
        status: int,
        *,
        tag: str = MAIN,
        message: str = "",
        payload: Any = None,
        event_id: str | None = None,
        task: int | None = None,
    ) -> TaskStatus:
        """As `TaskReporter.report`."""
        return await self._reporting.report(
            status, tag=tag, message=message, payload=payload, event_id=event_id, task=task
        )

    async def started(
        self, *, tag: str = MAIN, message: str = "", payload: Any = None, event_id: str | None = None
    ) -> TaskStatus:
        """As `TaskReporter.started`."""
        return await self.report(STARTED, tag=tag, message=message, payload=payload, event_id=event_id)

    async def finished(
        self, *, tag: str = MAIN, message: str = "", payload: Any = None, event_id: str | None = None
    ) -> TaskStatus:
        """As `TaskReporter.finished`."""
        return await self.report(FINISHED, tag=tag, message=message, payload=payload, event_id=event_id)

    async def failed(
        self,
        message: str = "",
        *,
        tag: str = MAIN,
        status: int = FAILED,
        payload: Any = None,
        event_id: str | None = None,
    ) -> TaskStatus:
        """As `TaskReporter.failed`."""
        return await self._reporting.failed(status, tag=tag, message=message, payload=payload, event_id=event_id)

    async def report_phase(
        self,
        phase: TaskPhase,
        *,
        tag: str = MAIN,
        message: str = "",
        payload: Any = None,
        event_id: str | None = None,
    ) -> TaskStatus:
        """As `TaskReporter.report_phase`."""
        return await self._reporting.report_phase(phase, tag=tag, message=message, payload=payload, event_id=event_id)

    async def report_outcome(
        self,
        outcome: TaskOutcome,
        *,
        tag: str = MAIN,
        message: str = "",
        payload: Any = None,
        event_id: str | None = None,
    ) -> TaskStatus:
        """As `TaskReporter.report_outcome`."""
        return await self._reporting.report_outcome(
            outcome, tag=tag, message=message, payload=payload, event_id=event_id
        )


class AsyncTaskSubscription:
    """`TaskSubscription` for asyncio: iterated with ``async for``. A wait that is cancelled takes no update with it."""

    def __init__(self, following: TaskFollowing) -> None:
        self._following = following

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskUpdate:
        update = await self._following.next()
        if update is None:
            raise StopAsyncIteration
        return update

    async def next(self, *, timeout: float | None = None) -> TaskUpdate | None:
        """As `TaskSubscription.next`."""
        return await self._following.next_within(timeout)

    def stop(self) -> None:
        """As `TaskSubscription.stop`."""
        self._following.stop()

    async def close(self) -> None:
        """As `TaskSubscription.close`."""
        await self._following.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
