"""``eventstate runs``, ``eventstate jobs`` and ``eventstate job show``: what was done, and how it went."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventstate.cli.options import MAX_LIMIT, Globals

if TYPE_CHECKING:
    from eventstate.cli.session import Access
    from eventstate.jobs.runs.job_state_store import JobStateStore

Limit = Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, metavar="N", help="At most so many.")]


@contextmanager
def job_store(options: Globals, access: Access) -> Generator[JobStateStore]:
    """The store of jobs of the global options."""
    from eventstate.cli.session import opened
    from eventstate.jobs.runs.job_state_store import JobStateStore

    with opened(options, access) as store:
        yield JobStateStore(store=store, governor=options.jobs_governor)


def runs(options: Globals, limit: Limit = 10) -> None:
    """The newest runs, newest first. With --json one object per line."""
    from eventstate.cli.output import compact, note, print_json, print_table
    from eventstate.cli.records import to_the_second

    with job_store(options, "read") as store:
        found = store.list_recent_runs(limit)
    if options.as_json:
        for run in found:
            print_json(run)
        return
    if not found:
        note(f"there are no runs of governor {store.governor!r}")
    rows = [
        (
            run["run_id"],
            run["status"],
            to_the_second(run["created_at"]),
            to_the_second(run["updated_at"]),
            compact(run["metadata"]),
        )
        for run in found
    ]
    print_table(("run", "status", "created", "updated", "metadata"), rows, optional=("updated", "created"))


def jobs(
    options: Globals,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Only those of this run.")] = None,
    workstream: Annotated[
        str | None, typer.Option("--workstream", metavar="ID", help="Only those of this workstream.")
    ] = None,
    status: Annotated[str | None, typer.Option("--status", metavar="NAME", help="Only those in this status.")] = None,
    limit: Limit = 100,
) -> None:
    """Jobs: of a run or a workstream the one that started last first, otherwise all in the order of their ids.

    With --json one object per line.
    """
    from eventstate.cli.output import note, print_json, print_table

    with job_store(options, "read") as store:
        found = list(islice(_chosen(store, run, workstream, status), limit))
        if not found:
            _check_parents(store, run, workstream)
    if options.as_json:
        for job in found:
            print_json(job)
        return
    if not found:
        note(f"there are no such jobs of governor {store.governor!r}")
    columns = ("job", "status", "tool", "attempt", "started", "ended", "exit", "run", "error")
    optional = ("ended", "run", "exit", "tool")
    print_table(columns, [_row(job) for job in found], right=("attempt", "exit"), optional=optional)


def _chosen(
    store: JobStateStore, run: str | None, workstream: str | None, status: str | None
) -> Iterable[dict[str, Any]]:
    if run is not None or workstream is not None:
        return store.list_jobs(run, workstream_id=workstream, status=status)
    return store.all_jobs(status=status)


def _check_parents(store: JobStateStore, run: str | None, workstream: str | None) -> None:
    """Tell a run or a workstream without jobs from one that there is not.

    Raises:
        RunNotFoundError, WorkstreamNotFoundError: there is none.
    """
    from eventstate.errors import WorkstreamNotFoundError

    if run is not None:
        store.get_run(run)
    if workstream is not None and store.get_workstream(workstream) is None:
        raise WorkstreamNotFoundError(governor=store.governor, workstream_id=workstream)


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    from eventstate.cli.records import to_the_second

    return (
        job["job_id"],
        job["status"],
        job["tool"],
        str(job["attempt"]),
        to_the_second(job["started_at"]),
        to_the_second(job["completed_at"]),
        "" if job["exit_code"] is None else str(job["exit_code"]),
        job["run_id"] or "",
        job["error_message"] or "",
    )


def show_job(options: Globals, id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]) -> None:
    """One job: its status, its result, and everything that happened to it. With --json one object."""
    from eventstate.cli.output import print_fields, print_json, print_table, print_text
    from eventstate.cli.records import to_the_second

    with job_store(options, "read") as store:
        job = store.get_job(id)
        events = store.list_events(job_id=id)
    if options.as_json:
        print_json({**job, "events": events})
        return
    print_fields([(name, text) for name, value in job.items() if name != "step_name" and (text := _told(value))])
    print_text("")
    rows = [(to_the_second(event["timestamp"]), event["event_type"], _told(_particulars(event))) for event in events]
    print_table(("time", "event", "particulars"), rows)


def _particulars(event: dict[str, Any]) -> dict[str, Any]:
    """What an event says that the job's own fields don't."""
    wanted = ("attempt", "worker", "outcome", "exit_code", "reason", "error", "not_before")
    return {name: event["payload"][name] for name in wanted if event["payload"].get(name) is not None}


def _told(value: Any) -> str:
    from eventstate.cli.output import compact

    if value in (None, "", {}, []):
        return ""
    return value if isinstance(value, str) else compact(value)
