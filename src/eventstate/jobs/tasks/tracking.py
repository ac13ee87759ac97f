"""What both faces of a job's task statuses do, written once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.documents import HEAD, Batch, Check, Document, Key
from eventstate.core.expected import ANY
from eventstate.core.fold import PLAIN
from eventstate.core.format import NO_STATE, NewEvent, Tip
from eventstate.core.instants import utc_of
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidInputError,
    JobClosedError,
    JobNotFoundError,
    LeaseLostError,
    StateDeletedError,
    StateNotFoundError,
    TaskIndexError,
    TaskStatusNotFoundError,
    TransactionConflictError,
    VersionConflictError,
    VersionNotFoundError,
)
from eventstate.jobs.tasks.policies import Order, TaskPolicy, TaskResult, TaskVerdict, joined, lowest
from eventstate.jobs.tasks.record import (
    RECORD,
    JobRecord,
    check_tasks,
    delete_fence,
    fence_of,
    governor_of,
    put_fence,
    record_of,
)
from eventstate.jobs.tasks.status import (
    FINISHED,
    MAIN,
    Report,
    TaskStatus,
    attempt_of,
    check_status,
    check_tag,
    incarnation_of,
    report_key,
    state_id,
    status_of,
    tag_and_task,
)
from eventstate.log.appending import Receipt
from eventstate.log.planning import Change
from eventstate.log.reading import Known
from eventstate.machines.core import PersisterCore
from eventstate.machines.events import Event
from eventstate.stores.base import Store

REPORTED: Final = "reported"
LATE: Final = "late"
"""A report of an attempt that a later one has overtaken: recorded, but it changes nothing."""

_NOT_OURS: Final = (KeyError, TypeError, AttributeError, InvalidInputError)
"""What goes wrong with a state that something else recorded."""

_DELETED_TOGETHER: Final = 100
"""Statuses deleted in one commit, two operations each."""


class Stored(NamedTuple):
    """A stream of a job as its head says."""

    tip: Tip
    state: Any


class TaskTracking:
    """One job of one store."""

    def __init__(self, store: Store, job: str, tasks: int | None) -> None:
        governor = governor_of(job)
        self.job = job
        self._asked = None if tasks is None else check_tasks(tasks)
        # Heads hold every status as a whole, so there is nothing that a snapshot would save.
        self.core = PersisterCore(store, governor, (), SnapshotPolicy(every=0))
        self.store = self.core.store
        self._record: JobRecord | None = None

    @property
    def governor(self) -> str:
        return self.core.governor

    # The job

    async def find_or_create(self) -> None:
        """Find the job, or create it where its number of tasks is given.

        Raises:
            JobNotFoundError: there is none, and no number of tasks to create it with.
            SchemaNewerError: a later release has written it, or migrated it.
        """
        while self._record is None:
            record = await self.record()
            if record is not None and not record.deleted:
                self._record = record
            elif self._asked is None:
                raise JobNotFoundError(governor=self.governor, job_id=self.job, detail="pass tasks= to create it")
            else:
                await self._create(record, self._asked)

    async def _create(self, before: JobRecord | None, tasks: int) -> None:
        """Begin the job; somebody else may be faster."""
        incarnation = before.incarnation + 1 if before is not None else 1
        record = JobRecord(tasks, incarnation, False, False, 0)
        opens = partial(put_fence, fence_of(self.governor, incarnation).key)
        change = self.core.change(
            RECORD,
            [Event("opened", state=record.state)],
            expected=before.version if before is not None else 0,
            metadata={},
            reopen=True,
        )
        try:
            await self.core.appender.append([change], extra=opens)
        except (VersionConflictError, TransactionConflictError):
            return

    @property
    def opened(self) -> JobRecord:
        """The job as it was opened: its incarnation and number of tasks hold for all that follows."""
        if self._record is None:
            raise ConfigurationError(f"job {self.job!r} is not open yet: await the AsyncJobTasks before this")
        return self._record

    async def record(self) -> JobRecord | None:
        """The job as it is now; None where there never was one."""
        stored = await self.stored(RECORD)
        return None if stored is None else record_in(stored)

    async def close(self) -> None:
        """Refuse reports from now on.

        Raises:
            JobNotFoundError: it was deleted.
        """
        while True:
            stored = await self.stored(RECORD)
            record = None if stored is None else self._own(record_in(stored))
            if stored is None or record is None:
                raise JobNotFoundError(governor=self.governor, job_id=self.job, detail="it was deleted")
            if record.closed:
                return
            state = {**stored.state, "closed": True}
            change = self.core.change(RECORD, [Event("closed", state=state)], expected=record.version, metadata={})
            if await self._end(change):
                return

    async def mark_deleted(self) -> None:
        """Delete the job: its record first, which ends everything, then what is left of its statuses."""
        while (record := await self._own_record()) is not None:
            if await self._end(self.core.deleted(RECORD, record.version, {})):
                break
        await self._delete_statuses()

    async def _own_record(self) -> JobRecord | None:
        """The record of the job that was opened; None once that one is deleted."""
        return self._own(await self.record())

    def _own(self, record: JobRecord | None) -> JobRecord | None:
        is_own = record is not None and not record.deleted and record.incarnation == self.opened.incarnation
        return record if is_own else None

    async def _end(self, change: Change) -> bool:
        """Commit what closes the job; False where the record has changed meanwhile."""
        ends = partial(delete_fence, fence_of(self.governor, self.opened.incarnation).key)
        try:
            await self.core.appender.append([change], extra=ends)
        except (VersionConflictError, TransactionConflictError):
            return False
        return True

    # Reports

    def check_task(self, task: object) -> int:
        """An index of one of the job's tasks.

        Raises:
            TaskIndexError: it is none.
        """
        tasks = self.opened.tasks
        if isinstance(task, bool) or not isinstance(task, int) or not 0 <= task < tasks:
            raise TaskIndexError(job=self.job, task=task, tasks=tasks)
        return int(task)  # an enum's member would be another text in an id

    async def report(self, task: int, report: Report) -> TaskStatus:
        """Write a status, and return it with its version.

        Raises:
            JobClosedError: the job is closed, or was deleted.
            IdempotencyMismatchError: its event id was used for another report.
            InvalidIdError: its event id is too long.
        """
        record = self.opened
        id = state_id(report.tag, task)
        text = report.state(record.incarnation)
        change = Change(id, PLAIN, partial(_events, report, record.incarnation, text), ANY, reopen=True)
        key, fingerprint = None, b""
        if report.event_id is not None:
            key, fingerprint = report_key(id, record.incarnation, report.event_id), report.fingerprint
        while True:
            try:
                receipt = await self.core.appender.append(
                    [change],
                    idempotency_key=key,
                    fingerprint=fingerprint,
                    fences=(fence_of(self.governor, record.incarnation),),
                )
            except LeaseLostError:
                await self._check_closed()
            else:
                break
        if receipt.earlier is not None:
            return await self._earlier(id, report.tag, task, receipt.earlier[id], text)
        return self._written(receipt, report.tag, task)

    async def _check_closed(self) -> None:
        """Raise where reports are refused for good; else put the fence, which is missing in a copy of streams.

        Raises:
            JobClosedError: the job is closed, or was deleted.
        """
        stored = await self.stored(RECORD)
        record = None if stored is None else self._own(record_in(stored))
        if stored is None or record is None:
            raise JobClosedError(job=self.job, is_deleted=True)
        if record.closed:
            raise JobClosedError(job=self.job)
        assert stored.tip.revision is not None
        token = self.store.runtime.unique()
        fence = fence_of(self.governor, record.incarnation).key
        still_open = Check(stored.tip.key, stored.tip.revision)
        await self.core.appender.committer.commit_guarded(Batch(token, (*put_fence(fence, token), still_open)))

    def _written(self, receipt: Receipt, tag: str, task: int) -> TaskStatus:
        stream = receipt.streams[0]
        state = stream.state
        if state is NO_STATE:
            image = stream.known.image
            assert image is not None
            assert image.state is not None
            state = orjson.loads(image.state)
        return status_of(self.job, tag, task, state, stream.tip.version, utc_of(stream.tip.at))

    async def _earlier(self, id: str, tag: str, task: int, version: int, text: bytes) -> TaskStatus:
        """The status that the first report under an event id led to."""
        try:
            state = await self.core.load(id, at_version=version)
        except VersionNotFoundError:  # pruned; what it said is known, when it was recorded is not
            default = TaskStatus(job=self.job, task=task, tag=tag)
            return status_of(self.job, tag, task, orjson.loads(text), version, default.timestamp)
        return status_of(self.job, tag, task, state.data, version, state.timestamp)

    # Reading

    def default(self, task: int, tag: str) -> TaskStatus:
        """The status of a task that has not reported."""
        return TaskStatus(job=self.job, task=task, tag=tag)

    async def get(self, task: int | None, tag: str | None, order: Order) -> TaskStatus:
        """One status, or the lowest of several.

        Raises:
            TaskStatusNotFoundError: both a task and a tag are given, and there is no such status.
        """
        if task is not None and tag is not None:
            return await self._one(self.check_task(task), check_tag(tag))
        found = await self.statuses(task, tag)
        if tag is not None:
            by_task = {status.task: status for status in found}
            statuses = [by_task.get(index) or self.default(index, tag) for index in range(self.opened.tasks)]
        elif task is not None:
            statuses = found or [self.default(task, MAIN)]
        else:
            silent = set(range(self.opened.tasks)) - {status.task for status in found}
            statuses = [*found, *(self.default(index, MAIN) for index in silent)]
        statuses.sort(key=lambda status: (status.task, status.tag))
        status = lowest(statuses, lambda status: status.status, order)
        assert status is not None  # a job has at least one task
        return status

    async def _one(self, task: int, tag: str) -> TaskStatus:
        id = state_id(tag, task)
        if await self._own_record() is not None:
            stored = await self.stored(id)
            status = None if stored is None else self.status(id, stored)
            if status is not None:
                return status
        raise TaskStatusNotFoundError(job=self.job, task=task, tag=tag)

    async def statuses(self, task: int | None, tag: str | None) -> list[TaskStatus]:
        """The statuses that expected tasks have reported, by when they did; of one tag, of one task, or all."""
        if task is not None:
            self.check_task(task)
        if tag is not None:
            check_tag(tag)
        if await self._own_record() is None:
            return []
        found: list[TaskStatus] = []
        after: Key | None = None
        while True:
            page, after = await self.heads(after, "" if tag is None else f"{tag}:")
            for stored in page:
                status = self.status(stored.tip.id, stored)
                if status is not None and task in (None, status.task) and tag in (None, status.tag):
                    found.append(status)
            if after is None:
                return sorted(found, key=by_time)

    async def state_at(self, id: str, version: int) -> Any:
        """What a status was at a version, where its event holds only a difference; None where that is pruned."""
        try:
            return (await self.core.load(id, at_version=version)).data
        except (VersionNotFoundError, StateDeletedError):
            return None

    async def verdict(self, policy: TaskPolicy, tag: str | None) -> TaskVerdict:
        """What the tasks come to under a policy; of several tags of a task all that its latest attempt reported.

        Raises:
            InvalidInputError: the policy is none.
        """
        if not isinstance(policy, TaskPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"policy={policy!r}: pass one, such as all_success() or quorum(2)")
        results: dict[int, TaskResult] = {}
        for status in await self.statuses(None, tag):
            before = results.get(status.task)
            results[status.task] = status.result if before is None else joined(before, status.result)
        return policy.verdict(results, self.opened.tasks)

    async def heads(self, after: Key | None, prefix: str = "") -> tuple[Sequence[Stored], Key | None]:
        """Some of the job's streams, and the key to go on from."""
        page = await self.store.scan(HEAD, self.governor, prefix=prefix, after=after)
        return [await self._decoded(document) for document in page.documents], page.next

    async def stored(self, id: str) -> Stored | None:
        """One of its streams; None if it never existed."""
        try:
            known, _ = await self.core.known(id)
        except StateNotFoundError:
            return None
        return await self._decoded(known.document)

    async def _decoded(self, document: Document) -> Stored:
        try:
            head, state, _ = await self.core.reader.state_of(Known(document), PLAIN)
        except CorruptionError:
            known, _ = await self.core.known(document.key.id)
            head, state, _ = await self.core.reader.state_of(known, PLAIN)
        return Stored(head.tip, state)

    def status(self, id: str, stored: Stored) -> TaskStatus | None:
        """The status in a stream; None where there is none (any more), or it is not one of the job that was opened."""
        tip, state = stored
        if tip.deleted or tip.version == 0:
            return None
        return self.status_in(id, state, tip.version, tip.at)

    def status_in(self, id: str, state: Any, version: int, at: int) -> TaskStatus | None:
        """A status from its stored state; None where it is not one of the job that was opened, or of no such task.

        Raises:
            CorruptionError: something else recorded a state in the place of a status.
        """
        place = tag_and_task(id)
        record = self.opened
        if place is None or place[1] >= record.tasks or incarnation_of(state) != record.incarnation:
            return None
        try:
            status = status_of(self.job, *place, state, version, utc_of(at))
            check_status(status.status)
        except _NOT_OURS as error:
            where = str(Key(HEAD, self.governor, id))
            raise CorruptionError(where=where, problem=f"what is recorded is no status of a task ({error})") from None
        return status

    # Deleting

    async def delete(self) -> None:
        """Delete all statuses that there are.

        Raises:
            JobNotFoundError: the job was deleted.
        """
        if await self._own_record() is None:
            raise JobNotFoundError(governor=self.governor, job_id=self.job, detail="it was deleted")
        await self._delete_statuses()

    async def _delete_statuses(self) -> None:
        """Put an end to every status that is there now; one that is reported meanwhile stays."""
        after: Key | None = None
        while True:
            page, after = await self.heads(after)
            tips = [stored.tip for stored in page if self._is_to_go(stored)]
            for start in range(0, len(tips), _DELETED_TOGETHER):
                await self._delete_together(tips[start : start + _DELETED_TOGETHER])
            if after is None:
                return

    def _is_to_go(self, stored: Stored) -> bool:
        """Whether there is a status, and not one of the job as it was begun anew by others."""
        tip, state = stored
        if tip.version == 0 or tip.deleted or tag_and_task(tip.id) is None:
            return False
        return incarnation_of(state) <= self.opened.incarnation

    async def _delete_together(self, tips: Sequence[Tip]) -> None:
        try:
            await self.core.appender.append([self.core.deleted(tip.id, tip.version, {}) for tip in tips])
        except (VersionConflictError, TransactionConflictError):
            if len(tips) == 1:  # reported, or deleted, since it was read
                return
            half = len(tips) // 2
            await self._delete_together(tips[:half])
            await self._delete_together(tips[half:])


def by_time(status: TaskStatus) -> tuple[Any, ...]:
    """The order of lists and replays."""
    return status.timestamp, status.version, status.tag, status.task


def _events(report: Report, incarnation: int, text: bytes, state: Any, _version: int) -> Sequence[NewEvent]:
    """What a report is for the status that is there: a new one, unless a later attempt has reported."""
    if state is not None and incarnation_of(state) == incarnation and attempt_of(state) > report.attempt:
        return (NewEvent(LATE, text, state=orjson.dumps(state)),)
    return (NewEvent(REPORTED, state=text),)


def record_in(stored: Stored) -> JobRecord | None:
    """The record of a job in its stream; None as long as nothing is in it.

    Raises:
        CorruptionError: something else recorded a state in its place.
        SchemaNewerError: a later release has written it, or migrated it.
    """
    tip, state = stored
    if tip.version == 0:
        return None
    if tip.deleted:
        return JobRecord(0, tip.incarnation, True, True, tip.version)
    try:
        check_tasks(state["tasks"])
        return record_of(tip.owner, state, tip.version, tip.incarnation)
    except _NOT_OURS as error:
        problem = f"what is recorded is no record of a job ({error})"
        raise CorruptionError(where=str(tip.key), problem=problem) from None


def checked_attempt(value: object) -> int:
    """The number of an attempt.

    Raises:
        InvalidInputError: no whole number from 1, of 32 bits.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= FINISHED:
        raise InvalidInputError(f"attempt={value!r}: attempts count from 1, to {FINISHED} at most")
    return int(value)
