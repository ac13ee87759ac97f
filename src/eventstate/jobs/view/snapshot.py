"""What a view looks like to whoever shows it: immutable, and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventstate.core.instants import utc_of
from eventstate.jobs.view.events import format_time
from eventstate.jobs.view.fold import (
    BLOCKED,
    COMPLETE,
    FAILED,
    IN_PROGRESS,
    PENDING,
    READY,
    Unhandled,
    Unit,
    View,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """A unit of an orchestration.

    Attributes:
        status: ``pending``, ``ready``, ``in_progress``, ``complete``, ``failed`` or ``blocked``.
        started_at: when it was started last, aware UTC; None if never.
    """

    id: str
    status: str
    current_task: int = 0
    total_tasks: int = 0
    error: str | None = None
    started_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object; ``error`` and ``startedAt`` are left out where there is none."""
        plain: dict[str, Any] = {
            "id": self.id,
            "status": self.status,
            "currentTask": self.current_task,
            "totalTasks": self.total_tasks,
        }
        if self.error:
            plain["error"] = self.error
        if self.started_at is not None:
            plain["startedAt"] = format_time(self.started_at)
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestrationSummary:
    """How many units are in which status; the six add up to ``total``."""

    total: int = 0
    pending: int = 0
    ready: int = 0
    in_progress: int = 0
    complete: int = 0
    failed: int = 0
    blocked: int = 0

    def to_json(self) -> dict[str, int]:
        """A JSON object."""
        return {
            "total": self.total,
            "pending": self.pending,
            "ready": self.ready,
            "inProgress": self.in_progress,
            "complete": self.complete,
            "failed": self.failed,
            "blocked": self.blocked,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnhandledEvent:
    """An event that changed nothing, and why.

    Attributes:
        at: when it happened, aware UTC, where it said so.
    """

    type: str
    reason: str
    unit: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestrationSnapshot:
    """The view at one moment. Nothing that happens later changes it.

    Attributes:
        connected: whether the orchestrator is connected, as `set_connected` was told last.
        status: ``waiting``, ``running``, ``completed`` or ``failed``.
        started_at: when the orchestration was started, aware UTC; None if never.
        units: in the order of the graph.
        unhandled: how many events changed nothing.
        recently_unhandled: the last 20 of them, each with the reason; texts of more than 200 characters are cut.
    """

    connected: bool
    status: str
    started_at: datetime | None
    parallelism: int
    units: tuple[UnitState, ...]
    summary: OrchestrationSummary
    unhandled: int = 0
    recently_unhandled: tuple[UnhandledEvent, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object; ``startedAt`` and ``parallelism`` are left out where there is none."""
        plain: dict[str, Any] = {"connected": self.connected, "status": self.status}
        if self.started_at is not None:
            plain["startedAt"] = format_time(self.started_at)
        if self.parallelism:
            plain["parallelism"] = self.parallelism
        plain["units"] = [unit.to_json() for unit in self.units]
        plain["summary"] = self.summary.to_json()
        return plain


def snapshot_of(view: View, connected: bool) -> OrchestrationSnapshot:
    """What a view looks like."""
    return OrchestrationSnapshot(
        connected=connected,
        status=view.status,
        started_at=_utc(view.started_at),
        parallelism=view.parallelism,
        units=tuple(_shown(id, unit) for id, unit in view.units.items()),
        summary=_summary(view),
        unhandled=view.unhandled,
        recently_unhandled=tuple(_told(entry) for entry in view.recently_unhandled),
    )


def _shown(id: str, unit: Unit) -> UnitState:
    return UnitState(
        id=id,
        status=unit.get("status", PENDING),
        current_task=unit.get("current_task", 0),
        error=unit.get("error"),
        started_at=_utc(unit.get("started_at")),
    )


def _told(entry: Unhandled) -> UnhandledEvent:
    return UnhandledEvent(
        type=entry.get("type", ""), reason=entry.get("reason", ""), unit=entry.get("unit"), at=_utc(entry.get("at"))
    )


def _summary(view: View) -> OrchestrationSummary:
    counts = Counter(unit.get("status", PENDING) for unit in view.units.values())
    return OrchestrationSummary(
        total=len(view.units),
        pending=counts[PENDING],
        ready=counts[READY],
        in_progress=counts[IN_PROGRESS],
        complete=counts[COMPLETE],
        failed=counts[FAILED],
        blocked=counts[BLOCKED],
    )


def _utc(micros: int | None) -> datetime | None:
    return None if micros is None else utc_of(micros)
