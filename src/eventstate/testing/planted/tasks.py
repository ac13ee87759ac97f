"""Bugs in task statuses: each is a way to lose a report, to tell one twice, or to take one that should be refused."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from eventstate.core.format import NewEvent
from eventstate.jobs.tasks import tracking
from eventstate.jobs.tasks.following import TaskFollowing
from eventstate.jobs.tasks.status import Report, TaskStatus
from eventstate.jobs.tasks.tracking import REPORTED, TaskTracking
from eventstate.log.appending import Appender, Receipt
from eventstate.log.following import Place
from eventstate.log.following.ordered import last_position
from eventstate.testing.conformance.task_statuses import Listener, TaskCases
from eventstate.testing.planted.plant import Patch, Plant

_append = Appender.append
_begin = TaskFollowing._begin
_note = TaskFollowing._note
_lowest = tracking.lowest


def _follows_from_now() -> list[Patch]:
    async def begin(self: TaskFollowing, _place: Place) -> None:
        await _begin(self, Place(await last_position(self._store)))

    # With this bug an update is waited for in vain.
    return [(TaskFollowing, "_begin", begin), (Listener, "patience", 2.0)]


def _forgets_what_it_replayed() -> list[Patch]:
    def note(self: TaskFollowing, *args: Any) -> bool:
        try:
            return _note(self, *args)
        finally:
            self._versions.clear()

    return [(TaskFollowing, "_note", note)]


def _leaves_silent_tasks_out() -> list[Patch]:
    def lowest(items: Iterable[TaskStatus], status: Callable[[TaskStatus], int], order: Any = None) -> Any:
        found = list(items)
        return _lowest([item for item in found if item.version] or found, status, order)

    return [(tracking, "lowest", lowest)]


def _without(**options: Any) -> Callable[[], list[Patch]]:
    def patches() -> list[Patch]:
        async def append(self: Appender, changes: Any, **given: Any) -> Receipt:
            return await _append(self, changes, **{**given, **options})

        return [(Appender, "append", append)]

    return patches


def _lets_any_attempt_win() -> list[Patch]:
    def events(_report: Report, _incarnation: int, text: bytes, _state: Any, _version: int) -> Sequence[NewEvent]:
        return (NewEvent(REPORTED, state=text),)

    return [(tracking, "_events", events)]


class _AnyIncarnation(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def _takes_any_incarnation() -> list[Patch]:
    return [(tracking, "incarnation_of", lambda _plain: _AnyIncarnation())]  # type: ignore[reportUnknownLambdaType]


def _ends_before_it_has_told() -> list[Patch]:
    def end(self: TaskFollowing) -> None:
        self._has_ended = True

    return [(TaskFollowing, "_end", end)]


def _deletes_what_others_began() -> list[Patch]:
    async def own_record(self: TaskTracking) -> Any:
        record = await self.record()
        return None if record is None or record.deleted else record

    return [(TaskTracking, "_own_record", own_record)]


TASK_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="follows-from-now",
        story="what is there has been read, so only what comes now is left",
        patches=_follows_from_now,
        suite=TaskCases,
        cases=["test_nothing_is_lost_between_the_snapshot_and_what_follows"],
    ),
    Plant(
        name="replay-comes-again",
        story="what is live is new",
        patches=_forgets_what_it_replayed,
        suite=TaskCases,
        cases=["test_nothing_is_lost_between_the_snapshot_and_what_follows"],
    ),
    Plant(
        name="silent-tasks-left-out",
        story="the lowest of what there is",
        patches=_leaves_silent_tasks_out,
        suite=TaskCases,
        cases=["test_of_a_job_a_wholly_silent_task_counts", "test_under_a_tag_silent_tasks_are_at_zero"],
    ),
    Plant(
        name="reports-without-a-fence",
        story="whether the job is open was seen when it was opened",
        patches=_without(fences=()),
        suite=TaskCases,
        cases=["test_a_closed_job_takes_no_reports", "test_a_deleted_job_is_over"],
    ),
    Plant(
        name="event-ids-that-nobody-reads",
        story="an event id is for people",
        patches=_without(idempotency_key=None),
        suite=TaskCases,
        cases=["test_an_event_id_is_one_report"],
    ),
    Plant(
        name="any-attempt-wins",
        story="the last report is the latest",
        patches=_lets_any_attempt_win,
        suite=TaskCases,
        cases=["test_an_attempt_that_was_overtaken_changes_nothing"],
    ),
    Plant(
        name="any-incarnation-counts",
        story="a deletion has deleted everything",
        patches=_takes_any_incarnation,
        suite=TaskCases,
        cases=["test_a_deletion_that_was_cut_off"],
    ),
    Plant(
        name="the-end-tells-nothing",
        story="of a job that is gone there is nothing to tell",
        patches=_ends_before_it_has_told,
        suite=TaskCases,
        cases=["test_a_deleted_job_is_over"],
    ),
    Plant(
        name="deletes-what-others-began",
        story="a job is a job",
        patches=_deletes_what_others_began,
        suite=TaskCases,
        cases=["test_a_deleted_job_begins_anew"],
    ),
)
