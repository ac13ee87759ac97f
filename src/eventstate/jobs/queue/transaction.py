"""What one transaction of a queue reads and writes: jobs, the documents about them, and fences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from eventstate.core.documents import DOCUMENT, HEAD, Delete, Document, Key, Put, Require
from eventstate.core.leases import Fence
from eventstate.jobs.job import JOBS, QUEUED, TERMINAL, Job, JobEvent
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.rules import PEOPLE
from eventstate.jobs.runs.index import put_job
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.buffering import Left


class Moved(NamedTuple):
    """A job after an event, and the release that it left if it has ended."""

    job: Job
    release: str | None


class QueueTransaction:
    """One attempt of a transaction of a queue."""

    def __init__(self, core: TransactionCore, governor: str, bells: int, chance: float) -> None:
        self._core = core
        self._governor = governor
        self._bell = int(chance * bells)
        self.kept: str | None = None

    # Reading

    async def read_ahead(self, jobs: Iterable[str] = (), documents: Iterable[tuple[str, str]] = ()) -> int:
        """Read together what is asked for one by one afterwards; the store's clock."""
        keys = [Key(HEAD, self._governor, JOBS.state_id(id)) for id in jobs]
        keys += [Key(DOCUMENT, self._governor, f"{collection}/{id}") for collection, id in documents]
        return await self._core.reads.read_ahead(keys)

    def note(self, document: Document) -> None:
        """Count a document as read that a list has shown."""
        self._core.reads.note(document.key, document)

    def begin_with(self, left: Left) -> None:
        """Take a job for read, as the commit of its claim has left it."""
        self._core.begin_with(left)

    def keep(self, id: str) -> None:
        """Remember how the commit leaves this job."""
        self.kept = id

    def left(self) -> Left | None:
        """How it has left the job that was to be remembered, where that is known."""
        return None if self.kept is None else self._core.left(JOBS.state_id(self.kept))

    async def job(self, id: str) -> Job | None:
        """The job as it is, own events included."""
        return await self._core.peek(JOBS.state_id(id))

    async def get(self, collection: str, id: str) -> Any:
        return await self._core.get_document(collection, id)

    # Writing

    async def index(self, id: str, job: Job) -> None:
        """Have a new job be found by its run and its workstream."""
        await put_job(self._core, id, job.run_id, job.workstream_id)

    async def record(self, id: str, *events: JobEvent) -> Job:
        """Add events to a job; the job after them."""
        return (await self._recorded(id, events))[0]

    async def _recorded(self, id: str, events: tuple[JobEvent, ...]) -> tuple[Job, int]:
        return await self._core.add(JOBS.state_id(id), events)

    async def put(self, collection: str, id: str, value: Any) -> None:
        await self._core.put_document(collection, id, value)

    async def delete(self, collection: str, id: str) -> None:
        await self._core.delete_document(collection, id)

    def raise_fence(self, fence: Fence, worker: str) -> None:
        """Have a fence be there from the commit on."""
        body = orjson.dumps({"t": self._core.token, "client": worker})
        self._core.besides(Put(fence.key, body, Require.ABSENT))

    def lower_fence(self, fence: Fence) -> None:
        """Have a fence be gone from the commit on."""
        self._core.besides(Delete(fence.key, Require.ANY))

    async def ring(self) -> None:
        """Wake the workers that wait."""
        await self.put(layout.BELLS, str(self._bell), None)

    # Steps that belong together

    async def move(self, id: str, event: JobEvent, now: int) -> Moved:
        """Add the event, and put the job where it belongs from then on."""
        job, version = await self._recorded(id, (event,))
        release = None
        if job.asked:
            await self.put(layout.PEOPLE, layout.people_id(people_of(job), id), {"status": job.status})
            await self.ring()
        elif job.status in TERMINAL:
            release = layout.release_id(id, version)
            await self.put(layout.RELEASES, release, {"status": job.status})
        elif job.status == QUEUED:
            await self.line_up(id, job, now)
        return Moved(job, release)

    async def line_up(self, id: str, job: Job, now: int) -> None:
        """Have a job that waits for nothing else wait for a worker, or for its time."""
        if job.not_before is not None and job.not_before > now:
            await self.put(layout.DELAYED, layout.delayed_id(id, job), {"ready": layout.ready_id(id, job)})
        else:
            await self.put(layout.READY, layout.ready_id(id, job), {})
        await self.ring()

    async def withdraw(self, id: str, job: Job) -> None:
        """Take a queued job, or one that is asked about, away from wherever it waits."""
        await self.delete(layout.READY, layout.ready_id(id, job))
        await self.delete(layout.WAITING, id)
        if job.not_before is not None:
            await self.delete(layout.DELAYED, layout.delayed_id(id, job))
        if job.asked:
            await self.delete(layout.PEOPLE, layout.people_id(people_of(job), id))

    async def put_down(self, running_id: str, running: dict[str, Any], id: str) -> None:
        """Take away all that says that an attempt is running: its fence and its slot too."""
        await self.delete(layout.RUNNING, running_id)
        self.lower_fence(Fence(self._governor, f"{layout.JOB_FENCE}{id}", running["fence"]))
        slot = running.get("slot")
        if slot is not None:
            await self.delete(layout.SLOTS, slot)
            await self.ring()


def people_of(job: Job) -> str:
    """Who is asked about a job."""
    return job.rules.get("people", PEOPLE)
