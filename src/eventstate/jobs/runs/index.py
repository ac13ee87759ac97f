"""The documents by which runs, workstreams and jobs are found: written with what they point to, read as hints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventstate.core.documents import DOCUMENT, Key
from eventstate.machines.attempt import TransactionCore
from eventstate.stores.base import Store

RECENT_RUNS: Final = "recent-runs"
RUN_WORKSTREAMS: Final = "run-workstreams"
RUN_JOBS: Final = "run-jobs"
WORKSTREAM_JOBS: Final = "workstream-jobs"

PAGE: Final = 200

_LATEST: Final = 10**16 - 1
"""Microseconds, far beyond any clock."""


def recent_run(run_id: str, created_at: int) -> str:
    """The id in `RECENT_RUNS`: newer runs come first."""
    return f"{_LATEST - created_at:016d}:{run_id}"


async def put_run(transaction: TransactionCore, run_id: str, created_at: int) -> None:
    await transaction.put_document(RECENT_RUNS, recent_run(run_id, created_at), {"run_id": run_id})


async def delete_run(transaction: TransactionCore, run_id: str, created_at: int) -> None:
    await transaction.delete_document(RECENT_RUNS, recent_run(run_id, created_at))


async def put_workstream(transaction: TransactionCore, workstream_id: str, run_id: str | None) -> None:
    if run_id is not None:
        await transaction.put_document(RUN_WORKSTREAMS, f"{run_id}/{workstream_id}", {"ws_id": workstream_id})


async def put_job(transaction: TransactionCore, job_id: str, run_id: str | None, workstream_id: str | None) -> None:
    """Have a job found by its run and by its workstream. For whatever writes the first event that names them."""
    if run_id is not None:
        await transaction.put_document(RUN_JOBS, f"{run_id}/{job_id}", {"job_id": job_id})
    if workstream_id is not None:
        await transaction.put_document(WORKSTREAM_JOBS, f"{workstream_id}/{job_id}", {"job_id": job_id})


class Page:
    """Ids below a place in an index, and where to go on."""

    def __init__(self, ids: list[str], next: Key | None) -> None:
        self.ids = ids
        self.next = next

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)


async def ids_below(
    store: Store, governor: str, collection: str, parent: str = "", *, after: Key | None = None, limit: int
) -> Page:
    """One page of what an index holds below a parent, without what stands before the ids."""
    start = f"{collection}/{parent}/" if parent else f"{collection}/"
    page = await store.scan(DOCUMENT, governor, prefix=start, after=after, limit=limit)
    return Page([document.key.id[len(start) :] for document in page.documents], page.next)


def run_of(recent: str) -> str:
    """The run that an id of `RECENT_RUNS` is of."""
    return recent.partition(":")[2]
