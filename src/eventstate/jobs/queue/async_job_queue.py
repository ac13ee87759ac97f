"""The asyncio face of a queue: the methods of `JobQueue`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from eventstate.errors import ConfigurationError
from eventstate.jobs.job import Job
from eventstate.jobs.queue.queueing import GOVERNOR, HealedQueue, Queueing
from eventstate.jobs.queue.requests import JobRequest
from eventstate.jobs.queue.survey import AskedJob, LimitUse, QueueDepth, check_status
from eventstate.jobs.runs.specs import JobSpec
from eventstate.machines.states import StateSnapshot
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


class AsyncJobQueue:
    """`JobQueue` for asyncio; its store is one of `open_async_store`."""

    def __init__(self, store: Store, *, governor: str = GOVERNOR) -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use JobQueue with it")
        self._queueing = Queueing(store, governor)

    async def queue_job(self, job: JobRequest | JobSpec | Mapping[str, Any]) -> str:
        """As `JobQueue.queue_job`."""
        return (await self.queue_jobs([job]))[0]

    async def queue_jobs(self, jobs: Sequence[JobRequest | JobSpec | Mapping[str, Any]]) -> list[str]:
        """As `JobQueue.queue_jobs`."""
        return await self._queueing.enqueuing.queue_jobs(jobs)

    async def cancel(self, job_id: str, *, reason: str | None = None) -> str:
        """As `JobQueue.cancel`."""
        return await self._queueing.deciding.cancel(job_id, reason)

    async def revive(self, job_id: str, *, reason: str | None = None) -> str:
        """As `JobQueue.revive`."""
        return await self._queueing.deciding.revive(job_id, reason)

    async def answer(self, job_id: str, answer: str, *, reason: str | None = None) -> str:
        """As `JobQueue.answer`."""
        return await self._queueing.deciding.answer(job_id, answer, reason)

    async def set_limit(self, name: str, most: int | None) -> None:
        """As `JobQueue.set_limit`."""
        await self._queueing.deciding.set_limit(name, most)

    async def job(self, job_id: str) -> Job:
        """As `JobQueue.job`."""
        return await self._queueing.survey.job(job_id)

    async def list_jobs(self, *, status: str | None = None) -> AsyncIterator[StateSnapshot[Job]]:
        """As `JobQueue.list_jobs`."""
        after: str | None = ""
        check_status(status)
        while after is not None:
            page = await self._queueing.survey.page(status, after)
            for job in page.jobs:
                yield job
            after = page.next

    async def counts(self) -> dict[str, int]:
        """As `JobQueue.counts`."""
        return await self._queueing.survey.counts()

    async def depths(self) -> list[QueueDepth]:
        """As `JobQueue.depths`."""
        return await self._queueing.survey.depths()

    async def limits(self) -> list[LimitUse]:
        """As `JobQueue.limits`."""
        return await self._queueing.survey.limits()

    async def asked(self, people: str | None = None) -> AsyncIterator[AskedJob]:
        """As `JobQueue.asked`."""
        after: str | None = None
        while True:
            found, after = await self._queueing.survey.asked_page(people, after)
            for asked in found:
                yield asked
            if after is None:
                return

    async def heal(self, queues: Sequence[str] = ("default",)) -> HealedQueue:
        """As `JobQueue.heal`."""
        return await self._queueing.heal(queues)
