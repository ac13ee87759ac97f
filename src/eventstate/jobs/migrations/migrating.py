"""What both faces of migrations do, written once: job after job, a page of its documents in one commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple

from eventstate.core.documents import HEAD, Document, Key
from eventstate.core.expected import ANY
from eventstate.core.format import decode_head
from eventstate.core.metadata import stored_metadata
from eventstate.core.retrying import RetryPolicy
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import InvalidInputError, JobNotFoundError
from eventstate.jobs.migrations.steps import JobDocument, Migration, Reached, Steps, changed, reached
from eventstate.jobs.tasks.record import PREFIX, RECORD, governor_of
from eventstate.jobs.tasks.status import tag_and_task
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.transacting import Transacting
from eventstate.stores.base import Store
from eventstate.transactions.documents import value_of

PLACES: Final = "migrations"
"""The collection of a job's governor that says how far a step has come in it: ``{version}``, until it is through.

With the incarnation of the record: what is left of a job that was deleted meanwhile says nothing of the next one.
"""

CHANGED: Final = "migrated"
"""The action of what a step has changed."""

PAGE: Final = 25
"""Documents in one commit: that many of the largest size fit, with the entries that they come from."""

_RETRY: Final = RetryPolicy(attempts=100, cap=0.25)


@dataclass(slots=True)
class MigrationReport:
    """What a migration did, or would do.

    Attributes:
        target: the version that jobs are brought to.
        dry_run: whether nothing was written.
        jobs: how many were looked at.
        migrated: how many were brought to the target.
        current: how many were there already.
        deleted: how many are deleted; they stay as they are.
        statuses: how many statuses of tasks were changed, once for each step that changed them.
        by_version: for each step how many jobs it was carried out on.
    """

    target: int
    dry_run: bool = False
    jobs: int = 0
    migrated: int = 0
    current: int = 0
    deleted: int = 0
    statuses: int = 0
    by_version: dict[int, int] = field(default_factory=dict[int, int])


class _Done(NamedTuple):
    """What came of one page.

    Attributes:
        changed: how many statuses were.
        through: whether the step is.
        before: steps that have to come first: the job was begun anew meanwhile.
    """

    changed: int
    through: bool
    before: Sequence[Migration] = ()


class _Job:
    """One job of a store."""

    def __init__(self, store: Store, job: str, steps: Steps) -> None:
        self.job = job
        self.governor = governor_of(job)
        self._store = store
        self._steps = steps
        self._transacting = Transacting(
            store,
            self.governor,
            (),
            SnapshotPolicy(every=0),
            guarded=(),
            retry=_RETRY,
            keep_records=False,
            retention=timedelta(days=7),
        )

    async def reached(self) -> Reached | None:
        """The versions that its documents are of; None where it is deleted.

        Raises:
            JobNotFoundError: there never was such a job.
            CorruptionError: its record is none.
        """

        async def read(transaction: TransactionCore) -> Reached | None:
            record = await transaction.find(RECORD)
            return None if record is None else reached(self.job, record.data)

        found: Reached | None = await self._run(read)
        if found is None and not (await self._store.get([self._key(RECORD)])).documents:
            raise JobNotFoundError(governor=self.governor, job_id=self.job, detail="no task ever reported into it")
        return found

    async def migrate_page(self, step: Migration) -> _Done:
        """Carry a step out on some of the job's documents, in one commit with how far it is then."""

        async def write(transaction: TransactionCore) -> _Done:
            return await self._migrate(transaction, step)

        return await self._run(write)

    async def _migrate(self, transaction: TransactionCore, step: Migration) -> _Done:
        record = await transaction.find(RECORD)
        if record is None:  # deleted meanwhile
            return _Done(0, True)
        versions = reached(self.job, record.data)
        self._steps.check_known(self.job, versions)
        if versions.has(step):  # migrated by somebody else
            return _Done(0, True)
        before = self._steps.left(versions, step.version)[:-1]
        if before:
            return _Done(0, False, before)
        name = str(step.version)
        incarnation = _incarnation(await transaction.reads.get(self._key(RECORD)))
        place = await transaction.get_document(PLACES, name)
        if place is not None and place["incarnation"] != incarnation:
            place = None
        page = await self._store.scan(HEAD, self.governor, after=self._after(place), limit=PAGE)
        count = 0
        for head in page.documents:
            transaction.reads.note(head.key, head)
            if await self._status_changed(transaction, step, head.key.id):
                count += 1
        if page.next is not None:
            await transaction.put_document(PLACES, name, {"after": page.next.id, "incarnation": incarnation})
            return _Done(count, False)
        made = changed(step, JobDocument(job=self.job, state=record.data)) or record.data
        await self._save(transaction, RECORD, step, {**made, **versions.after(step)})
        if await transaction.get_document(PLACES, name) is not None:
            await transaction.delete_document(PLACES, name)
        return _Done(count, True)

    async def _begun(self, step: Migration) -> str:
        """Up to which stream a step has come. Read besides: a transaction of reads alone may have to write."""
        keys = [self._key(RECORD), self._transacting.collections.key(PLACES, str(step.version))]
        found = (await self._store.get(keys)).documents
        if keys[1] not in found:
            return ""
        place: dict[str, Any] = value_of(found[keys[1]])
        return place["after"] if place["incarnation"] == _incarnation(found.get(keys[0])) else ""

    async def _status_changed(self, transaction: TransactionCore, step: Migration, id: str) -> bool:
        place = tag_and_task(id)
        if place is None:
            return False
        status = await transaction.find(id)
        if status is None:
            return False
        tag, task = place
        made = changed(step, JobDocument(job=self.job, state=status.data, tag=tag, task=task))
        if made is None:
            return False
        await self._save(transaction, id, step, made)
        return True

    async def _save(self, transaction: TransactionCore, id: str, step: Migration, state: dict[str, Any]) -> None:
        metadata = stored_metadata(reason=f"migration {step.version}: {step.name}")
        await transaction.save(id, CHANGED, state, expected=ANY, metadata=metadata, must_exist=True, reopen=False)

    async def plan_page(self, steps: Sequence[Migration], after: str | None) -> tuple[int, str | None]:
        """How many documents steps would change on one page, and where the next one begins; nothing is written."""
        page = await self._store.scan(HEAD, self.governor, after=self._after({"after": after} if after else None))
        count = 0

        async def read(transaction: TransactionCore) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for head in page.documents:
                transaction.reads.note(head.key, head)
                status = await transaction.find(head.key.id)
                if status is not None:
                    found[head.key.id] = status.data
            return found

        begun = await self._begun(steps[0])
        for id, state in (await self._run(read)).items():
            place = tag_and_task(id)
            if place is None and id != RECORD:
                continue
            tag, task = place or (None, None)
            document = JobDocument(job=self.job, state=state, tag=tag, task=task)
            # The first step may have been broken off: where it has come, it was carried out.
            is_done = not document.is_record and id.encode() <= begun.encode()
            for step in steps[is_done:]:
                made = changed(step, document)
                if made is not None:
                    document = replace(document, state=made)
                    count += not document.is_record
        return count, None if page.next is None else page.next.id

    async def _run(self, call: Any) -> Any:
        options = self._transacting.options(
            call, (), retry=None, idempotency_key=None, fence=None, check_repeatable=False
        )
        return await self._transacting.execute(call, options)

    def _key(self, id: str) -> Key:
        return Key(HEAD, self.governor, id)

    def _after(self, place: Any) -> Key | None:
        return None if place is None else self._key(place["after"])


def _incarnation(record: Document | None) -> int:
    return 1 if record is None else decode_head(record)[0].tip.incarnation


class Migrating:
    """One run of migrations, a page at a time. It can be broken off at any moment; the next run goes on from there.

    Args:
        job: one job; None for all of the store.
        limit: how many jobs are migrated at most; 0 for no limit.
        dry_run: find out what would be done, and write nothing.
    """

    def __init__(
        self, store: Store, steps: Steps, *, target: int | None, job: str | None, limit: int, dry_run: bool
    ) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"limit={limit!r}: how many jobs at most, 0 for no limit")
        self._store = store
        self._steps = steps
        self._asked = job
        self._limit = limit
        self._owners_after: str | None = PREFIX if job is None else None
        self._waiting: deque[str] = deque() if job is None else deque([job])
        self._job: _Job | None = None
        self._left: deque[Migration] = deque()
        self._planned_to: str | None = None
        self.report = MigrationReport(steps.target(target), dry_run)

    async def page(self) -> bool:
        """Do some of the work; whether there is more.

        Raises:
            JobNotFoundError: the one job that was asked for does not exist, or is deleted.
            SchemaNewerError: a job is of a version that no step is known of; nothing of it was changed.
            CorruptionError: the record of a job is none.
        """
        if self._job is not None:
            await self._go_on(self._job)
            return True
        if self._limit and self.report.migrated >= self._limit:
            return False
        job = await self._next()
        if job is None:
            return False
        await self._begin(_Job(self._store, job, self._steps))
        return True

    async def _next(self) -> str | None:
        while not self._waiting and self._owners_after is not None:
            owners = await self._store.owners(after=self._owners_after)
            jobs = [owner for owner in owners if owner.startswith(PREFIX)]
            self._waiting.extend(owner.removeprefix(PREFIX) for owner in jobs)
            self._owners_after = jobs[-1] if jobs and len(jobs) == len(owners) else None
        return self._waiting.popleft() if self._waiting else None

    async def _begin(self, job: _Job) -> None:
        try:
            versions = await job.reached()
        except JobNotFoundError:
            if self._asked is not None:
                raise
            return  # other documents may have such a governor
        self.report.jobs += 1
        if versions is None:
            if self._asked is not None:
                raise JobNotFoundError(governor=job.governor, job_id=job.job, detail="it was deleted")
            self.report.deleted += 1
            return
        self._steps.check_known(job.job, versions)
        self._left.extend(self._steps.left(versions, self.report.target))
        if self._left:
            self._job = job
        else:
            self.report.current += 1

    async def _go_on(self, job: _Job) -> None:
        if self.report.dry_run:
            count, self._planned_to = await job.plan_page(list(self._left), self._planned_to)
            self.report.statuses += count
            while self._planned_to is None and self._left:
                self._count(self._left.popleft())
        else:
            done = await job.migrate_page(self._left[0])
            self.report.statuses += done.changed
            self._left.extendleft(reversed(done.before))
            if done.through:
                self._count(self._left.popleft())
        if not self._left:
            self._job = None
            self.report.migrated += 1

    def _count(self, step: Migration) -> None:
        self.report.by_version[step.version] = self.report.by_version.get(step.version, 0) + 1
