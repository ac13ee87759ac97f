"""What people say about jobs: cancel one, have one run again, answer for one that is asked about; and limits."""

from __future__ import annotations

from typing import Final

from eventstate.errors import InvalidInputError, JobFinishedError, JobNotFoundError
from eventstate.jobs.job import (
    CANCELLED,
    DEAD,
    LOST,
    QUEUED,
    RUNNING,
    Job,
    JobCancelled,
    JobCancelRequested,
    JobFailed,
    JobRequeued,
)
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.core import QueueCore
from eventstate.jobs.queue.releasing import Releasing
from eventstate.jobs.queue.transaction import Moved, QueueTransaction, people_of

REQUEUE: Final = "requeue"
FAIL: Final = "fail"
MAX_LIMIT: Final = 10_000


class Deciding:
    """Carries out what people decide."""

    def __init__(self, core: QueueCore, releasing: Releasing) -> None:
        self._core = core
        self._releasing = releasing

    async def cancel(self, job_id: str, reason: str | None) -> str:
        """As `JobQueue.cancel`."""
        id = layout.check_job_id(job_id)
        _check_reason(reason)

        async def cancel(tx: QueueTransaction) -> Moved:
            now, job = await self._job(tx, id)
            if job.status == RUNNING:
                if not job.cancel_requested:
                    job = await tx.record(id, JobCancelRequested(now, reason))
                    await tx.ring()
                return Moved(job, None)
            if job.status == CANCELLED:
                return Moved(job, None)
            if job.status != QUEUED and not job.asked:
                raise JobFinishedError(job_id=id, status=job.status, action="cancelling it")
            await tx.withdraw(id, job)
            return await tx.move(id, JobCancelled(now, job.attempt, reason), now)

        return await self._decided(await self._core.run(cancel))

    async def revive(self, job_id: str, reason: str | None) -> str:
        """As `JobQueue.revive`."""
        id = layout.check_job_id(job_id)
        _check_reason(reason)

        async def revive(tx: QueueTransaction) -> Moved:
            now, job = await self._job(tx, id)
            if job.status in (QUEUED, RUNNING):
                return Moved(job, None)
            if job.status not in (DEAD, LOST):
                raise JobFinishedError(job_id=id, status=job.status, action="reviving it")
            await tx.withdraw(id, job)
            return await tx.move(id, JobRequeued(now, reason or "revived", forgives=True), now)

        return await self._decided(await self._core.run(revive))

    async def answer(self, job_id: str, answer: str, reason: str | None) -> str:
        """As `JobQueue.answer`."""
        id = layout.check_job_id(job_id)
        _check_reason(reason)
        if answer not in (REQUEUE, FAIL):
            raise InvalidInputError(f"answer={answer!r}: say {REQUEUE!r} or {FAIL!r}")

        async def decide(tx: QueueTransaction) -> Moved:
            now, job = await self._job(tx, id)
            if not job.asked:
                raise InvalidInputError(f"nobody is asked about job {id!r}: it is {job.status}")
            await tx.delete(layout.PEOPLE, layout.people_id(people_of(job), id))
            if answer == REQUEUE:
                return await tx.move(id, JobRequeued(now, reason or "answered", forgives=True), now)
            event = JobFailed(now, job.attempt, None, reason or job.error_message or "given up", job.run_id)
            return await tx.move(id, event, now)

        return await self._decided(await self._core.run(decide))

    async def set_limit(self, name: str, most: int | None) -> None:
        """As `JobQueue.set_limit`."""
        layout.check_name("limit", name)
        if most is not None and (type(most) is not int or not 0 <= most <= MAX_LIMIT):
            raise InvalidInputError(f"most={most!r}: pass a whole number from 0 to {MAX_LIMIT:,}, or None for no limit")

        async def set_it(tx: QueueTransaction) -> None:
            if most is None:
                await tx.delete(layout.LIMITS, name)
            else:
                await tx.put(layout.LIMITS, name, {"n": most})
            await tx.ring()

        await self._core.run(set_it)

    async def _job(self, tx: QueueTransaction, id: str) -> tuple[int, Job]:
        now = await tx.read_ahead([id])
        job = await tx.job(id)
        if job is None:
            raise JobNotFoundError(governor=self._core.governor, job_id=id)
        return now, job

    async def _decided(self, moved: Moved) -> str:
        if moved.release is not None:
            await self._releasing.release(moved.release)
        return moved.job.status


def _check_reason(reason: object) -> None:
    if reason is not None and not isinstance(reason, str):
        raise InvalidInputError(f"reason={reason!r}: pass text")
