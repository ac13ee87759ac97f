"""Attempts that a worker makes: a tool called, and its result told to the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import orjson

from eventstate.core.codec import encode
from eventstate.core.retrying import Fate, fate_of
from eventstate.errors import EventStateError, InvalidInputError, LeaseLostError
from eventstate.jobs.job import Job
from eventstate.jobs.orchestrator.callable_tool import raised_result
from eventstate.jobs.orchestrator.tool import ToolContext, Tools
from eventstate.jobs.queue.chaining import Report
from eventstate.jobs.queue.claiming import Claim
from eventstate.jobs.queue.core import Doubt
from eventstate.jobs.queue.queueing import Queueing
from eventstate.jobs.queue.rules import FAILED, rules_of
from eventstate.jobs.queue.transaction import Moved
from eventstate.jobs.runs.results import UNKNOWN_TOOL, JobResult
from eventstate.jobs.runs.specs import JobSpec
from eventstate.runtime.blocking import drive

T = TypeVar("T")

OVERRUN_SECONDS: Final = 10.0
"""How much longer than its timeout, and what it takes to end by itself, a tool may take until it is given up."""
MAX_RESULT_BYTES: Final = 256 * 1024
AGAIN_SECONDS: Final = 0.25
AGAIN: Final = frozenset({Fate.TRANSIENT, Fate.CONFLICT, Fate.UNKNOWN})


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
        self._queueing = queueing
        self._tools = tools
        self._mutex = threading.Lock()
        self._released: list[str] = []
        self._untold: set[tuple[str, int]] = set()
        self._hurries = False

    def hurry(self) -> None:
        """From now on, try only once to tell what came of attempts: the worker ends."""
        self._hurries = True

    def attempt(self, claim: Claim) -> Attempt:
        """An attempt of a job that was claimed."""
        return Attempt(claim, grace_of(self._tools.get(claim.job.tool)))

    def perform(self, attempt: Attempt, chain: Chain | None = None) -> Attempt | None:
        """Call the tool, and tell what came of it; the next attempt, where ``chain`` had begun one with that."""
        result = self._run(attempt)
        if not attempt.give_up():
            self._tell_late(attempt.claim, result)
        elif attempt.stops and not result.success:
            self.give_back(attempt.claim, "its worker was stopped")
        else:
            return self.tell(attempt.claim, result, chain)
        return None

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

    def tell(self, claim: Claim, result: JobResult, chain: Chain | None = None) -> Attempt | None:
        """End an attempt as its tool did; the next attempt, where ``chain`` has begun one with that.

        An attempt that does not count any more leaves word of a late result.
        """
        ending, doubt = self._queueing.ending, Doubt()
        try:
            try:
                report = Report(result.outcome, _summary(claim, result), result.error_message)
                moved, following = self._chained(claim, report, doubt, chain)
            except InvalidInputError as error:  # what it says of itself can't be stored
                told = f"its result can't be stored: {error}"[:500]
                moved = self._until_answered(lambda: drive(ending.report(claim, FAILED, None, told, doubt)))
                following = None
        except LeaseLostError:
            self._tell_late(claim, result)
            return None
        except BaseException:
            with self._mutex:
                self._untold.add((claim.job_id, claim.attempt))
            raise
        self._let_go(moved)
        return following

    def _chained(self, claim: Claim, report: Report, doubt: Doubt, chain: Chain | None) -> tuple[Moved, Attempt | None]:
        chained = chain(claim, report, doubt) if chain is not None else None
        if chained is not None:
            return chained
        return self._until_answered(lambda: drive(self._queueing.ending.report(claim, *report, doubt))), None

    def give_back(self, claim: Claim, reason: str, *, is_running: bool = False) -> None:
        """Let a job wait again, or have it be lost if its tool is running still."""
        ending = self._queueing.ending
        doubt = Doubt()
        try:
            moved = self._until_answered(lambda: drive(ending.give_back(claim, reason, doubt, is_running=is_running)))
        except LeaseLostError:
            return
        self._let_go(moved)

    def has_untold(self, claim: Claim) -> bool:
        """Whether its tool has ended, and the queue could not be told."""
        with self._mutex:
            return (claim.job_id, claim.attempt) in self._untold

    def _tell_late(self, claim: Claim, result: JobResult) -> None:
        try:
            drive(self._queueing.ending.report_late(claim, result.outcome, _summary(claim, result)))
        except EventStateError:  # it counts for nothing, so it is not worth more than one try
            return

    def _until_answered(self, call: Callable[[], T]) -> T:
        """The result of a call, made again as long as the store does not answer; its lease, or its stop, ends that."""
        while True:
            try:
                return call()
            except EventStateError as error:
                if fate_of(error) not in AGAIN or self._hurries:
                    raise
                drive(self._queueing.core.runtime.sleep(AGAIN_SECONDS))

    def _let_go(self, moved: Moved) -> None:
        """Have those go on that waited for a job. What fails here is found by the next sweep."""
        if moved.release is None:
            return
        try:
            drive(self._queueing.releasing.release(moved.release, forget=False))
        except EventStateError:
            return
        with self._mutex:
            self._released.append(moved.release)

    # Releases that were worked off go with the next claim, so that they cost no commit of their own.

    def worked_off(self) -> list[str]:
        """Some releases that may be removed."""
        with self._mutex:
            return self._released[:50]

    def removed(self, releases: list[str]) -> None:
        """Note that these are gone."""
        with self._mutex:
            self._released = [release for release in self._released if release not in releases]

    def forget_all(self) -> None:
        """Remove them in a commit of their own, where there is nothing else to do."""
        while releases := self.worked_off():
            drive(self._queueing.releasing.forget(releases))
            self.removed(releases)


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


def _summary(claim: Claim, result: JobResult) -> dict[str, Any]:
    """What is stored of a result.

    Raises:
        InvalidInputError: it has no exact JSON form, or is too large.
    """
    summary = result.summary(claim.job_id)
    size = len(encode(summary, "$.result"))
    if size > MAX_RESULT_BYTES:
        raise InvalidInputError(f"it takes {size:,} bytes, the limit is {MAX_RESULT_BYTES:,}; keep it elsewhere")
    return summary
