"""How often a job is tried, and what comes then: decided from the job alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from eventstate.core.backoff import full_jitter
from eventstate.core.ids import check_id
from eventstate.errors import InvalidInputError
from eventstate.jobs.job import (
    Job,
    JobCancelled,
    JobCompleted,
    JobDied,
    JobEvent,
    JobFailed,
    JobLost,
    JobRequeued,
    JobRetried,
    JobTimedOut,
)

COMPLETED: Final = "completed"
FAILED: Final = "failed"
TIMEOUT: Final = "timeout"
OUTCOMES: Final = frozenset({COMPLETED, FAILED, TIMEOUT})

FAIL: Final = "fail"
REQUEUE: Final = "requeue"
ASK: Final = "ask"
ON_LOST: Final = (FAIL, REQUEUE, ASK)

PEOPLE: Final = "people"
"""Who is asked, where nobody is named."""
MICROS: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class JobRules:
    """How often a job is tried, and what comes then. Times are seconds.

    Attributes:
        max_retries: how often it is tried again after it failed or timed out. A job that has none fails; one that
            has used them up is dead.
        backoff, backoff_cap: the pause before the first retry is up to ``backoff``, drawn by chance; each further
            one may be twice as long, up to the cap.
        timeout: how long an attempt may take.
        escalate_after: failures after which another tool takes over, or, without ``escalate_to``, people are asked.
        escalate_to: the name of that tool.
        people: whose queue it comes to when somebody is asked.
        max_losses: how often it is queued again when its worker dies, with ``on_lost="requeue"``; then it is dead.
    """

    max_retries: int = 0
    backoff: float = 1.0
    backoff_cap: float = 300.0
    timeout: float | None = None
    escalate_after: int | None = None
    escalate_to: str | None = None
    people: str = PEOPLE
    max_losses: int = 5

    def plain(self) -> dict[str, Any]:
        """What is stored: whatever is not as it is by default."""
        default = asdict(JobRules())
        return {name: value for name, value in asdict(self).items() if value != default[name]}

    def check(self) -> None:
        """Raise where they contradict each other.

        Raises:
            InvalidInputError: which one, and what is allowed.
        """
        _whole("max_retries", self.max_retries, 0)
        _whole("max_losses", self.max_losses, 0)
        if not (_is_number(self.backoff) and _is_number(self.backoff_cap) and 0 <= self.backoff <= self.backoff_cap):
            problem = f"backoff={self.backoff!r}, backoff_cap={self.backoff_cap!r}"
            raise InvalidInputError(f"{problem}: pass seconds, the first not above the second")
        if self.backoff_cap > 366 * 86_400:
            raise InvalidInputError(f"backoff_cap={self.backoff_cap!r}: a year at most")
        if self.timeout is not None and not (_is_number(self.timeout) and self.timeout > 0):
            raise InvalidInputError(f"timeout={self.timeout!r}: pass seconds above 0, or None")
        if self.escalate_to is not None:
            check_id("escalate_to", self.escalate_to)
        if self.escalate_after is None:
            if self.escalate_to is not None:
                raise InvalidInputError("escalate_to= needs escalate_after=, the number of failures before it")
            return
        _whole("escalate_after", self.escalate_after, 1)
        if self.escalate_to is not None and self.escalate_after > self.max_retries:
            problem = f"escalate_after={self.escalate_after} with max_retries={self.max_retries}"
            raise InvalidInputError(f"{problem}: the other tool would never get a turn; allow more retries")


def _whole(name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value <= 1_000_000:
        raise InvalidInputError(f"{name}={value!r}: pass a whole number from {least} to 1,000,000")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def rules_of(job: Job) -> JobRules:
    """The rules that a job was queued with."""
    return JobRules(**job.rules)


def after_report(
    job: Job, outcome: str, result: dict[str, Any] | None, error: str | None, *, at: int, chance: float
) -> JobEvent:
    """What becomes of a running job whose attempt has ended with an outcome of `OUTCOMES`."""
    if outcome == COMPLETED:
        return JobCompleted(at, job.attempt, result or {}, job.run_id, job.workstream_id, job.tool)
    if job.cancel_requested:
        return JobCancelled(at, job.attempt, error, result)
    rules = rules_of(job)
    failures = job.failures - job.losses + 1
    if failures == rules.escalate_after:
        if rules.escalate_to is None:
            return JobRetried(at, job.attempt, at, outcome, result, error, asked=True)
        due = at + _pause(rules, failures, chance)
        return JobRetried(at, job.attempt, due, outcome, result, error, tool=rules.escalate_to)
    if failures <= rules.max_retries:
        return JobRetried(at, job.attempt, at + _pause(rules, failures, chance), outcome, result, error)
    if rules.max_retries:
        return JobDied(at, job.attempt, outcome, result, error)
    kind = JobTimedOut if outcome == TIMEOUT else JobFailed
    return kind(at, job.attempt, result, error, job.run_id, job.workstream_id, job.tool)


def _pause(rules: JobRules, failures: int, chance: float) -> int:
    # The bound doubles with each failure; beyond this exponent it is the cap in any case.
    number = min(failures, 64)
    return int(MICROS * full_jitter(number, chance, initial=rules.backoff, cap=rules.backoff_cap))


def after_loss(job: Job, worker: str, *, at: int) -> JobEvent:
    """What becomes of a running job whose worker has died."""
    if job.cancel_requested:
        return JobCancelled(at, job.attempt, "its worker died after it was cancelled")
    if job.on_lost == REQUEUE:
        if job.losses >= rules_of(job).max_losses:
            return JobDied(at, job.attempt, "lost", error=f"its worker died {job.losses + 1} times")
        return JobRequeued(at, "its worker died", worker, lost=True)
    return JobLost(at, job.attempt, worker, asked=job.on_lost == ASK)
