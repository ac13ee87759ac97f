"""Attempts that a worker makes: a tool called, and its result told to the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from eventstate.jobs.job import Job
from eventstate.jobs.orchestrator.callable_tool import raised_result
from eventstate.jobs.orchestrator.tool import ToolContext, Tools
from eventstate.jobs.queue.chaining import Report
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.rules import rules_of
from eventstate.jobs.queue.telling import Telling
from eventstate.jobs.queue.transaction import Moved
from eventstate.jobs.runs.results import UNKNOWN_TOOL, JobResult
from eventstate.jobs.runs.specs import JobSpec
from eventstate.runtime.blocking import drive

OVERRUN_SECONDS: Final = 10.0
"""How much longer than its timeout, and what it takes to end by itself, a tool may take until it is given up."""

Chain = Callable[[Claim, Report, Doubt], "tuple[Moved, Attempt | None] | None"]
"""Ends an attempt and begins the next one in the same commit; None where it is to be ended alone."""


class Attempt:
    """A claimed job while its tool runs.

    Attributes:
        is_given_up: somebody else has told the queue how it ended.
        stops: its worker is stopping, so it waits again unless it is done.
        grace: seconds that its tool says it may take to end once it is told to.
    """

    def __init__(self, claim: Claim, grace: float = 0.0) -> None:
        self.claim = claim
        self.grace = grace
        self.context = ToolContext(claim.job_id, claim.attempt, timeout=rules_of(claim.job).timeout, fence=claim.fence)
        self.stops = False
        self.is_given_up = False
        self._mutex = threading.Lock()

    def give_up(self) -> bool:
        """Take it upon oneself to tell how it ended; False where somebody has done so already."""
        with self._mutex:
            was, self.is_given_up = self.is_given_up, True
            return not was

    @property
    def is_overrun(self) -> bool:
        """Whether its tool should have ended long ago."""
        timeout = self.context.timeout
        return timeout is not None and self.context.seconds > timeout + self.grace + OVERRUN_SECONDS


class Attempting:
    """Makes attempts, and tells the queue how they ended. Used by the threads of one worker."""

    def __init__(self, queueing: Queueing, tools: Tools) -> None:
        self._telling = Telling(queueing)
        self._tools = tools

    def hurry(self) -> None:
        """As `Telling.hurry`."""
        self._telling.hurry()

    def attempt(self, claim: Claim) -> Attempt:
        """An attempt of a job that was claimed."""
        return Attempt(claim, grace_of(self._tools.get(claim.job.tool)))

    def perform(self, attempt: Attempt, chain: Chain) -> Attempt | None:
        """Call the tool, and tell what came of it; the next attempt, where ``chain`` had begun one with that."""

        async def driven(claim: Claim, report: Report, doubt: Doubt) -> tuple[Moved, Attempt | None] | None:
            return chain(claim, report, doubt)

        return drive(self._telling.end(attempt, self._run(attempt), driven))

    def _run(self, attempt: Attempt) -> JobResult:
        job = attempt.claim.job
        started = time.monotonic()
        tool = self._tools.get(job.tool)
        if tool is None:
            return JobResult(UNKNOWN_TOOL, stderr=f"this worker has no tool {job.tool!r}")
        try:
            result = JobResult.of(tool.run(spec_of(attempt.claim.job_id, job), attempt.context))
        except Exception as error:  # noqa: BLE001 - whatever it raises is how the attempt ended
            return raised_result(error, time.monotonic() - started)
        except BaseException as error:  # noqa: BLE001 - a tool that exits ends its attempt, not its worker
            return JobResult(-2, stderr=f"{type(error).__name__}: {error}")
        return result

    def tell(self, claim: Claim, result: JobResult) -> None:
        """As `Telling.tell`."""
        drive(self._telling.tell(claim, result))

    def give_back(self, claim: Claim, reason: str, *, is_running: bool = False) -> None:
        """As `Telling.give_back`."""
        drive(self._telling.give_back(claim, reason, is_running=is_running))

    def has_untold(self, claim: Claim) -> bool:
        """As `Telling.has_untold`."""
        return self._telling.has_untold(claim)

    def worked_off(self) -> list[str]:
        """As `Telling.worked_off`."""
        return self._telling.worked_off()

    def removed(self, releases: Sequence[str]) -> None:
        """As `Telling.removed`."""
        self._telling.removed(releases)

    def forget_all(self) -> None:
        """As `Telling.forget_all`."""
        drive(self._telling.forget_all())


def grace_of(tool: Any) -> float:
    """Seconds that a tool says it may take to end once it is told to."""
    grace = getattr(tool, "grace", 0.0)
    return float(grace) if isinstance(grace, int | float) else 0.0


def spec_of(job_id: str, job: Job) -> JobSpec:
    """A job as its tool sees it, which may change what it is handed."""
    spec: dict[str, Any] = orjson.loads(orjson.dumps(job.spec))
    return JobSpec(
        job_id,
        job.workstream_id,
        job.tool,
        spec.get("command", {}),
        spec.get("env", {}),
        spec.get("paths", {}),
        spec.get("metadata", {}),
        job.run_id,
    )
