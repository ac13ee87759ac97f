"""What the tasks of a job come to: the laws of merging, and what people expect of each rule."""

from __future__ import annotations

import itertools
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventstate import InvalidInputError, TaskOutcome, TaskPhase, TaskPolicy, TaskResult, TaskVerdict
from eventstate.jobs.tasks.policies import (
    all_success,
    any_success,
    joined,
    lowest,
    merged,
    none_failed,
    quorum,
    rank,
    weighted,
    worst,
)

PENDING, RUNNING, DONE = TaskPhase.PENDING, TaskPhase.RUNNING, TaskPhase.DONE
SKIPPED, SUCCEEDED, WARNED, CANCELLED, TIMED_OUT, LOST, FAILED = TaskOutcome


def done(outcome: TaskOutcome, attempt: int = 1) -> TaskResult:
    return TaskResult(attempt, 1, DONE, outcome)


OPEN = TaskResult(1, 1, RUNNING)
OUTCOMES = st.sampled_from(list(TaskOutcome))
RESULTS = st.one_of(
    st.builds(TaskResult, st.integers(1, 3), st.integers(1, 3), st.sampled_from(list(TaskPhase)[:-1]), st.none()),
    st.builds(TaskResult, st.integers(1, 3), st.integers(1, 3), st.just(DONE), OUTCOMES),
)
BY_TASK = st.dictionaries(st.integers(0, 5), RESULTS, max_size=6)
POLICIES = st.sampled_from(
    [
        *(rule(fail_fast=fast) for rule in (all_success, any_success, none_failed) for fast in (False, True)),
        quorum(2),
        quorum(9),
        weighted(0.5),
        weighted(1, {0: 5.0, 1: 0.1}),
        all_success(optional={0, 1}),
        quorum(1, optional={5}),
    ]
)


def of(*results: TaskResult) -> dict[int, TaskResult]:
    return dict(enumerate(results))


def outcome(policy: TaskPolicy, *results: TaskResult | TaskOutcome) -> TaskOutcome | None:
    found = [done(result) if isinstance(result, TaskOutcome) else result for result in results]
    return policy.verdict(of(*found), len(found)).outcome


# Laws


@given(BY_TASK, BY_TASK, BY_TASK)
def test_merging_is_associative_commutative_and_idempotent(
    a: dict[int, TaskResult], b: dict[int, TaskResult], c: dict[int, TaskResult]
) -> None:
    assert merged(a, merged(b, c)) == merged(merged(a, b), c) == merged(a, b, c)
    assert merged(a, b) == merged(b, a)
    assert merged(a, a) == a == merged(a, {})


@given(RESULTS, RESULTS, RESULTS)
def test_joining_is_associative_commutative_and_idempotent(a: TaskResult, b: TaskResult, c: TaskResult) -> None:
    assert joined(a, joined(b, c)) == joined(joined(a, b), c)
    assert joined(a, b) == joined(b, a)
    assert joined(a, a) == a


@given(st.lists(OUTCOMES, min_size=1, max_size=5))
def test_skipped_changes_no_outcome(outcomes: list[TaskOutcome]) -> None:
    assert worst([*outcomes, SKIPPED]) == worst(outcomes)
    assert worst(outcomes) == reduce(max, outcomes)


@given(POLICIES, st.lists(BY_TASK, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_a_verdict_does_not_depend_on_the_order_or_repetition_of_reports(
    policy: TaskPolicy, parts: list[dict[int, TaskResult]], random: object
) -> None:
    wanted = policy.verdict(merged(*parts), 6)
    for order in itertools.permutations(parts):
        assert policy.verdict(merged(*order, *order), 6) == wanted


@given(POLICIES, BY_TASK, st.integers(0, 5), OUTCOMES, st.integers(2, 6))
def test_nothing_undoes_a_verdict(
    policy: TaskPolicy, results: dict[int, TaskResult], task: int, outcome: TaskOutcome, expected: int
) -> None:
    before = policy.verdict(results, expected)
    if results.get(task, OPEN).outcome is not None:
        return
    after = policy.verdict({**results, task: done(outcome)}, expected)
    if before.is_doomed:
        assert after.is_doomed
    if before.outcome is not None:
        assert after.outcome is not None
        assert after.outcome.is_bad == before.outcome.is_bad
    assert after.phase >= before.phase


@given(POLICIES, BY_TASK)
def test_a_verdict_is_of_one_piece(policy: TaskPolicy, results: dict[int, TaskResult]) -> None:
    verdict = policy.verdict(results, 6)
    if verdict.outcome is not None:
        assert verdict.is_over
        assert verdict.is_doomed == verdict.outcome.is_bad
    if verdict.phase is DONE:
        assert verdict.outcome is not None
    assert verdict.is_over == (verdict.outcome is not None or (policy.fail_fast and verdict.is_doomed))
    beyond = {**results, 17: done(FAILED)}
    assert policy.verdict(beyond, 6) == verdict, "a task that is not expected does not count"


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=6), st.permutations(list(range(-5, 6))))
@settings(max_examples=30)
def test_the_lowest_by_any_order(statuses: list[int], order: list[int]) -> None:
    assert lowest(statuses, int) == min(statuses)
    assert lowest(statuses, int, order) == min(statuses, key=order.index)
    assert lowest(statuses, int, rank(order)) == lowest(statuses, int, order)
    assert lowest([], int) is None


# Rules


def test_all_must_end_well() -> None:
    rule = all_success()
    assert outcome(rule, SUCCEEDED, SUCCEEDED) is SUCCEEDED
    assert outcome(rule, SUCCEEDED, SKIPPED, WARNED) is WARNED
    assert outcome(rule, SUCCEEDED, OPEN) is None
    assert outcome(rule, SKIPPED, SKIPPED) is SKIPPED, "only where all are"
    assert outcome(rule, CANCELLED, FAILED, LOST) is FAILED
    assert outcome(rule, CANCELLED, LOST, TIMED_OUT) is LOST
    silent = rule.verdict({0: done(SUCCEEDED)}, 2)
    assert (silent.phase, silent.outcome) == (PENDING, None), "who has not reported is pending"


def test_parts_of_an_earlier_attempt_do_not_count() -> None:
    again = done(SUCCEEDED, attempt=2)
    assert joined(done(FAILED), again) == joined(again, done(FAILED)) == again
    assert all_success().verdict({0: joined(done(FAILED), again)}, 1).outcome is SUCCEEDED


@pytest.mark.parametrize("percent", [7, 14, 28, 55, 56, 58])
def test_a_share_is_reached_by_exactly_as_many(percent: int) -> None:
    rule = weighted(percent / 100)
    assert outcome(rule, *[SUCCEEDED] * percent, *[FAILED] * (100 - percent)) is SUCCEEDED
    assert outcome(rule, *[SUCCEEDED] * (percent - 1), *[FAILED] * (101 - percent)) is FAILED


@pytest.mark.parametrize("rule", [any_success(), quorum(2), quorum(9), weighted(0.5)])
def test_a_job_whose_tasks_were_all_skipped_so_far_is_not_doomed(rule: TaskPolicy) -> None:
    before = rule.verdict(of(done(SKIPPED), done(SKIPPED), OPEN), 3)
    assert (before.outcome, before.is_doomed) == (None, False)
    assert outcome(rule, SKIPPED, SKIPPED, SKIPPED) is SKIPPED
    assert quorum(2).verdict(of(done(SKIPPED), done(FAILED), OPEN), 3).is_doomed


def test_a_running_job_can_be_doomed() -> None:
    verdict = all_success().verdict(of(done(FAILED), OPEN), 2)
    assert verdict == TaskVerdict(RUNNING, None, is_doomed=True, is_over=False)
    assert all_success(fail_fast=True).verdict(of(done(FAILED), OPEN), 2).is_over


def test_a_retried_task_is_its_latest_attempt() -> None:
    results = merged({0: done(FAILED)}, {0: done(SUCCEEDED, attempt=2)}, {0: done(FAILED)})
    assert all_success().verdict(results, 1).outcome is SUCCEEDED
    again = merged(results, {0: TaskResult(3, 1, RUNNING)})
    assert all_success().verdict(again, 1) == TaskVerdict(RUNNING, None, is_doomed=False, is_over=False)


def test_optional_tasks_warn_and_hold_nothing_up() -> None:
    rule = all_success(optional={1})
    assert outcome(rule, SUCCEEDED, FAILED) is WARNED
    assert outcome(rule, SUCCEEDED, OPEN) is SUCCEEDED
    assert outcome(rule, FAILED, SUCCEEDED) is FAILED
    assert rule.verdict(of(OPEN, done(FAILED)), 2).is_doomed is False
    assert outcome(all_success(optional={0, 1}), FAILED, SUCCEEDED) is FAILED, "where all are, all count"


def test_one_or_some_are_enough() -> None:
    assert outcome(any_success(), FAILED, SUCCEEDED, OPEN) is SUCCEEDED
    assert outcome(any_success(), FAILED, OPEN) is None
    assert outcome(any_success(), CANCELLED, FAILED) is FAILED
    assert outcome(quorum(2), SUCCEEDED, WARNED, FAILED, OPEN) is SUCCEEDED
    assert outcome(quorum(2), WARNED, WARNED) is WARNED
    assert outcome(quorum(2), SUCCEEDED, OPEN) is None
    assert quorum(2).verdict(of(done(FAILED), OPEN), 2).is_doomed
    assert outcome(quorum(2), SUCCEEDED, SKIPPED) is FAILED, "too few are left"
    assert outcome(quorum(2), SKIPPED, SKIPPED) is SKIPPED


def test_none_may_fail() -> None:
    assert outcome(none_failed(), SUCCEEDED, CANCELLED, SKIPPED) is SUCCEEDED
    assert outcome(none_failed(), CANCELLED, SKIPPED) is SKIPPED
    for bad in (TIMED_OUT, LOST, FAILED):
        assert outcome(none_failed(), SUCCEEDED, bad) is bad


def test_shares_of_weight() -> None:
    rule = weighted(0.6, {0: 3.0})
    assert outcome(rule, SUCCEEDED, FAILED, FAILED) is SUCCEEDED
    assert outcome(rule, FAILED, SUCCEEDED, SUCCEEDED) is FAILED
    assert outcome(rule, OPEN, SUCCEEDED, OPEN) is None
    assert rule.verdict(of(done(LOST), OPEN, OPEN), 3).is_doomed
    assert outcome(rule, SKIPPED, SUCCEEDED, FAILED) is FAILED
    assert outcome(weighted(0.5, {0: 3.0}), SKIPPED, SUCCEEDED, FAILED) is SUCCEEDED


def test_what_a_job_without_tasks_is_must_be_said() -> None:
    assert all_success().verdict({}, 0) == TaskVerdict(PENDING, None, is_doomed=False, is_over=False)
    assert all_success(empty="succeeded").verdict({}, []) == TaskVerdict(DONE, SUCCEEDED, is_doomed=False, is_over=True)


def test_a_failed_part_settles_a_task_that_goes_on() -> None:
    part = joined(done(FAILED), OPEN)
    verdict = all_success().verdict({0: part}, 1)
    assert verdict == TaskVerdict(RUNNING, None, is_doomed=True, is_over=False)
    assert joined(done(SUCCEEDED), OPEN).settled is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: quorum(0),
        lambda: quorum(True),
        lambda: quorum(1.5),  # type: ignore[arg-type]
        lambda: weighted(0),
        lambda: weighted(1.1),
        lambda: weighted(float("nan")),
        lambda: weighted("0.5"),  # type: ignore[arg-type]
        lambda: weighted(0.5, [1, 2]),  # type: ignore[arg-type]
        lambda: weighted(0.5, {0: "x"}),  # type: ignore[dict-item]
        lambda: all_success(optional=3),  # type: ignore[arg-type]
        lambda: all_success(optional="03"),  # type: ignore[arg-type]
        lambda: rank("abc"),  # type: ignore[arg-type]
        lambda: rank(5),  # type: ignore[arg-type]
        lambda: weighted(0.5, {0: 0.0}),
        lambda: weighted(0.5, {0: float("inf")}),
        lambda: all_success(empty="maybe"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_rule_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidInputError):
        make()
