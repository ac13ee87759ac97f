"""What there is in a queue, for people: counts, jobs, who is asked about what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from eventstate.errors import InvalidInputError, JobNotFoundError
from eventstate.jobs.job import JOBS, STATUSES, Job
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.core import QueueCore, id_in
from eventstate.machines.states import StateSnapshot
from eventstate.transactions.documents import value_of


class QueueDepth(NamedTuple):
    """How many jobs of a queue are where.

    Attributes:
        ready: wait for a worker only.
        delayed: wait for their time.
        waiting: wait for other jobs.
        running: somebody works on them.
    """

    queue: str
    ready: int
    delayed: int
    waiting: int
    running: int


class LimitUse(NamedTuple):
    """A concurrency limit, and how many jobs run that count for it."""

    name: str
    most: int
    running: int


class AskedJob(NamedTuple):
    """A job that somebody has to decide about: `JobQueue.answer`."""

    people: str
    job_id: str
    status: str


class JobPage(NamedTuple):
    """Some of the jobs, and the id to go on after."""

    jobs: list[StateSnapshot[Job]]
    next: str | None


class Surveying:
    """Looks around in a queue."""

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    async def job(self, job_id: str) -> Job:
        """As `JobQueue.job`."""
        id = layout.check_job_id(job_id)
        found = await self._core.states([JOBS.state_id(id)])
        if not found:
            raise JobNotFoundError(governor=self._core.governor, job_id=id)
        return found[0].data

    async def jobs(self, ids: Sequence[str]) -> dict[str, Job]:
        """Those of these jobs that there are."""
        found = await self._core.states([JOBS.state_id(id) for id in ids])
        return {state.id.removeprefix(f"{JOBS.name}-"): state.data for state in found}

    async def page(self, status: str | None, after: str | None) -> JobPage:
        """Some of the jobs by id, of one status or of all."""
        return JobPage(*await self._core.states_page(status, after))

    async def counts(self) -> dict[str, int]:
        """As `JobQueue.counts`."""
        counts: Counter[str] = Counter()
        after: str | None = ""
        while after is not None:
            page = await self.page(None, after)
            counts.update(state.data.status for state in page.jobs)
            after = page.next
        return dict(sorted(counts.items()))

    async def depths(self) -> list[QueueDepth]:
        """As `JobQueue.depths`."""
        ready = await self._counted(layout.READY)
        delayed = await self._counted(layout.DELAYED)
        waiting = await self._counted(layout.WAITING, by_value=True)
        running = await self._counted(layout.RUNNING, by_value=True)
        queues = sorted(ready.keys() | delayed.keys() | waiting.keys() | running.keys())
        return [QueueDepth(name, ready[name], delayed[name], waiting[name], running[name]) for name in queues]

    async def _counted(self, collection: str, *, by_value: bool = False) -> Counter[str]:
        """Documents by queue: the first part of their id, or what they say."""
        counts: Counter[str] = Counter()
        after: str | None = None
        while True:
            page = await self._core.list(collection, after=after, limit=1000)
            for document in page.documents:
                counts[value_of(document)["queue"] if by_value else id_in(document).partition("/")[0]] += 1
            if page.next is None:
                return counts
            after = page.next.id.partition("/")[2]

    async def limits(self) -> list[LimitUse]:
        """As `JobQueue.limits`."""
        uses: list[LimitUse] = []
        taken = await self._counted(layout.SLOTS)
        after: str | None = None
        while True:
            page = await self._core.list(layout.LIMITS, after=after)
            for document in page.documents:
                name = id_in(document)
                uses.append(LimitUse(name, value_of(document)["n"], taken[name]))
            if page.next is None:
                return uses
            after = page.next.id.partition("/")[2]

    async def asked_page(self, people: str | None, after: str | None) -> tuple[list[AskedJob], str | None]:
        """Some of the jobs that people are asked about, and where to go on."""
        prefix = "" if people is None else f"{layout.check_name('people', people)}/"
        page = await self._core.list(layout.PEOPLE, prefix, after=after)
        found: list[AskedJob] = []
        for document in page.documents:
            name, _, job_id = id_in(document).partition("/")
            found.append(AskedJob(name, job_id, value_of(document)["status"]))
        return found, None if page.next is None else page.next.id.partition("/")[2]

    async def is_idle(self, queues: list[str]) -> bool:
        """Whether nothing in these queues will go on by itself: none is ready, delayed, or running."""
        if not await self._are_empty(queues):
            return False
        rung = await self._core.rung()
        return await self._are_empty(queues) and await self._core.rung() == rung

    async def _are_empty(self, queues: list[str]) -> bool:
        # In the order in which a job goes, so that none is missed on its way; whatever makes one ready again rings.
        prefixes = [(collection, f"{queue}/") for collection in (layout.DELAYED, layout.READY) for queue in queues]
        prefixes += [(layout.RUNNING, ""), (layout.RELEASES, "")]
        for collection, prefix in prefixes:
            if (await self._core.list(collection, prefix, limit=1)).documents:
                return False
        return True


def check_status(status: str | None) -> str | None:
    """Return ``status`` if jobs can have it.

    Raises:
        InvalidInputError: they can't.
    """
    if status is not None and status not in STATUSES:
        raise InvalidInputError(f"status={status!r}: choose one of {', '.join(sorted(STATUSES))}")
    return status
