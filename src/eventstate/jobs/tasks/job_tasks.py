"""The sync face of task statuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

from eventstate.errors import ConfigurationError, TaskStatusNotFoundError
from eventstate.jobs.tasks.following import TaskBarrier, TaskFollowing, TaskUpdate, synchronize
from eventstate.jobs.tasks.policies import Order, TaskOutcome, TaskPhase, TaskPolicy, TaskVerdict, all_success
from eventstate.jobs.tasks.reporting import Reporting
from eventstate.jobs.tasks.status import FAILED, FINISHED, MAIN, STARTED, TaskStatus
from eventstate.jobs.tasks.tracking import TaskTracking
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class JobTasks:
    """The statuses of the tasks of one job: each task reports its own, everybody sees the lowest, live.

    A status is a number under a tag: 0 not started, 2147483647 finished, below 0 an error, all others the caller's.
    Of several the lowest says how the job is doing; a task that has not reported counts as 0. Safe to use from many
    threads and processes; it holds nothing open.

    Args:
        store: from `open_store`.
        job: id of the job.
        tasks: how many tasks it has, from 1: the job is created with them. Where there is one already, its number
            stays; see `tasks`. Without it the job must be there.

    Raises:
        JobNotFoundError: there is no such job, or it was deleted, and no ``tasks``.
        SchemaNewerError: the job was written, or migrated, by a later release; so with the methods that read it.
        InvalidIdError, InvalidInputError: an id or a number that can't be used.
        StoreError: the store can't work; so with all methods.
    """

    def __init__(self, store: Store, job: str, *, tasks: int | None = None) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncJobTasks with it")
        self._tracking = TaskTracking(store, job, tasks)
        drive(self._tracking.find_or_create())

    @property
    def job(self) -> str:
        """Id of the job."""
        return self._tracking.job

    @property
    def tasks(self) -> int:
        """How many tasks the job has, as it was created."""
        return self._tracking.opened.tasks

    @property
    def governor(self) -> str:
        """The governor of the job's streams, for persisters, subscriptions and the command line."""
        return self._tracking.governor

    def reporter(self, task: int, *, attempt: int = 1) -> TaskReporter:
        """What a task reports with; it can't write for another one.

        Args:
            task: its index, from 0.
            attempt: which attempt at the task this is; reports of earlier ones are recorded, but change nothing then.

        Raises:
            TaskIndexError: the job has no such task.
            InvalidInputError: the attempt is no whole number from 1 to 2147483647.
        """
        return TaskReporter(Reporting(self._tracking, task, attempt))

    def get(self, *, task: int | None = None, tag: str | None = None, order: Order = None) -> TaskStatus:
        """One status, or the lowest of several; of equal ones that of the lowest task, then tag.

        Args:
            task, tag: both for one status. A tag alone: the lowest over all tasks. A task alone: the lowest over its
                tags. Neither: the lowest over all tasks and tags. A task that has not reported is at 0.
            order: status numbers from the lowest to the highest, or a key by which they are compared.

        Raises:
            TaskStatusNotFoundError: task and tag are given, and it has not reported; see `get_or_default`.
            TaskIndexError: the job has no such task.
        """
        return drive(self._tracking.get(task, tag, order))

    def get_or_default(self, *, task: int, tag: str = MAIN) -> TaskStatus:
        """The status of a task under a tag; status 0, version 0, where it has not reported."""
        try:
            return self.get(task=task, tag=tag)
        except TaskStatusNotFoundError:
            return self._tracking.default(task, tag)

    def verdict(self, policy: TaskPolicy | None = None, *, tag: str | None = None) -> TaskVerdict:
        """What the tasks come to under a policy, `all_success` by default; of one tag, or of all of each task.

        Of a task under several tags the most severe outcome counts; of its attempts the latest one.

        Raises:
            InvalidInputError: the policy is none.
        """
        return drive(self._tracking.verdict(policy or all_success(), tag))

    def synchronize(
        self, tag: str = MAIN, target: int = FINISHED, *, timeout: float | None = None, wait_for_errors: bool = False
    ) -> TaskBarrier:
        """Wait until every task has reached a status under a tag.

        Ends early, with ``complete`` False, where a task reports an error, where the job is closed or deleted, and
        after ``timeout`` seconds.

        Args:
            target: the lowest status that will do.
            timeout: None to wait for as long as it takes.
            wait_for_errors: don't end at an error: the task may be tried again.
        """
        return drive(synchronize(self._tracking, tag, target, timeout, wait_for_errors=wait_for_errors))

    def subscribe(self, *, task: int | None = None, tag: str | None = None) -> TaskSubscription:
        """The statuses that are there, then each change as it is committed; of a task, a tag, or all.

        Raises:
            TaskIndexError: the job has no such task.
        """
        following = TaskFollowing(self._tracking, task, tag)
        drive(following.start())
        return TaskSubscription(following)

    def delete(self) -> None:
        """Delete all statuses. Tasks may report again; versions go on. Subscribers are told.

        Raises:
            JobNotFoundError: the job was deleted.
        """
        drive(self._tracking.delete())

    def mark_deleted(self) -> None:
        """Delete the job: its statuses are gone, reports are refused, subscriptions end. Its history stays.

        Opened with ``tasks`` again, it begins anew, with that number. Deleting it again changes nothing.
        """
        drive(self._tracking.mark_deleted())

    def close(self) -> None:
        """Close the job, for everybody and for good: reports are refused, subscriptions end, statuses stay.

        This is no cleaning up: the object itself holds nothing. Closing again changes nothing.

        Raises:
            JobNotFoundError: the job was deleted.
        """
        drive(self._tracking.close())

    def list(self, *, task: int | None = None, tag: str | None = None) -> Sequence[TaskStatus]:
        """The statuses that were reported, by when they were: of one task, one tag, or all.

        Raises:
            TaskIndexError: the job has no such task.
        """
        return drive(self._tracking.statuses(task, tag))


class TaskReporter:
    """What one task reports with. Made by `JobTasks.reporter`; safe to use from many threads.

    All methods return the status with its version, and take

        tag: under which it is reported; one task may report under several.
        message: for people.
        payload: JSON data; it is copied.
        event_id: the caller's name for the report: the same one again is written once, and gives the first's status.

    `report` also takes ``task``, for callers that pass a task's index along; one that is not this task's is refused.

    They raise:
        JobClosedError: the job is closed, or was deleted.
        TaskMismatchError: ``task`` is another one.
        InvalidInputError, InvalidIdError, EncodingError, DocumentTooLargeError: what can't be stored.
        IdempotencyMismatchError: the event id was used for another report.
        CommitUnknownError: the store did not answer; report again with the same ``event_id``.
    """

    def __init__(self, reporting: Reporting) -> None:
        self._reporting = reporting

    @property
    def task(self) -> int:
        """Index of the task."""
        return self._reporting.task

    @property
    def attempt(self) -> int:
        """The attempt that it reports for."""
        return self._reporting.attempt

    def report(
        self,
        status: int,
        *,
        tag: str = MAIN,
        message: str = "",
        payload: Any = None,
        event_id: str | None = None,
        task: int | None = None,
    ) -> TaskStatus:
        """Report a status: a whole number of 32 bits."""
        return drive(
            self._reporting.report(status, tag=tag, message=message, payload=payload, event_id=event_id, task=task)
        )

    def started(
        self, *, tag: str = MAIN, message: str = "", payload: Any = None, event_id: str | None = None
    ) -> TaskStatus:
        """Report status 1."""
        return self.report(STARTED, tag=tag, message=message, payload=payload, event_id=event_id)

    def finished(
        self, *, tag: str = MAIN, message: str = "", payload: Any = None, event_id: str | None = None
    ) -> TaskStatus:
        """Report status 2147483647."""
        return self.report(FINISHED, tag=tag, message=message, payload=payload, event_id=event_id)

    def failed(
        self,
        message: str = "",
        *,
        tag: str = MAIN,
        status: int = FAILED,
        payload: Any = None,
        event_id: str | None = None,
    ) -> TaskStatus:
        """Report an error: a status below 0.

        Raises:
            InvalidInputError: it is not.
        """
        return drive(self._reporting.failed(status, tag=tag, message=message, payload=payload, event_id=event_id))

    def report_phase(
        self,
        phase: TaskPhase,
        *,
        tag: str = MAIN,
        message: str = "",
        payload: Any = None,
        event_id: str | None = None,
    ) -> TaskStatus:
        """Report how far it is, for policies; the status is 0 before it runs, then 1.

        Raises:
            InvalidInputError: `TaskPhase.DONE`, which needs an outcome.
        """
        return drive(self._reporting.report_phase(phase, tag=tag, message=message, payload=payload, event_id=event_id))

    def report_outcome(
        self,
        outcome: TaskOutcome,
        *,
        tag: str = MAIN,
        message: str = "",
        payload: Any = None,
        event_id: str | None = None,
    ) -> TaskStatus:
        """Report how it ended, for policies; the status is -1 where that is bad, else 2147483647."""
        return drive(
            self._reporting.report_outcome(outcome, tag=tag, message=message, payload=payload, event_id=event_id)
        )


class TaskSubscription:
    """Statuses of a job as they change. Made by `JobTasks.subscribe`; iterate over it.

    First come the statuses that were there when it was made, by when they were reported, with ``replay`` True. Then
    comes each change, none missing in between and none twice, those of one status in the order of their versions. A
    slow reader stays behind and slows nobody down. It ends once the job is closed or deleted.

    One thread at a time may use it, but for `stop`. Iterating raises `StoreError` where the store can't work, and
    `CorruptionError` for a status that is damaged; iterated again it goes on after that.
    """

    def __init__(self, following: TaskFollowing) -> None:
        self._following = following

    def __iter__(self) -> Iterator[TaskUpdate]:
        """Updates, waited for; ends after `stop`, and with the job. A second iteration goes on."""
        while (update := drive(self._following.next())) is not None:
            yield update

    def next(self, *, timeout: float | None = None) -> TaskUpdate | None:
        """The next update; None at the end, or where none came within ``timeout`` seconds."""
        return drive(self._following.next_within(timeout))

    def stop(self) -> None:
        """End it; from any thread."""
        self._following.stop()

    def close(self) -> None:
        """End it, and let go of everything."""
        drive(self._following.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
