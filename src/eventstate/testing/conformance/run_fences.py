"""What is written about runs and jobs under a lock: accepted while it is held, refused once it has moved on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from eventstate.core.leases import Fence
from eventstate.errors import ConfigurationError, InvalidInputError, LeaseLostError, RunNotFoundError
from eventstate.jobs.queue.layout import WorkerMark, worker_lock
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.requests import JobRequest
from eventstate.jobs.runs.results import JobResult
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import Face
from eventstate.testing.conformance.running import JOBS_GOVERNOR, RunSuite
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.transactions.locking import Locking
from eventstate.transactions.locks import DistributedLock

Call = Callable[[], Coroutine[Any, Any, Any]]

DONE = JobResult(0)


class RunFenceCases(RunSuite):
    """``fence=`` on everything that a store of jobs writes."""

    async def _lock(self, store: Store, governor: str = JOBS_GOVERNOR) -> tuple[Locking, DistributedLock]:
        locking = Locking(store, governor)
        return locking, await locking.acquire("planner", "a", ttl=60, wait=5, purpose=None, reentrant=False)

    async def _prepare(self, jobs: Face, turn: int) -> None:
        await jobs.create_run(run_id=f"r{turn}")
        await jobs.create_run(run_id=f"gone{turn}")
        await jobs.create_workstream(f"r{turn}", f"w{turn}")
        await jobs.mark_job_running(f"j{turn}", run_id=f"r{turn}")

    def _calls(self, jobs: Face, fence: Any, turn: int) -> dict[str, Call]:
        """Every way to write, about what is there."""
        return {
            "create_run": partial(jobs.create_run, run_id=f"new{turn}", fence=fence),
            "update_run_status": partial(jobs.update_run_status, f"r{turn}", "running", fence=fence),
            "the same status": partial(jobs.update_run_status, f"r{turn}", "pending", fence=fence),
            "delete_run": partial(jobs.delete_run, f"gone{turn}", fence=fence),
            "create_workstream": partial(jobs.create_workstream, f"r{turn}", f"new{turn}", fence=fence),
            "update_workstream_status": partial(jobs.update_workstream_status, f"w{turn}", "running", fence=fence),
            "mark_job_running": partial(jobs.mark_job_running, f"new{turn}", workstream_id=f"w{turn}", fence=fence),
            "begin anew": partial(jobs.mark_job_running, f"j{turn}", fence=fence),
            "a late result": partial(jobs.update_job_result, f"j{turn}", DONE, attempt=1, fence=fence),
            "update_job_result": partial(jobs.update_job_result, f"j{turn}", DONE, fence=fence),
            "record_event": partial(jobs.record_event, "noted", {"run_id": f"r{turn}"}, fence=fence),
            "record_event of none": partial(jobs.record_event, "noted", {}, fence=fence),
        }

    @case
    async def test_all_is_written_while_the_lock_is_held_and_nothing_once_it_moved_on(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        locking, lock = await self._lock(store)
        for turn, fence in enumerate((lock, [lock.fence])):
            await self._prepare(jobs, turn)
            for name, call in self._calls(jobs, fence, turn).items():
                if name == "the same status":
                    continue  # it is another one by now
                await call()
            assert (await jobs.get_run(f"r{turn}"))["status"] == "running"
            assert await jobs.get_job_status(f"j{turn}") == "completed"
        await self._prepare(jobs, 2)
        before = await self.stored(store)
        await locking.release(lock)
        for name, call in self._calls(jobs, lock.fence, 2).items():
            with raises(LeaseLostError):
                await call()
            assert await self.stored(store) == before, f"{name} has written something"
        await self.sound(store)

    @case
    async def test_what_can_be_no_fence_is_refused_before_anything_is_written(self) -> None:
        store = self.open()
        jobs = self.jobs(store)
        await self._prepare(jobs, 0)
        before = await self.stored(store)
        _, others = await self._lock(store, "others")
        earlier = Fence(JOBS_GOVERNOR, "planner", -1)
        refusals: tuple[tuple[type[Exception], Any], ...] = (
            (ConfigurationError, others),
            (InvalidInputError, "planner"),
            (LeaseLostError, earlier),
        )
        for error, fence in refusals:
            for call in self._calls(jobs, fence, 0).values():
                with raises(error):
                    await call()
        assert await self.stored(store) == before
        with raises(RunNotFoundError):
            await jobs.update_run_status("none", "running", fence=(await self._lock(store))[1])

    @case
    async def test_a_job_writes_about_its_run_as_long_as_its_attempt_counts(self) -> None:
        store = self.open()
        jobs, queueing = self.jobs(store), Queueing(store, JOBS_GOVERNOR)
        run = await jobs.create_run()
        await queueing.enqueuing.queue_jobs([JobRequest(job_id="plans", tool="t", run_id=run)])
        lock = await queueing.locking.acquire(worker_lock("w"), "w", ttl=60, wait=5, purpose=None, reentrant=False)
        claim = await queueing.claiming.claim(WorkerMark("w", lock.fence), ["default"])
        assert claim is not None
        await jobs.record_event("planned", {"run_id": run}, fence=claim.fence)
        await queueing.ending.report(claim, "completed", {}, None)
        with raises(LeaseLostError):
            await jobs.record_event("planned", {"run_id": run}, fence=claim.fence)
        assert (await self.events(jobs, run=run)).count("planned") == 1

    @case
    async def test_a_lost_answer_is_no_lost_lock(self) -> None:
        store = self.open()
        await self._prepare(self.jobs(store), 0)
        _, lock = await self._lock(store)
        for turn, fault in enumerate((Fault.LOST_ANSWER, Fault.LOST_REQUEST)):
            faulty = FaultyStore(store, [fault], runtime=self.world.steered())
            jobs = self.jobs(faulty)
            assert await jobs.create_workstream("r0", f"x{turn}", fence=lock) == f"x{turn}"
        assert len(await self.jobs(store).list_workstreams("r0")) == 3
        await self.sound(store)
