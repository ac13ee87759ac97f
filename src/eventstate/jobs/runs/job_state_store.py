"""The sync face of runs, workstreams and jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
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
from eventstate.machines.persister import StateMachinePersister
from eventstate.machines.subscription import Subscription
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store
from eventstate.transactions.fencing import Fences


class JobStateStore:
    """Keeps track of runs, their workstreams and their jobs; every step is an event, in the commit of its status.

    Safe to use from many threads and processes. Ids are text without ``/``, up to 400 bytes. What comes back are
    dictionaries of plain data, with times as ISO 8601 in UTC.

    Args:
        db_path: an SQLite file, made with its folders if it is not there. By default what the environment variable
            PIPELINE_DB_PATH or ERROR_PIPELINE_DB says, or else ``state/pipeline_state.db``.
        store: from `open_store`, in the place of a file; the caller closes it.
        governor: the namespace that owns the runs and jobs.

    All methods raise `StoreError` and its kin where the store can't work, and CommitUnknownError where it did not
    answer. Those that write take ``fence=``: a lock of the same governor that is held, or several, or a job's
    ``context.fence``. They raise LeaseLostError, and write nothing, once it has moved on.

    Raises:
        ConfigurationError: both ``db_path`` and ``store`` are given, the one is no path of a file or the other of
            `open_async_store`, or the folder can't be made.
        InvalidIdError: the governor can't be used.
        NotADatabaseError and others: the file can't be opened.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        governor: str = GOVERNOR,
    ) -> None:
        if store is not None and db_path is not None:
            raise ConfigurationError("pass db_path= or store=, not both")
        if store is not None and not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncJobStateStore with it")
        check_id("governor", governor)  # before a file is opened that nobody would close
        self._owns = store is None
        self._store = open_file(db_path, BlockingRuntime()) if store is None else store
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

    def create_run(
        self,
        ws_id: str | None = None,
        *,
        run_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        fence: Fences = None,
        **more: Any,
    ) -> str:
        """Create a run, ``pending``, and return its id.

        Args:
            ws_id: kept in its metadata; creates no workstream.
            run_id: its id; made from the time and chance unless given.
            metadata, more: plain JSON data about it.

        Raises:
            AlreadyExistsError: the id is used, or was.
            InvalidIdError, EncodingError: the id, or the metadata, can't be stored.
        """
        return drive(self._tracking.create_run(ws_id, run_id, metadata, more, fence))

    def get_run(self, run_id: str) -> dict[str, Any]:
        """A run.

        Raises:
            RunNotFoundError: there is none, or it was deleted.
        """
        return drive(self._listing.get_run(run_id))

    def update_run_status(self, run_id: str, status: str, *, fence: Fences = None) -> None:
        """Bring a run to a status: ``running``, ``completed``, ``failed`` or ``cancelled``. The same again: no change.

        Raises:
            RunNotFoundError: there is none.
            IllegalTransitionError: nothing leads there from its status.
            InvalidInputError: there is no such status.
        """
        drive(self._tracking.update_run_status(run_id, status, fence))

    def list_recent_runs(self, limit: int = 10) -> list[dict[str, Any]]:
        """The newest runs, newest first."""
        return drive(self._listing.list_recent_runs(limit))

    def delete_run(self, run_id: str, *, fence: Fences = None) -> None:
        """Delete a run: it is not found or listed any more. Its events, and its jobs with theirs, stay.

        Raises:
            RunNotFoundError: there is none.
        """
        drive(self._tracking.delete_run(run_id, fence))

    # Workstreams

    def create_workstream(
        self,
        run_id: str | None,
        ws_id: str | None = None,
        *,
        depends_on: Iterable[str] = (),
        metadata: Mapping[str, Any] | None = None,
        fence: Fences = None,
        **more: Any,
    ) -> str:
        """Create a workstream of a run, ``pending``, and return its id.

        Args:
            run_id: whose it is; None for one of no run.
            ws_id: its id; made from the time and chance unless given.
            depends_on: ids of other workstreams, for whoever plans the work.
            metadata, more: plain JSON data about it.

        Raises:
            RunNotFoundError: there is no such run.
            AlreadyExistsError: the id is used.
        """
        return drive(self._tracking.create_workstream(run_id, ws_id, depends_on, metadata, more, fence))

    def update_workstream_status(self, ws_id: str, status: str, *, fence: Fences = None) -> None:
        """As `update_run_status`, of a workstream.

        Raises:
            WorkstreamNotFoundError: there is none.
            IllegalTransitionError, InvalidInputError: see there.
        """
        drive(self._tracking.update_workstream_status(ws_id, status, fence))

    def get_workstream(self, ws_id: str) -> dict[str, Any] | None:
        """A workstream, or None."""
        return drive(self._listing.get_workstream(ws_id))

    def list_workstreams(self, run_id: str) -> list[dict[str, Any]]:
        """The workstreams of a run, newest first; none for a run that is not there."""
        return drive(self._listing.list_workstreams(run_id))

    # Jobs

    def mark_job_running(
        self,
        job_id: str,
        *,
        run_id: str | None = None,
        workstream_id: str | None = None,
        tool: str | None = None,
        fence: Fences = None,
    ) -> int:
        """Begin an attempt of a job and return its number, from 1.

        A job that is not known yet is made by naming its run, its workstream, or both. One that runs already begins
        anew: what its earlier attempt comes to is late then.

        Raises:
            JobNotFoundError: it is not known, and neither run nor workstream are named.
            RunNotFoundError, WorkstreamNotFoundError: there is no such parent.
            AlreadyExistsError: it is a job of another run or workstream.
            JobFinishedError: it has ended.
            InvalidInputError: it is a job of the queue, or the workstream is one of another run.
        """
        return drive(self._tracking.mark_job_running(job_id, Parents(run_id, workstream_id), tool, fence))

    def update_job_result(
        self,
        job: JobSpec | Mapping[str, Any] | str,
        result: JobResult | Mapping[str, Any],
        *,
        attempt: int | None = None,
        fence: Fences = None,
    ) -> bool:
        """Record how a job ended: ``completed``, ``timeout`` (exit code -1) or ``failed``.

        Of stdout and stderr the first 500 characters are stored. A result of a job that has ended, or of an attempt
        before the latest, is recorded as ``job.late_result`` and changes nothing. A job that is not known yet is made.

        Args:
            job: it, or its id where it is known.
            attempt: what `mark_job_running` returned; the latest unless given.

        Returns:
            Whether the result counts; False for a late one.

        Raises:
            RunNotFoundError, WorkstreamNotFoundError: of a job not known yet there is no such parent.
            AlreadyExistsError: it is a job of another run or workstream.
            InvalidInputError: it is a job of the queue, or the result or the attempt can't be.
        """
        return drive(self._tracking.update_job_result(job, result, attempt, fence))

    def get_job(self, job_id: str) -> dict[str, Any]:
        """A job, with its result as it was recorded.

        Raises:
            JobNotFoundError: it was never queued, started or reported.
        """
        return drive(self._listing.get_job(job_id))

    def get_job_status(self, job_id: str) -> str:
        """The status of a job; ``not_found`` where it is not known."""
        return drive(self._listing.get_job_status(job_id))

    def list_jobs(
        self, run_id: str | None = None, *, workstream_id: str | None = None, status: str | None = None
    ) -> list[dict[str, Any]]:
        """The jobs of a run or of a workstream, the one that started last first; none where there is no such parent."""
        return drive(self._listing.list_jobs(run_id, workstream_id, status))

    def all_jobs(self, *, status: str | None = None) -> Iterator[dict[str, Any]]:
        """Every job of the governor in the order of the ids, a page at a time."""
        after: str | None = ""
        while after is not None:
            records, after = drive(self._listing.jobs_page(after, status))
            yield from records

    # Events

    def record_event(self, event_type: str, payload: Mapping[str, Any], *, fence: Fences = None) -> None:
        """Record an event of your own, with its ``run_id`` or ``ws_id`` in the payload where it belongs to one.

        Raises:
            RunNotFoundError, WorkstreamNotFoundError: there is no such parent.
            EncodingError: the payload is no plain JSON data.
        """
        drive(self._tracking.record_event(event_type, payload, fence))

    def list_events(self, run_id: str | None = None, *, job_id: str | None = None) -> list[dict[str, Any]]:
        """The audit trail, oldest first: of a run with its workstreams and jobs, or of one job.

        Without either: the events of `record_event` that belong to no run. Runs that were deleted have theirs still.

        Raises:
            RunNotFoundError, JobNotFoundError: there never was one.
        """
        return drive(self._listing.list_events(run_id, job_id))

    def subscribe_to_events(self, name: str | None = None, **options: Any) -> Subscription:
        """A `Subscription` to everything that happens to runs, workstreams and jobs; close it in the end.

        Args:
            name: under which its place is saved.
            options: those of `Subscription`, such as ``start="now"`` or ``actions=["job.completed"]``. What
                `record_event` recorded has the action ``run.noted``, ``workstream.noted`` or ``journal.noted``, and its
                own name in ``event.name``.
        """
        options.setdefault("machines", JOB_MACHINES)
        persister = StateMachinePersister(self._store, governor=self._tracking.governor, machines=JOB_MACHINES)
        return Subscription(persister, name, **options)

    def close(self) -> None:
        """Close the file that it opened; a store that it was given stays open."""
        if self._owns:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
