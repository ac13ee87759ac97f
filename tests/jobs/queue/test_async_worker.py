"""Workers in asyncio: what their tools see, how they end, and what becomes of jobs that don't."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    AsyncJobQueue,
    AsyncStateMachinePersister,
    AsyncWorker,
    ConfigurationError,
    InvalidIdError,
    InvalidInputError,
    Job,
    JobQueue,
    JobRequest,
    JobResult,
    JobRules,
    JobSpec,
    LeaseLostError,
    LockTimeoutError,
    StorageFullError,
    StoreUnavailableError,
    ToolContext,
    Tools,
    open_async_store,
    open_store,
)
from eventstate.core.documents import Batch
from eventstate.jobs.queue import async_worker as workers
from eventstate.jobs.queue import attempts
from eventstate.jobs.queue.queueing import Queueing
from eventstate.stores.base import Store
from eventstate.testing.conformance import AsyncioWorld
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.testing.queues import check_queue

PATIENCE = 20.0
LONG = 600.0

Scenario = Callable[[Store, AsyncJobQueue], Awaitable[None]]


def run_on(url: str, scenario: Scenario) -> None:
    async def main() -> None:
        async with open_async_store(url) as store:
            await asyncio.wait_for(scenario(store, AsyncJobQueue(store)), 3 * PATIENCE)

    asyncio.run(main())


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}?durability=off"


def queueing_of(queue: AsyncJobQueue) -> Queueing:
    return queue._queueing


async def until(happened: Callable[[], Awaitable[object]], what: str) -> None:
    began = time.monotonic()
    while not await happened():
        assert time.monotonic() - began < PATIENCE, f"not in {PATIENCE:.0f} s: {what}"
        await asyncio.sleep(0.01)


async def ended(queue: AsyncJobQueue, job_id: str) -> Job:
    async def is_over() -> bool:
        return (await queue.job(job_id)).is_terminal

    await until(is_over, f"{job_id} ends")
    return await queue.job(job_id)


async def statuses(queue: AsyncJobQueue, ids: str) -> list[str]:
    return [(await queue.job(id)).status for id in ids]


@asynccontextmanager
async def working(worker: AsyncWorker) -> AsyncIterator[asyncio.Task[int]]:
    """The worker runs beside, and is stopped at the end."""
    task = asyncio.create_task(worker.run())
    try:
        yield task
    finally:
        worker.stop()
        await asyncio.wait((task,), timeout=PATIENCE)
        assert task.done()


def request(job_id: str, **options: Any) -> JobRequest:
    return JobRequest(job_id=job_id, tool="t", **options)


async def nothing(_job: JobSpec, _context: ToolContext) -> None:
    pass


class Holding:
    """A tool that ends only when it is cancelled; ``deaf`` ones don't, until they are let go."""

    def __init__(self, *, deaf: bool = False, tidies: float = 0.0) -> None:
        self.began = asyncio.Event()
        self.begun = 0
        self.release = asyncio.Event()
        self.cancels = 0
        self.tidied = 0
        self._is_deaf = deaf
        self._tidies = tidies

    async def run(self, _job: JobSpec, _context: ToolContext) -> JobResult:
        self.began.set()
        self.begun += 1
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancels += 1
                if not self._is_deaf:
                    await asyncio.sleep(self._tidies)
                    self.tidied += 1
                    raise
        return JobResult(0)


def test_jobs_are_done_by_coroutines_functions_and_tools(url: str) -> None:
    loop_thread = threading.get_ident()
    where: dict[str, int] = {}

    async def add(job: JobSpec, context: ToolContext) -> int:
        where["coroutine"] = threading.get_ident()
        await asyncio.sleep(0)
        assert context.attempt == 1
        return sum(job.metadata["add"])

    def block(_job: JobSpec, _context: ToolContext) -> str:
        where["function"] = threading.get_ident()
        return "blocked"

    class Object:
        async def run(self, _job: JobSpec, _context: ToolContext) -> JobResult:
            return JobResult(3, stderr="no luck")

    async def exits(_job: JobSpec, _context: ToolContext) -> None:
        raise SystemExit(3)

    async def cancels_itself(_job: JobSpec, _context: ToolContext) -> None:
        raise asyncio.CancelledError

    async def odd(_job: JobSpec, _context: ToolContext) -> JobResult:
        return JobResult(0, metadata={"x": float("nan")})

    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        tools: dict[str, Any] = {"add": add, "block": block, "object": Object(), "exits": exits, "odd": odd}
        tools["cancels"] = cancels_itself
        await queue.queue_jobs([JobRequest(job_id=name, tool=name, metadata={"add": [1, 2]}) for name in tools])
        await queue.queue_job(JobRequest(job_id="unknown", tool="nobody has it"))
        assert await AsyncWorker(queue, tools, slots=2).run(until_idle=True) == 7
        for name, value in (("add", 3), ("block", "blocked")):
            result = (await queue.job(name)).result
            assert result is not None
            assert result["metadata"] == {"value": value}
        told = {name: (await queue.job(name)).error_message or "" for name in ("object", "exits", "odd", "cancels")}
        assert told["object"] == "no luck"
        assert told["exits"] == "SystemExit: 3"
        assert "can't be stored" in told["odd"]
        assert "was cancelled" in told["cancels"]
        assert (await queue.job("unknown")).error_message == "this worker has no tool 'nobody has it'"
        assert await check_queue(store, is_over=True) == []
        locks = await store.scan("lease", "jobs")
        assert len(locks.documents) == 0

    run_on(url, scenario)
    assert where["coroutine"] == loop_thread
    assert where["function"] != loop_thread


def test_a_waiting_worker_is_woken_and_slots_work_at_the_same_time(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        here = 0
        all_here = asyncio.Event()
        barrier = threading.Barrier(2)

        async def meet(job: JobSpec, _context: ToolContext) -> None:
            nonlocal here
            here += 1
            if here == 3:
                all_here.set()
            await asyncio.wait_for(all_here.wait(), PATIENCE)  # only if three are here at once

        def block(_job: JobSpec, _context: ToolContext) -> None:
            barrier.wait(PATIENCE)

        async with working(AsyncWorker(queue, {"t": meet, "block": block}, slots=5)):
            await asyncio.sleep(0.05)
            await queue.queue_jobs([request(id) for id in "abc"])
            await queue.queue_jobs([JobRequest(job_id=id, tool="block") for id in "de"])
            assert [(await ended(queue, id)).status for id in "abcde"] == ["completed"] * 5
        assert await check_queue(store, is_over=True) == []

    run_on(url, scenario)


async def _retries_and_dependents(store: Store, queue: AsyncJobQueue) -> None:
    async def flaky(_job: JobSpec, context: ToolContext) -> None:
        if context.attempt < 3:
            raise RuntimeError("not yet")

    rules = JobRules(max_retries=2, backoff=0.02)
    await queue.set_limit("few", 1)
    later = request("b", depends_on=["a"], rules=rules, delay=0.05)
    await queue.queue_jobs([request("a", rules=rules), later, *[request(id, limit="few") for id in "cd"]])
    first, second = AsyncWorker(queue, {"t": flaky}, slots=2), AsyncWorker(queue, {"t": flaky}, slots=2)
    made = await asyncio.gather(first.run(until_idle=True), second.run(until_idle=True))
    assert sum(made) == first.done + second.done == 8
    assert [(await queue.job(id)).attempt for id in "ab"] == [3, 3]
    assert await statuses(queue, "abcd") == ["completed", "completed", "failed", "failed"]
    assert await check_queue(store, is_over=True) == []


def test_retries_dependents_and_limits_go_on_by_themselves(url: str) -> None:
    run_on(url, _retries_and_dependents)


@pytest.mark.backend("firestore")
def test_workers_on_firestore(emulator_host: str, project_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator_host)
    run_on(f"firestore://{project_id}", _retries_and_dependents)


def test_a_running_job_is_cancelled(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        tool, blocked = Holding(tidies=0.1), threading.Event()

        def block(_job: JobSpec, context: ToolContext) -> None:
            blocked.set()
            context.cancelled.wait(PATIENCE)
            context.check()

        async with working(AsyncWorker(queue, {"t": tool, "block": block}, slots=2)):
            await queue.queue_jobs([request("a"), JobRequest(job_id="b", tool="block")])
            await tool.began.wait()
            assert await asyncio.to_thread(blocked.wait, PATIENCE)
            for id in "ab":
                assert await queue.cancel(id, reason="enough") == "running"
                assert (await ended(queue, id)).status == "cancelled"
        assert (tool.cancels, tool.tidied) == (1, 1), "it is told once, and may tidy up"
        assert await check_queue(store, is_over=True) == []

    run_on(url, scenario)


def test_a_coroutine_that_takes_too_long_is_cancelled_when_its_time_is_up(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        tool = Holding()
        await queue.queue_job(request("a", rules=JobRules(timeout=0.05)))
        await AsyncWorker(queue, {"t": tool}).run(until_idle=True)
        job = await queue.job("a")
        assert job.status == "timeout"
        assert (job.error_message or "").startswith("timed out after 0.")
        assert tool.tidied == 1
        assert await check_queue(store, is_over=True) == []

    run_on(url, scenario)


def test_a_coroutine_that_lets_its_cancellation_pass_is_given_up_and_its_result_comes_late(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "OVERRUN_SECONDS", 0.05)

    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        deaf = Holding(deaf=True)
        async with working(AsyncWorker(queue, {"t": deaf, "next": nothing})):
            await queue.queue_job(request("deaf", rules=JobRules(timeout=0.05)))
            job = await ended(queue, "deaf")
            assert (job.status, "did not stop" in (job.error_message or "")) == ("timeout", True)
            await queue.queue_job(JobRequest(job_id="next", tool="next"))
            assert (await ended(queue, "next")).status == "completed", "another slot takes its place"
            deaf.release.set()

            async def is_told() -> bool:
                return (await queue.job("deaf")).late_results == 1

            await until(is_told, "the late result is told")
        assert deaf.cancels == 2, "when its time was up, and when it was given up"
        assert await check_queue(store, is_over=True) == []

    run_on(url, scenario)


def test_a_coroutine_that_completes_although_it_was_cancelled_has_completed(url: str) -> None:
    async def scenario(_store: Store, queue: AsyncJobQueue) -> None:
        async def stubborn(_job: JobSpec, _context: ToolContext) -> str:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                return "done all the same"
            return "never"

        await queue.queue_job(request("a", rules=JobRules(timeout=0.05)))
        await AsyncWorker(queue, {"t": stubborn}).run(until_idle=True)
        assert (await queue.job("a")).status == "completed"

    run_on(url, scenario)


def test_a_run_that_is_cancelled_gives_its_jobs_back(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        tool, blocked = Holding(tidies=0.1), threading.Event()

        def block(_job: JobSpec, context: ToolContext) -> None:
            blocked.set()
            context.cancelled.wait(PATIENCE)
            context.check()

        await queue.queue_jobs([request("a"), JobRequest(job_id="b", tool="block"), request("c")])
        worker = AsyncWorker(queue, {"t": tool, "block": block}, slots=2)
        task = asyncio.create_task(worker.run())
        await tool.began.wait()
        assert await asyncio.to_thread(blocked.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tool.tidied == 1
        jobs = [await queue.job(id) for id in "abc"]
        assert [(job.status, job.failures, job.losses) for job in jobs] == [("queued", 0, 0)] * 3
        assert [tuple(depth) for depth in await queue.depths()] == [("default", 3, 0, 0, 0)]
        assert len((await store.scan("lease", "jobs")).documents) == 0, "its lock is released"
        assert await check_queue(store) == []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await AsyncWorker(queue, {}, queues=["other"]).run()

    run_on(url, scenario)


@pytest.mark.parametrize("way", ["cancelled twice", "grace is over"])
def test_a_tool_that_does_not_end_is_left_when_its_worker_stops(
    url: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        deaf = Holding(deaf=True)
        await queue.queue_jobs([request("a"), request("b", on_lost="requeue")])
        worker = AsyncWorker(queue, {"t": deaf}, slots=2, grace=0)
        task = asyncio.create_task(worker.run())

        async def both_run() -> bool:
            return deaf.begun == 2 and await statuses(queue, "ab") == ["running"] * 2

        await until(both_run, "both run")
        if way == "cancelled twice":
            task.cancel()
            await asyncio.sleep(0.1)
            assert not task.done(), "tools have five seconds"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            monkeypatch.setattr(workers, "UNWINDING_SECONDS", 0.05)
            worker.stop()
            await task
        assert await statuses(queue, "ab") == ["lost", "queued"]
        assert await check_queue(store) == []
        deaf.release.set()

        async def is_told() -> bool:
            return (await queue.job("a")).late_results == 1 and (await queue.job("b")).late_results == 1

        await until(is_told, "their late results are told")

    run_on(url, scenario)


def test_a_worker_that_is_stopped_lets_its_job_end(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        tool = Holding()
        worker = AsyncWorker(queue, {"t": tool})
        async with working(worker) as task:
            await queue.queue_jobs([request("a"), request("b")])
            await tool.began.wait()
            await asyncio.to_thread(worker.stop)  # from any thread
            await asyncio.sleep(0.05)
            assert not task.done()
            tool.release.set()
            assert await task == 1
            assert await statuses(queue, "ab") == ["completed", "queued"]
        assert tool.cancels == 0
        assert await check_queue(store) == []

    run_on(url, scenario)


def test_a_loop_that_ends_under_its_worker_leaves_nothing_that_runs(url: str, tmp_path: Path) -> None:
    """Whoever ends the loop cancels all its tasks: those of the worker and of its tools too."""
    if url.startswith("memory"):
        url = f"sqlite:///{tmp_path / 'other.db'}"
    kept: list[Any] = []

    async def main() -> None:
        store = open_async_store(url)
        queue, tool = AsyncJobQueue(store), Holding()
        await queue.queue_jobs([request(id) for id in "abc"])
        kept.extend([store, asyncio.create_task(AsyncWorker(queue, {"t": tool}, slots=2).run())])
        await tool.began.wait()

    asyncio.run(main())
    kept.clear()
    gc.collect()
    with open_store(url) as store:
        queue = JobQueue(store)
        assert [queue.job(id).status for id in "abc"] == ["queued"] * 3
        assert [queue.job(id).losses for id in "abc"] == [0] * 3


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_function_that_does_not_end_keeps_no_loop_from_ending(
    is_stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "UNWINDING_SECONDS", 0.05)
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def deaf(_job: JobSpec, _context: ToolContext) -> None:
        began.set()
        release.wait(PATIENCE)
        ended.set()

    async def main() -> None:
        store = open_async_store("memory://")
        queue = AsyncJobQueue(store)
        await queue.queue_job(request("a"))
        worker = AsyncWorker(queue, {"t": deaf})
        task = asyncio.create_task(worker.run())
        await asyncio.to_thread(began.wait)
        if is_stopped:
            worker.stop(at_once=True)
            assert await task == 1
            assert await statuses(queue, "a") == ["lost"]

    try:
        asyncio.run(main())
        assert not ended.is_set()
    finally:
        release.set()


def test_a_worker_that_is_cancelled_before_it_claims_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "UNWINDING_SECONDS", 4 * PATIENCE)  # longer than the scenario has

    async def scenario(_: Store, queue: AsyncJobQueue) -> None:
        worker = AsyncWorker(queue, {"t": nothing})
        honest = worker._slots.open
        others = asyncio.all_tasks()

        def open_and_end() -> None:
            honest()
            for task in asyncio.all_tasks() - others:  # as a loop does that ends
                task.cancel()

        worker._slots.open = open_and_end
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(worker.run())

    run_on("memory://", scenario)


@pytest.mark.parametrize("on_lost", ["fail", "requeue"])
def test_a_job_that_was_done_but_could_not_be_told_is_lost(url: str, on_lost: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        faulty = FaultyStore(store)

        async def full(_: Batch) -> None:
            raise StorageFullError(store="here", detail="on purpose")

        async def fills(_job: JobSpec, _context: ToolContext) -> None:
            faulty.before_commit = full

        await queue.queue_job(request("a", on_lost=on_lost))
        worker = AsyncWorker(AsyncJobQueue(faulty), {"t": fills})
        honest = worker._slots.reconcile

        async def reconcile() -> None:
            if worker._slots.failure is not None:
                faulty.before_commit = None  # room again
            await honest()

        worker._slots.reconcile = reconcile
        with pytest.raises(StorageFullError):
            await worker.run(until_idle=True)
        job = await queue.job("a")
        assert (job.status, job.losses) == ("lost" if on_lost == "fail" else "queued", 1)
        assert await check_queue(store) == []

    run_on(url, scenario)


def test_a_worker_that_lost_its_lock_begins_anew_and_writes_nothing_for_what_it_had(url: str) -> None:
    from eventstate import AsyncLockManager

    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        persister = AsyncStateMachinePersister(store, governor="jobs")
        began, refused = asyncio.Event(), asyncio.Event()

        async def slow(_job: JobSpec, context: ToolContext) -> None:
            if context.attempt > 1:
                return
            began.set()
            try:
                await asyncio.sleep(LONG)
            finally:
                try:
                    await persister.save_state("effect", {}, expected=0, fence=context.fence)
                except LeaseLostError:
                    refused.set()

        async with working(AsyncWorker(queue, {"t": slow}, name="w", ttl=0.6)):
            await queue.queue_job(request("a", on_lost="requeue"))
            await began.wait()
            await AsyncLockManager(store, governor="jobs").break_lock("eventstate/worker/w")
            await queue.heal()
            await asyncio.wait_for(refused.wait(), PATIENCE)
            assert (await ended(queue, "a")).status == "completed"

            async def is_told() -> bool:
                return (await queue.job("a")).late_results == 1

            await until(is_told, "the late result is told")
        assert (await queue.job("a")).losses == 1
        assert await persister.exists("effect") is False
        assert await check_queue(store, is_over=True) == []

    run_on(url, scenario)


def test_a_coroutine_that_blocks_the_loop_loses_its_job_and_nothing_else(url: str, tmp_path: Path) -> None:
    if url.startswith("memory"):
        url = f"sqlite:///{tmp_path / 'other.db'}?durability=off"
    with open_store(url) as others:

        def take_over() -> bool:
            """Another process finds that the worker's lease has run out."""
            return JobQueue(others).heal().lost == ["a"]

        async def scenario(store: Store, queue: AsyncJobQueue) -> None:
            async def blocks(_job: JobSpec, context: ToolContext) -> None:
                if context.attempt == 1:
                    began = time.monotonic()
                    while not take_over():
                        assert time.monotonic() - began < PATIENCE
                        time.sleep(0.05)  # the loop stands still

            await queue.queue_job(request("a", on_lost="requeue"))
            await AsyncWorker(queue, {"t": blocks}, ttl=0.3).run(until_idle=True)
            job = await queue.job("a")
            assert (job.status, job.attempt, job.losses, job.late_results) == ("completed", 2, 1, 1)
            assert await check_queue(store, is_over=True) == []

        run_on(url, scenario)


def test_a_function_that_blocks_does_not_keep_the_loop(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        release = threading.Event()

        def block(_job: JobSpec, _context: ToolContext) -> None:
            assert release.wait(PATIENCE)

        async def let_go(_job: JobSpec, _context: ToolContext) -> None:
            release.set()

        await queue.queue_jobs([request("a", priority=1), JobRequest(job_id="b", tool="let_go")])
        assert await AsyncWorker(queue, {"t": block, "let_go": let_go}, slots=2).run(until_idle=True) == 2
        assert await check_queue(store, is_over=True) == []

    run_on(url, scenario)


def test_claims_without_an_answer_are_given_back(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        claiming = queueing_of(queue).claiming
        honest, lost = claiming.claim, list[Any]()

        async def unanswered(*args: Any, **options: Any) -> Any:
            claim = await honest(*args, **options)
            if claim is not None and not lost:
                lost.append(claim)
                return None
            return claim

        claiming.claim = unanswered
        await queue.queue_job(request("a"))
        assert await AsyncWorker(queue, {"t": nothing}, ttl=0.3).run(until_idle=True) == 1
        job = await queue.job("a")
        assert (job.status, job.attempt, job.failures) == ("completed", 2, 0)
        lost.clear()
        await queue.queue_job(request("b"))
        async with working(AsyncWorker(queue, {"t": nothing})):

            async def is_lost() -> bool:
                return bool(lost)

            await until(is_lost, "it is claimed")
        assert (await queue.job("b")).status == "queued", "at the latest when it stops"
        assert await check_queue(store) == []

    run_on(url, scenario)


@pytest.mark.parametrize("stops", [False, True])
def test_a_report_is_made_again_until_the_store_answers_or_the_worker_is_stopped_at_once(
    url: str, stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(_store: Store, queue: AsyncJobQueue) -> None:
        ending = queueing_of(queue).ending
        honest, asked = ending.report, list[Any]()
        twice = asyncio.Event()

        async def down(*args: Any) -> Any:
            asked.append(args[-1])
            if len(asked) >= 2:
                twice.set()
            if stops or len(asked) < 3:
                raise StoreUnavailableError(store="here", detail="on purpose")
            return await honest(*args)

        monkeypatch.setattr(ending, "report", down)
        await queue.queue_job(request("a"))
        worker = AsyncWorker(queue, {"t": nothing})
        if not stops:
            assert await worker.run(until_idle=True) == 1
            assert (await queue.job("a")).status == "completed"
            assert len({id(doubt) for doubt in asked}) == 1, "as the same report each time"
            return
        task = asyncio.create_task(worker.run())
        await twice.wait()
        worker.stop(at_once=True)
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(task, PATIENCE)

    run_on(url, scenario)


@pytest.mark.backend("memory")
@pytest.mark.parametrize("seed", range(3))
def test_jobs_are_done_though_the_store_often_does_not_answer(seed: int) -> None:
    async def scenario(store: Store, _queue: AsyncJobQueue) -> None:
        chance = random.Random(seed)
        faults = (Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.UNAVAILABLE)

        def fault(_batch: Batch) -> Fault:
            return chance.choice(faults) if chance.random() < 0.15 else Fault.NONE

        faulty = FaultyStore(store, fault, runtime=AsyncioWorld().steered())
        queue = AsyncJobQueue(faulty)
        rules = JobRules(max_retries=3, backoff=0.01)
        calls = 0

        async def flaky(_job: JobSpec, context: ToolContext) -> None:
            nonlocal calls
            calls += 1
            if context.attempt == 1:
                raise RuntimeError("not yet")

        await AsyncJobQueue(store).queue_jobs(
            [request(f"j{n}", rules=rules, depends_on=[f"j{n - 3}"] if n > 3 else []) for n in range(1, 16)]
        )
        worker = AsyncWorker(queue, {"t": flaky}, slots=3)
        while True:
            try:
                await worker.run(until_idle=True)
                break
            except StoreUnavailableError:  # of the very first commit, that of its lock
                continue
        assert await AsyncJobQueue(store).counts() == {"completed": 15}
        assert calls >= 15
        assert await check_queue(store, is_over=True) == []

    run_on("memory://", scenario)


def test_a_worker_runs_once_and_has_its_name_alone(url: str) -> None:
    async def scenario(store: Store, queue: AsyncJobQueue) -> None:
        worker = AsyncWorker(queue, {"t": nothing}, name="w", ttl=0.3)
        async with working(worker):

            async def has_begun() -> bool:
                return bool((await store.scan("lease", "jobs")).documents)

            await until(has_begun, "it begins")
            with pytest.raises(InvalidInputError, match="make a new one"):
                await worker.run()
            with pytest.raises(LockTimeoutError):
                await AsyncWorker(queue, {"t": nothing}, name="w", ttl=0.1).run()

    run_on(url, scenario)


@pytest.mark.backend("memory")
@pytest.mark.parametrize(
    ("error", "options"),
    [
        (InvalidInputError, {"slots": 0}),
        (InvalidInputError, {"queues": "default"}),
        (InvalidInputError, {"queues": []}),
        (InvalidInputError, {"ttl": 0}),
        (InvalidInputError, {"grace": float("nan")}),
        (InvalidIdError, {"name": "a/b"}),
        (InvalidIdError, {"queues": ["a:b"]}),
        (ConfigurationError, {"tools": {"t": 3}}),
        (ConfigurationError, {"tools": {"t": Holding}}),
        (InvalidIdError, {"tools": {"": nothing}}),
        (ConfigurationError, {"queue": None}),
    ],
)
def test_what_a_worker_can_not_be(error: type[Exception], options: dict[str, Any]) -> None:
    async def scenario(_store: Store, queue: AsyncJobQueue) -> None:
        with pytest.raises(error):
            AsyncWorker(**{"queue": queue, "tools": {"t": nothing}, **options})

    run_on("memory://", scenario)


@pytest.mark.backend("memory")
@pytest.mark.parametrize("tool", [nothing, type("Asynchronous", (), {"run": nothing})()])
def test_coroutines_are_refused_where_nobody_would_await_them(tool: Any) -> None:
    with pytest.raises(ConfigurationError, match="AsyncWorker"):
        Tools({"t": tool})
