"""The judge of queues finds what it is there for: every violation that is planted in a sound store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from eventstate import ANY, JobQueue, JobRequest, Machine, StateMachinePersister, open_store
from eventstate.core.documents import DOCUMENT, FENCE, HEAD, Batch, Delete, Key, Page, Put, Require
from eventstate.jobs.job import JOBS, JobCompleted, JobRequeued, JobStarted
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.job_queue import queueing_of
from eventstate.jobs.queue.layout import WorkerMark, worker_lock
from eventstate.runtime.blocking import drive
from eventstate.runtime.clock import unique
from eventstate.stores.base import Store
from eventstate.testing.faults import FaultyStore
from eventstate.testing.queues import queue_problems

pytestmark = pytest.mark.backend("memory")


@dataclass(frozen=True)
class Written:
    job: str
    attempt: int


LEDGER = Machine("ledger", 0, lambda count, _event: count + 1, events=[Written])


class Scene:
    """A store with a job in each place."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.queue = JobQueue(store)
        self.persister = StateMachinePersister(store, governor="jobs", machines=[JOBS, LEDGER])
        self.queue.set_limit("l", 1)
        self.queue.queue_jobs(
            [
                JobRequest(job_id="done", tool="t", priority=9),
                JobRequest(job_id="runs", tool="t", priority=8, limit="l"),
                JobRequest(job_id="ready", tool="t"),
                JobRequest(job_id="later", tool="t", delay=1000),
                JobRequest(job_id="waits", tool="t", depends_on=["ready"]),
            ]
        )
        self.mark = self.worker("w")
        self.first = self.claim()
        self.write(1)
        self.end(self.first)
        self.second = self.claim()

    def worker(self, name: str) -> WorkerMark:
        locking = queueing_of(self.queue).locking
        lock = drive(locking.acquire(worker_lock(name), name, ttl=600, wait=0, purpose=None, reentrant=False))
        return WorkerMark(name, lock.fence)

    def claim(self) -> Claim:
        claim = drive(queueing_of(self.queue).claiming.claim(self.mark, ["default"]))
        assert claim is not None
        return claim

    def end(self, claim: Claim) -> None:
        moved = drive(queueing_of(self.queue).ending.report(claim, "completed", {}, None))
        assert moved.release is not None
        drive(queueing_of(self.queue).releasing.release(moved.release))

    def write(self, attempt: int, job: str = "done") -> None:
        self.persister.append(LEDGER, job, Written(job, attempt), expected=ANY)

    def keys(self, kind: str, prefix: str) -> list[Key]:
        return [document.key for document in drive(self.store.scan(kind, "jobs", prefix=prefix)).documents]

    def remove(self, kind: str, prefix: str) -> None:
        keys = self.keys(kind, prefix)
        assert keys, f"there is no {kind} {prefix}"
        drive(self.store.commit(Batch(unique(), [Delete(key, Require.ANY) for key in keys])))

    def copy(self, kind: str, prefix: str, id: str) -> None:
        """Put a document where none should be."""
        (document,) = drive(self.store.scan(kind, "jobs", prefix=prefix, limit=1)).documents
        put = Put(document.key._replace(id=id), document.body, Require.ANY)
        drive(self.store.commit(Batch(unique(), [put])))


@pytest.fixture
def scene() -> Iterator[Scene]:
    with open_store("memory://") as store:
        yield Scene(store)


def an_entry_is_lost(scene: Scene) -> None:
    scene.remove("entry", "job-ready")


def an_old_head_is_back(scene: Scene) -> None:
    key = Key(HEAD, "jobs", "job-runs")
    body = drive(scene.store.get([key])).documents[key].body
    scene.end(scene.second)
    drive(scene.store.commit(Batch(unique(), [Put(key, body, Require.ANY)])))


def started_twice(scene: Scene) -> None:
    scene.persister.append(JOBS, "runs", JobStarted(1, 1, str(scene.mark)), expected=ANY)


def ended_by_an_old_attempt(scene: Scene) -> None:
    scene.persister.append(JOBS, "runs", JobRequeued(1, "because"), JobStarted(2, 2, "v:1-9"), expected=ANY)
    scene.persister.append(JOBS, "runs", JobCompleted(3, 1, {}), expected=ANY)


def written_after_the_end(scene: Scene) -> None:
    scene.write(1)


def written_before_the_beginning(scene: Scene) -> None:
    scene.write(1, "ready")


VIOLATIONS: dict[str, Callable[[Scene], None]] = {
    "it has a head, and no events": an_entry_is_lost,
    "its head says": an_old_head_is_back,
    "attempt 1 follows attempt 1": started_twice,
    "of attempt 1 while attempt 2 counts": ended_by_an_old_attempt,
    "ledger-done at 2: written by attempt 1": written_after_the_end,
    "ledger-ready at 1: written by attempt 1": written_before_the_beginning,
    "job ready: it is queued, and found in no list": lambda scene: scene.remove(DOCUMENT, "ready/"),
    "job later: it is queued, and found in no list": lambda scene: scene.remove(DOCUMENT, "delayed/"),
    "job waits: it is queued, and found in no list": lambda scene: scene.remove(DOCUMENT, "waiting/"),
    "job runs: it is running, and found in no list": lambda scene: scene.remove(DOCUMENT, "running/"),
    "job done: it is completed, and found in ['waiting']": lambda scene: scene.copy(
        DOCUMENT, "waiting/", "waiting/done"
    ),
    "said to run, and does not": lambda scene: scene.copy(DOCUMENT, "running/", "running/v:1-9/ready"),
    "runs without a fence": lambda scene: scene.remove(FENCE, "eventstate/job/runs"),
    "a fence of no running attempt is left": lambda scene: scene.copy(
        FENCE, "eventstate/job/runs", "eventstate/job/done"
    ),
    "runs in a slot that is not its own": lambda scene: scene.remove(DOCUMENT, "slots/"),
    "a slot is taken by nobody": lambda scene: scene.copy(DOCUMENT, "slots/", "slots/l/000007"),
    "waits for ready, which does not know": lambda scene: scene.remove(DOCUMENT, "dependents/"),
}


def test_a_sound_store_is_sound(scene: Scene) -> None:
    assert queue_problems(scene.store, ledger="ledger") == []
    left = queue_problems(scene.store, ledger="ledger", is_over=True)
    assert left == [f"job {id}: it is {status} still" for id, status in STILL]


STILL = (("runs", "running"), ("ready", "queued"), ("later", "queued"), ("waits", "queued"))


@pytest.mark.parametrize("told", VIOLATIONS)
def test_a_violation_is_told(scene: Scene, told: str) -> None:
    VIOLATIONS[told](scene)
    problems = queue_problems(scene.store, ledger="ledger")
    assert any(told in problem for problem in problems), problems


def test_a_release_that_was_lost_is_told(scene: Scene) -> None:
    claim = scene.claim()
    assert claim.job_id == "ready"
    drive(queueing_of(scene.queue).ending.report(claim, "completed", {}, None))
    assert queue_problems(scene.store, ledger="ledger") == []
    scene.remove(DOCUMENT, "release/")
    assert queue_problems(scene.store, ledger="ledger") == [
        "job waits waits for ready, which has ended, and nobody will tell"
    ]


class Meanwhile(FaultyStore):
    """Something happens between the reads of the log and the heads, each time so many times."""

    def __init__(self, store: Store, happens: Callable[[], object], times: int) -> None:
        super().__init__(store)
        self._happens = happens
        self.left = times

    async def scan(self, kind: str, owner: str, **options: Any) -> Page:
        if kind == HEAD and self.left:
            self.left -= 1
            self._happens()
        return await super().scan(kind, owner, **options)


def test_what_happens_between_its_reads_is_no_violation(scene: Scene) -> None:
    ending = queueing_of(scene.queue).ending
    store = Meanwhile(scene.store, lambda: scene.end(scene.second), times=1)
    assert queue_problems(store, ledger="ledger") == []
    assert store.left == 0
    late = Meanwhile(scene.store, lambda: drive(ending.report_late(scene.first, "failed", None)), times=100)
    assert queue_problems(late, ledger="ledger") == []
    assert late.left == 98


def test_a_violation_is_told_whatever_happens_meanwhile(scene: Scene) -> None:
    ending = queueing_of(scene.queue).ending
    scene.remove(DOCUMENT, "running/")
    late = Meanwhile(scene.store, lambda: drive(ending.report_late(scene.first, "failed", None)), times=100)
    assert "job runs: it is running, and found in no list" in queue_problems(late, ledger="ledger")
    assert late.left == 97
