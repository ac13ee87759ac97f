"""The asyncio face of runs, workstreams and jobs: the methods of `JobStateStore`, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Self

from eventstate.core.ids import check_id
from eventstate.errors import ConfigurationError
from eventstate.jobs.runs.listing import Listing
from eventstate.jobs.runs.opening import open_file
from eventstate.jobs.runs.progress import JOB_MACHINES
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.scope import GOVERNOR, Parents
from eventstate.jobs.runs.specs import JobSpec
from eventstate.jobs.runs.tracking import Tracking
from eventstate.machines.async_persister import AsyncStateMachinePersister
from eventstate.machines.async_subscription import AsyncSubscription
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store
from eventstate.transactions.fencing import Fences


class AsyncJobStateStore:
    """`JobStateStore` for asyncio, made inside the running loop; its store is one of `open_async_store`."""

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        governor: str = GOVERNOR,
    ) -> None:
        if store is not None and db_path is not None:
            raise ConfigurationError("pass db_path= or store=, not both")
        if store is not None and isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use JobStateStore with it")
        check_id("governor", governor)  # before a file is opened that nobody would close
        self._owns = store is None
        self._store = _open(db_path) if store is None else store
        self._tracking = Tracking(self._store, governor)
        self._listing = Listing(self._tracking.core)

    @property
    def store(self) -> Store:
        """The store that it works on."""
        return self._store

    @property
    def governor(self) -> str:
        return self._tracking.governor

    # Runs

    async def create_run(
        self,
        ws_id: str | None = None,
        *,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        fence: Fences = None,
        **more: Any,
    ) -> str:
        """As `JobStateStore.create_run`."""
        return await self._tracking.create_run(ws_id, run_id, metadata, more, fence)

    async def get_run(self, run_id: str) -> dict[str, Any]:
        """As `JobStateStore.get_run`."""
        return await self._listing.get_run(run_id)

    async def update_run_status(self, run_id: str, status: str, *, fence: Fences = None) -> None:
        """As `JobStateStore.update_run_status`."""
        await self._tracking.update_run_status(run_id, status, fence)

    async def list_recent_runs(self, limit: int = 10) -> list[dict[str, Any]]:
        """As `JobStateStore.list_recent_runs`."""
        return await self._listing.list_recent_runs(limit)

    async def delete_run(self, run_id: str, *, fence: Fences = None) -> None:
        """As `JobStateStore.delete_run`."""
        await self._tracking.delete_run(run_id, fence)

    # Workstreams

    async def create_workstream(
        self,
        run_id: str | None,
        ws_id: str | None = None,
        *,
        depends_on: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        fence: Fences = None,
        **more: Any,
    ) -> str:
        """As `JobStateStore.create_workstream`."""
        return await self._tracking.create_workstream(run_id, ws_id, depends_on, metadata, more, fence)

    async def update_workstream_status(self, ws_id: str, status: str, *, fence: Fences = None) -> None:
        """As `JobStateStore.update_workstream_status`."""
        await self._tracking.update_workstream_status(ws_id, status, fence)

    async def get_workstream(self, ws_id: str) -> dict[str, Any] | None:
        """As `JobStateStore.get_workstream`."""
        return await self._listing.get_workstream(ws_id)

    async def list_workstreams(self, run_id: str) -> list[dict[str, Any]]:
        """As `JobStateStore.list_workstreams`."""
        return await self._listing.list_workstreams(run_id)

    # Jobs

    async def mark_job_running(
        self,
        job_id: str,
        *,
        run_id: str | None = None,
        workstream_id: str | None = None,
        tool: str | None = None,
        fence: Fences = None,
    ) -> int:
        """As `JobStateStore.mark_job_running`."""
        return await self._tracking.mark_job_running(job_id, Parents(run_id, workstream_id), tool, fence)

    async def update_job_result(
        self,
        job: JobSpec | Mapping[str, Any] | str,
        result: JobResult | Mapping[str, Any],
        *,
        attempt: int | None = None,
        fence: Fences = None,
    ) -> bool:
        """As `JobStateStore.update_job_result`."""
        return await self._tracking.update_job_result(job, result, attempt, fence)

    async def get_job(self, job_id: str) -> dict[str, Any]:
        """As `JobStateStore.get_job`."""
        return await self._listing.get_job(job_id)

    async def get_job_status(self, job_id: str) -> str:
        """As `JobStateStore.get_job_status`."""
        return await self._listing.get_job_status(job_id)

    async def list_jobs(
        self, run_id: str | None = None, *, workstream_id: str | None = None, status: str | None = None
    ) -> list[dict[str, Any]]:
        """As `JobStateStore.list_jobs`."""
        return await self._listing.list_jobs(run_id, workstream_id, status)

    async def all_jobs(self, *, status: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """As `JobStateStore.all_jobs`."""
        after: str | None = ""
        while after is not None:
            records, after = await self._listing.jobs_page(after, status)
            for record in records:
                yield record

    # Events

    async def record_event(self, event_type: str, payload: Mapping[str, Any], *, fence: Fences = None) -> None:
        """As `JobStateStore.record_event`."""
        await self._tracking.record_event(event_type, payload, fence)

    async def list_events(self, run_id: str | None = None, *, job_id: str | None = None) -> list[dict[str, Any]]:
        """As `JobStateStore.list_events`."""
        return await self._listing.list_events(run_id, job_id)

    def subscribe_to_events(self, name: str | None = None, **options: Any) -> AsyncSubscription:
        """As `JobStateStore.subscribe_to_events`, an `AsyncSubscription`."""
        options.setdefault("machines", JOB_MACHINES)
        persister = AsyncStateMachinePersister(self._store, governor=self._tracking.governor, machines=JOB_MACHINES)
        return AsyncSubscription(persister, name, **options)

    async def close(self) -> None:
        """As `JobStateStore.close`."""
        if self._owns:
            await self._store.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _open(db_path: str | os.PathLike[str] | None) -> Store:
    from eventstate.runtime.aio import AsyncioRuntime  # asyncio is for those who use it

    return open_file(db_path, AsyncioRuntime())
