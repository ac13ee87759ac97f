"""What follows from the end of a job for those that wait for it, and from the passing of time for delayed ones.

An ending leaves a release in its own commit. Whoever ended the job works it off right afterwards; whoever comes
across one that was left does the same. So a worker that dies in between keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from eventstate.core.documents import Document
from eventstate.jobs.job import COMPLETED, QUEUED, Job, JobCancelled
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.core import QueueCore, id_in
from eventstate.jobs.queue.enqueuing import never_reason
from eventstate.jobs.queue.transaction import QueueTransaction

TOGETHER: Final = 25
"""Jobs that are looked at in one commit."""


class _Released(NamedTuple):
    edges: Sequence[Document]
    job: str


class Releasing:
    """Lets jobs go on that waited."""

    def __init__(self, core: QueueCore) -> None:
        self._core = core

    async def release(self, release: str, *, forget: bool = True) -> int:
        """Let go on, or cancel, what waits for a job that has ended, and what follows from that; how many jobs.

        Args:
            forget: remove the release too. One who has something to commit anyway may do it there.
        """
        released = 0
        releases = [release]
        while releases:
            latest = releases.pop()
            job = layout.job_of_release(latest)
            while True:
                page = await self._core.list(layout.EDGES, f"{job}/", limit=TOGETHER)
                if not page.documents:
                    break
                found = _Released(page.documents, job)
                cancelled = await self._core.run(lambda tx, found=found: self._let_go(tx, found))
                if cancelled is None:  # it was queued again meanwhile: what waits for it goes on waiting
                    break
                releases += cancelled
                released += len(page.documents)
            if forget or latest != release:
                await self.forget([latest])
        return released

    async def _let_go(self, tx: QueueTransaction, released: _Released) -> list[str] | None:
        """Take away edges to a job that has ended; the releases of those that are cancelled because of it."""
        dependents = [id_in(edge).partition("/")[2] for edge in released.edges]
        now = await tx.read_ahead(
            [released.job, *dependents], [(layout.WAITING, dependent) for dependent in dependents]
        )
        needed = await tx.job(released.job)
        if needed is None or not needed.is_terminal or needed.asked:
            return None
        cancelled: list[str] = []
        for edge, dependent in zip(released.edges, dependents, strict=True):
            tx.note(edge)
            await tx.delete(layout.EDGES, id_in(edge))
            release = await self._let_one_go(tx, dependent, released.job, needed, now)
            if release is not None:
                cancelled.append(release)
        return cancelled

    async def _let_one_go(self, tx: QueueTransaction, id: str, need: str, needed: Job, now: int) -> str | None:
        """Take a job's wait away; its own release if it is cancelled."""
        waiting = await tx.get(layout.WAITING, id)
        job = await tx.job(id)
        if waiting is None or job is None or job.status != QUEUED or need not in waiting["on"]:
            return None
        if waiting["on"][need] and needed.status != COMPLETED:
            await tx.delete(layout.WAITING, id)
            return (await tx.move(id, JobCancelled(now, job.attempt, never_reason(need, needed.status)), now)).release
        left = {other: required for other, required in waiting["on"].items() if other != need}
        if left:
            await tx.put(layout.WAITING, id, {**waiting, "on": left})
        else:
            await tx.delete(layout.WAITING, id)
            await tx.line_up(id, job, now)
        return None

    async def forget(self, releases: Sequence[str]) -> None:
        """Remove releases that have been worked off."""

        async def remove(tx: QueueTransaction) -> None:
            for release in releases:
                await tx.delete(layout.RELEASES, release)

        await self._core.run(remove)

    async def sweep(self) -> int:
        """Work off the releases that were left; how many jobs went on."""
        released = 0
        after: str | None = None
        while True:
            page = await self._core.list(layout.RELEASES, after=after)
            for document in page.documents:
                released += await self.release(id_in(document))
            if page.next is None:
                return released
            after = page.next.id.partition("/")[2]

    async def call_due(self, queues: Sequence[str]) -> int | None:
        """Make those ready whose time has come; microseconds until the next one's, None where there is none."""
        nearest: int | None = None
        for queue in queues:
            left = await self._call_due(queue)
            if left is not None:
                nearest = left if nearest is None else min(nearest, left)
        return nearest

    async def _call_due(self, queue: str) -> int | None:
        while True:
            page = await self._core.list(layout.DELAYED, f"{queue}/", limit=TOGETHER)
            due: list[Document] = []
            for document in page.documents:
                left = _due_of(document) - page.read_at
                if left > 0:
                    if not due:
                        return left
                    break
                due.append(document)
            if not due:
                return None
            await self._core.run(lambda tx, due=due: self._call(tx, due))

    async def _call(self, tx: QueueTransaction, due: Sequence[Document]) -> None:
        """Move jobs among the ready ones."""
        ids = [id_in(document) for document in due]
        jobs = [id.partition("/")[2].partition(":")[2] for id in ids]
        await tx.read_ahead(jobs, [(layout.DELAYED, id) for id in ids])
        for id, job_id in zip(ids, jobs, strict=True):
            delayed = await tx.get(layout.DELAYED, id)
            job = await tx.job(job_id)
            if delayed is None:
                continue
            await tx.delete(layout.DELAYED, id)
            if job is not None and job.status == QUEUED:
                await tx.put(layout.READY, layout.ready_id(job_id, job), {})
        await tx.ring()


def _due_of(document: Document) -> int:
    return int(id_in(document).partition("/")[2].partition(":")[0])
