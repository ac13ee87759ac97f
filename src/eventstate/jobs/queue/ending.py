"""How attempts end: by a report of their worker, by its stopping, or by its death."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from eventstate.errors import LeaseLostError
from eventstate.jobs.job import RUNNING, Job, JobRequeued, JobResultLate
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt, QueueCore
from eventstate.jobs.queue.rules import after_loss, after_report
from eventstate.jobs.queue.transaction import Moved, QueueTransaction


class Ending:
    """Ends attempts."""

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    async def report(
        self,
        claim: Claim,
        outcome: str,
        result: dict[str, Any] | None,
        error: str | None,
        doubt: Doubt | None = None,
    ) -> Moved:
        """End an attempt as its tool did; the job after it, which may wait for another attempt.

        Args:
            doubt: whoever may have to make the call again passes the same one each time.

        Raises:
            LeaseLostError: the attempt does not count any more, or its worker has lost its lock.
        """
        end = self.reported(claim, outcome, result, error)
        self._core.recall(claim.job_id)  # it is read anyway, with the store's clock

        async def alone(tx: QueueTransaction) -> Moved:
            return await end(tx, await tx.read_ahead([claim.job_id]))

        return await self._core.run(alone, fence=claim.worker.fence, doubt=doubt)

    def reported(
        self, claim: Claim, outcome: str, result: dict[str, Any] | None, error: str | None
    ) -> Callable[[QueueTransaction, int], Awaitable[Moved]]:
        """What `report` does in a transaction, at a time by the store's clock."""
        chance = self._core.runtime.random()

        async def end(tx: QueueTransaction, now: int) -> Moved:
            job = await self._running(tx, claim)
            event = after_report(job, outcome, result, error, at=now, chance=chance)
            await self._put_down(tx, claim)
            return await tx.move(claim.job_id, event, now)

        return end

    async def give_back(
        self, claim: Claim, reason: str, doubt: Doubt | None = None, *, is_running: bool = False
    ) -> Moved:
        """Let a job wait again whose worker stops; it counts as no failure.

        Args:
            is_running: its tool did not end, and may go on: the job is as one whose worker has died.

        Raises:
            LeaseLostError: as `report`.
        """
        self._core.recall(claim.job_id)

        async def end(tx: QueueTransaction) -> Moved:
            now = await tx.read_ahead([claim.job_id])
            job = await self._running(tx, claim)
            await self._put_down(tx, claim)
            if job.cancel_requested:
                return await tx.move(claim.job_id, after_report(job, "failed", None, reason, at=now, chance=0), now)
            if is_running:
                return await tx.move(claim.job_id, after_loss(job, str(claim.worker), at=now), now)
            return await tx.move(claim.job_id, JobRequeued(now, reason, str(claim.worker)), now)

        return await self._core.run(end, fence=claim.worker.fence, doubt=doubt)

    async def report_late(self, claim: Claim, outcome: str, result: dict[str, Any] | None) -> None:
        """Leave word of a result that came after its attempt had ended."""

        async def late(tx: QueueTransaction) -> None:
            now = await tx.read_ahead([claim.job_id])
            if await tx.job(claim.job_id) is not None:
                await tx.record(claim.job_id, JobResultLate(now, claim.attempt, outcome, result, str(claim.worker)))

        await self._core.run(late)

    async def lose(self, worker: str, running_id: str) -> Moved | None:
        """End an attempt whose worker has died, and lost its lock; the job after it, None if it had ended already."""
        job_id = running_id.partition("/")[2]

        async def end(tx: QueueTransaction) -> Moved | None:
            now = await tx.read_ahead([job_id], [(layout.RUNNING, running_id)])
            running = await tx.get(layout.RUNNING, running_id)
            if running is None:
                return None
            await tx.put_down(running_id, running, job_id)
            job = await tx.job(job_id)
            if job is None or job.status != RUNNING or job.attempt != running["attempt"]:
                return None
            return await tx.move(job_id, after_loss(job, worker, at=now), now)

        return await self._core.run(end)

    async def _running(self, tx: QueueTransaction, claim: Claim) -> Job:
        """The job whose attempt this is."""
        job = await tx.job(claim.job_id)
        is_current = job is not None and job.status == RUNNING and job.attempt == claim.attempt
        if job is None or not is_current or job.worker != str(claim.worker):
            raise LeaseLostError(resource=claim.fence.resource, token=claim.fence.token)
        return job

    async def _put_down(self, tx: QueueTransaction, claim: Claim) -> None:
        await tx.put_down(claim.running_id, {"fence": claim.fence.number, "slot": claim.slot}, claim.job_id)
