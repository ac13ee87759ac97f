"""What many tasks come to: phases, outcomes, and named rules over them. Pure.

A task's result has two axes. Its *phase* says how far it is; the phase of many is the lowest of theirs. Its *outcome*
says how it ended; the outcome of many is the most severe of theirs. Severity is another order than that of the numbers
that tasks report: a task that was skipped must not drag a finished job down, nor one that was lost pass for cancelled.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from eventstate.errors import InvalidInputError

T = TypeVar("T")


class TaskPhase(enum.IntEnum):
    """How far a task is. The lowest of many is that of all together."""

    PENDING = 0
    BLOCKED = 1
    READY = 2
    RUNNING = 3
    STOPPING = 4
    DONE = 5


class TaskOutcome(enum.IntEnum):
    """How a task ended, by severity. The most severe of many is that of all together; `SKIPPED` changes nothing."""

    SKIPPED = 0
    SUCCEEDED = 1
    WARNED = 2
    CANCELLED = 3
    TIMED_OUT = 4
    LOST = 5
    FAILED = 6

    @property
    def is_good(self) -> bool:
        """Whether it did what it was to do, perhaps with warnings."""
        return self in (TaskOutcome.SUCCEEDED, TaskOutcome.WARNED)

    @property
    def is_bad(self) -> bool:
        """Whether it ended without having done what it was to do, and was not skipped."""
        return self > TaskOutcome.WARNED


class TaskResult(NamedTuple):
    """Where a task is.

    Attributes:
        attempt: the latest attempt counts, whatever earlier ones came to.
        outcome: of a task that is done, None before.
        version: of two reports of one attempt the later one counts.
    """

    attempt: int = 1
    version: int = 0
    phase: TaskPhase = TaskPhase.PENDING
    outcome: TaskOutcome | None = None

    @property
    def settled(self) -> TaskOutcome | None:
        """Its outcome once that is known: a part that ended badly settles it while others are under way."""
        outcome = self.outcome
        return outcome if self.phase is TaskPhase.DONE or (outcome is not None and outcome.is_bad) else None


SILENT: Final = TaskResult()
"""A task that has not reported."""


class TaskVerdict(NamedTuple):
    """What the tasks of a job come to.

    Attributes:
        phase: the lowest among the tasks that count.
        outcome: how the job ends, as soon as it is known whether it ends well; None before. While tasks are still
            running, a warning may come to it, or go.
        is_doomed: it can't end well any more, even while tasks are still running.
        is_over: nothing need be waited for: the outcome is known, or it is doomed under a policy that fails fast.
    """

    phase: TaskPhase
    outcome: TaskOutcome | None
    is_doomed: bool
    is_over: bool


def later(left: TaskResult, right: TaskResult) -> TaskResult:
    """Which of two results of one task counts: that of the later attempt, of one attempt the later report."""
    return max(left, right, key=_age)


def _age(result: TaskResult) -> tuple[int, int, int, int]:
    outcome = -1 if result.outcome is None else int(result.outcome)
    return result.attempt, result.version, int(result.phase), outcome


def merged(*results: Mapping[int, TaskResult]) -> dict[int, TaskResult]:
    """Results by task, gathered from several places. Neither order nor repetition changes what comes out."""
    found: dict[int, TaskResult] = {}
    for part in results:
        for task, result in part.items():
            found[task] = later(found[task], result) if task in found else result
    return found


def joined(left: TaskResult, right: TaskResult) -> TaskResult:
    """Two parts of one task, such as two of its tags: the lower phase, and the more severe outcome of those that ended.

    Of two attempts the later one's part counts. Associative, commutative and idempotent.
    """
    if left.attempt != right.attempt:
        return max(left, right, key=_age)
    outcome = worst([outcome for outcome in (left.outcome, right.outcome) if outcome is not None])
    return TaskResult(left.attempt, max(left.version, right.version), min(left.phase, right.phase), outcome)


def worst(outcomes: Iterable[TaskOutcome]) -> TaskOutcome | None:
    """The most severe of some outcomes; None of none."""
    return max(outcomes, default=None)


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    """A rule for what the tasks of a job come to. Made by the functions of this module.

    Attributes:
        name: of the rule.
        threshold: of `quorum` the number of tasks, of `weighted` the share of all weight.
        optional: tasks that hold nothing up; where one ends badly the job ends with a warning.
        weights: by task, for `weighted`; 1 unless said otherwise.
        fail_fast: a doomed job is over at once.
        empty: what a job without tasks is.
    """

    name: Literal["all_success", "any_success", "none_failed", "quorum", "weighted"]
    threshold: float = 0
    optional: frozenset[int] = frozenset()
    weights: Mapping[int, float] = field(default_factory=dict[int, float])
    fail_fast: bool = False
    empty: Literal["pending", "succeeded"] = "pending"

    def verdict(self, results: Mapping[int, TaskResult], expected: int | Iterable[int]) -> TaskVerdict:
        """What these results come to.

        Args:
            results: by task; a task that is missing has not reported.
            expected: the tasks of the job, or how many there are. What others reported does not count.
        """
        tasks = range(expected) if isinstance(expected, int) else sorted(set(expected))
        if not tasks:
            return _EMPTY[self.empty]
        found = {task: results.get(task, SILENT) for task in tasks}
        required = {task: result for task, result in found.items() if task not in self.optional}
        # Where all are optional there is nothing else to wait for.
        counted = required or found
        phase = min(result.phase for result in counted.values())
        outcome, is_doomed = self._judged(counted)
        if outcome is not None and required:
            outcome = self._with_warning(outcome, found)
        return TaskVerdict(phase, outcome, is_doomed, outcome is not None or (self.fail_fast and is_doomed))

    def _judged(self, results: Mapping[int, TaskResult]) -> tuple[TaskOutcome | None, bool]:
        """The outcome where it is settled, and whether it can't be a good one any more."""
        ended = [outcome for result in results.values() if (outcome := result.settled) is not None]
        is_done = all(result.phase is TaskPhase.DONE for result in results.values())
        if self.name == "all_success":
            return worst(ended) if is_done else None, any(outcome.is_bad for outcome in ended)
        if self.name == "none_failed":
            # Whoever was cancelled has not failed: it counts as if it had been left out.
            kept = [TaskOutcome.SKIPPED if outcome is TaskOutcome.CANCELLED else outcome for outcome in ended]
            return worst(kept) if is_done else None, any(outcome.is_bad for outcome in kept)
        return self._counted(results, ended, is_done)

    def _counted(
        self, results: Mapping[int, TaskResult], ended: Sequence[TaskOutcome], is_done: bool
    ) -> tuple[TaskOutcome | None, bool]:
        """The rules for which some good ones are enough."""
        good = sum(self._weight(task) for task, result in results.items() if _is(result, good=True))
        undecided = sum(self._weight(task) for task, result in results.items() if result.settled is None)
        total = good + undecided + sum(self._weight(task) for task, result in results.items() if _is(result, bad=True))
        needed = _exact(self.threshold) * total if self.name == "weighted" else max(self.threshold, 1)
        if all(outcome is TaskOutcome.SKIPPED for outcome in ended):
            # As long as that is so, it may end like this: however few are left, it is not doomed.
            return TaskOutcome.SKIPPED if is_done else None, False
        if good >= needed and good > 0:
            is_clean = any(outcome is TaskOutcome.SUCCEEDED for outcome in ended)
            return TaskOutcome.SUCCEEDED if is_clean else TaskOutcome.WARNED, False
        if not is_done:
            return None, good + undecided < needed
        # Where too many were skipped none need have ended badly.
        return max((outcome for outcome in ended if outcome.is_bad), default=TaskOutcome.FAILED), True

    def _weight(self, task: int) -> Fraction | int:
        return _exact(self.weights.get(task, 1)) if self.name == "weighted" else 1

    def _with_warning(self, outcome: TaskOutcome, results: Mapping[int, TaskResult]) -> TaskOutcome:
        """An optional task that ended badly is a warning, never more."""
        if any(task in self.optional and _is(result, bad=True) for task, result in results.items()):
            return max(outcome, TaskOutcome.WARNED)
        return outcome


_EMPTY: Final = {
    "pending": TaskVerdict(TaskPhase.PENDING, None, False, False),
    "succeeded": TaskVerdict(TaskPhase.DONE, TaskOutcome.SUCCEEDED, False, True),
}


def _exact(number: float) -> Fraction:
    """A number as it is written: with binary fractions 55 of 100 would be less than 0.55 of them."""
    return Fraction(repr(float(number)))


def _is(result: TaskResult, *, good: bool = False, bad: bool = False) -> bool:
    outcome = result.settled
    return outcome is not None and ((good and outcome.is_good) or (bad and outcome.is_bad))


# The rules by name


def all_success(
    *,
    optional: Collection[int] = (),
    fail_fast: bool = False,
    empty: Literal["pending", "succeeded"] = "pending",
) -> TaskPolicy:
    """Every task must end well; skipped ones don't count. The outcome is the most severe of all."""
    return TaskPolicy("all_success", optional=_optional(optional), fail_fast=fail_fast, empty=_empty(empty))


def any_success(
    *,
    optional: Collection[int] = (),
    fail_fast: bool = False,
    empty: Literal["pending", "succeeded"] = "pending",
) -> TaskPolicy:
    """One task that ends well is enough."""
    return TaskPolicy("any_success", 1, _optional(optional), fail_fast=fail_fast, empty=_empty(empty))


def quorum(
    tasks: int,
    *,
    optional: Collection[int] = (),
    fail_fast: bool = False,
    empty: Literal["pending", "succeeded"] = "pending",
) -> TaskPolicy:
    """So many tasks must end well.

    Raises:
        InvalidInputError: fewer than one.
    """
    if isinstance(tasks, bool) or not isinstance(tasks, int) or tasks < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"quorum({tasks!r}): how many tasks must end well, from 1")
    return TaskPolicy("quorum", tasks, _optional(optional), fail_fast=fail_fast, empty=_empty(empty))


def none_failed(
    *,
    optional: Collection[int] = (),
    fail_fast: bool = False,
    empty: Literal["pending", "succeeded"] = "pending",
) -> TaskPolicy:
    """No task may fail, time out or be lost; cancelled ones count like skipped ones."""
    return TaskPolicy("none_failed", optional=_optional(optional), fail_fast=fail_fast, empty=_empty(empty))


def weighted(
    share: float,
    weights: Mapping[int, float] | None = None,
    *,
    optional: Collection[int] = (),
    fail_fast: bool = False,
    empty: Literal["pending", "succeeded"] = "pending",
) -> TaskPolicy:
    """Tasks with this share of all weight must end well; that of skipped ones does not count.

    Raises:
        InvalidInputError: a share that is not between 0 and 1, or a weight that is not above 0.
    """
    if not _is_number(share) or not 0 < share <= 1:
        raise InvalidInputError(f"weighted({share!r}): a share above 0 and up to 1")
    if not isinstance(weights, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"weights={weights!r}: pass a dict, from tasks to their weights")
    chosen = dict(weights or {})
    for task, weight in chosen.items():
        if not _is_number(weight) or not 0 < weight < float("inf"):
            raise InvalidInputError(f"the weight {weight!r} of task {task}: a number above 0")
    return TaskPolicy("weighted", share, _optional(optional), chosen, fail_fast, _empty(empty))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _optional(tasks: Collection[int]) -> frozenset[int]:
    """Which tasks hold nothing up.

    Raises:
        InvalidInputError: no collection of indexes.
    """
    found = cast("object", tasks)
    if not isinstance(found, Iterable) or not all(isinstance(task, int) for task in cast("Iterable[Any]", found)):
        raise InvalidInputError(f"optional={tasks!r}: pass the indexes of tasks, as in optional={{0, 3}}")
    return frozenset(tasks)


def _empty(value: Literal["pending", "succeeded"]) -> Literal["pending", "succeeded"]:
    if value not in ("pending", "succeeded"):
        raise InvalidInputError(f"empty={value!r}: 'pending' or 'succeeded'")
    return value


# Plain numbers

Order = Sequence[int] | Callable[[int], Any] | None
"""Which of two status numbers is lower: the smaller one; by their places in a list, those that are not in it after it;
or by a key."""


def lowest(items: Iterable[T], status: Callable[[T], int], order: Order = None) -> T | None:
    """The first item with the lowest status; None of none."""
    key = rank(order)
    return min(items, key=lambda item: key(status(item)), default=None)


def rank(order: Order) -> Callable[[int], Any]:
    """The key by which status numbers are compared."""
    if order is None:
        return int
    if callable(order):
        return order
    if isinstance(order, str | bytes) or not isinstance(order, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"order={order!r}: pass status numbers from the lowest on, or a key function")
    places = {status: place for place, status in enumerate(order)}
    return lambda status: (0, places[status]) if status in places else (1, status)
