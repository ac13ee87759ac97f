"""What workers promise, those in threads and those in asyncio: whatever is queued is done, by whoever is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from eventstate.errors import LeaseLostError
from eventstate.jobs.job import Job
from eventstate.jobs.orchestrator.tool import ToolContext
from eventstate.jobs.queue.async_job_queue import AsyncJobQueue
from eventstate.jobs.queue.async_worker import AsyncWorker
from eventstate.jobs.queue.job_queue import JobQueue
from eventstate.jobs.queue.layout import worker_lock
from eventstate.jobs.queue.requests import JobRequest
from eventstate.jobs.queue.rules import JobRules
from eventstate.jobs.queue.worker import Worker
from eventstate.jobs.runs.specs import JobSpec
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.conformance.job_queues import JobQueueSuite, request
from eventstate.testing.conformance.persisters import GOVERNOR
from eventstate.testing.conformance.suite import case
from eventstate.transactions.locking import Locking

Work: TypeAlias = Callable[[JobSpec, ToolContext], Awaitable[Any]]

SOON: Final = 0.02
PATIENCE: Final = 30.0


class WorkerCases(JobQueueSuite):
    """Workers of this world, with tools that are functions in threads, or coroutines."""

    def new_worker(self, store: Store, tools: Mapping[str, Work], **options: Any) -> Worker | AsyncWorker:
        """A worker whose tools are these coroutines: driven in threads, where the world is that of sync callers."""
        if self.world.name == "sync":
            queue = JobQueue(store, governor=GOVERNOR)
            return Worker(queue, {name: _driven(work) for name, work in tools.items()}, **options)
        return AsyncWorker(AsyncJobQueue(store, governor=GOVERNOR), tools, **options)

    async def work(self, worker: Worker | AsyncWorker) -> int:
        """Have it work until nothing is left to do."""
        made = worker.run(until_idle=True)
        return made if isinstance(made, int) else await made

    async def job(self, store: Store, job_id: str) -> Job:
        return await self.queue(store).job(job_id)

    async def until_cancelled(self, context: ToolContext) -> None:
        """Work that is told to end, however tools are told in this world."""
        until = self.runtime.monotonic() + PATIENCE
        while self.runtime.monotonic() < until:
            context.check()
            await self.runtime.sleep(SOON)
        raise AssertionError("nobody told it")

    @case
    async def test_whatever_is_queued_is_done(self) -> None:
        store = self.open()
        queue = self.queue(store)

        async def flaky(_job: JobSpec, context: ToolContext) -> int:
            if context.attempt == 1:
                raise RuntimeError("not yet")
            return context.attempt

        async def never(_job: JobSpec, _context: ToolContext) -> None:
            raise RuntimeError("never")

        rules = JobRules(max_retries=1, backoff=SOON)
        await queue.set_limit("few", 1)
        await queue.queue_jobs(
            [
                request("late", depends_on=["a", "b"], rules=rules, limit="few"),
                request("a", rules=rules, delay=SOON),
                request("b", rules=rules, limit="few"),
                request("cancelled", depends_on=["dead"]),
                request("dead", rules=JobRules(max_retries=1, backoff=SOON, escalate_after=1, escalate_to="never")),
            ]
        )
        assert await self.work(self.new_worker(store, {"t": flaky, "never": never}, slots=3)) == 8
        for id in ("a", "b", "late"):
            job = await self.job(store, id)
            assert job.result is not None, id
            assert (job.status, job.result["metadata"]) == ("completed", {"value": 2})
        told = [(job.status, job.error_message) for job in [await self.job(store, id) for id in ("dead", "cancelled")]]
        assert told[0] == ("dead", "RuntimeError: never")
        assert told[1][0] == "cancelled"
        await self.sound(store, is_over=True)

    @case
    async def test_a_job_that_is_cancelled_or_takes_too_long_is_ended(self) -> None:
        store = self.open()
        queue = self.queue(store)

        async def cancels_itself(job: JobSpec, context: ToolContext) -> None:
            await queue.cancel(job.job_id)
            await self.until_cancelled(context)

        async def slow(_job: JobSpec, context: ToolContext) -> None:
            await self.until_cancelled(context)

        await queue.queue_jobs(
            [
                JobRequest(job_id="cancelled", tool="cancels itself"),
                JobRequest(job_id="timeout", tool="slow", rules=JobRules(timeout=0.1)),
            ]
        )
        assert await self.work(self.new_worker(store, {"cancels itself": cancels_itself, "slow": slow}, slots=2)) == 2
        for id in ("cancelled", "timeout"):
            assert (await self.job(store, id)).status == id
        await self.sound(store, is_over=True)

    @case
    async def test_what_a_worker_had_that_died_is_done_by_another(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs([request("again", on_lost="requeue"), request("lost"), request("ready")])
        dead = await self.worker(queueing, "dead")
        for _ in range(2):
            await self.claimed(queueing, dead)
        await self.die(queueing, dead)

        async def work(_job: JobSpec, context: ToolContext) -> int:
            return context.attempt

        assert await self.work(self.new_worker(store, {"t": work})) == 2
        statuses = [(await self.job(store, id)).status for id in ("again", "lost", "ready")]
        assert statuses == ["completed", "lost", "completed"]
        assert (await self.job(store, "again")).attempt == 2
        await self.sound(store, is_over=True)

    @case
    async def test_a_worker_that_lost_its_lock_writes_nothing_more_for_what_it_had(self) -> None:
        store = self.open()
        persister, locking = self.persister(store), Locking(store, GOVERNOR)
        refused: list[str] = []

        async def work(job: JobSpec, context: ToolContext) -> None:
            if context.attempt == 1:
                await locking.break_lock(worker_lock("w"))
                queueing = self.queueing(store)
                await queueing.heal(["default"])
            try:
                await persister.save_state("effect", {"attempt": context.attempt}, expected=0, fence=context.fence)
            except LeaseLostError:
                refused.append(job.job_id)
                raise

        await self.queue(store).queue_job(request("a", on_lost="requeue"))
        await self.work(self.new_worker(store, {"t": work}, name="w", ttl=1.0))
        job = await self.job(store, "a")
        assert (job.status, job.attempt, job.losses, job.late_results) == ("completed", 2, 1, 1)
        assert refused in (["a"], []), "a coroutine may have been cancelled before"
        assert (await persister.load("effect")).data == {"attempt": 2}
        await self.sound(store, is_over=True)

    @case
    async def test_a_worker_that_is_stopped_leaves_the_rest_for_others(self) -> None:
        store = self.open()
        queue = self.queue(store)
        await queue.queue_jobs([request(f"j{number}") for number in range(5)])

        async def stops(_job: JobSpec, _context: ToolContext) -> None:
            worker.stop()

        async def held(_job: JobSpec, context: ToolContext) -> None:
            holding.stop(at_once=True)
            await self.until_cancelled(context)

        worker = self.new_worker(store, {"t": stops})
        assert await self.work(worker) == 1
        holding = self.new_worker(store, {"t": held}, grace=PATIENCE)
        assert await self.work(holding) == 1
        assert [tuple(depth) for depth in await queue.depths()] == [("default", 4, 0, 0, 0)]
        await self.sound(store)


def _driven(work: Work) -> Callable[[JobSpec, ToolContext], Any]:
    async def call(job: JobSpec, context: ToolContext) -> Any:
        return await work(job, context)

    return lambda job, context: drive(call(job, context))
