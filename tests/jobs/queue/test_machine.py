"""Any calls in any order against a queue in plain Python: the same jobs in the same order, in a store that is sound."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventstate import InvalidInputError, JobFinishedError, JobQueue, JobRequest, JobRules, LeaseLostError, open_store
from eventstate.jobs.queue import claiming
from eventstate.jobs.queue.chaining import Report
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt
from eventstate.jobs.queue.job_queue import queueing_of
from eventstate.jobs.queue.layout import WorkerMark, worker_lock
from eventstate.runtime.blocking import drive
from eventstate.testing.queues import queue_problems

QUEUES = ("default",)
ENDED = ("completed", "failed", "cancelled", "lost", "dead")


@dataclass
class Modelled:
    """A job as it should be."""

    number: int
    priority: int
    requires: frozenset[str]
    after: frozenset[str]
    on_lost: str
    limit: bool
    retries: int
    asks: bool
    status: str = "queued"
    asked: bool = False
    waits: set[str] = field(default_factory=set[str])
    failures: int = 0
    losses: int = 0
    wanted: bool = True


class QueueMachine(RuleBasedStateMachine):
    url = "memory://"

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(self.url.format(folder=Path(self.folder.name)))
        self.queue = JobQueue(self.store)
        self.queueing = queueing_of(self.queue)
        self.jobs: dict[str, Modelled] = {}
        self.claims: list[Claim] = []
        self.lost: list[Claim] = []
        self.limit: int | None = None
        self.workers = 0
        self.mark = self.worker()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def worker(self) -> WorkerMark:
        self.workers += 1
        name = f"w{self.workers}"
        lock = drive(
            self.queueing.locking.acquire(worker_lock(name), name, ttl=600, wait=0, purpose=None, reentrant=False)
        )
        return WorkerMark(name, lock.fence)

    # The model

    def ended(self, id: str, status: str) -> None:
        """A job has come to an end: those that wait for it go on, or never will."""
        self.jobs[id].status = status
        for other, job in self.jobs.items():
            if job.status == "queued" and id in job.waits:
                job.waits.discard(id)
                if id in job.requires and status != "completed":
                    job.waits.clear()
                    self.ended(other, "cancelled")

    def ready(self) -> list[str]:
        running = sum(claim.slot is not None for claim in self.claims)
        full = self.limit is not None and running >= self.limit
        ids = [
            id
            for id, job in self.jobs.items()
            if job.status == "queued" and not job.waits and not job.asked and not (full and job.limit)
        ]
        return sorted(ids, key=lambda id: (-self.jobs[id].priority, self.jobs[id].number))

    # What happens

    @rule(
        needs=st.lists(st.integers(0, 30), max_size=3),
        priority=st.integers(-1, 1),
        after=st.booleans(),
        on_lost=st.sampled_from(["fail", "requeue", "ask"]),
        limited=st.booleans(),
        retries=st.integers(0, 2),
        asks=st.booleans(),
    )
    def enqueue(
        self,
        needs: list[int],
        priority: int,
        after: bool,
        on_lost: str,
        limited: bool,
        retries: int,
        asks: bool,
    ) -> None:
        id = f"j{len(self.jobs):02d}"
        known = frozenset(f"j{number % len(self.jobs):02d}" for number in needs) if self.jobs else frozenset[str]()
        requires, others = (frozenset[str](), known) if after else (known, frozenset[str]())
        rules = JobRules(max_retries=retries, backoff=0, max_losses=1, escalate_after=1 if asks else None)
        self.queue.queue_job(
            JobRequest(
                job_id=id,
                tool="t",
                priority=priority,
                depends_on=sorted(requires),
                after=sorted(others),
                on_lost=on_lost,
                limit="l" if limited else None,
                rules=rules,
            )
        )
        job = Modelled(len(self.jobs), priority, requires, others, on_lost, limited, retries, asks)
        self.jobs[id] = job
        for need in known:
            needed = self.jobs[need]
            if needed.status not in ENDED or needed.asked:
                job.waits.add(need)
            elif need in requires and needed.status != "completed":
                job.status = "cancelled"
        if job.status == "cancelled":
            job.waits.clear()

    @rule()
    def claim(self) -> None:
        self.claimed(drive(self.queueing.claiming.claim(self.mark, QUEUES)))

    def claimed(self, claim: Claim | None) -> None:
        """It is the first of those that are ready."""
        expected = self.ready()
        assert (claim.job_id if claim else None) == (expected[0] if expected else None)
        if claim is not None:
            self.jobs[claim.job_id].status = "running"
            self.jobs[claim.job_id].wanted = True
            self.claims.append(claim)

    @precondition(lambda self: bool(self.claims))
    @rule(which=st.integers(0, 30), outcome=st.sampled_from(["completed", "completed", "failed"]), chains=st.booleans())
    def report(self, which: int, outcome: str, chains: bool) -> None:
        claim = self.claims.pop(which % len(self.claims))
        chained = None
        if chains:
            chained = drive(self.queueing.chaining.report(claim, Report(outcome, {}, None), Doubt(), QUEUES))
        moved = chained.moved if chained is not None else drive(self.queueing.ending.report(claim, outcome, {}, None))
        if moved.release is not None:
            drive(self.queueing.releasing.release(moved.release))
        self.reported(claim.job_id, outcome)
        if chained is not None and chained.claim is not None:
            self.claimed(chained.claim)

    def reported(self, id: str, outcome: str) -> None:
        job = self.jobs[id]
        if outcome == "completed":
            self.ended(id, "completed")
        elif not job.wanted:
            self.ended(id, "cancelled")
        else:
            job.failures += 1
            if job.asks and job.failures == 1:
                job.status, job.asked = "queued", True
            elif job.failures <= job.retries:
                job.status = "queued"
            else:
                self.ended(id, "dead" if job.retries else "failed")

    @precondition(lambda self: bool(self.claims))
    @rule(heals=st.booleans())
    def die(self, heals: bool) -> None:
        drive(self.queueing.locking.break_lock(worker_lock(self.mark.name)))
        if heals:
            for claim in self.claims[:1]:
                with pytest.raises(LeaseLostError):
                    drive(self.queueing.ending.report(claim, "completed", {}, None))
        assert sorted(self.queue.heal().lost) == sorted(claim.job_id for claim in self.claims)
        # In the order in which they are found, which is that of their names.
        for claim in sorted(self.claims, key=lambda claim: claim.job_id):
            job = self.jobs[claim.job_id]
            if not job.wanted:
                self.ended(claim.job_id, "cancelled")
            elif job.on_lost == "requeue":
                job.losses += 1
                if job.losses > 1:
                    self.ended(claim.job_id, "dead")
                else:
                    job.status = "queued"
            elif job.on_lost == "ask":
                job.losses += 1
                job.status, job.asked = "lost", True
            else:
                self.ended(claim.job_id, "lost")
        self.lost, self.claims = self.claims, []
        self.mark = self.worker()

    @precondition(lambda self: bool(self.lost))
    @rule()
    def come_late(self) -> None:
        for claim in self.lost:
            with pytest.raises(LeaseLostError):
                drive(self.queueing.ending.report(claim, "completed", {}, None))
        # Edges outlive a job that waited and was cancelled: then there is nothing to chain, and so nothing to refuse.
        is_named = any(self.lost[0].job_id in job.requires | job.after for job in self.jobs.values())
        if self.ready() and not is_named and self.lost[0].slot is None:
            with pytest.raises(LeaseLostError):
                drive(self.queueing.chaining.report(self.lost[0], Report("completed", {}, None), Doubt(), QUEUES))

    @precondition(lambda self: bool(self.jobs))
    @rule(which=st.integers(0, 30))
    def cancel(self, which: int) -> None:
        id = f"j{which % len(self.jobs):02d}"
        job = self.jobs[id]
        if job.status in ENDED and not job.asked and job.status != "cancelled":
            with pytest.raises(JobFinishedError):
                self.queue.cancel(id)
            return
        self.queue.cancel(id)
        if job.status == "running":
            job.wanted = False
        elif job.status != "cancelled":
            job.asked = False
            job.waits.clear()
            self.ended(id, "cancelled")

    @precondition(lambda self: bool(self.jobs))
    @rule(which=st.integers(0, 30), requeues=st.booleans())
    def decide(self, which: int, requeues: bool) -> None:
        id = f"j{which % len(self.jobs):02d}"
        job = self.jobs[id]
        if not job.asked:
            with pytest.raises(InvalidInputError):
                self.queue.answer(id, "requeue")
            return
        self.queue.answer(id, "requeue" if requeues else "fail")
        job.asked = False
        if requeues:
            job.status, job.failures, job.losses = "queued", 0, 0
        else:
            self.ended(id, "failed")

    @precondition(lambda self: any(job.status in ("dead", "lost") for job in self.jobs.values()))
    @rule(which=st.integers(0, 30))
    def revive(self, which: int) -> None:
        ids = [id for id, job in self.jobs.items() if job.status in ("dead", "lost")]
        id = ids[which % len(ids)]
        self.queue.revive(id)
        job = self.jobs[id]
        job.status, job.asked, job.failures, job.losses = "queued", False, 0, 0

    @rule(most=st.sampled_from([None, 1, 2]))
    def set_limit(self, most: int | None) -> None:
        self.queue.set_limit("l", most)
        self.limit = most

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "store"):
            return
        stored = {
            state.id.removeprefix("job-"): (state.data.status, state.data.asked) for state in self.queue.list_jobs()
        }
        assert stored == {id: (job.status, job.asked) for id, job in self.jobs.items()}
        assert queue_problems(self.store) == []


@pytest.mark.parametrize(
    ("url", "examples"),
    [
        pytest.param("memory://", 25, id="memory", marks=pytest.mark.backend("memory")),
        pytest.param("sqlite:///{folder}/jobs.db?durability=off", 5, id="sqlite", marks=pytest.mark.backend("sqlite")),
    ],
)
def test_any_calls_in_any_order(url: str, examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "LANES_SECONDS", 0.0)  # a new lane may be noticed a moment later than its jobs
    machine = type("QueueMachine", (QueueMachine,), {"url": url})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))


@pytest.mark.torture
@pytest.mark.timeout(1200)
@pytest.mark.backend("memory")
def test_any_calls_in_any_order_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "LANES_SECONDS", 0.0)
    run_state_machine_as_test(QueueMachine, settings=settings(max_examples=600, stateful_step_count=60, deadline=None))
