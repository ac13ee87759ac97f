"""Claims: one worker takes one job, which is its own from then on until it ends or its worker does.

What is ready is read from a list, outside of the transaction: a hint. The transaction reads the job and its place by
key, so of two workers that claim the same job one is refused, and looks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from eventstate.core.documents import Document
from eventstate.core.leases import Fence
from eventstate.errors import TransactionConflictError
from eventstate.jobs.job import QUEUED, Job, JobStarted
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.core import ONCE, QueueCore, id_in
from eventstate.jobs.queue.layout import WorkerMark
from eventstate.jobs.queue.transaction import QueueTransaction

BREADTH: Final = 16
"""Where several workers claim at the same time, each takes one of so many of the first at most."""
LOOKS: Final = 8
"""How often a worker looks again after others were faster, before it waits for a wake-up."""
LANES_AT_ONCE: Final = 1000
LANES_SECONDS: Final = 1.0
"""How long a worker that finds work goes on without looking for new lanes."""


class Claim(NamedTuple):
    """A job that a worker has, from its start to its end.

    Attributes:
        attempt: counts the starts of the job, from 1.
        fence: exists while this attempt counts; what the attempt writes may check it.
        slot: of the concurrency limit that it counts for.
    """

    job_id: str
    job: Job
    attempt: int
    worker: WorkerMark
    fence: Fence
    slot: str | None

    @property
    def running_id(self) -> str:
        """The document that says who has it."""
        return running_id(self.worker, self.job_id)


def running_id(worker: WorkerMark, job_id: str) -> str:
    return f"{worker}/{job_id}"


class Candidate(NamedTuple):
    """A job that a list has shown as ready."""

    place: str
    document: Document
    limit: str | None

    @property
    def jobs(self) -> Sequence[str]:
        """What a claim of it reads."""
        return [layout.job_of_place(self.place)]

    @property
    def limits(self) -> Sequence[tuple[str, str]]:
        """What else."""
        return [(layout.LIMITS, self.limit)] if self.limit else ()


class Claiming:
    """How workers find jobs. Safe to use from many threads."""

    def __init__(self, core: QueueCore) -> None:
        self._core = core
        self._lanes: dict[str, Sequence[str | None]] = {}
        self._lanes_until = 0.0
        self.collisions = 0
        """How often others were faster."""

    async def claim(
        self, worker: WorkerMark, queues: Sequence[str], *, breadth: int = 1, forget: Sequence[str] = ()
    ) -> Claim | None:
        """The job that is next in these queues, claimed; None where none is ready.

        Args:
            breadth: take any of so many of the first, by chance: as many as there are others who claim.
            forget: releases that have been worked off, to be removed in the same commit.

        Raises:
            LeaseLostError: the worker has lost its lock.
        """
        for look in range(LOOKS):
            breadth = max(breadth, 2**look if look else 1)
            chosen = await self.choose(queues, breadth)
            if chosen is None:
                self._lanes_until = 0.0  # there may be new ones
                chosen = await self.choose(queues, breadth)
            if chosen is None:
                return None
            try:
                claim = await self._core.run(
                    lambda tx, chosen=chosen: self._take_alone(tx, worker, chosen, forget),
                    fence=worker.fence,
                    retry=ONCE,
                )
            except TransactionConflictError:
                self.collisions += 1
                continue
            if claim is not None:
                return claim
        return None

    async def choose(self, queues: Sequence[str], breadth: int) -> Candidate | None:
        """One of so many of the first that are ready, by chance; None where none is, as far as is known."""
        candidates = await self._candidates(queues, min(breadth, BREADTH))
        return candidates[int(self._core.runtime.random() * len(candidates))] if candidates else None

    async def _candidates(self, queues: Sequence[str], most: int) -> list[Candidate]:
        """The first of all lanes that are not full, in their order."""
        found: list[Candidate] = []
        full: dict[str, bool] = {}
        for queue in queues:
            for limit in await self._lanes_of(queue):
                if limit is not None:
                    if limit not in full:
                        full[limit] = await self._is_full(limit)
                    if full[limit]:
                        continue
                lane = layout.lane_of(queue, limit)
                page = await self._core.list(layout.READY, lane, limit=most)
                found += [Candidate(id_in(document)[len(lane) :], document, limit) for document in page.documents]
        found.sort(key=lambda candidate: candidate.place)
        return found[:most]

    async def _lanes_of(self, queue: str) -> Sequence[str | None]:
        now = self._core.runtime.monotonic()
        if now >= self._lanes_until:
            self._lanes = {}
            self._lanes_until = now + LANES_SECONDS
        lanes = self._lanes.get(queue)
        if lanes is None:
            lanes = self._lanes[queue] = [None, *[lane.partition("/")[2] for lane in await self._listed(queue)]]
        return lanes

    async def _listed(self, queue: str) -> list[str]:
        found: list[str] = []
        after: str | None = None
        while True:
            page = await self._core.list(layout.LANES, f"{queue}/", after=after, limit=LANES_AT_ONCE)
            found += [id_in(document) for document in page.documents]
            if page.next is None:
                return found
            after = page.next.id.partition("/")[2]

    async def _is_full(self, limit: str) -> bool:
        """Whether all slots of a limit are taken, as far as can be seen."""
        most = await self._core.limit(limit)
        if most is None:
            return False
        return len((await self._core.list(layout.SLOTS, f"{limit}/", limit=most + 1)).documents) >= most

    async def _take_alone(
        self, tx: QueueTransaction, worker: WorkerMark, chosen: Candidate, forget: Sequence[str]
    ) -> Claim | None:
        return await self.take(tx, worker, chosen, forget, await tx.read_ahead(chosen.jobs, chosen.limits))

    async def take(
        self, tx: QueueTransaction, worker: WorkerMark, chosen: Candidate, forget: Sequence[str], now: int
    ) -> Claim | None:
        """Claim a job in a transaction, at a time by the store's clock; None where it can't be had any more."""
        id = layout.job_of_place(chosen.place)
        tx.note(chosen.document)
        job = await tx.job(id)
        if job is None or job.status != QUEUED:
            return None
        slot = None
        if chosen.limit is not None:
            slot = await self._free_slot(tx, chosen.limit)
            if slot == "":
                return None
            slot = slot or None
        for release in forget:
            await tx.delete(layout.RELEASES, release)
        return await self._start(tx, worker, id, job, slot, now)

    async def _free_slot(self, tx: QueueTransaction, limit: str) -> str | None:
        """A slot that nobody has, "" where all are taken, None where the limit is not set (any more)."""
        stored = await tx.get(layout.LIMITS, limit)
        if stored is None:
            return None
        page = await self._core.list(layout.SLOTS, f"{limit}/", limit=stored["n"] + 1)
        taken = {id_in(document) for document in page.documents}
        free = [slot for number in range(stored["n"]) if (slot := layout.slot_id(limit, number)) not in taken]
        if not free or len(taken) >= stored["n"]:
            return ""
        # Where a limit was lowered while more ran, there are more free slots than may be taken: those who claim at the
        # same time must meet at one.
        is_lowered = layout.slot_id(limit, stored["n"]) <= max(taken, default="")
        slot = free[0 if is_lowered else int(self._core.runtime.random() * len(free))]
        return slot if await tx.get(layout.SLOTS, slot) is None else ""

    async def _start(
        self, tx: QueueTransaction, worker: WorkerMark, id: str, job: Job, slot: str | None, now: int
    ) -> Claim:
        attempt = job.attempt + 1
        fence = layout.attempt_fence(self._core.governor, id, attempt, self._core.store.epoch)
        claimed = await tx.record(id, JobStarted(now, attempt, str(worker), job.run_id, job.workstream_id, job.tool))
        await tx.delete(layout.READY, layout.ready_id(id, job))
        running = {"attempt": attempt, "fence": fence.number, "slot": slot, "queue": job.queue}
        await tx.put(layout.RUNNING, running_id(worker, id), running)
        if slot is not None:
            await tx.put(layout.SLOTS, slot, {"job": id, "attempt": attempt})
        tx.raise_fence(fence, str(worker))
        tx.keep(id)
        return Claim(id, claimed, attempt, worker, fence, slot)
