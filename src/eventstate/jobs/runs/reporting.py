"""Reports about jobs: they begin, and how they end."""

from __future__ import annotations

from typing import Any

from eventstate.core.codec import check_plain
from eventstate.core.ids import check_id
from eventstate.errors import AlreadyExistsError, InvalidInputError, JobFinishedError, JobNotFoundError
from eventstate.jobs.job import (
    COMPLETED,
    JOBS,
    TIMEOUT,
    Job,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobResultLate,
    JobStarted,
    JobTimedOut,
)
from eventstate.jobs.runs import index
from eventstate.jobs.runs.names import check_name
from eventstate.jobs.runs.results import JobResult
from eventstate.jobs.runs.scope import Parents, Scope, append
from eventstate.jobs.runs.specs import JobSpec
from eventstate.machines.attempt import TransactionCore
from eventstate.transactions.fencing import Fences


class Reporting(Scope):
    """What is reported about jobs."""

    async def mark_job_running(self, job_id: str, parents: Parents, tool: str | None, fence: Fences) -> int:
        """As `JobStateStore.mark_job_running`."""
        at = self.now()
        id, named = check_name("job id", job_id), parents.check()
        if tool:
            check_id("tool", tool)
        named = await self._new_parents(id, named)

        async def start(transaction: TransactionCore) -> int:
            job = await _find(transaction, id)
            if job is None and not any(named):
                detail = "to begin one that is not known yet, name its run or its workstream"
                raise JobNotFoundError(governor=self.governor, job_id=id, detail=detail)
            whose = _held_against(id, job, named)
            attempt = 1 if job is None else _next_attempt(id, job)
            event = JobStarted(at, attempt, run_id=whose.run_id, workstream_id=whose.workstream_id, tool=tool or "")
            await _step(transaction, id, event, job, whose)
            return attempt

        return await self.commit(start, fence)

    async def update_job_result(self, job: object, result: object, attempt: int | None, fence: Fences) -> bool:
        """As `JobStateStore.update_job_result`."""
        at = self.now()
        spec, ended = JobSpec.of(job), JobResult.of(result)
        id = check_name("job id", spec.job_id)
        if spec.tool:
            check_id("tool", spec.tool)
        summary = ended.summary(id)
        check_plain(summary, "$.result")
        named = await self._new_parents(id, Parents(spec.run_id, spec.workstream_id).check())

        async def end(transaction: TransactionCore) -> bool:
            job = await _find(transaction, id)
            whose = _held_against(id, job, named)
            number = _attempt(job, attempt)
            if job is not None and (job.is_terminal or number < job.attempt):
                await append(transaction, JOBS, id, JobResultLate(at, number, ended.outcome, summary))
                return False
            if job is not None:
                _check_not_queued(id, job, "ends")
            await _step(transaction, id, _ending(ended, summary, at, number, whose, spec.tool), job, whose)
            return True

        return await self.commit(end, fence)

    async def _new_parents(self, job_id: str, named: Parents) -> Parents:
        """Those parents that the job does not have yet, looked at.

        Not in the transaction that names them: what was there a moment ago can only have been deleted since, and what
        is deleted keeps its jobs. So jobs of one run don't wait for each other.

        Raises:
            RunNotFoundError, WorkstreamNotFoundError: there is none.
            InvalidInputError: the workstream is another run's.
            AlreadyExistsError: the job is another run's.
        """
        if not any(named):
            return named
        found = await self.core.present([JOBS.state_id(job_id), *named.state_ids])
        known = found.get(JOBS.state_id(job_id))
        if known is None:
            return self.checked(named, found)
        _held_against(job_id, known.data, named)
        return self.checked(named.besides(_parents_of(known.data)), found)


async def _find(transaction: TransactionCore, job_id: str) -> Job | None:
    found = await transaction.find(JOBS.state_id(job_id))
    return None if found is None else found.data


async def _step(transaction: TransactionCore, job_id: str, event: JobEvent, job: Job | None, whose: Parents) -> None:
    """Add an event, and have the job found by parents that it did not have."""
    await append(transaction, JOBS, job_id, event)
    if job is None or _parents_of(job) != whose:
        await index.put_job(transaction, job_id, *whose)


def _parents_of(job: Job) -> Parents:
    return Parents(job.run_id, job.workstream_id)


def _held_against(job_id: str, job: Job | None, named: Parents) -> Parents:
    """Whose job it is, by what is known and what is named.

    Raises:
        AlreadyExistsError: the two contradict each other.
    """
    if job is None:
        return named
    known = _parents_of(job)
    if any(one and other and one != other for one, other in zip(known, named, strict=True)):
        raise AlreadyExistsError(what="job", id=job_id)
    return Parents(known.run_id or named.run_id, known.workstream_id or named.workstream_id)


def _next_attempt(job_id: str, job: Job) -> int:
    if job.is_terminal:
        raise JobFinishedError(job_id=job_id, status=job.status, action="another attempt")
    _check_not_queued(job_id, job, "begins")
    return job.attempt + 1


def _check_not_queued(job_id: str, job: Job, what: str) -> None:
    if job.queued_at is not None:
        raise InvalidInputError(f"job {job_id!r} was queued: the worker that claims it {what} it, or cancel it there")


def _attempt(job: Job | None, given: int | None) -> int:
    """The attempt that a result is of: the latest unless it is said."""
    latest = max(1, job.attempt if job is not None else 1)
    if given is None:
        return latest
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= latest:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"attempt={given!r}: attempts of this job are 1 to {latest}")
    return given


def _ending(result: JobResult, summary: dict[str, Any], at: int, attempt: int, whose: Parents, tool: str) -> JobEvent:
    if result.outcome == COMPLETED:
        return JobCompleted(at, attempt, summary, whose.run_id, whose.workstream_id, tool)
    event = JobTimedOut if result.outcome == TIMEOUT else JobFailed
    return event(at, attempt, summary, result.error_message, whose.run_id, whose.workstream_id, tool)
