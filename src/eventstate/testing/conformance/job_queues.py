"""What queues of jobs promise: each attempt is one worker's, nothing waits for nothing, and the log tells all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from eventstate.core.documents import Batch, Check, Page
from eventstate.core.expected import ANY
from eventstate.errors import (
    AlreadyExistsError,
    CommitUnknownError,
    ConfigurationError,
    DependencyCycleError,
    EncodingError,
    InvalidIdError,
    InvalidInputError,
    JobFinishedError,
    JobNotFoundError,
    LeaseLostError,
    RunNotFoundError,
    StorageFullError,
    StoreUnavailableError,
    WorkstreamNotFoundError,
)
from eventstate.jobs.job import Job
from eventstate.jobs.queue.async_job_queue import AsyncJobQueue
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt
from eventstate.jobs.queue.job_queue import JobQueue
from eventstate.jobs.queue.layout import WorkerMark, worker_lock
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.requests import MAX_DEPENDENCIES, JobRequest
from eventstate.jobs.queue.rules import JobRules
from eventstate.jobs.runs.async_job_state_store import AsyncJobStateStore
from eventstate.jobs.runs.job_state_store import JobStateStore
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import GOVERNOR, TALLIES, Added, Face, PersisterSuite
from eventstate.testing.conformance.suite import case, raises
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.testing.queues import check_queue

SOON: Final = 0.05
LATER: Final = 3600.0
QUEUES: Final = ("default",)


class JobQueueSuite(PersisterSuite):
    """A suite whose cases queue jobs, and play their workers."""

    def queueing(self, store: Store | None = None) -> Queueing:
        """A queue as one process has it."""
        return Queueing(store if store is not None else self.open(), GOVERNOR)

    def queue(self, store: Store) -> Face:
        """The public face of one."""
        face = JobQueue if self.world.name == "sync" else AsyncJobQueue
        return Face(cast("Any", face(store, governor=GOVERNOR)))

    async def worker(self, queueing: Queueing, name: str = "w", *, ttl: float = 60) -> WorkerMark:
        lock = await queueing.locking.acquire(worker_lock(name), name, ttl=ttl, wait=5, purpose=None, reentrant=False)
        return WorkerMark(name, lock.fence)

    async def claimed(self, queueing: Queueing, worker: WorkerMark, **options: Any) -> Claim:
        claim = await queueing.claiming.claim(worker, QUEUES, **options)
        assert claim is not None, "nothing is ready"
        return claim

    async def die(self, queueing: Queueing, worker: WorkerMark) -> None:
        """What becomes of a worker whose lease runs out, without the wait."""
        await queueing.locking.break_lock(worker_lock(worker.name))

    async def done(self, queueing: Queueing, claim: Claim, outcome: str = "completed") -> Job:
        """End an attempt, and let go on what waits for it."""
        result, error = ({"value": 1}, None) if outcome == "completed" else (None, outcome)
        moved = await queueing.ending.report(claim, outcome, result, error)
        if moved.release is not None:
            await queueing.releasing.release(moved.release)
        return moved.job

    async def sound(self, store: Store, *, is_over: bool = False) -> None:
        assert await check_queue(store, GOVERNOR, ledger=TALLIES.name, is_over=is_over) == []

    async def status(self, queueing: Queueing, job_id: str) -> str:
        return (await queueing.survey.job(job_id)).status

    async def order_of(self, queueing: Queueing, worker: WorkerMark) -> list[str]:
        """The jobs in the order in which one worker claims them, each completed."""
        ids: list[str] = []
        while (claim := await queueing.claiming.claim(worker, QUEUES)) is not None:
            ids.append(claim.job_id)
            await self.done(queueing, claim)
        return ids


def request(job_id: str, **options: Any) -> JobRequest:
    return JobRequest(job_id=job_id, tool="t", **options)


def requests(*ids: str, **options: Any) -> list[JobRequest]:
    return [request(id, **options) for id in ids]


class JobQueueingCases(JobQueueSuite):
    """The way into a queue."""

    @case
    async def test_higher_priorities_go_first_then_those_that_came_first(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        for id, priority in (("b", 0), ("c", 5), ("a", 0), ("d", -5), ("e", 5)):
            await queueing.enqueuing.queue_jobs([request(id, priority=priority)])
        assert await self.order_of(queueing, await self.worker(queueing)) == ["c", "e", "b", "a", "d"]
        await self.sound(store, is_over=True)

    @case
    async def test_the_same_request_again_changes_nothing_another_is_refused(self) -> None:
        store = self.open()
        queue = self.queue(store)
        one = request("a", metadata={"x": 1}, delay=LATER)
        assert await queue.queue_job(one) == "a"
        assert await queue.queue_jobs([one, one]) == ["a"]
        with raises(AlreadyExistsError):
            await queue.queue_job(request("a", metadata={"x": 2}, delay=LATER))
        with raises(InvalidInputError):
            await queue.queue_jobs([request("b"), request("b", priority=1)])
        assert [tuple(depth) for depth in await queue.depths()] == [("default", 0, 1, 0, 0)]
        await self.sound(store)

    @case
    async def test_what_can_not_be_queued_is_refused_before_anything_is_written(self) -> None:
        store = self.open()
        queue = self.queue(store)
        refused: Sequence[tuple[type[Exception], JobRequest]] = (
            (InvalidIdError, request("")),
            (InvalidIdError, request("a/b")),
            (InvalidIdError, request("a" * 201)),
            (InvalidIdError, request("a", queue="q/r")),
            (InvalidIdError, request("a", limit="")),
            (InvalidInputError, request("a", priority=1_000_001)),
            (InvalidInputError, request("a", priority=True)),
            (InvalidInputError, request("a", on_lost="shrug")),
            (InvalidInputError, request("a", delay=-1)),
            (InvalidInputError, request("a", delay=float("nan"))),
            (InvalidInputError, request("a", not_before=datetime(2030, 1, 1))),  # noqa: DTZ001
            (InvalidInputError, request("a", not_before=datetime(2290, 1, 1, tzinfo=UTC))),
            (InvalidInputError, request("a", delay=1, not_before=datetime.now(UTC))),
            (InvalidInputError, request("a", depends_on=["a"])),
            (InvalidInputError, request("a", depends_on=["b"], after=["b"])),
            (InvalidInputError, request("a", depends_on=[str(n) for n in range(MAX_DEPENDENCIES + 1)])),
            (InvalidInputError, request("a", depends_on="b")),
            (InvalidInputError, request("a", after={"b"})),
            (InvalidInputError, request("a", metadata=["x"])),
            (InvalidInputError, request("a", env={"n": 1})),
            (InvalidInputError, request("a", rules={"max_retries": 1})),
            (InvalidInputError, request("a", rules=JobRules(escalate_after=1, escalate_to=7, max_retries=1))),  # type: ignore[arg-type]
            (InvalidInputError, request("a", rules=JobRules(max_retries=-1))),
            (InvalidInputError, request("a", rules=JobRules(backoff=2, backoff_cap=1))),
            (InvalidInputError, request("a", rules=JobRules(timeout=0))),
            (InvalidInputError, request("a", rules=JobRules(escalate_to="u"))),
            (InvalidInputError, request("a", rules=JobRules(escalate_to="u", escalate_after=2, max_retries=1))),
            (InvalidInputError, request("a", metadata={"text": "x" * 300_000})),
            (EncodingError, request("a", metadata={"x": float("nan")})),
            (JobNotFoundError, request("a", depends_on=["nobody"])),
            (RunNotFoundError, request("a", run_id="nobody")),
        )
        for error, one in refused:
            with raises(error):
                await queue.queue_jobs([request("good"), one])
        for no_list in ({"job_id": "a", "tool": "t"}, request("a")):
            with raises(InvalidInputError):
                await queue.queue_jobs(no_list)
        with raises(InvalidInputError):
            await queue.heal("default")
        assert (await store.scan("entry", GOVERNOR)).documents == []
        assert (await store.scan("document", GOVERNOR)).documents == []

    @case
    async def test_a_circle_is_named_and_nothing_is_queued(self) -> None:
        store = self.open()
        queue = self.queue(store)
        graph = [request("a", depends_on=["b"]), request("b", after=["c"]), request("c", depends_on=["a"])]
        with raises(DependencyCycleError) as caught:
            await queue.queue_jobs([request("x"), *graph])
        assert sorted(caught.error.cycle) == ["a", "b", "c"]
        assert (await store.scan("entry", GOVERNOR)).documents == []

    @case
    async def test_many_are_queued_in_several_commits_and_the_same_call_goes_on(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        graph = [request(f"leaf-{n:03d}", depends_on=["root"]) for n in range(70)]
        graph += [request("root"), request("end", depends_on=[f"leaf-{n:03d}" for n in range(70)])]

        async def full(_: Batch) -> None:
            if len(faulty.sent) == 1:
                faulty.before_commit = None
                raise StorageFullError(store=store.url, detail="on purpose")

        faulty.before_commit = full
        queue = self.queueing(faulty)
        with raises(StorageFullError):
            await queue.enqueuing.queue_jobs(graph)
        await self.sound(store)
        assert len(await queue.enqueuing.queue_jobs(graph)) == 72
        depths = await queue.survey.depths()
        assert [tuple(depth) for depth in depths] == [("default", 1, 0, 71, 0)]
        assert all(len(batch.operations) <= 500 for batch in faulty.sent)
        await self.sound(store)

    @case
    async def test_another_job_of_an_id_is_found_before_the_first_of_several_commits(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs([request("099")])
        with raises(AlreadyExistsError):
            await queueing.enqueuing.queue_jobs(requests(*(f"{n:03d}" for n in range(100)), priority=1))
        assert await queueing.survey.counts() == {"queued": 1}

    @case
    async def test_a_job_waits_for_all_that_it_needs(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        graph = [request("end", depends_on=["l", "r"]), *requests("l", "r", depends_on=["a"]), request("a")]
        await queueing.enqueuing.queue_jobs(graph)
        worker = await self.worker(queueing)
        first = await self.claimed(queueing, worker)
        assert first.job_id == "a"
        assert await queueing.claiming.claim(worker, QUEUES) is None
        await self.done(queueing, first)
        left, right = await self.claimed(queueing, worker), await self.claimed(queueing, worker)
        await self.done(queueing, left)
        assert await queueing.claiming.claim(worker, QUEUES) is None
        await self.sound(store)
        await self.done(queueing, right)
        assert await self.order_of(queueing, worker) == ["end"]
        await self.sound(store, is_over=True)

    @case
    async def test_what_depends_on_a_job_that_did_not_complete_is_cancelled_and_what_follows_too(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        graph = [request("a"), request("b", depends_on=["a"]), request("c", depends_on=["b"])]
        await queueing.enqueuing.queue_jobs([*graph, request("always", after=["a", "c"])])
        await self.done(queueing, await self.claimed(queueing, await self.worker(queueing)), "failed")
        jobs = await queueing.survey.jobs(["a", "b", "c", "always"])
        assert {id: job.status for id, job in jobs.items()} == {
            "a": "failed",
            "b": "cancelled",
            "c": "cancelled",
            "always": "queued",
        }
        assert jobs["b"].error_message == "depends on a, which ended as failed"
        assert jobs["c"].error_message == "depends on b, which was cancelled"
        await queueing.enqueuing.queue_jobs([request("late", depends_on=["a"]), request("later", after=["a"])])
        assert await self.status(queueing, "late") == "cancelled"
        assert (await queueing.survey.depths())[0].ready == 2
        await self.sound(store)

    @case
    async def test_a_release_that_was_left_is_worked_off_by_whoever_comes(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs([request("a"), *requests("b", "c", depends_on=["a"])])
        claim = await self.claimed(queueing, await self.worker(queueing))
        await queueing.ending.report(claim, "completed", {}, None)  # and dies
        await self.sound(store)
        assert (await self.queueing(store).heal(QUEUES)).released == 2
        assert (await queueing.survey.depths())[0].ready == 2
        await self.sound(store)

    @case
    async def test_a_job_queued_while_the_one_it_needs_ends_is_not_forgotten(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs([request("a")])
        claim = await self.claimed(queueing, await self.worker(queueing))

        async def meanwhile(_: Batch) -> None:
            faulty.before_commit = None
            await self.done(queueing, claim)

        faulty.before_commit = meanwhile
        await self.queueing(faulty).enqueuing.queue_jobs([request("b", depends_on=["a"])])
        assert (await queueing.survey.depths())[0].ready == 1
        await self.sound(store)

    @case
    async def test_delayed_jobs_begin_when_their_time_has_come(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        past = datetime.now(UTC) - timedelta(days=1)
        await queueing.enqueuing.queue_jobs(
            [request("soon", delay=SOON), request("never", delay=timedelta(days=1)), request("past", not_before=past)]
        )
        worker = await self.worker(queueing)
        assert await self.order_of(queueing, worker) == ["past"]
        left = await queueing.releasing.call_due(QUEUES)
        if left is not None and left < 1_000_000:  # unless the machine was slow
            await self.runtime.sleep(left / 1_000_000 + 0.01)
        await queueing.releasing.call_due(QUEUES)
        assert await self.order_of(queueing, worker) == ["soon"]
        assert await self.status(queueing, "never") == "queued"
        await self.sound(store)

    @case
    async def test_jobs_belong_to_runs(self) -> None:
        store = self.open()
        face = JobStateStore if self.world.name == "sync" else AsyncJobStateStore
        runs = Face(cast("Any", face(store=store, governor=GOVERNOR)))
        run_id = await runs.create_run()
        workstream = await runs.create_workstream(run_id)
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(
            [request("a", run_id=run_id), request("b", workstream_id=workstream, depends_on=["a"])]
        )
        with raises(InvalidInputError):  # that is for its worker
            await runs.mark_job_running("a")
        await self.done(queueing, await self.claimed(queueing, await self.worker(queueing)), "failed")
        told = {job["job_id"]: job["status"] for job in await runs.list_jobs(run_id)}
        assert told == {"a": "failed", "b": "cancelled"}
        with raises(WorkstreamNotFoundError):
            await queueing.enqueuing.queue_jobs([request("c", workstream_id="nobody")])
        await self.sound(store, is_over=True)

    @case
    async def test_faces_are_for_stores_of_their_own_world(self) -> None:
        wrong = AsyncJobQueue if self.world.name == "sync" else JobQueue
        with raises(ConfigurationError):
            wrong(self.open())

    @case
    async def test_what_the_faces_tell(self) -> None:
        store = self.open()
        queue = self.queue(store)
        await queue.queue_job({"job_id": "file", "tool": "git", "metadata": {"timeout_seconds": 5, "max_retries": 2}})
        await queue.queue_job(request("z", limit="gpu"))
        await queue.set_limit("gpu", 3)
        assert [tuple(limit) for limit in await queue.limits()] == [("gpu", 3, 0)]
        await queue.set_limit("gpu", None)
        assert await queue.limits() == []
        job = await queue.job("file")
        assert (job.tool, job.rules) == ("git", {"timeout": 5, "max_retries": 2})
        listed = await queue.list_jobs(status="queued")
        assert [state.id for state in listed] == ["job-file", "job-z"]
        assert await queue.list_jobs(status="dead") == []
        with raises(InvalidInputError):
            await queue.list_jobs(status="gone")
        with raises(JobNotFoundError):
            await queue.job("nobody")


class ClaimCases(JobQueueSuite):
    """Who works on what."""

    @case
    async def test_each_job_is_claimed_once_however_many_claim(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests(*(f"j{n:02d}" for n in range(12))))
        claims: list[str] = []

        async def work(name: str) -> None:
            own = self.queueing(store)
            mark = await self.worker(own, name)
            while (claim := await own.claiming.claim(mark, QUEUES, breadth=4)) is not None:
                claims.append(claim.job_id)
                await self.done(own, claim)

        await self.together([lambda name=name: work(name) for name in ("one", "two", "three")])
        rest = self.queueing(store)
        claims += await self.order_of(rest, await self.worker(rest, "rest"))
        assert sorted(claims) == sorted(set(claims)) == [f"j{n:02d}" for n in range(12)]
        await self.sound(store, is_over=True)

    @case
    async def test_a_claim_that_comes_second_takes_another_job(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        other, own = await self.worker(queueing, "other"), await self.worker(queueing, "own")

        async def meanwhile(_: Batch) -> None:
            faulty.before_commit = None
            assert (await self.claimed(queueing, other)).job_id == "a"

        faulty.before_commit = meanwhile
        assert (await self.claimed(self.queueing(faulty), own)).job_id == "b"
        await self.sound(store)

    @case
    async def test_among_several_workers_each_takes_one_of_the_first_few(self) -> None:
        queueing = self.queueing()
        await queueing.enqueuing.queue_jobs(requests(*(f"j{n:02d}" for n in range(20))))
        worker = await self.worker(queueing)
        left = [f"j{n:02d}" for n in range(20)]
        for _ in range(8):
            claim = await self.claimed(queueing, worker, breadth=3)
            assert claim.job_id in left[:3]
            left.remove(claim.job_id)

    @case
    async def test_limits_hold_and_hide_no_other_job(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.deciding.set_limit("gpu", 2)
        limited = requests(*(f"g{n:02d}" for n in range(20)), priority=9, limit="gpu")
        await queueing.enqueuing.queue_jobs([*limited, request("free")])
        worker = await self.worker(queueing)
        one, two = await self.claimed(queueing, worker), await self.claimed(queueing, worker)
        assert (one.job_id, two.job_id) == ("g00", "g01")
        assert (await self.claimed(queueing, worker)).job_id == "free"
        assert await queueing.claiming.claim(worker, QUEUES) is None
        assert [tuple(limit) for limit in await queueing.survey.limits()] == [("gpu", 2, 2)]
        await self.done(queueing, one)
        assert (await self.claimed(queueing, worker)).job_id == "g02"
        await queueing.deciding.set_limit("gpu", 0)
        await self.done(queueing, two)
        assert await queueing.claiming.claim(worker, QUEUES) is None
        await queueing.deciding.set_limit("gpu", None)
        assert (await self.claimed(queueing, worker)).job_id == "g03"
        await self.sound(store)

    @case
    async def test_two_claims_for_the_last_slot_of_a_limit(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing = self.queueing(store)
        await queueing.deciding.set_limit("one", 1)
        await queueing.enqueuing.queue_jobs(requests("a", "b", limit="one"))
        other, own = await self.worker(queueing, "other"), await self.worker(queueing, "own")

        async def meanwhile(_: Batch) -> None:
            faulty.before_commit = None
            assert await queueing.claiming.claim(other, QUEUES, breadth=2) is not None

        faulty.before_commit = meanwhile
        assert await self.queueing(faulty).claiming.claim(own, QUEUES, breadth=2) is None
        assert (await queueing.survey.limits())[0].running == 1
        await self.sound(store)

    @case
    async def test_a_lowered_limit_holds_for_those_who_claim_at_the_same_time(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing = self.queueing(store)
        await queueing.deciding.set_limit("gpu", 5)
        await queueing.enqueuing.queue_jobs(requests(*(f"{n:02d}" for n in range(12)), limit="gpu"))
        other, own = await self.worker(queueing, "other"), await self.worker(queueing, "own")
        claims = [await self.claimed(queueing, own) for _ in range(5)]
        for claim in claims:
            if claim.slot not in ("gpu/000003", "gpu/000004"):
                await self.done(queueing, claim)
        await queueing.deciding.set_limit("gpu", 3)

        async def meanwhile(_: Batch) -> None:
            faulty.before_commit = None
            assert await queueing.claiming.claim(other, QUEUES, breadth=4) is not None

        faulty.before_commit = meanwhile
        assert await self.queueing(faulty).claiming.claim(own, QUEUES, breadth=4) is None
        assert (await queueing.survey.limits())[0].running == 3
        await self.sound(store)

    @case
    async def test_nothing_is_claimed_by_a_worker_that_has_lost_its_lock(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a"))
        worker = await self.worker(queueing)
        await self.die(queueing, worker)
        with raises(LeaseLostError):
            await queueing.claiming.claim(worker, QUEUES)
        await self.sound(store)

    @case
    async def test_lost_answers_claim_and_end_once(self) -> None:
        store = self.open()
        faulty = FaultyStore(store, runtime=self.world.steered())
        queueing = self.queueing(faulty)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        worker = await self.worker(queueing)
        for fault, expected in ((Fault.LOST_ANSWER, "a"), (Fault.LOST_REQUEST, "b")):
            faulty.then(fault)
            claim = await self.claimed(queueing, worker)
            assert claim.job_id == expected
            faulty.then(fault)
            assert (await queueing.ending.report(claim, "completed", {}, None)).job.status == "completed"
        history = [document for document in (await store.scan("entry", GOVERNOR)).documents if "job" in document.key.id]
        assert len(history) == 6
        await self.sound(store)

    @case
    async def test_a_report_made_again_after_an_outage_finds_its_own_commit(self) -> None:
        store = self.open()
        faulty = FaultyStore(store, runtime=self.world.steered())
        queueing = self.queueing(faulty)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        worker = await self.worker(queueing)
        for fault in (Fault.LOST_ANSWER, Fault.LOST_REQUEST):
            claim, doubt = await self.claimed(queueing, worker), Doubt()
            faulty.then(fault)
            sent = len(faulty.sent)

            async def cut(_: object, sent: int = sent) -> None:
                if len(faulty.sent) > sent + 1:
                    raise StoreUnavailableError(store=store.url, detail="on purpose")

            async def cut_reads(_: object, sent: int = sent) -> None:
                if len(faulty.sent) > sent:
                    raise StoreUnavailableError(store=store.url, detail="on purpose")

            faulty.before_commit, faulty.before_get = cut, cut_reads
            with raises(CommitUnknownError):
                await queueing.ending.report(claim, "completed", {}, None, doubt)
            faulty.before_commit = faulty.before_get = None
            moved = await queueing.ending.report(claim, "completed", {}, None, doubt)
            assert (moved.job.status, moved.release is not None) == ("completed", True)
            with raises(LeaseLostError):
                await queueing.ending.report(claim, "completed", {}, None)
        await self.sound(store)

    @case
    async def test_a_job_on_its_way_from_list_to_list_is_not_missed(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        core = queueing.core
        await queueing.enqueuing.queue_jobs(requests("a"))
        claim = await self.claimed(queueing, await self.worker(queueing))
        honest, looks = core.list, 0

        async def listed(collection: str, prefix: str = "", **options: Any) -> Page:
            nonlocal looks
            looks += collection == "running"
            if collection == "running" and looks == 1:
                return Page([], None, 0)  # as if it had been ready then
            if collection == "running":
                core.list = honest
                await queueing.ending.give_back(claim, "just now")
            return await honest(collection, prefix, **options)

        core.list = listed
        assert not await queueing.survey.is_idle(["default"])
        assert core.list is honest

    @case
    async def test_an_attempt_ends_once(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a"))
        claim = await self.claimed(queueing, await self.worker(queueing))
        await self.done(queueing, claim)
        for outcome in ("completed", "failed"):
            with raises(LeaseLostError):
                await queueing.ending.report(claim, outcome, None, None)
        assert await self.status(queueing, "a") == "completed"
        await self.sound(store, is_over=True)


class AttemptCases(JobQueueSuite):
    """Retries, deaths, and who is asked."""

    @case
    async def test_failures_are_tried_again_until_the_job_is_dead(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        rules = JobRules(max_retries=2, backoff=0, backoff_cap=0)
        await queueing.enqueuing.queue_jobs([request("a", rules=rules), request("b", depends_on=["a"])])
        worker = await self.worker(queueing)
        for attempt, status in ((1, "queued"), (2, "queued"), (3, "dead")):
            claim = await self.claimed(queueing, worker)
            assert (claim.job_id, claim.attempt) == ("a", attempt)
            job = await self.done(queueing, claim, "timeout" if attempt == 2 else "failed")
            assert (job.status, job.failures) == (status, attempt)
        assert await self.status(queueing, "b") == "cancelled"
        assert await queueing.deciding.revive("a", None) == "queued"
        claim = await self.claimed(queueing, worker)
        assert (claim.attempt, claim.job.failures) == (4, 0)
        await self.done(queueing, claim)
        await self.sound(store, is_over=True)

    @case
    async def test_a_retry_waits_for_its_pause(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        rules = JobRules(max_retries=1, backoff=LATER, backoff_cap=LATER)
        await queueing.enqueuing.queue_jobs([request("a", rules=rules)])
        worker = await self.worker(queueing)
        await self.done(queueing, await self.claimed(queueing, worker), "failed")
        depth = (await queueing.survey.depths())[0]
        # The pause is drawn by chance: a very short one has passed already.
        assert depth.delayed + depth.ready == 1
        await self.sound(store)
        assert await queueing.deciding.cancel("a", "enough") == "cancelled"
        await self.sound(store, is_over=True)

    @case
    async def test_without_retries_a_job_ends_as_its_attempt_did(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b"))
        worker = await self.worker(queueing)
        await self.done(queueing, await self.claimed(queueing, worker), "timeout")
        await self.done(queueing, await self.claimed(queueing, worker), "failed")
        assert [await self.status(queueing, id) for id in "ab"] == ["timeout", "failed"]
        for id in "ab":
            with raises(JobFinishedError):
                await queueing.deciding.revive(id, None)
            with raises(JobFinishedError):
                await queueing.deciding.cancel(id, None)
        await self.sound(store, is_over=True)

    @case
    async def test_after_failures_another_tool_takes_over(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        rules = JobRules(max_retries=2, backoff=0, escalate_after=1, escalate_to="better")
        await queueing.enqueuing.queue_jobs([request("a", rules=rules)])
        worker = await self.worker(queueing)
        await self.done(queueing, await self.claimed(queueing, worker), "failed")
        claim = await self.claimed(queueing, worker)
        assert claim.job.tool == "better"
        await self.done(queueing, claim)
        await self.sound(store, is_over=True)

    @case
    async def test_after_failures_people_are_asked(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        rules = JobRules(max_retries=5, backoff=0, escalate_after=1, people="ada")
        await queueing.enqueuing.queue_jobs([*requests("a", "b", rules=rules), request("c", after=["a"])])
        worker = await self.worker(queueing)
        for _ in "ab":
            await self.done(queueing, await self.claimed(queueing, worker), "failed")
        assert await queueing.claiming.claim(worker, QUEUES) is None
        asked, _ = await queueing.survey.asked_page("ada", None)
        assert [one.job_id for one in asked] == ["a", "b"]
        assert (await queueing.survey.asked_page("eve", None))[0] == []
        await self.sound(store)
        assert await queueing.deciding.answer("a", "fail", "no use") == "failed"
        assert (await queueing.survey.job("a")).failures == 1
        assert await queueing.deciding.answer("b", "requeue", None) == "queued"
        with raises(InvalidInputError):
            await queueing.deciding.answer("b", "requeue", None)
        with raises(InvalidInputError):
            await queueing.deciding.answer("b", "perhaps", None)
        assert await self.order_of(queueing, worker) == ["b", "c"]
        await self.sound(store, is_over=True)

    @case
    async def test_cancelling(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        graph = [*requests("ready", "runs"), request("waits", depends_on=["runs"]), request("later", delay=LATER)]
        await queueing.enqueuing.queue_jobs([*graph, request("after", after=["ready"])])
        for id in ("ready", "waits", "later"):
            assert await queueing.deciding.cancel(id, "not needed") == "cancelled"
            assert await queueing.deciding.cancel(id, "not needed") == "cancelled"
        worker = await self.worker(queueing)
        claim = await self.claimed(queueing, worker)
        assert claim.job_id == "runs"
        assert await queueing.deciding.cancel("runs", None) == "running"
        assert await queueing.deciding.cancel("runs", None) == "running"
        await self.sound(store)
        assert (await self.done(queueing, claim, "failed")).status == "cancelled"
        assert await self.order_of(queueing, worker) == ["after"]
        with raises(JobNotFoundError):
            await queueing.deciding.cancel("nobody", None)
        await self.sound(store, is_over=True)

    @case
    async def test_a_job_that_completes_though_it_was_cancelled_has_completed(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a"))
        claim = await self.claimed(queueing, await self.worker(queueing))
        await queueing.deciding.cancel("a", None)
        assert (await self.done(queueing, claim)).status == "completed"
        await self.sound(store, is_over=True)

    @case
    async def test_a_worker_that_stops_gives_its_jobs_back(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a"))
        worker = await self.worker(queueing)
        moved = await queueing.ending.give_back(await self.claimed(queueing, worker), "stopped")
        assert (moved.job.status, moved.job.failures) == ("queued", 0)
        assert await self.order_of(queueing, worker) == ["a"]
        await self.sound(store, is_over=True)


class DeadWorkerCases(JobQueueSuite):
    """What becomes of the jobs of those that die, and of what they still do."""

    @case
    async def test_jobs_of_a_dead_worker_as_they_say(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.deciding.set_limit("l", 3)
        for on_lost in ("fail", "requeue", "ask"):
            await queueing.enqueuing.queue_jobs([request(on_lost, on_lost=on_lost, limit="l")])
        await queueing.enqueuing.queue_jobs([request(f"after-{need}", depends_on=[need]) for need in ("fail", "ask")])
        worker = await self.worker(queueing)
        for _ in range(3):
            await self.claimed(queueing, worker)
        assert (await self.queueing(store).heal(QUEUES)).lost == []
        await self.die(queueing, worker)
        assert sorted((await self.queueing(store).heal(QUEUES)).lost) == ["ask", "fail", "requeue"]
        jobs = await queueing.survey.jobs(["fail", "requeue", "ask", "after-fail", "after-ask"])
        told = [(job.status, job.asked) for job in jobs.values()]
        assert told == [("lost", False), ("queued", False), ("lost", True), ("cancelled", False), ("queued", False)]
        await self.sound(store)
        assert await queueing.deciding.answer("ask", "requeue", None) == "queued"
        assert await queueing.deciding.revive("fail", None) == "queued"
        order = await self.order_of(queueing, await self.worker(queueing, "next"))
        assert order == ["fail", "requeue", "ask", "after-ask"]
        await self.sound(store, is_over=True)

    @case
    async def test_a_lease_that_runs_out_is_a_death(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", on_lost="requeue"))
        worker = await self.worker(queueing, ttl=SOON)
        claim = await self.claimed(queueing, worker)
        for _ in range(400):
            if (await self.queueing(store).heal(QUEUES)).lost:
                break
            await self.runtime.sleep(0.01)
        with raises(LeaseLostError):
            await queueing.ending.report(claim, "completed", {}, None)
        assert await self.status(queueing, "a") == "queued"
        await self.sound(store)

    @case
    async def test_a_late_result_changes_nothing_and_is_told(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", on_lost="requeue"))
        slow = await self.worker(queueing, "slow")
        late = await self.claimed(queueing, slow)
        await self.die(queueing, slow)
        with raises(LeaseLostError):  # before anybody has noticed
            await queueing.ending.report(late, "completed", {}, None)
        await queueing.heal(QUEUES)
        current = await self.claimed(queueing, await self.worker(queueing, "next"))
        with raises(LeaseLostError):
            await queueing.ending.report(late, "failed", None, None)
        with raises(LeaseLostError):
            await queueing.ending.give_back(late, "stopped")
        await queueing.ending.report_late(late, "failed", {"exit_code": 1})
        job = await self.done(queueing, current)
        assert (job.status, job.late_results, job.attempt) == ("completed", 1, 2)
        await self.sound(store, is_over=True)

    @case
    async def test_what_a_late_attempt_writes_is_refused(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        persister = self.persister(store)
        await queueing.enqueuing.queue_jobs(requests("a", on_lost="requeue"))
        slow = await self.worker(queueing, "slow")
        late = await self.claimed(queueing, slow)
        await persister.append(TALLIES, "1", Added("in time"), expected=ANY, fence=late.fence)
        await self.die(queueing, slow)
        await queueing.heal(QUEUES)
        current = await self.claimed(queueing, await self.worker(queueing, "next"))
        assert current.fence.number > late.fence.number
        with raises(LeaseLostError):
            await persister.append(TALLIES, "1", Added("late"), expected=ANY, fence=late.fence)
        await persister.append(TALLIES, "1", Added("now"), expected=ANY, fence=current.fence)
        await self.done(queueing, current)
        with raises(LeaseLostError):
            await persister.append(TALLIES, "1", Added("after the end"), expected=ANY, fence=current.fence)

    @case
    async def test_a_job_that_kills_its_workers_is_dead_in_the_end(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs([request("a", on_lost="requeue", rules=JobRules(max_losses=2))])
        for name in ("one", "two", "three"):
            worker = await self.worker(queueing, name)
            await self.claimed(queueing, worker)
            await self.die(queueing, worker)
            await queueing.heal(QUEUES)
        job = await queueing.survey.job("a")
        assert (job.status, job.losses, job.failures) == ("dead", 2, 3)
        await self.sound(store, is_over=True)

    @case
    async def test_a_cancelled_job_whose_worker_dies_is_cancelled(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", on_lost="requeue"))
        worker = await self.worker(queueing)
        await self.claimed(queueing, worker)
        await queueing.deciding.cancel("a", None)
        await self.die(queueing, worker)
        await queueing.heal(QUEUES)
        assert await self.status(queueing, "a") == "cancelled"
        await self.sound(store, is_over=True)

    @case
    async def test_many_that_find_a_dead_worker_end_its_jobs_once(self) -> None:
        store = self.open()
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a", "b", "c", on_lost="requeue"))
        worker = await self.worker(queueing)
        for _ in "abc":
            await self.claimed(queueing, worker)
        await self.die(queueing, worker)
        await self.together([lambda: self.queueing(store).heal(QUEUES) for _ in range(3)])
        jobs = await queueing.survey.jobs(["a", "b", "c"])
        assert [(job.status, job.losses) for job in jobs.values()] == [("queued", 1)] * 3
        await self.sound(store)

    @case
    async def test_a_worker_renewed_in_the_last_moment_lives(self) -> None:
        store = self.open()
        faulty = FaultyStore(store)
        queueing = self.queueing(store)
        await queueing.enqueuing.queue_jobs(requests("a"))
        lock = await queueing.locking.acquire(worker_lock("w"), "w", ttl=0.01, wait=0, purpose=None, reentrant=False)
        worker = WorkerMark("w", lock.fence)
        claim = await self.claimed(queueing, worker)
        await self.runtime.sleep(0.05)

        async def renewed(batch: Batch) -> None:
            if not all(isinstance(operation, Check) for operation in batch.operations):
                faulty.before_commit = None
                await queueing.locking.locks.extend(lock)

        faulty.before_commit = renewed
        assert (await self.queueing(faulty).heal(QUEUES)).lost == []
        assert (await self.done(queueing, claim)).status == "completed"
        await self.sound(store)
