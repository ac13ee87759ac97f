"""What a task reports with, written once for both faces."""

from __future__ import annotations

from typing import Any

from eventstate.errors import InvalidInputError, TaskMismatchError
from eventstate.jobs.tasks.policies import TaskOutcome, TaskPhase
from eventstate.jobs.tasks.status import TaskStatus, check_status, checked_report, status_for
from eventstate.jobs.tasks.tracking import TaskTracking, checked_attempt


class Reporting:
    """The reports of one attempt at one task."""

    def __init__(self, tracking: TaskTracking, task: object, attempt: object) -> None:
        self.task = tracking.check_task(task)
        self.attempt = checked_attempt(attempt)
        self._tracking = tracking

    async def report(
        self,
        status: int,
        *,
        tag: str,
        message: str,
        payload: Any,
        event_id: str | None,
        task: int | None = None,
        phase: TaskPhase | None = None,
        outcome: TaskOutcome | None = None,
    ) -> TaskStatus:
        if task is not None and task != self.task:
            raise TaskMismatchError(job=self._tracking.job, task=task, own=self.task)
        report = checked_report(
            status,
            tag=tag,
            message=message,
            payload=payload,
            event_id=event_id,
            attempt=self.attempt,
            phase=phase,
            outcome=outcome,
        )
        return await self._tracking.report(self.task, report)

    async def failed(self, status: int, **said: Any) -> TaskStatus:
        if check_status(status) >= 0:
            raise InvalidInputError(f"status={status}: that of an error is below 0")
        return await self.report(status, **said)

    async def report_phase(self, phase: TaskPhase, **said: Any) -> TaskStatus:
        if not isinstance(phase, TaskPhase) or phase is TaskPhase.DONE:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"phase={phase!r}: a TaskPhase; what is done is told with report_outcome()")
        return await self.report(status_for(phase, None), phase=phase, **said)

    async def report_outcome(self, outcome: TaskOutcome, **said: Any) -> TaskStatus:
        if not isinstance(outcome, TaskOutcome):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"outcome={outcome!r}: a TaskOutcome")
        return await self.report(status_for(TaskPhase.DONE, outcome), outcome=outcome, **said)
