"""Workers in threads: what their tools see, how they end, and what becomes of jobs that don't."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventstate import (
    CommitUnknownError,
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
    StateMachinePersister,
    StorageFullError,
    StoreUnavailableError,
    SubprocessTool,
    ToolContext,
    Worker,
    open_store,
)
from eventstate.core.documents import Batch, Key
from eventstate.core.settlement import TokenRef
from eventstate.jobs.queue import attempts, claiming
from eventstate.jobs.queue import worker as workers
from eventstate.jobs.queue.core import Doubt
from eventstate.jobs.queue.job_queue import queueing_of
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.testing.faults import FaultyStore
from eventstate.testing.queues import queue_problems

PATIENCE = 60.0


@pytest.fixture
def firestore(emulator_host: str, project_id: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator_host)
    with open_store(f"firestore://{project_id}") as opened:
        yield opened


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'jobs.db'}?durability=off"
    with open_store(url) as opened:
        yield opened


@pytest.fixture
def queue(store: Store) -> JobQueue:
    return JobQueue(store)


def until(happened: Callable[[], object], what: str) -> None:
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < PATIENCE, f"not in {PATIENCE:.0f} s: {what}"
        time.sleep(0.01)


@contextmanager
def working(worker: Worker) -> Iterator[threading.Thread]:
    """The worker runs in a thread, and is stopped at the end."""
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        worker.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def nothing(_job: JobSpec, _context: ToolContext) -> None:
    pass


def request(job_id: str, **options: Any) -> JobRequest:
    return JobRequest(job_id=job_id, tool="t", **options)


def ended(queue: JobQueue, job_id: str) -> Job:
    until(lambda: queue.job(job_id).is_terminal, f"{job_id} ends")
    return queue.job(job_id)


def test_jobs_are_done_and_their_results_kept(store: Store, queue: JobQueue) -> None:
    seen: list[tuple[str, dict[str, Any], int]] = []

    def tool(job: JobSpec, context: ToolContext) -> Any:
        seen.append((job.job_id, job.metadata, context.attempt))
        if job.job_id == "fails":
            raise ValueError("no luck")
        if job.job_id == "exits":
            raise SystemExit(3)
        return JobResult(0, stdout="x" * 600) if job.job_id == "prints" else {"sum": 3}

    metadata = {"left": 1, "right": 2}
    queue.queue_jobs([request("adds", metadata=metadata), *map(request, ("prints", "fails", "exits"))])
    queue.queue_job(JobRequest(job_id="unknown", tool="nobody has it"))
    assert Worker(queue, {"t": tool}).run(until_idle=True) == 5
    assert ("adds", metadata, 1) in seen
    adds, prints = queue.job("adds").result, queue.job("prints").result
    assert adds is not None
    assert adds["metadata"] == {"value": {"sum": 3}}
    assert prints is not None
    assert prints["stdout_preview"] == "x" * 500
    told = {id: (queue.job(id).status, queue.job(id).error_message) for id in ("fails", "exits", "unknown")}
    assert told["fails"] == ("failed", "ValueError: no luck")
    assert told["exits"][0] == "failed"
    assert told["unknown"] == ("failed", "this worker has no tool 'nobody has it'")
    assert queue_problems(store, is_over=True) == []
    assert list(store_locks(store)) == []


def store_locks(store: Store) -> Iterator[Any]:
    from eventstate import LockManager

    return LockManager(store, governor="jobs").list_locks()


def test_a_waiting_worker_is_woken_and_slots_work_at_the_same_time(store: Store, queue: JobQueue) -> None:
    meeting = threading.Barrier(3)

    def meet(_job: JobSpec, _context: ToolContext) -> None:
        meeting.wait(PATIENCE)  # only if three are here at once

    with working(Worker(queue, {"t": meet}, slots=3)):
        queue.queue_jobs([request(id) for id in "abc"])
        assert [ended(queue, id).status for id in "abc"] == ["completed"] * 3
    assert queue_problems(store, is_over=True) == []


def test_retries_and_dependents_go_on_by_themselves(store: Store, queue: JobQueue) -> None:
    def flaky(_job: JobSpec, context: ToolContext) -> None:
        if context.attempt < 3:
            raise RuntimeError("not yet")

    rules = JobRules(max_retries=2, backoff=0.02)
    queue.queue_jobs([request("a", rules=rules), request("b", depends_on=["a"], rules=rules, delay=0.05)])
    assert Worker(queue, {"t": flaky}).run(until_idle=True) == 6
    assert [queue.job(id).attempt for id in "ab"] == [3, 3]
    assert queue_problems(store, is_over=True) == []


@pytest.mark.backend("firestore")
def test_workers_on_firestore(firestore: Store) -> None:
    queue = JobQueue(firestore)
    tries = JobRules(max_retries=1, backoff=0.05)

    def flaky(_job: JobSpec, context: ToolContext) -> None:
        context.check()
        if context.attempt == 1:
            raise RuntimeError("not yet")

    with working(Worker(queue, {"t": flaky}, slots=2)), working(Worker(queue, {"t": flaky})):
        queue.queue_jobs([request("a", rules=tries), request("b", rules=tries), request("c", depends_on=["a", "b"])])
        assert ended(queue, "c").status == "failed"
        assert [queue.job(id).status for id in "ab"] == ["completed"] * 2
    assert [tuple(depth) for depth in queue.depths()] == []


def test_a_running_job_is_cancelled(store: Store, queue: JobQueue) -> None:
    began = threading.Event()

    def endless(_job: JobSpec, context: ToolContext) -> None:
        began.set()
        while True:
            context.check()
            time.sleep(0.005)

    with working(Worker(queue, {"t": endless})):
        queue.queue_job(request("a"))
        assert began.wait(PATIENCE)
        assert queue.cancel("a", reason="enough") == "running"
        assert ended(queue, "a").status == "cancelled"
    assert queue_problems(store, is_over=True) == []


def test_a_job_that_takes_too_long(store: Store, queue: JobQueue) -> None:
    def endless(_job: JobSpec, context: ToolContext) -> None:
        while True:
            context.check()
            time.sleep(0.005)

    queue.queue_job(request("a", rules=JobRules(timeout=0.05)))
    Worker(queue, {"t": endless}).run(until_idle=True)
    assert queue.job("a").status == "timeout"
    assert queue_problems(store, is_over=True) == []


def test_a_tool_that_does_not_end_is_given_up_and_its_result_comes_late(
    store: Store, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "OVERRUN_SECONDS", 0.05)
    release = threading.Event()

    def deaf(job: JobSpec, _context: ToolContext) -> None:
        if job.job_id == "deaf":
            release.wait(PATIENCE)

    with working(Worker(queue, {"t": deaf})):
        queue.queue_job(request("deaf", rules=JobRules(timeout=0.05)))
        assert ended(queue, "deaf").status == "timeout"
        queue.queue_job(request("next"))
        assert ended(queue, "next").status == "completed"
        release.set()
        until(lambda: queue.job("deaf").late_results == 1, "the late result is told")
    assert queue_problems(store, is_over=True) == []


class Reluctant:
    """A tool that takes a while to end once it is told to, and says so."""

    grace = PATIENCE

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()

    def run(self, _job: JobSpec, context: ToolContext) -> JobResult:
        self.began.set()
        if context.timeout is None:
            context.cancelled.wait(PATIENCE)
        time.sleep(0.4)
        self.ended.set()
        return JobResult(1 if context.is_cancelled else 0)


def test_a_worker_waits_for_a_tool_as_long_as_that_says_it_takes(
    store: Store, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SubprocessTool(grace=7).grace == 7
    monkeypatch.setattr(attempts, "OVERRUN_SECONDS", 0.05)
    monkeypatch.setattr(workers, "UNWINDING_SECONDS", 0.05)
    queue.queue_job(request("late", rules=JobRules(timeout=0.05)))
    Worker(queue, {"t": Reluctant()}).run(until_idle=True)
    assert (queue.job("late").status, queue.job("late").late_results) == ("completed", 0)
    tool = Reluctant()
    with working(Worker(queue, {"t": tool}, grace=0)):
        queue.queue_job(request("stopped"))
        assert tool.began.wait(PATIENCE)
    assert tool.ended.is_set()
    assert queue.job("stopped").status == "queued"
    assert queue_problems(store) == []


@pytest.mark.parametrize("is_down", [False, True])
def test_a_worker_that_is_stopped_leaves_a_tool_that_does_not_end(
    store: Store, queue: JobQueue, monkeypatch: pytest.MonkeyPatch, is_down: bool
) -> None:
    monkeypatch.setattr(workers, "UNWINDING_SECONDS", 0.05)
    ending, began, release = queueing_of(queue).ending, threading.Barrier(3), threading.Event()

    def deaf(_job: JobSpec, _context: ToolContext) -> None:
        began.wait(PATIENCE)
        release.wait(PATIENCE)

    async def down(*_args: Any, **_options: Any) -> Any:
        raise StoreUnavailableError(store="here", detail="on purpose")

    honest = ending.give_back
    queue.queue_jobs([request("a"), request("b", on_lost="requeue")])
    with working(Worker(queue, {"t": deaf}, grace=0, slots=2)):
        began.wait(PATIENCE)
        if is_down:
            monkeypatch.setattr(ending, "give_back", down)
    monkeypatch.setattr(ending, "give_back", honest)
    # Looked at before the tools end: their late results come in while one reads.
    told = [queue.job(id).status for id in "ab"]
    problems = queue_problems(store)
    release.set()
    assert told == (["running", "running"] if is_down else ["lost", "queued"])
    assert problems == []


def test_a_worker_is_stopped_at_once_though_the_store_does_not_answer(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "OVERRUN_SECONDS", 0.0)
    monkeypatch.setattr(workers, "UNWINDING_SECONDS", 0.05)
    asked, release = threading.Event(), threading.Event()

    async def down(*_args: Any) -> Any:
        asked.set()
        raise StoreUnavailableError(store="here", detail="on purpose")

    monkeypatch.setattr(queueing_of(queue).ending, "report", down)
    queue.queue_job(request("a", rules=JobRules(timeout=0.05)))
    worker = Worker(queue, {"t": lambda _job, _context: release.wait(PATIENCE)})
    with working(worker) as thread:
        assert asked.wait(PATIENCE)
        worker.stop(at_once=True)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    release.set()
    assert queue.job("a").status == "running"  # its lock was not released: others take the job when that has run out


def test_a_claim_under_way_when_the_worker_is_stopped_is_no_loss(store: Store, queue: JobQueue) -> None:
    honest = queueing_of(queue).claiming.claim
    claimed = threading.Event()

    async def slow(*args: Any, **options: Any) -> Any:
        claim = await honest(*args, **options)
        if claim is not None:
            claimed.set()
            time.sleep(0.2)
        return claim

    queueing_of(queue).claiming.claim = slow
    with working(Worker(queue, {"t": nothing})):
        queue.queue_job(request("a"))
        assert claimed.wait(PATIENCE)
    queue.heal()
    assert queue.job("a").status == "completed"
    assert queue_problems(store, is_over=True) == []


def test_a_claim_without_an_answer_is_given_back_when_the_worker_stops(store: Store, queue: JobQueue) -> None:
    honest = queueing_of(queue).claiming.claim
    claimed = threading.Event()

    async def unanswered(*args: Any, **options: Any) -> Any:
        if await honest(*args, **options) is not None:
            claimed.set()

    queueing_of(queue).claiming.claim = unanswered
    with working(Worker(queue, {"t": nothing})):
        queue.queue_job(request("a"))
        assert claimed.wait(PATIENCE)
    queue.heal()
    assert queue.job("a").status == "queued"
    assert queue_problems(store) == []


def test_a_report_is_made_again_as_the_same_one(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = queueing_of(queue).ending
    honest, doubts = ending.report, list[Any]()

    async def unanswered(*args: Any) -> Any:
        doubts.append(args[-1])
        if len(doubts) == 1:
            raise CommitUnknownError(token="x", detail="on purpose")
        return await honest(*args)

    monkeypatch.setattr(ending, "report", unanswered)
    queue.queue_job(request("a"))
    Worker(queue, {"t": nothing}).run(until_idle=True)
    assert queue.job("a").status == "completed"
    assert len(doubts) == 2
    assert isinstance(doubts[0], Doubt)
    assert doubts[0] is doubts[1]


def test_a_busy_worker_ends_and_claims_in_one_commit(store: Store) -> None:
    faulty = FaultyStore(store)
    queue = JobQueue(faulty)
    queue.queue_jobs([request(f"{number:02d}") for number in range(20)])
    sent = len(faulty.sent)
    seen: list[str] = []
    assert Worker(queue, {"t": lambda job, _context: seen.append(job.job_id)}).run(until_idle=True) == 20
    assert seen == sorted(seen)
    assert 21 <= len(faulty.sent) - sent < 30  # where each job had two it would be more than 40
    assert queue_problems(store, is_over=True) == []


def test_a_tool_that_changes_what_it_is_handed_changes_no_job(store: Store, queue: JobQueue) -> None:
    def greedy(job: JobSpec, _context: ToolContext) -> None:
        job.command["list"].append("more")
        job.metadata["mine"] = True

    queue.queue_jobs([request(id, command={"list": [1]}) for id in "abcdef"])
    Worker(queue, {"t": greedy}).run(until_idle=True)
    assert [queue.job(id).spec for id in "abcdef"] == [{"command": {"list": [1]}}] * 6
    assert queue_problems(store, is_over=True) == []


def test_what_was_claimed_with_an_end_is_done_by_a_worker_that_is_stopped(store: Store, queue: JobQueue) -> None:
    chaining, claimed = queueing_of(queue).chaining, list[str]()
    honest = chaining.report

    async def slow(*args: Any, **options: Any) -> Any:
        chained = await honest(*args, **options)
        if chained is not None and chained.claim is not None:
            claimed.append(chained.claim.job_id)
            worker.stop()
        return chained

    chaining.report = slow
    queue.queue_jobs([request(f"{number:02d}") for number in range(20)])
    worker = Worker(queue, {"t": nothing})
    with working(worker):
        until(lambda: claimed, "a job is claimed with the end of another one")
    (last,) = claimed
    assert {state.id for state in queue.list_jobs(status="completed")} == {f"job-{n:02d}" for n in range(int(last) + 1)}
    assert worker.done == int(last) + 1
    assert queue_problems(store) == []


def test_a_claim_whose_answer_was_lost_with_an_end_is_given_back(store: Store, queue: JobQueue) -> None:
    chaining, lost = queueing_of(queue).chaining, list[str]()
    honest = chaining.report

    async def unanswered(claim: Any, report: Any, doubt: Doubt, *args: Any, **options: Any) -> Any:
        chained = await honest(claim, report, doubt, *args, **options)
        if chained is None or chained.claim is None or lost:
            return chained
        lost.append(chained.claim.job_id)
        version = next(state.version for state in queue.list_jobs() if state.id == f"job-{claim.job_id}")
        doubt.token = str(TokenRef(id=token_of(store, claim.job_id, version), **place(claim.job_id, version)))
        doubt.result = chained.moved
        return None

    chaining.report = unanswered
    queue.queue_jobs([request(f"{number:02d}") for number in range(20)])
    assert Worker(queue, {"t": nothing}, ttl=0.3).run(until_idle=True) == 20
    assert {state.id: state.data.attempt for state in queue.list_jobs() if state.data.attempt > 1} == {
        f"job-{lost[0]}": 2
    }
    assert queue_problems(store, is_over=True) == []


def place(job_id: str, version: int) -> dict[str, Any]:
    return {"owner": "jobs", "stream": f"job-{job_id}", "version": version, "minted": 0}


def token_of(store: Store, job_id: str, version: int) -> str:
    """The token of the commit that wrote an entry."""
    key = Key("entry", "jobs", f"job-{job_id}", version)
    return json.loads(drive(store.get([key])).documents[key].body)["t"]


def test_slots_that_end_at_the_same_time_do_not_wait_for_each_other(store: Store, queue: JobQueue) -> None:
    queue.queue_jobs([request(f"{number:02d}") for number in range(40)])
    assert Worker(queue, {"t": nothing}, slots=4).run(until_idle=True) == 40
    assert {state.data.attempt for state in queue.list_jobs()} == {1}
    assert queue_problems(store, is_over=True) == []


def test_jobs_of_any_number_of_limits_are_found(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "LANES_AT_ONCE", 2)
    queue.queue_jobs([request(id, limit=id) for id in "abcde"])
    assert Worker(queue, {"t": nothing}).run(until_idle=True) == 5


def test_a_worker_runs_once(queue: JobQueue) -> None:
    worker = Worker(queue, {"t": nothing})
    worker.run(until_idle=True)
    with pytest.raises(InvalidInputError, match="make a new one"):
        worker.run(until_idle=True)


def test_a_worker_that_is_stopped_lets_its_job_end(store: Store, queue: JobQueue) -> None:
    began, release = threading.Event(), threading.Event()

    def slow(_job: JobSpec, _context: ToolContext) -> None:
        began.set()
        release.wait(PATIENCE)

    worker = Worker(queue, {"t": slow})
    with working(worker) as thread:
        queue.queue_jobs([request("a"), request("b")])
        assert began.wait(PATIENCE)
        worker.stop()
        release.set()
        thread.join(PATIENCE)
        assert [queue.job(id).status for id in "ab"] == ["completed", "queued"]
    assert queue_problems(store) == []


def test_after_the_time_of_grace_jobs_wait_for_another_worker(store: Store, queue: JobQueue) -> None:
    began = threading.Event()

    def endless(_job: JobSpec, context: ToolContext) -> None:
        began.set()
        while True:
            context.check()
            time.sleep(0.005)

    worker = Worker(queue, {"t": endless}, grace=0.05)
    with working(worker):
        queue.queue_job(request("a"))
        assert began.wait(PATIENCE)
    job = queue.job("a")
    assert (job.status, job.failures) == ("queued", 0)
    Worker(queue, {"t": nothing}).run(until_idle=True)
    assert queue.job("a").status == "completed"
    assert queue_problems(store, is_over=True) == []


def test_a_worker_that_lost_its_lock_begins_anew_and_writes_nothing_for_what_it_had(
    store: Store, queue: JobQueue
) -> None:
    from eventstate import LockManager

    began, release, refused = threading.Event(), threading.Event(), threading.Event()
    persister = StateMachinePersister(store, governor="jobs")

    def slow(_job: JobSpec, context: ToolContext) -> None:
        if context.attempt > 1:
            return
        began.set()
        release.wait(PATIENCE)
        try:
            persister.save_state("effect", {}, expected=0, fence=context.fence)
        except LeaseLostError:
            refused.set()
            raise

    with working(Worker(queue, {"t": slow}, name="w", ttl=0.6)):
        queue.queue_job(request("a", on_lost="requeue"))
        assert began.wait(PATIENCE)
        LockManager(store, governor="jobs").break_lock("eventstate/worker/w")
        assert queue.heal().lost in (["a"], [])  # or it was faster itself
        until(lambda: queue.job("a").losses == 1, "the job is taken for lost")
        release.set()
        assert refused.wait(PATIENCE)
        assert ended(queue, "a").status == "completed"
        until(lambda: queue.job("a").late_results == 1, "the late result is told")
    assert persister.exists("effect") is False
    assert queue_problems(store, is_over=True) == []


def test_a_claim_that_nobody_knows_of_is_given_back(store: Store, queue: JobQueue) -> None:
    worker = Worker(queue, {"t": nothing}, ttl=0.3)
    claiming = queueing_of(queue).claiming
    honest = claiming.claim
    lost: list[Any] = []

    async def unanswered(*args: Any, **options: Any) -> Any:
        claim = await honest(*args, **options)
        if claim is not None and not lost:
            lost.append(claim)
            return None
        return claim

    claiming.claim = unanswered
    queue.queue_job(request("a"))
    assert worker.run(until_idle=True) == 1
    assert len(lost) == 1
    job = queue.job("a")
    assert (job.status, job.attempt, job.failures) == ("completed", 2, 0)
    assert queue_problems(store, is_over=True) == []


@pytest.mark.parametrize("on_lost", ["fail", "requeue"])
def test_a_job_that_was_done_but_could_not_be_told_is_lost(store: Store, on_lost: str) -> None:
    faulty = FaultyStore(store)
    queue = JobQueue(faulty)

    async def full(_: Batch) -> None:
        raise StorageFullError(store="here", detail="on purpose")

    def fills(_job: JobSpec, _context: ToolContext) -> None:
        faulty.before_commit = full

    queue.queue_job(request("a", on_lost=on_lost))
    worker = Worker(queue, {"t": fills})
    honest = worker._slots.reconcile

    def reconcile() -> None:
        if worker._slots.failure is not None:
            faulty.before_commit = None  # room again
        honest()

    worker._slots.reconcile = reconcile
    with pytest.raises(StorageFullError):
        worker.run(until_idle=True)
    job = queue.job("a")
    assert (job.status, job.losses) == ("lost" if on_lost == "fail" else "queued", 1)
    assert queue_problems(store) == []


def test_a_result_that_can_not_be_stored_is_a_failure(queue: JobQueue) -> None:
    def odd(_job: JobSpec, _context: ToolContext) -> JobResult:
        return JobResult(0, metadata={"x": float("nan")})

    queue.queue_job(request("a"))
    Worker(queue, {"t": odd}).run(until_idle=True)
    job = queue.job("a")
    assert job.status == "failed"
    assert "can't be stored" in (job.error_message or "")


def test_two_workers_of_one_name(queue: JobQueue) -> None:
    with working(Worker(queue, {"t": nothing}, name="w", ttl=0.3)):
        until(lambda: len(list(store_locks(queueing_of(queue).core.store))) == 1, "the first one begins")
        second = Worker(queue, {"t": nothing}, name="w", ttl=0.1)
        errors: list[BaseException] = []

        def run() -> None:
            try:
                second.run()
            except LockTimeoutError as error:
                errors.append(error)

        second_wait = threading.Thread(target=run, daemon=True)
        second_wait.start()
        second_wait.join(PATIENCE)
        assert len(errors) == 1


def test_what_a_worker_can_not_work_for(store: Store) -> None:
    for no_queue in (store, None):
        with pytest.raises(ConfigurationError, match="takes a JobQueue"):
            Worker(no_queue, {"t": nothing})  # type: ignore[arg-type]


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
    ],
)
def test_what_a_worker_can_not_be(queue: JobQueue, error: type[Exception], options: dict[str, Any]) -> None:
    with pytest.raises(error):
        Worker(queue, {"t": nothing}, **options)
