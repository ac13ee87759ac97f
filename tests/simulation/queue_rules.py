"""What must hold of a queue after every single commit, and what its workers may believe at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from eventstate.core.documents import DOCUMENT, ENTRY, FENCE, HEAD, Batch, Delete, Key, Operation, Put
from eventstate.core.leases import fence_of
from eventstate.jobs.job import COMPLETED, JOBS, QUEUED, RUNNING, TERMINAL, Job
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.transaction import people_of
from eventstate.testing.queues import Told
from tests.simulation.world import World

PREFIX = f"{JOBS.name}-"
LEDGER = "ledger-"
REPORTED = frozenset({"job.completed", "job.failed", "job.timeout", "job.retried", "job.dead"})
BY_ITS_WORKER = REPORTED | {"job.requeued"}
LOST = "lost"

Attempt = tuple[str, int]


class QueueRules:
    """Folds the log of every job by itself, event by event as they are committed, and holds all else against that.

    Attributes:
        told: what the log tells of each job.
        endings: how each attempt ended, by the event that ended it.
    """

    def __init__(self, world: World, governor: str) -> None:
        self.told: dict[str, Told] = {}
        self.endings: dict[Attempt, str] = {}
        self._late: set[Attempt] = set()
        self._given_up: set[Attempt] = set()
        self._claimed: set[Attempt] = set()
        self._disk = world.disk
        self._governor = governor
        world.disk.rules.append(self._look)

    def _look(self, batch: Batch) -> None:
        touched: set[str] = set()
        for operation in batch.operations:
            if operation.key.owner == self._governor:
                touched.update(self._jobs_of(operation))
        for id in touched & self.told.keys():
            self._look_at_job(id, self.told[id].job)

    def _jobs_of(self, operation: Operation) -> Iterator[str]:
        """The jobs that an operation is about; what it adds to their logs is heard."""
        kind, id = operation.key.kind, operation.key.id
        if kind == ENTRY and isinstance(operation, Put):
            events = orjson.loads(operation.body)["e"]
            if id.startswith(LEDGER):
                self._look_at_effects(events)
            elif id.startswith(PREFIX):
                yield id.removeprefix(PREFIX)
                for event in events:
                    self._hear(id.removeprefix(PREFIX), event)
        elif kind == FENCE and id.startswith(layout.JOB_FENCE):
            yield id.removeprefix(layout.JOB_FENCE)
        elif kind == DOCUMENT:
            collection, _, rest = id.partition("/")
            if collection in (layout.READY, layout.DELAYED):
                yield rest.rpartition(":")[2]
            elif collection in (layout.RUNNING, layout.PEOPLE, layout.WAITING):
                yield rest.rpartition("/")[2]
            elif collection == layout.SLOTS and not isinstance(operation, Delete):
                self._look_at_limit(rest.partition("/")[0])

    # The log

    def _hear(self, id: str, event: dict[str, Any]) -> None:
        tale = self.told.setdefault(id, Told())
        before, kind, data = tale.job, event["type"], event.get("data", {})
        tale.hear(event, id)
        assert tale.problems == [], tale.problems
        assert tale.endings <= 1 + tale.again, f"{id} ended {tale.endings} times"
        if kind == "job.started":
            self._begins(id, before, data)
        elif kind == "job.late_result":
            self._late.add((id, data["attempt"]))
        elif before.status == RUNNING and kind != "job.cancel_requested":
            self._ends(id, before, kind, data)
        reported = {attempt for attempt, ending in self.endings.items() if ending in REPORTED}
        assert not reported & self._late, f"{reported & self._late} were reported, and late as well"

    def _begins(self, id: str, before: Job, data: dict[str, Any]) -> None:
        assert before.status == QUEUED, f"{id} was claimed while it was {before.status}"
        assert not before.asked, f"{id} was claimed while people were asked about it"
        assert self._has_lock(data["worker"]), f"{id} was claimed by {data['worker']}, which had lost its lock"
        early = (before.not_before or 0) - data["at"]
        assert early <= 0, f"{id} began {early / 1e6} s before its time"
        for need in before.depends_on:
            status = self.told[need].job.status
            assert status == COMPLETED, f"{id} began, and {need} was {status}"

    def _ends(self, id: str, before: Job, kind: str, data: dict[str, Any]) -> None:
        self.endings[id, before.attempt] = kind
        is_lost = kind == "job.lost" or data.get("lost") or data.get("outcome") == LOST
        if is_lost and (id, before.attempt) not in self._given_up:
            assert not self._has_lock(before.worker), f"{id} was taken from {before.worker}, which had its lock"
        if is_lost:
            self.endings[id, before.attempt] = LOST
        elif kind in BY_ITS_WORKER:
            assert self._has_lock(before.worker), f"{before.worker} ended {id} by {kind} after it had lost its lock"

    def _has_lock(self, worker: str | None) -> bool:
        name, _, token = (worker or "").partition(":")
        return self._disk.document(fence_of(self._governor, layout.worker_lock(name), token).key) is not None

    # What must fit to it

    def _look_at_job(self, id: str, job: Job) -> None:
        head = self._disk.document(Key(HEAD, self._governor, f"{PREFIX}{id}"))
        assert head is not None
        stored = orjson.loads(head.body)["state"]
        assert stored == vars(job), f"the events of {id} say {job}, its head {stored}"
        places = {
            layout.READY: layout.ready_id(id, job),
            layout.DELAYED: layout.delayed_id(id, job),
            layout.WAITING: id,
            layout.PEOPLE: layout.people_id(people_of(job), id),
        }
        found = [name for name, place in places.items() if self._document(name, place) is not None]
        expected: tuple[list[str], ...] = ([],)
        if job.asked:
            expected = ([layout.PEOPLE],)
        elif job.status == QUEUED:
            expected = ([layout.READY], [layout.DELAYED], [layout.WAITING])
        assert found in expected, f"{id} is {job.status}, and found in {found}"
        running = [key.id for key in self._documents(layout.RUNNING) if key.id.rpartition("/")[2] == id]
        fences = [key.n for key in self._disk.keys(FENCE, self._governor) if key.id == f"{layout.JOB_FENCE}{id}"]
        if job.status != RUNNING:
            assert (running, fences) == ([], []), f"{id} is {job.status}; running {running}, fences {fences}"
            return
        assert running == [f"{layout.RUNNING}/{job.worker}/{id}"], f"{job.worker} has {id}, says its log, not {running}"
        fence = layout.attempt_fence(self._governor, id, job.attempt, self._disk.epoch)
        assert fences == [fence.number], f"attempt {job.attempt} of {id} has the fences {fences}"

    def _look_at_limit(self, limit: str) -> None:
        """A slot has just been taken."""
        taken = [key.id for key in self._documents(layout.SLOTS) if key.id.split("/")[1] == limit]
        most = self._document(layout.LIMITS, limit)
        assert most is not None, f"{limit} is no limit, and {taken} are taken"
        assert len(taken) <= most["n"], f"{limit} is {most['n']}, and {taken} are taken"
        running = [self._document(*key.id.split("/", 1))["slot"] for key in self._documents(layout.RUNNING)]
        slots = [slot for slot in running if slot is not None]
        assert len(set(slots)) == len(slots), f"a slot is taken twice: {slots}"

    def _look_at_effects(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            id, attempt = event["data"]["job"], event["data"]["attempt"]
            assert self.counts(id, attempt), f"attempt {attempt} of {id} is over, and something was written under it"

    def counts(self, id: str, attempt: int) -> bool:
        """Whether an attempt is the one that counts."""
        job = self.told[id].job
        return job.status == RUNNING and job.attempt == attempt

    def _document(self, collection: str, id: str) -> Any:
        document = self._disk.document(Key(DOCUMENT, self._governor, f"{collection}/{id}"))
        return None if document is None else orjson.loads(document.body)["data"]

    def _documents(self, collection: str) -> list[Key]:
        return [key for key in self._disk.keys(DOCUMENT, self._governor) if key.id.startswith(f"{collection}/")]

    # What workers are told

    def believed(self, claim: Claim) -> None:
        """A worker was just given a job."""
        attempt = claim.job_id, claim.attempt
        assert attempt not in self._claimed, f"{attempt} was given out twice"
        self._claimed.add(attempt)
        assert self.told[claim.job_id].job.attempt >= claim.attempt, f"{attempt} was given out, and never began"

    def gives_up(self, claim: Claim) -> None:
        """A worker is about to say that a job is lost, though it lives: its tool does not end."""
        self._given_up.add((claim.job_id, claim.attempt))

    def must_have_ended(self, claim: Claim, status: str) -> None:
        """A worker was told that its report, or what it gave back, counts."""
        attempt = claim.job_id, claim.attempt
        assert status in TERMINAL | {QUEUED}
        assert attempt in self.endings, f"{attempt} has not ended, and was said to"
        is_lost = self.endings[attempt] == LOST and attempt not in self._given_up
        assert not is_lost, f"{attempt} was lost, and its report was said to count"

    def must_be_over(self, claim: Claim) -> None:
        """A worker was told that an attempt is not its own any more."""
        is_own = self.counts(claim.job_id, claim.attempt) and self._has_lock(str(claim.worker))
        assert not is_own, f"{claim.job_id}, {claim.attempt} goes on, and was said to be over"

    def must_not_have_been_reported(self, claim: Claim) -> None:
        """A worker was told that its report does not count: it must not have been recorded either."""
        attempt = claim.job_id, claim.attempt
        ending = self.endings.get(attempt)
        assert ending not in REPORTED, f"{attempt} ended by {ending}, its own report, which was said not to count"
