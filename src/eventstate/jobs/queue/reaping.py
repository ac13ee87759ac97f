"""Finding dead workers, and what becomes of the jobs they had.

A worker is dead once its lock's lease has run out, or the lock is gone. To end the lock is to void its fence, so
whatever it still reports is refused from then on. Then each of its jobs is ended in a commit of its own.
"""

from __future__ import annotations

from typing import Final

from eventstate.core.documents import LEASE
from eventstate.core.leases import Fence, fence_of
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.core import QueueCore, id_in
from eventstate.jobs.queue.ending import Ending
from eventstate.jobs.queue.layout import WorkerMark
from eventstate.jobs.queue.releasing import Releasing
from eventstate.transactions.locks import Locks

SPREAD: Final = 4
"""Jobs to choose from for each worker; a claim looks at 16 at most."""
_AFTER_SLASH: Final = chr(ord("/") + 1)


class Reaping:
    """Finds dead workers."""

    def __init__(self, core: QueueCore, ending: Ending, releasing: Releasing, locks: Locks) -> None:
        self._core = core
        self._ending = ending
        self._releasing = releasing
        self._locks = locks

    async def reap(self) -> list[str]:
        """End the attempts of all dead workers; the jobs that they had."""
        ended: list[str] = []
        for mark in await self.marks():
            if await self._is_dead(mark):
                ended += await self._reap(mark)
        return ended

    async def marks(self) -> list[WorkerMark]:
        """The workers that have jobs, dead ones among them."""
        marks: list[WorkerMark] = []
        after: str | None = None
        while True:
            page = await self._core.list(layout.RUNNING, after=after, limit=1)
            if not page.documents:
                return marks
            text = id_in(page.documents[0]).partition("/")[0]
            name, _, token = text.partition(":")
            marks.append(WorkerMark(name, fence_of(self._core.governor, layout.worker_lock(name), token)))
            after = f"{text}{_AFTER_SLASH}"

    async def breadth(self) -> int:
        """Among how many of the first jobs each worker chooses, so that few collide; 1 where there is one alone."""
        page = await self._core.store.scan(LEASE, self._core.governor, prefix=layout.WORKER_LOCK, limit=SPREAD)
        return SPREAD * len(page.documents) if len(page.documents) > 1 else 1

    async def _is_dead(self, mark: WorkerMark) -> bool:
        """Whether a worker has lost its lock; a lease that has run out is ended here."""
        if mark.fence.epoch < self._core.store.epoch:
            return True  # it was given out before the data was restored from a copy
        state = await self._locks.look(mark.fence.resource)
        lease = state.last_lease
        if lease is None or lease.number != mark.fence.number:
            return not await self._has_fence(mark.fence)
        return state.is_expired and await self._locks.end(state)

    async def _has_fence(self, fence: Fence) -> bool:
        """Whether a lock was taken just now: its documents are not read at one time."""
        return fence.key in (await self._core.store.get((fence.key,))).documents

    async def _reap(self, mark: WorkerMark) -> list[str]:
        ended: list[str] = []
        while True:
            page = await self._core.list(layout.RUNNING, f"{mark}/")
            for document in page.documents:
                moved = await self._ending.lose(str(mark), id_in(document))
                if moved is not None and moved.release is not None:
                    await self._releasing.release(moved.release)
                ended.append(id_in(document).partition("/")[2])
            if page.next is None:
                return ended
