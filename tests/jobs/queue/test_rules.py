"""What follows from the end of an attempt, decided from the job alone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate import Job, JobRules
from eventstate.jobs.job import JOBS, QUEUED, RUNNING, TERMINAL, JobRetried, evolve
from eventstate.jobs.queue.rules import after_loss, after_report, rules_of

RULES = st.builds(
    JobRules,
    max_retries=st.integers(0, 5),
    backoff=st.sampled_from([0.0, 0.5, 2.0]),
    backoff_cap=st.sampled_from([2.0, 10.0]),
    max_losses=st.integers(0, 4),
)


def running(job: Job, attempt: int) -> Job:
    return replace(job, status=RUNNING, attempt=attempt, worker="w:1-1")


@settings(max_examples=100)
@given(RULES, st.lists(st.sampled_from(["failed", "timeout", "lost"]), max_size=14), st.floats(0, 0.999))
def test_a_job_that_only_fails_ends_after_as_many_attempts_as_it_was_given(
    rules: JobRules, outcomes: list[str], chance: float
) -> None:
    job = Job(status=QUEUED, on_lost="requeue", rules=rules.plain())
    failures = losses = 0
    for attempt, outcome in enumerate(outcomes, 1):
        job = running(job, attempt)
        if outcome == "lost":
            losses += 1
            event = after_loss(job, "w:1-1", at=0)
        else:
            failures += 1
            event = after_report(job, outcome, None, "no", at=0, chance=chance)
        assert event.event_type in JOBS.actions(job)
        if isinstance(event, JobRetried):
            assert 0 <= event.not_before <= rules.backoff_cap * 1_000_000
        job = evolve(job, event)
        ends = failures > rules.max_retries or losses > rules.max_losses
        assert (job.status in TERMINAL) == ends, (job, failures, losses)
        if ends:
            return


@settings(max_examples=50)
@given(RULES)
def test_rules_are_read_back_as_they_were_stored(rules: JobRules) -> None:
    assert rules_of(Job(rules=rules.plain())) == rules
    rules.check()


def test_pauses_grow_up_to_the_cap() -> None:
    rules = JobRules(max_retries=100, backoff=1, backoff_cap=8)
    pauses: list[int] = []
    for failures in (0, 1, 2, 3, 4, 99):
        job = replace(Job(status=RUNNING, attempt=1, rules=rules.plain()), failures=failures)
        event = after_report(job, "failed", None, None, at=0, chance=0.5)
        assert isinstance(event, JobRetried)
        pauses.append(event.not_before)
    assert pauses == [500_000, 1_000_000, 2_000_000, 4_000_000, 4_000_000, 4_000_000]
