"""A job: one piece of work for a tool, its statuses, and the events that lead from one to the next.

The stored status of a job is the fold of its stream, written in the commit of each event. So there is no status without
its event, and no event without its status.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, TypeAlias

from eventstate.machines.machine import Machine

NEW: Final = "new"
"""Before the first event; never stored."""
QUEUED: Final = "queued"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
TIMEOUT: Final = "timeout"
CANCELLED: Final = "cancelled"
LOST: Final = "lost"
"""Its worker died, and the job is not to be run again unasked."""
DEAD: Final = "dead"
"""Failed as often as it may: the dead letters of a queue."""

TERMINAL: Final = frozenset({COMPLETED, FAILED, TIMEOUT, CANCELLED, LOST, DEAD})
"""Statuses that no report changes. What still comes is recorded as late; lost and dead jobs can be queued again by
name."""
STATUSES: Final = frozenset({QUEUED, RUNNING}) | TERMINAL


@dataclass(frozen=True)
class Job:
    """The state of a job. Times are microseconds since 1970 UTC.

    Attributes:
        status: one of `STATUSES`.
        tool: the name of what runs it.
        spec: what is to be done, as it was handed in: ``command``, ``env``, ``paths``, ``metadata`` and so on.
        attempt: the number of the latest attempt; 0 before the first.
        failures: how many attempts have failed, timed out or been lost.
        depends_on: jobs that must have completed before it begins.
        after: jobs that must have ended before it begins, however.
        on_lost: what is done when its worker dies: ``fail``, ``requeue`` or ``ask``.
        rules: how often it is tried, and what comes then; see `eventstate.jobs.queue.rules`.
        request: names what was asked for, so that the same request again is known.
        losses: how many of its failed attempts were lost.
        asked: somebody has to say what is to become of it.
        limit: the name of the concurrency limit that it counts for.
        not_before: not to be started earlier.
        worker: who works on it, or did last: ``name:incarnation``.
        result: of the latest attempt that ended.
        late_results: how many results came after its end.
    """

    status: str = NEW
    run_id: str | None = None
    workstream_id: str | None = None
    tool: str = ""
    spec: dict[str, Any] = field(default_factory=dict[str, Any])
    queue: str = "default"
    priority: int = 0
    depends_on: list[str] = field(default_factory=list[str])
    after: list[str] = field(default_factory=list[str])
    on_lost: str = "fail"
    limit: str | None = None
    rules: dict[str, Any] = field(default_factory=dict[str, Any])
    request: str | None = None
    not_before: int | None = None
    attempt: int = 0
    failures: int = 0
    losses: int = 0
    asked: bool = False
    worker: str | None = None
    cancel_requested: bool = False
    queued_at: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    result: dict[str, Any] | None = None
    error_message: str | None = None
    late_results: int = 0

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL


@dataclass(frozen=True)
class JobQueued:
    """It waits for a worker."""

    event_type: ClassVar[str] = "job.queued"
    at: int
    run_id: str | None = None
    workstream_id: str | None = None
    tool: str = ""
    spec: dict[str, Any] = field(default_factory=dict[str, Any])
    queue: str = "default"
    priority: int = 0
    depends_on: list[str] = field(default_factory=list[str])
    after: list[str] = field(default_factory=list[str])
    on_lost: str = "fail"
    limit: str | None = None
    rules: dict[str, Any] = field(default_factory=dict[str, Any])
    request: str | None = None
    not_before: int | None = None


@dataclass(frozen=True)
class JobStarted:
    """An attempt began. For a job that was never queued, with what is known of it."""

    event_type: ClassVar[str] = "job.started"
    at: int
    attempt: int
    worker: str | None = None
    run_id: str | None = None
    workstream_id: str | None = None
    tool: str = ""
    spec: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class JobCompleted:
    """It did what it was to do. Carries what a job that was never queued or started is known by, as the next two."""

    event_type: ClassVar[str] = "job.completed"
    at: int
    attempt: int
    result: dict[str, Any]
    run_id: str | None = None
    workstream_id: str | None = None
    tool: str = ""


@dataclass(frozen=True)
class JobFailed:
    """It failed, and is not tried again."""

    event_type: ClassVar[str] = "job.failed"
    at: int
    attempt: int
    result: dict[str, Any] | None = None
    error: str | None = None
    run_id: str | None = None
    workstream_id: str | None = None
    tool: str = ""


@dataclass(frozen=True)
class JobTimedOut:
    """It took too long, and is not tried again."""

    event_type: ClassVar[str] = "job.timeout"
    at: int
    attempt: int
    result: dict[str, Any] | None = None
    error: str | None = None
    run_id: str | None = None
    workstream_id: str | None = None
    tool: str = ""


@dataclass(frozen=True)
class JobRetried:
    """An attempt failed or timed out, and the job waits for the next one, perhaps with another tool.

    Where it is ``asked``, somebody has to say whether there is to be one.
    """

    event_type: ClassVar[str] = "job.retried"
    at: int
    attempt: int
    not_before: int
    outcome: str
    result: dict[str, Any] | None = None
    error: str | None = None
    tool: str | None = None
    queue: str | None = None
    asked: bool = False


@dataclass(frozen=True)
class JobDied:
    """The last attempt that it was given has failed."""

    event_type: ClassVar[str] = "job.dead"
    at: int
    attempt: int
    outcome: str
    result: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class JobLost:
    """Its worker died. ``asked``: somebody has to say what now."""

    event_type: ClassVar[str] = "job.lost"
    at: int
    attempt: int
    worker: str
    asked: bool = False


@dataclass(frozen=True)
class JobRequeued:
    """It waits again: its worker died or was stopped, or somebody said so of a job that is lost or dead."""

    event_type: ClassVar[str] = "job.requeued"
    at: int
    reason: str
    worker: str | None = None
    not_before: int | None = None
    lost: bool = False
    """Whether its worker died."""
    forgives: bool = False
    """Whether its earlier failures count no more."""


@dataclass(frozen=True)
class JobCancelRequested:
    """Its worker is to stop it."""

    event_type: ClassVar[str] = "job.cancel_requested"
    at: int
    reason: str | None = None


@dataclass(frozen=True)
class JobCancelled:
    """It is not wanted any more, or can't be: what it depends on did not complete."""

    event_type: ClassVar[str] = "job.cancelled"
    at: int
    attempt: int
    reason: str | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class JobResultLate:
    """A result of an attempt that is over. It changes nothing but the count of them."""

    event_type: ClassVar[str] = "job.late_result"
    at: int
    attempt: int
    outcome: str
    result: dict[str, Any] | None = None
    worker: str | None = None


JobEvent: TypeAlias = (
    JobQueued
    | JobStarted
    | JobCompleted
    | JobFailed
    | JobTimedOut
    | JobRetried
    | JobDied
    | JobLost
    | JobRequeued
    | JobCancelRequested
    | JobCancelled
    | JobResultLate
)

_RESULTS: Final = ((JobCompleted, COMPLETED), (JobFailed, FAILED), (JobTimedOut, TIMEOUT))

TRANSITIONS: Final[tuple[tuple[str, str, str], ...]] = (
    (NEW, "job.queued", QUEUED),
    *((status, "job.started", RUNNING) for status in (NEW, QUEUED, RUNNING)),
    *((status, event.event_type, target) for status in (NEW, QUEUED, RUNNING) for event, target in _RESULTS),
    (QUEUED, "job.cancelled", CANCELLED),
    (RUNNING, "job.cancelled", CANCELLED),
    (LOST, "job.cancelled", CANCELLED),
    (RUNNING, "job.cancel_requested", RUNNING),
    (RUNNING, "job.retried", QUEUED),
    (RUNNING, "job.dead", DEAD),
    (RUNNING, "job.lost", LOST),
    *((status, "job.requeued", QUEUED) for status in (QUEUED, RUNNING, LOST, DEAD)),
    (LOST, "job.failed", FAILED),
    *((status, "job.late_result", status) for status in sorted(STATUSES)),
)
"""Every step there is, as ``(from, event, to)``."""


def evolve(job: Job, event: JobEvent) -> Job:
    """The job after an event."""
    match event:
        case JobQueued():
            return _queued(event)
        case JobStarted():
            return replace(
                job,
                **(_named(job, event) | {"attempt": event.attempt}),
                status=RUNNING,
                spec=event.spec or job.spec,
                worker=event.worker,
                started_at=event.at,
                completed_at=None,
                error_message=None,
            )
        case JobRetried():
            return replace(
                job,
                status=QUEUED,
                failures=job.failures + 1,
                not_before=event.not_before,
                tool=event.tool or job.tool,
                queue=event.queue or job.queue,
                asked=event.asked,
                result=event.result,
                error_message=event.error,
                cancel_requested=False,
            )
        case JobRequeued():
            return replace(
                job,
                status=QUEUED,
                failures=0 if event.forgives else job.failures + event.lost,
                losses=0 if event.forgives else job.losses + event.lost,
                asked=False,
                not_before=event.not_before,
                completed_at=None,
                cancel_requested=False,
            )
        case JobCancelRequested():
            return replace(job, cancel_requested=True)
        case JobResultLate():
            return replace(job, late_results=job.late_results + 1)
        case _:
            return _ended(job, event)


def _queued(event: JobQueued) -> Job:
    return Job(
        status=QUEUED,
        run_id=event.run_id,
        workstream_id=event.workstream_id,
        tool=event.tool,
        spec=event.spec,
        queue=event.queue,
        priority=event.priority,
        depends_on=event.depends_on,
        after=event.after,
        on_lost=event.on_lost,
        limit=event.limit,
        rules=event.rules,
        request=event.request,
        not_before=event.not_before,
        queued_at=event.at,
    )


def _ended(job: Job, event: JobCompleted | JobFailed | JobTimedOut | JobDied | JobLost | JobCancelled) -> Job:
    ended: dict[str, Any] = {"completed_at": event.at, "cancel_requested": False, "asked": False}
    match event:
        case JobCompleted():
            ended |= _named(job, event)
            return replace(job, **ended, status=COMPLETED, result=event.result, error_message=None)
        case JobFailed() | JobTimedOut():
            ended |= _named(job, event)
            counted = job.failures if job.status == LOST or job.asked else job.failures + 1
            status = FAILED if isinstance(event, JobFailed) else TIMEOUT
            result = event.result or job.result
            return replace(job, **ended, status=status, failures=counted, result=result, error_message=event.error)
        case JobDied():
            result = event.result or job.result
            return replace(
                job, **ended, status=DEAD, failures=job.failures + 1, result=result, error_message=event.error
            )
        case JobLost():
            ended |= {"failures": job.failures + 1, "losses": job.losses + 1, "asked": event.asked}
            return replace(job, **ended, status=LOST)
        case JobCancelled():
            result = event.result or job.result
            return replace(job, **ended, status=CANCELLED, result=result, error_message=event.reason)


def _named(job: Job, event: JobStarted | JobCompleted | JobFailed | JobTimedOut) -> dict[str, Any]:
    """What an event says of a job that was not known before."""
    return {
        "run_id": job.run_id or event.run_id,
        "workstream_id": job.workstream_id or event.workstream_id,
        "tool": event.tool or job.tool,
        "attempt": max(job.attempt, event.attempt),
    }


JOBS: Final[Machine[Job, JobEvent]] = Machine("job", Job(), evolve, transitions=TRANSITIONS, state_of="status")
"""Streams ``job-{id}``."""
