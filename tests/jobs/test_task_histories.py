"""Random histories of a job against a model that is plain enough to be believed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventstate import (
    JobClosedError,
    JobNotFoundError,
    JobTasks,
    TaskStatusNotFoundError,
    TaskSubscription,
    TaskUpdate,
    open_store,
)

TASKS = 3
TAGS = st.sampled_from(["main", "a", "a:b"])
INDEXES = st.integers(0, TASKS - 1)
STATUSES = st.sampled_from([-2, -1, 0, 1, 5, 2**31 - 1])
EVENT_IDS = st.none() | st.sampled_from(["e1", "e2"])

Place = tuple[str, int]


class JobMachine(RuleBasedStateMachine):
    """One job as its callers see it.

    Statuses by tag and task; the versions reached, which outlive them; the reports that were made under an event id.
    """

    @initialize()
    def begin(self) -> None:
        self.store = open_store("memory://")
        self.tasks = JobTasks(self.store, "j", tasks=TASKS)
        self.statuses: dict[Place, tuple[int, int]] = {}
        self.reached: dict[Place, int] = {}
        self.reports: dict[tuple[Place, str], tuple[int, int]] = {}
        self.is_closed = self.is_deleted = False
        self.subscription: TaskSubscription | None = None
        self.seen: dict[Place, tuple[int, int]] = {}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    # What is done

    @rule(task=INDEXES, tag=TAGS, status=STATUSES, event_id=EVENT_IDS)
    def report(self, task: int, tag: str, status: int, event_id: str | None) -> None:
        place = tag, task
        known = self.reports.get((place, event_id)) if event_id is not None else None
        if known is not None:
            found = self.tasks.reporter(task).report(known[0], tag=tag, event_id=event_id)
            assert (found.status, found.version) == known
        elif self.is_closed or self.is_deleted:
            with pytest.raises(JobClosedError):
                self.tasks.reporter(task).report(status, tag=tag, event_id=event_id)
        else:
            found = self.tasks.reporter(task).report(status, tag=tag, event_id=event_id)
            assert found.version > self.reached.get(place, 0)
            self.statuses[place] = status, found.version
            self.reached[place] = found.version
            if event_id is not None:
                self.reports[place, event_id] = status, found.version

    @rule(how=st.sampled_from(["delete", "delete", "delete", "close", "mark_deleted"]))
    def end(self, how: str) -> None:
        getattr(self, how)()

    def delete(self) -> None:
        self.look_at_the_end()
        if self.is_deleted:
            with pytest.raises(JobNotFoundError):
                self.tasks.delete()
        else:
            self.tasks.delete()
            self.statuses.clear()

    def close(self) -> None:
        if self.is_deleted:
            with pytest.raises(JobNotFoundError):
                self.tasks.close()
        else:
            self.tasks.close()
            self.is_closed = True

    def mark_deleted(self) -> None:
        self.look_at_the_end()
        self.tasks.mark_deleted()
        self.statuses.clear()
        self.is_deleted = True

    @precondition(lambda self: self.is_deleted)
    @rule()
    def begin_anew(self) -> None:
        self.look_at_the_end()
        self.tasks = JobTasks(self.store, "j", tasks=TASKS)
        self.is_closed = self.is_deleted = False
        self.reports.clear()
        self.subscription = None

    @rule(is_eager=st.booleans())
    def subscribe(self, is_eager: bool) -> None:
        self.subscription = self.tasks.subscribe()
        self.is_eager = is_eager
        self.seen = {}

    # What must hold

    @invariant()
    def statuses_are_as_they_were_reported(self) -> None:
        if not hasattr(self, "tasks"):
            return
        found = {(status.tag, status.task): (status.status, status.version) for status in self.tasks.list()}
        assert found == self.statuses
        for tag in ("main", "a", "a:b"):
            for task in range(TASKS):
                if (tag, task) in self.statuses:
                    assert self.tasks.get(task=task, tag=tag).version == self.statuses[tag, task][1]
                else:
                    with pytest.raises(TaskStatusNotFoundError):
                        self.tasks.get(task=task, tag=tag)

    @invariant()
    def the_lowest_is_the_lowest(self) -> None:
        if not hasattr(self, "tasks"):
            return
        values = {place: status for place, (status, _) in self.statuses.items()}
        by_tag = [(values.get(("a", task), 0), task) for task in range(TASKS)]
        lowest = self.tasks.get(tag="a")
        assert (lowest.status, lowest.task) == min(by_tag)
        of_tasks = []
        for task in range(TASKS):
            own = [status for (_, index), status in values.items() if index == task]
            assert self.tasks.get(task=task).status == min(own, default=0)
            of_tasks.append((min(own, default=0), task))
        found = self.tasks.get()
        assert (found.status, found.task) == min(of_tasks)

    @invariant()
    def an_eager_subscriber_knows_everything(self) -> None:
        if hasattr(self, "tasks") and self.subscription is not None and self.is_eager:
            self.look()

    @rule()
    def look(self) -> None:
        """A subscriber that has read everything knows what there is."""
        if self.subscription is None:
            return
        while (update := self.subscription.next(timeout=0)) is not None:
            self.take(update)
        assert self.seen == self.statuses

    def look_at_the_end(self) -> None:
        """A subscription that has ended with its job is told nothing of what becomes of it later."""
        if self.is_closed or self.is_deleted:
            self.look()
            self.subscription = None

    def take(self, update: TaskUpdate) -> None:
        status: Any = update.status
        place = status.tag, status.task
        assert status.version > self.seen.get(place, (0, 0))[1]
        if update.deleted:
            assert place in self.seen
            del self.seen[place]
        else:
            self.seen[place] = status.status, status.version


JobMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestJobHistories = pytest.mark.backend("memory")(JobMachine.TestCase)
