"""Judges a queue: whether every job's log, its stored state and the documents about it tell one story.

Its parts are read one after the other. So where something does not fit, it looks again: what is wrong stays so, what
was only read before and after a commit does not. The log is folded from its bytes, by the machine's own `evolve` but
without the library's readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from eventstate.core.documents import DOCUMENT, ENTRY, FENCE, HEAD, Document, Key
from eventstate.jobs import job as jobs
from eventstate.jobs.job import JOBS, QUEUED, RUNNING, TERMINAL, Job
from eventstate.jobs.queue import layout
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store

_EVENTS: Final[Mapping[str, Any]] = {
    cls.event_type: cls
    for cls in (
        jobs.JobQueued,
        jobs.JobStarted,
        jobs.JobCompleted,
        jobs.JobFailed,
        jobs.JobTimedOut,
        jobs.JobRetried,
        jobs.JobDied,
        jobs.JobLost,
        jobs.JobRequeued,
        jobs.JobCancelRequested,
        jobs.JobCancelled,
        jobs.JobResultLate,
    )
}
_PREFIX: Final = f"{JOBS.name}-"

LOOKS: Final = 3
"""How often a problem must be seen, one time after the other."""

Documents = Mapping[str, Mapping[str, Any]]
"""Values by id, by collection."""


@dataclass
class Told:
    """What the log tells of one job.

    Attributes:
        job: the fold of its events.
        endings: how often it came to an end.
        again: how often somebody had it run again after that.
    """

    job: Job = field(default_factory=Job)
    endings: int = 0
    again: int = 0
    problems: list[str] = field(default_factory=list[str])

    def hear(self, event: Mapping[str, Any], where: str) -> None:
        """Take an event in."""
        before = self.job
        heard = _EVENTS[event["type"]](**event.get("data", {}))
        self.job = jobs.evolve(before, heard)
        kind = event["type"]
        if kind == "job.started" and heard.attempt != before.attempt + 1:
            self.problems.append(f"{where}: attempt {heard.attempt} follows attempt {before.attempt}")
        if kind not in ("job.late_result", "job.queued", "job.started"):
            told = getattr(heard, "attempt", before.attempt)
            if told != before.attempt:
                self.problems.append(f"{where}: {kind} of attempt {told} while attempt {before.attempt} counts")
        if before.status in TERMINAL and kind != "job.late_result":
            self.again += 1
        if self.job.status in TERMINAL and kind != "job.late_result":
            self.endings += 1


async def check_queue(
    store: Store, governor: str = "jobs", *, ledger: str | None = None, is_over: bool = False
) -> list[str]:
    """All that does not fit together, in words; empty for a sound queue.

    Args:
        ledger: a machine to whose streams the jobs' tools append events with members ``job`` and ``attempt``, under
            the fence of their attempt: each must lie between the beginning and the end of that attempt. Judged only
            in a store whose feed has the order of its commits.
        is_over: nothing is left to be done: each job has ended, once.
    """
    return await _Judgement(store, governor, ledger).problems(is_over=is_over)


def queue_problems(
    store: Store, governor: str = "jobs", *, ledger: str | None = None, is_over: bool = False
) -> list[str]:
    """`check_queue` for a store of `open_store`."""
    return drive(check_queue(store, governor, ledger=ledger, is_over=is_over))


class _Judgement:
    def __init__(self, store: Store, governor: str, ledger: str | None) -> None:
        self._store = store
        self._governor = governor
        self._ledger = None if ledger is None else f"{ledger}-"

    async def problems(self, *, is_over: bool) -> list[str]:
        found = await self._look(is_over)
        for _ in range(LOOKS - 1):
            if not found:
                break
            again = frozenset(await self._look(is_over))
            found = [problem for problem in found if problem in again]
        return found

    async def _look(self, is_over: bool) -> list[str]:
        told, problems = await self._told()
        heads = {
            document.key.id.removeprefix(_PREFIX): head
            for document in await self._all(HEAD, _PREFIX)
            if (head := orjson.loads(document.body))["n"]  # without events it only keeps a late copy of a batch out
        }
        documents = await self._documents()
        fences = {document.key for document in await self._all(FENCE, layout.JOB_FENCE)}
        problems += [f"job {id}: it has a head, and no events" for id in heads.keys() - told.keys()]
        for id, tale in told.items():
            problems += tale.problems
            problems += [f"job {id}: {problem}" for problem in _head_problems(tale.job, heads.get(id))]
            problems += [f"job {id}: {problem}" for problem in _place_problems(id, tale.job, documents)]
            problems += [f"job {id}: {problem}" for problem in self._fence_problems(id, tale.job, documents, fences)]
            if tale.endings > 1 + tale.again:
                problems.append(f"job {id}: it ended {tale.endings} times")
            if is_over and (tale.job.status not in TERMINAL or tale.job.asked):
                problems.append(f"job {id}: it is {tale.job.status} still")
        jobs_ = {id: tale.job for id, tale in told.items()}
        problems += list(_stray_problems(jobs_, documents))
        expected = {
            layout.attempt_fence(self._governor, id, job.attempt, 1).resource
            for id, job in jobs_.items()
            if job.status == RUNNING
        }
        problems += [f"a fence of no running attempt is left: {key}" for key in fences if key.id not in expected]
        if is_over and documents.get(layout.RELEASES):
            problems.append(f"releases are left: {sorted(documents[layout.RELEASES])}")
        return problems

    async def _told(self) -> tuple[dict[str, Told], list[str]]:
        told: dict[str, Told] = {}
        problems: list[str] = []
        async for document in _Entries(self._store, self._governor):
            id, members = document.key.id, orjson.loads(document.body)
            if id.startswith(_PREFIX):
                tale = told.setdefault(id.removeprefix(_PREFIX), Told())
                for event in members["e"]:
                    tale.hear(event, f"{id} at {document.key.n}")
            elif self._ledger is not None and id.startswith(self._ledger):
                problems += [
                    f"{id} at {document.key.n}: written by attempt {event['data']['attempt']} of job"
                    f" {event['data']['job']}, which did not run then"
                    for event in members["e"]
                    if not _runs(told.get(event["data"]["job"]), event["data"]["attempt"])
                ]
        return told, problems

    async def _documents(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for document in await self._all(DOCUMENT, ""):
            collection, _, id = document.key.id.partition("/")
            found.setdefault(collection, {})[id] = orjson.loads(document.body)["data"]
        return found

    async def _all(self, kind: str, prefix: str) -> list[Document]:
        documents: list[Document] = []
        after: Key | None = None
        while True:
            page = await self._store.scan(kind, self._governor, prefix=prefix, after=after)
            documents += page.documents
            after = page.next
            if after is None:
                return documents

    def _fence_problems(self, id: str, job: Job, documents: Documents, fences: set[Key]) -> Iterator[str]:
        if job.status != RUNNING:
            return
        running = documents.get(layout.RUNNING, {}).get(f"{job.worker}/{id}")
        if running is None:
            return  # told elsewhere
        if Key(FENCE, self._governor, f"{layout.JOB_FENCE}{id}", running["fence"]) not in fences:
            yield f"attempt {job.attempt} runs without a fence"


class _Entries:
    """All entries of a governor: in the order of their commits where the store has one, else stream by stream."""

    def __init__(self, store: Store, governor: str) -> None:
        self._store = store
        self._governor = governor
        self._pages: list[Document] = []
        self._position = 0
        self._after: Key | None = None
        self._is_over = False

    def __aiter__(self) -> _Entries:
        return self

    async def __anext__(self) -> Document:
        while not self._pages and not self._is_over:
            await self._read()
        if not self._pages:
            raise StopAsyncIteration
        return self._pages.pop(0)

    async def _read(self) -> None:
        if self._store.capabilities.feed_order == "store":
            feed = await self._store.feed(self._position)
            self._is_over = not feed.entries
            self._position = feed.position
            self._pages = [document for _, document in feed.entries if document.key.owner == self._governor]
            return
        page = await self._store.scan(ENTRY, self._governor, prefix=_PREFIX, after=self._after)
        self._pages = list(page.documents)
        self._after = page.next
        self._is_over = page.next is None


def _runs(tale: Told | None, attempt: int) -> bool:
    return tale is not None and tale.job.status == RUNNING and tale.job.attempt == attempt


def _head_problems(job: Job, head: Mapping[str, Any] | None) -> Iterator[str]:
    if head is None:
        yield "it has events, and no head"
    elif head.get("state") != orjson.loads(orjson.dumps(asdict(job))):
        yield f"its events add up to {job.status}, attempt {job.attempt}; its head says {head.get('state')}"


def _place_problems(id: str, job: Job, documents: Documents) -> Iterator[str]:
    """Where a job is not where its status says, or is where it does not."""
    places: dict[str, Any] = {
        layout.READY: layout.ready_id(id, job),
        layout.DELAYED: layout.delayed_id(id, job),
        layout.WAITING: id,
        layout.PEOPLE: layout.people_id(job.rules.get("people", "people"), id),
        layout.RUNNING: f"{job.worker}/{id}",
    }
    present = [name for name, place in places.items() if place in documents.get(name, {})]
    if present not in _allowed(job):
        yield f"it is {job.status}{', asked about' if job.asked else ''}, and found in {present or 'no list'}"


def _allowed(job: Job) -> list[list[str]]:
    """In which lists a job may be."""
    if job.asked:
        return [[layout.PEOPLE]]
    if job.status == QUEUED:
        return [[layout.READY], [layout.DELAYED], [layout.WAITING]]
    if job.status == RUNNING and job.queued_at is not None:
        return [[layout.RUNNING]]
    return [[]]


def _stray_problems(told: Mapping[str, Job], documents: Documents) -> Iterator[str]:
    """Documents about jobs that are not so."""
    for place in documents.get(layout.READY, {}):
        if layout.job_of_place(place.split("/", 2)[2]) not in told:
            yield f"ready, and not known: {place}"
    for running, members in documents.get(layout.RUNNING, {}).items():
        worker, _, id = running.partition("/")
        job = told.get(id)
        if job is None or (job.status, job.worker, job.attempt) != (RUNNING, worker, members["attempt"]):
            yield f"said to run, and does not: {running}, attempt {members['attempt']}"
        slot = members.get("slot")
        if slot is not None and documents.get(layout.SLOTS, {}).get(slot, {}).get("job") != id:
            yield f"runs in a slot that is not its own: {running}, {slot}"
    slots = {members.get("slot") for members in documents.get(layout.RUNNING, {}).values()}
    for slot, members in documents.get(layout.SLOTS, {}).items():
        if slot not in slots:
            yield f"a slot is taken by nobody: {slot}, of job {members['job']}"
    yield from _wait_problems(told, documents)


def _wait_problems(told: Mapping[str, Job], documents: Documents) -> Iterator[str]:
    edges = documents.get(layout.EDGES, {})
    released = {layout.job_of_release(release) for release in documents.get(layout.RELEASES, {})}
    for id, waiting in documents.get(layout.WAITING, {}).items():
        for need in waiting["on"]:
            if layout.edge_id(need, id) not in edges:
                yield f"job {id} waits for {need}, which does not know"
            needed = told.get(need)
            if needed is None or (needed.status in TERMINAL and not needed.asked and need not in released):
                yield f"job {id} waits for {need}, which has ended, and nobody will tell"
