"""Bugs in stores of jobs: each of them tells something else than what happened."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from eventstate.core.instants import utc_of
from eventstate.jobs.job import Job
from eventstate.jobs.runs import index, reporting, results
from eventstate.jobs.runs.listing import Listing
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.scope import Parents, Scope
from eventstate.machines.attempt import TransactionCore
from eventstate.testing.conformance.run_fences import RunFenceCases
from eventstate.testing.conformance.running import RunCases, RunListCases
from eventstate.testing.planted.plant import Patch, Plant
from eventstate.transactions.fencing import Fences

_commit = Scope.commit
_append = reporting.append
_below = index.ids_below


def _seconds_are_enough() -> list[Patch]:
    def new_id(_self: Scope, what: str, at: int) -> str:
        return f"{what}-{utc_of(at):%Y%m%d-%H%M%S}"

    return [(Scope, "new_id", new_id)]


def _parents_believed() -> list[Patch]:
    def believed(_self: Scope, parents: Parents, _found: Any) -> Parents:
        return parents

    return [(Scope, "checked", believed)]


def _jobs_move_between_runs() -> list[Patch]:
    def held(_job_id: str, job: Job | None, named: Parents) -> Parents:
        return named if job is None or any(named) else Parents(job.run_id, job.workstream_id)

    return [(reporting, "_held_against", held)]


def _any_attempt_counts() -> list[Patch]:
    def latest(job: Job | None, _given: int | None) -> int:
        return max(1, job.attempt if job is not None else 1)

    return [(reporting, "_attempt", latest)]


def _late_results_dropped() -> list[Patch]:
    async def append(transaction: TransactionCore, machine: Any, id: str, event: Any) -> None:
        if not isinstance(event, reporting.JobResultLate):
            await _append(transaction, machine, id, event)

    return [(reporting, "append", append)]


def _only_the_exit_code() -> list[Patch]:
    def outcome(self: JobResult) -> str:
        return "completed" if self.exit_code == 0 else "failed"

    return [(JobResult, "outcome", property(outcome))]


def _whole_output() -> list[Patch]:
    return [(results, "PREVIEW", 100_000)]


def _index_later() -> list[Patch]:
    """In a commit of its own, which an answer that is lost keeps from happening."""

    async def commit(self: Scope, operation: Callable[[TransactionCore], Awaitable[Any]], fence: Fences) -> Any:
        put_job = index.put_job

        async def nothing(*_: Any) -> None:
            pass

        index.put_job = nothing
        try:
            return await _commit(self, operation, fence)
        finally:
            index.put_job = put_job

    return [(Scope, "commit", commit)]


def _oldest_first() -> list[Patch]:
    def recent(run_id: str, created_at: int) -> str:
        return f"{created_at:016d}:{run_id}"

    return [(index, "recent_run", recent)]


def _one_page() -> list[Patch]:
    async def below(*args: Any, **options: Any) -> index.Page:
        return index.Page((await _below(*args, **options)).ids, None)

    return [(index, "ids_below", below)]


def _a_run_for_good() -> list[Patch]:
    async def kept(_transaction: TransactionCore, _run_id: str, _created_at: int) -> None:
        pass

    return [(index, "delete_run", kept)]


def _not_found_is_an_error() -> list[Patch]:
    async def status(self: Listing, job_id: str) -> str:
        return (await self.get_job(job_id))["status"]

    return [(Listing, "get_job_status", status)]


def _fences_for_streams_only() -> list[Patch]:
    async def commit(self: Scope, operation: Callable[[TransactionCore], Awaitable[Any]], _fence: Fences) -> Any:
        return await _commit(self, operation, None)

    return [(Scope, "commit", commit)]


RUN_PLANTS: Final = [
    Plant(
        name="run-ids-by-the-second",
        story="nobody creates two runs in one second",
        patches=_seconds_are_enough,
        suite=RunCases,
        cases=["test_runs_come_and_move_and_are_listed"],
    ),
    Plant(
        name="parents-believed",
        story="whoever names a run has created it",
        patches=_parents_believed,
        suite=RunCases,
        cases=["test_unknown_parents_and_unknown_jobs_are_named"],
    ),
    Plant(
        name="jobs-move-between-runs",
        story="a job's id is enough to find it, whatever run it is reported under",
        patches=_jobs_move_between_runs,
        suite=RunCases,
        cases=["test_unknown_parents_and_unknown_jobs_are_named"],
    ),
    Plant(
        name="any-attempt-counts",
        story="a result is a result, whichever attempt it is of",
        patches=_any_attempt_counts,
        suite=RunCases,
        cases=["test_late_results_are_kept_and_change_nothing"],
    ),
    Plant(
        name="late-results-dropped",
        story="what comes after the end is of no interest",
        patches=_late_results_dropped,
        suite=RunCases,
        cases=["test_late_results_are_kept_and_change_nothing"],
    ),
    Plant(
        name="success-by-exit-code",
        story="0 is success and everything else is failure",
        patches=_only_the_exit_code,
        suite=RunCases,
        cases=["test_what_a_result_comes_to"],
    ),
    Plant(
        name="runs-without-fences",
        story="a stale owner is kept from the streams, and what it says of its jobs does no harm",
        patches=_fences_for_streams_only,
        suite=RunFenceCases,
        cases=[
            "test_all_is_written_while_the_lock_is_held_and_nothing_once_it_moved_on",
            "test_a_job_writes_about_its_run_as_long_as_its_attempt_counts",
        ],
    ),
    Plant(
        name="whole-output-stored",
        story="more of the output can't do harm",
        patches=_whole_output,
        suite=RunCases,
        cases=["test_what_a_result_comes_to"],
    ),
    Plant(
        name="jobs-indexed-later",
        story="the list of a run's jobs can follow in a commit of its own",
        patches=_index_later,
        suite=RunListCases,
        cases=["test_jobs_are_found_by_their_parents"],
    ),
    Plant(
        name="oldest-runs-first",
        story="the time is in the key, so the order is right",
        patches=_oldest_first,
        suite=RunCases,
        cases=["test_runs_come_and_move_and_are_listed"],
    ),
    Plant(
        name="one-page-of-jobs",
        story="no run has more jobs than fit into a page",
        patches=_one_page,
        suite=RunListCases,
        cases=["test_jobs_are_found_by_their_parents"],
    ),
    Plant(
        name="deleted-runs-stay-listed",
        story="a run that is gone is not found, so its place in the list does not matter",
        patches=_a_run_for_good,
        suite=RunListCases,
        cases=["test_what_is_left_of_a_deleted_run"],
    ),
    Plant(
        name="unknown-job-raises",
        story="the status of a job that is not there is an error",
        patches=_not_found_is_an_error,
        suite=RunCases,
        cases=["test_a_job_is_seen_while_it_runs_and_each_step_is_one_event"],
    ),
]
