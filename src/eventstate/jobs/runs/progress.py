"""Runs and workstreams as machines: what they are, and how their status moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, TypeAlias

from eventstate.jobs.job import JOBS
from eventstate.machines.machine import Machine

NEW: Final = "new"
"""Before the first event; never stored."""
PENDING: Final = "pending"
RUNNING: Final = "running"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"

RUN_STATUSES: Final = (PENDING, RUNNING, COMPLETED, FAILED, CANCELLED)


@dataclass(frozen=True)
class Run:
    """The state of a run. Times are microseconds since 1970 UTC."""

    status: str = NEW
    created_at: int = 0
    updated_at: int = 0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class RunCreated:
    event_type: ClassVar[str] = "run.created"
    at: int
    metadata: dict[str, Any]


@dataclass(frozen=True)
class RunStarted:
    event_type: ClassVar[str] = "run.started"
    at: int


@dataclass(frozen=True)
class RunCompleted:
    event_type: ClassVar[str] = "run.completed"
    at: int


@dataclass(frozen=True)
class RunFailed:
    event_type: ClassVar[str] = "run.failed"
    at: int


@dataclass(frozen=True)
class RunCancelled:
    event_type: ClassVar[str] = "run.cancelled"
    at: int


@dataclass(frozen=True)
class RunNoted:
    """Something that somebody else's event says about it. Changes nothing."""

    event_type: ClassVar[str] = "run.noted"
    at: int
    name: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Workstream:
    """The state of a workstream. Times are microseconds since 1970 UTC."""

    status: str = NEW
    run_id: str | None = None
    depends_on: list[str] = field(default_factory=list[str])
    created_at: int = 0
    updated_at: int = 0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class WorkstreamCreated:
    event_type: ClassVar[str] = "workstream.created"
    at: int
    run_id: str | None
    depends_on: list[str]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class WorkstreamStarted:
    event_type: ClassVar[str] = "workstream.started"
    at: int


@dataclass(frozen=True)
class WorkstreamCompleted:
    event_type: ClassVar[str] = "workstream.completed"
    at: int


@dataclass(frozen=True)
class WorkstreamFailed:
    event_type: ClassVar[str] = "workstream.failed"
    at: int


@dataclass(frozen=True)
class WorkstreamCancelled:
    event_type: ClassVar[str] = "workstream.cancelled"
    at: int


@dataclass(frozen=True)
class WorkstreamNoted:
    """Something that somebody else's event says about it. Changes nothing."""

    event_type: ClassVar[str] = "workstream.noted"
    at: int
    name: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """The state of a day's journal: how many events that belong to no run were recorded in it."""

    events: int = 0


@dataclass(frozen=True)
class Noted:
    """An event of no run and no workstream."""

    event_type: ClassVar[str] = "journal.noted"
    at: int
    name: str
    payload: dict[str, Any]


RunEvent: TypeAlias = RunCreated | RunStarted | RunCompleted | RunFailed | RunCancelled | RunNoted
WorkstreamEvent: TypeAlias = (
    WorkstreamCreated
    | WorkstreamStarted
    | WorkstreamCompleted
    | WorkstreamFailed
    | WorkstreamCancelled
    | WorkstreamNoted
)

_MOVES: Final = (
    (PENDING, "started", RUNNING),
    (FAILED, "started", RUNNING),
    *((status, word, word) for status in (PENDING, RUNNING) for word in (COMPLETED, FAILED, CANCELLED)),
)


def _transitions(what: str) -> tuple[tuple[str, str, str], ...]:
    moves = ((source, f"{what}.{word}", target) for source, word, target in _MOVES)
    notes = ((status, f"{what}.noted", status) for status in RUN_STATUSES)
    return ((NEW, f"{what}.created", PENDING), *moves, *notes)


RUN_TRANSITIONS: Final = _transitions("run")
WORKSTREAM_TRANSITIONS: Final = _transitions("workstream")
"""Every step there is, as ``(from, event, to)``."""

_RUN_EVENTS: Final[dict[str, type[RunStarted | RunCompleted | RunFailed | RunCancelled]]] = {
    RUNNING: RunStarted,
    COMPLETED: RunCompleted,
    FAILED: RunFailed,
    CANCELLED: RunCancelled,
}
_WORKSTREAM_EVENTS: Final[
    dict[str, type[WorkstreamStarted | WorkstreamCompleted | WorkstreamFailed | WorkstreamCancelled]]
] = {
    RUNNING: WorkstreamStarted,
    COMPLETED: WorkstreamCompleted,
    FAILED: WorkstreamFailed,
    CANCELLED: WorkstreamCancelled,
}


def run_event(status: str, at: int) -> RunEvent | None:
    """The event that brings a run to a status; None for one that nothing leads back to."""
    event = _RUN_EVENTS.get(status)
    return None if event is None else event(at)


def workstream_event(status: str, at: int) -> WorkstreamEvent | None:
    """The event that brings a workstream to a status; None for one that nothing leads back to."""
    event = _WORKSTREAM_EVENTS.get(status)
    return None if event is None else event(at)


def evolve_run(run: Run, event: RunEvent) -> Run:
    match event:
        case RunCreated():
            return Run(PENDING, event.at, event.at, event.metadata)
        case RunStarted():
            return replace(run, status=RUNNING, updated_at=event.at)
        case RunCompleted():
            return replace(run, status=COMPLETED, updated_at=event.at)
        case RunFailed():
            return replace(run, status=FAILED, updated_at=event.at)
        case RunCancelled():
            return replace(run, status=CANCELLED, updated_at=event.at)
        case RunNoted():
            return run


def evolve_workstream(workstream: Workstream, event: WorkstreamEvent) -> Workstream:
    match event:
        case WorkstreamCreated():
            return Workstream(PENDING, event.run_id, event.depends_on, event.at, event.at, event.metadata)
        case WorkstreamStarted():
            return replace(workstream, status=RUNNING, updated_at=event.at)
        case WorkstreamCompleted():
            return replace(workstream, status=COMPLETED, updated_at=event.at)
        case WorkstreamFailed():
            return replace(workstream, status=FAILED, updated_at=event.at)
        case WorkstreamCancelled():
            return replace(workstream, status=CANCELLED, updated_at=event.at)
        case WorkstreamNoted():
            return workstream


def evolve_journal(journal: Journal, _event: Noted) -> Journal:
    return Journal(journal.events + 1)


RUNS: Final[Machine[Run, RunEvent]] = Machine("run", Run(), evolve_run, transitions=RUN_TRANSITIONS, state_of="status")
WORKSTREAMS: Final[Machine[Workstream, WorkstreamEvent]] = Machine(
    "workstream", Workstream(), evolve_workstream, transitions=WORKSTREAM_TRANSITIONS, state_of="status"
)
JOURNALS: Final[Machine[Journal, Noted]] = Machine("journal", Journal(), evolve_journal)

JOB_MACHINES: Final[tuple[Machine[Any, Any], ...]] = (RUNS, WORKSTREAMS, JOBS, JOURNALS)
"""The machines of runs, workstreams and jobs: for retention, verification and whatever else reads their streams."""
