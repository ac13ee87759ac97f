"""What both stores of jobs read, written once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from eventstate.core.documents import Key
from eventstate.errors import (
    InvalidInputError,
    JobNotFoundError,
    RunNotFoundError,
    StateDeletedError,
    StateNotFoundError,
)
from eventstate.jobs.job import JOBS, STATUSES
from eventstate.jobs.runs import index
from eventstate.jobs.runs.names import check_name
from eventstate.jobs.runs.progress import JOURNALS, RUNS, WORKSTREAMS
from eventstate.jobs.runs.shapes import event_record, id_of, job_record, run_record, started_at, workstream_record
from eventstate.machines.core import PersisterCore
from eventstate.machines.machine import Machine
from eventstate.machines.past import HistoryPlace, Transition
from eventstate.machines.states import StateSnapshot

NOT_FOUND: Final = "not_found"
Record = dict[str, Any]


class Listing:
    """The runs, workstreams and jobs of one governor, as they are read."""

    def __init__(self, core: PersisterCore) -> None:
        self._core = core
        self._store = core.store

    async def _find(self, machine: Machine[Any, Any], id: str) -> StateSnapshot[Any] | None:
        try:
            return await self._core.load(machine.state_id(id))
        except (StateNotFoundError, StateDeletedError):
            return None

    async def _all(self, machine: Machine[Any, Any], ids: Iterable[str]) -> list[tuple[str, StateSnapshot[Any]]]:
        found = await self._core.present([machine.state_id(id) for id in ids])
        return [(id_of(machine.name, state_id), state) for state_id, state in found.items()]

    # Runs and workstreams

    async def get_run(self, run_id: str) -> Record:
        """As `JobStateStore.get_run`."""
        found = await self._find(RUNS, check_name("run id", run_id))
        if found is None:
            raise RunNotFoundError(governor=self._core.governor, run_id=run_id)
        return run_record(run_id, found.data)

    async def list_recent_runs(self, limit: int) -> list[Record]:
        """As `JobStateStore.list_recent_runs`."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"limit={limit!r}: ask for at least one")
        records: list[Record] = []
        after: Key | None = None
        while len(records) < limit:
            page = await self._below(index.RECENT_RUNS, after=after, limit=min(limit, index.PAGE))
            records += [run_record(id, run.data) for id, run in await self._all(RUNS, map(index.run_of, page))]
            after = page.next
            if after is None:
                break
        return records[:limit]

    async def get_workstream(self, ws_id: str) -> Record | None:
        """As `JobStateStore.get_workstream`."""
        found = await self._find(WORKSTREAMS, check_name("workstream id", ws_id))
        return None if found is None else workstream_record(ws_id, found.data)

    async def list_workstreams(self, run_id: str) -> list[Record]:
        """As `JobStateStore.list_workstreams`."""
        found = await self._members(WORKSTREAMS, index.RUN_WORKSTREAMS, check_name("run id", run_id))
        found.sort(key=lambda one: (one[1].data.created_at, one[0]), reverse=True)
        return [workstream_record(id, state.data) for id, state in found]

    # Jobs

    async def get_job(self, job_id: str) -> Record:
        """As `JobStateStore.get_job`."""
        found = await self._find(JOBS, check_name("job id", job_id))
        if found is None:
            raise JobNotFoundError(governor=self._core.governor, job_id=job_id)
        return job_record(job_id, found.data)

    async def get_job_status(self, job_id: str) -> str:
        """As `JobStateStore.get_job_status`."""
        found = await self._find(JOBS, check_name("job id", job_id))
        return NOT_FOUND if found is None else found.data.status

    async def list_jobs(self, run_id: str | None, workstream_id: str | None, status: str | None) -> list[Record]:
        """As `JobStateStore.list_jobs`."""
        if (run_id is None) == (workstream_id is None):
            raise InvalidInputError("whose jobs? Name a run or a workstream, not both")
        _check_status(status)
        if run_id is not None:
            found = await self._members(JOBS, index.RUN_JOBS, check_name("run id", run_id))
        else:
            found = await self._members(JOBS, index.WORKSTREAM_JOBS, check_name("workstream id", workstream_id))
        found.sort(key=lambda one: (started_at(one[1].data) or 0, one[0]), reverse=True)
        return [job_record(id, state.data) for id, state in found if status in (None, state.data.status)]

    async def jobs_page(self, after: str, status: str | None) -> tuple[list[Record], str | None]:
        """Some jobs of the governor in the order of their ids, and what to pass on for the next ones."""
        _check_status(status)
        page = await self._core.list_page(prefix="", machine=JOBS.name, state=status, after=after, limit=200)
        return [job_record(id_of(JOBS.name, state.id), state.data) for state in page.states], page.next

    async def _members(
        self, machine: Machine[Any, Any], collection: str, parent: str
    ) -> list[tuple[str, StateSnapshot[Any]]]:
        found: list[tuple[str, StateSnapshot[Any]]] = []
        after: Key | None = None
        while True:
            page = await self._below(collection, parent, after=after)
            found += await self._all(machine, page)
            after = page.next
            if after is None:
                return found

    async def _below(
        self, collection: str, parent: str = "", *, after: Key | None, limit: int | None = None
    ) -> index.Page:
        return await index.ids_below(
            self._store, self._core.governor, collection, parent, after=after, limit=limit or index.PAGE
        )

    # Events

    async def list_events(self, run_id: str | None, job_id: str | None) -> list[Record]:
        """As `JobStateStore.list_events`."""
        if run_id is not None and job_id is not None:
            raise InvalidInputError("whose events? Name a run or a job, not both")
        if job_id is not None:
            return await self._events_of_job(check_name("job id", job_id))
        if run_id is not None:
            return await self._events_of_run(check_name("run id", run_id))
        return await self._told(await self._journals())

    async def _events_of_job(self, job_id: str) -> list[Record]:
        steps = await self._history(JOBS.state_id(job_id))
        if not steps:
            raise JobNotFoundError(governor=self._core.governor, job_id=job_id)
        return [event_record(step) for step in steps]

    async def _events_of_run(self, run_id: str) -> list[Record]:
        steps = await self._history(RUNS.state_id(run_id))
        if not steps:
            raise RunNotFoundError(governor=self._core.governor, run_id=run_id)
        ids: list[str] = []
        for machine, collection in ((WORKSTREAMS, index.RUN_WORKSTREAMS), (JOBS, index.RUN_JOBS)):
            ids += [state.id for _, state in await self._members(machine, collection, run_id)]
        return await self._told(ids, steps)

    async def _journals(self) -> list[str]:
        ids: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await self._core.list_page(prefix="", machine=JOURNALS.name, state=None, after=after, limit=200)
            ids += [state.id for state in page.states]
            after = page.next
        return ids

    async def _told(self, state_ids: Iterable[str], besides: Iterable[Transition] = ()) -> list[Record]:
        steps = [*besides]
        for id in state_ids:
            steps += await self._history(id)
        steps.sort(key=lambda step: (step.timestamp, step.state_id, step.version))
        return [event_record(step) for step in steps]

    async def _history(self, state_id: str) -> list[Transition]:
        steps: list[Transition] = []
        place: HistoryPlace | None = None
        while True:
            try:
                page, place = await self._core.past.history_page(state_id, 1, None, resume=place)
            except StateNotFoundError:
                return []
            steps += page
            if place is None:
                return steps


def _check_status(status: str | None) -> None:
    if status is not None and status not in STATUSES:
        raise InvalidInputError(f"{status!r} is no status: use {', '.join(sorted(STATUSES))}")
