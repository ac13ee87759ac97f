"""Following the statuses of a job: those that are there first, then each change. Written once for both faces."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Final, NamedTuple

from eventstate.core.documents import HEAD, Key
from eventstate.core.format import DELETED, REOPENED
from eventstate.core.instants import utc_of
from eventstate.errors import CorruptionError, FormatError, InvalidInputError
from eventstate.jobs.tasks.record import RECORD
from eventstate.jobs.tasks.status import TaskStatus, check_status, check_tag
from eventstate.jobs.tasks.tracking import Stored, TaskTracking, by_time, record_in
from eventstate.log.following import Place, Selection
from eventstate.log.following.ordered import last_position
from eventstate.machines.declared import Declared
from eventstate.machines.deliveries import CaughtUp, Delivery
from eventstate.machines.subscribing import Subscribing
from eventstate.machines.subscription_settings import PATIENCE_SECONDS, Settings

TURN_SECONDS: Final = 0.5
"""Where the order is that of each stream only: between two looks at whether the job has ended, without asking the
store."""
LOOK_SECONDS: Final = 0.001
"""The shortest wait: after each one the store is read, so that whoever has no time gets what is there."""


class TaskUpdate(NamedTuple):
    """A status that a subscriber is told of.

    Attributes:
        replay: it was there when the subscription began.
        deleted: it was deleted: its number is 0 again, and its version goes on.
    """

    status: TaskStatus
    replay: bool = False
    deleted: bool = False


class TaskBarrier(NamedTuple):
    """What tasks had come to when waiting for them ended.

    Attributes:
        statuses: of all expected tasks, by index; those that had not reported are not started.
        complete: whether all of them had reached the target.
    """

    statuses: tuple[TaskStatus, ...]
    complete: bool

    @property
    def failed(self) -> tuple[TaskStatus, ...]:
        """Those that are errors."""
        return tuple(status for status in self.statuses if status.is_error)


class TaskFollowing:
    """One subscription to the statuses of a job. One caller at a time, but for `stop`.

    What is read are the job's streams, so a subscriber that is slow stays behind and slows nobody down. In memory are
    the statuses of the replay, one page of events, and for each status its place and version.
    """

    def __init__(self, tracking: TaskTracking, task: int | None, tag: str | None) -> None:
        self._task = None if task is None else tracking.check_task(task)
        self._tag = None if tag is None else check_tag(tag)
        self._tracking = tracking
        self._store = store = tracking.store
        self._runtime = store.runtime
        self._is_ordered = store.capabilities.feed_order == "store"
        self._replay: deque[TaskUpdate] = deque()
        self._versions: dict[str, int] = {}
        """The last version told of each status, or of its deletion."""
        self._alive: dict[str, TaskStatus] = {}
        """What to tell of each status that was told of, should its job be deleted."""
        self._events: Subscribing | None = None
        self._taken: Delivery | None = None
        self._is_ending = False
        self._is_deleted = False
        self._has_ended = False
        # Where streams have no common order, a closing is noticed by a watch of its own.
        self._record_watch = None if self._is_ordered else store.watch([Key(HEAD, tracking.governor, RECORD)])

    async def start(self) -> None:
        """Read the statuses that are there, and note where to go on; where that fails nothing is left open."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        position = await last_position(self._store) if self._is_ordered else None
        hint = self._runtime.now()
        versions: dict[tuple[str, str], int] = {}
        found: list[TaskStatus] = []
        is_open = False
        after: Key | None = None
        while True:
            page, after = await self._tracking.heads(after)
            for stored in page:
                versions[self._tracking.governor, stored.tip.id] = stored.tip.version
                is_open = self._note(stored, found) or is_open
            if after is None:
                break
        # Before the heads: what is committed in between comes again, and is known by its version.
        place = Place(position) if self._is_ordered else Place(None, versions, hint)
        if is_open:
            found.sort(key=by_time)
            self._replay.extend(TaskUpdate(status, replay=True) for status in found)
            await self._begin(place)
        else:
            self._has_ended = True

    def _note(self, stored: Stored, found: list[TaskStatus]) -> bool:
        """Take one stream in; whether it is the record of a job whose statuses can be told."""
        tip = stored.tip
        if tip.id == RECORD:
            record = record_in(stored)
            is_own = record is not None and not record.deleted and tip.incarnation == self._tracking.opened.incarnation
            self._is_ending = is_own and record is not None and record.closed
            return is_own
        status = self._tracking.status(tip.id, stored)
        if status is not None and self._takes(status):
            found.append(status)
            self._versions[tip.id] = tip.version
            self._alive[tip.id] = _deleted(status)
        return False

    async def _begin(self, place: Place) -> None:
        governor = self._tracking.governor
        settings = Settings(None, Selection(governor), place, False, 1, "stop", 1, PATIENCE_SECONDS)
        self._events = Subscribing(self._store, governor, Declared(), settings)
        await self._events.open()

    def _takes(self, status: TaskStatus) -> bool:
        return self._task in (None, status.task) and self._tag in (None, status.tag)

    @property
    def is_replaying(self) -> bool:
        """Whether there is more to tell of what was there when it began."""
        return bool(self._replay)

    # What comes next

    async def next(self, until: float | None = None) -> TaskUpdate | None:
        """The next update; None once it has ended, or at the monotonic time ``until``."""
        while True:
            if self._replay:
                return self._replay.popleft()
            events = self._events
            if self._has_ended or events is None:
                return None
            item = self._taken or await events.next(idle=self._idle(until))
            if isinstance(item, Delivery):
                self._taken = item  # until it has been told: what follows may wait, and be cancelled
                try:
                    update = await self._update(item)
                except (CorruptionError, FormatError):
                    self._taken = None  # the next call goes on after it
                    raise
                self._taken = None
                if update is not None:
                    return update
            elif isinstance(item, CaughtUp):
                if self._is_ending:
                    self._end()
            elif self._has_ended or (until is not None and self._runtime.monotonic() >= until):
                return None
            elif self._record_watch is not None and not self._is_ending:
                await self._look_at_record(events)

    async def next_within(self, timeout: float | None) -> TaskUpdate | None:
        """The next update; None at its end, or after so many seconds.

        Raises:
            InvalidInputError: no number of seconds.
        """
        until = None if timeout is None else self._runtime.monotonic() + _checked_timeout(timeout)
        return await self.next(until)

    def _idle(self, until: float | None) -> float | None:
        left = None if until is None else max(LOOK_SECONDS, until - self._runtime.monotonic())
        if self._is_ordered:
            return left
        return TURN_SECONDS if left is None else min(left, TURN_SECONDS)

    async def _look_at_record(self, events: Subscribing) -> None:
        """Whether the job has ended; what was committed before that is read to its end then."""
        assert self._record_watch is not None
        if not await self._record_watch.wait(0):
            return
        record = await self._tracking.record()
        is_own = record is not None and record.incarnation == self._tracking.opened.incarnation
        if record is None or not is_own or record.closed:
            self._is_ending = True
            self._is_deleted = record is None or not is_own or record.deleted
            events.catch_up_anew()

    async def _update(self, delivery: Delivery) -> TaskUpdate | None:
        """What an event says to this subscriber; None where that is nothing, or nothing new."""
        id, version, action = delivery.state_id, delivery.version, delivery.action
        if id == RECORD:
            self._take_record(delivery)
            return None
        if action == REOPENED or version <= self._versions.get(id, 0):
            return None
        stored = delivery.stored
        if action == DELETED:
            return self._gone(id, version, stored.at)
        state = stored.body.get("state")
        if state is None:
            state = await self._tracking.state_at(id, version)
        status = None if state is None else self._tracking.status_in(id, state, version, stored.at)
        if status is None or not self._takes(status):
            return None
        self._versions[id] = version
        self._alive[id] = _deleted(status)
        return TaskUpdate(status)

    def _gone(self, id: str, version: int, at: int) -> TaskUpdate | None:
        self._versions[id] = version
        # One that was never told of is none of this subscriber, or was left of the job before it was begun anew.
        gone = self._alive.pop(id, None)
        return None if gone is None else TaskUpdate(replace(gone, version=version, timestamp=utc_of(at)), deleted=True)

    def _take_record(self, delivery: Delivery) -> None:
        """The job was closed or deleted. In the order of commits nothing of it can follow."""
        if delivery.action not in ("closed", DELETED):
            return
        self._is_ending = True
        self._is_deleted = delivery.action == DELETED
        if self._is_ordered:
            self._end()
        elif self._events is not None:
            self._events.catch_up_anew()

    def _end(self) -> None:
        """Nothing is reported any more. Of a job that was deleted no status is left."""
        self._has_ended = True
        if self._is_deleted:
            for _, status in sorted(self._alive.items()):
                self._replay.append(TaskUpdate(status, deleted=True))
            self._alive.clear()

    # Ending

    def stop(self) -> None:
        """End what waits, and what would come next; from any thread."""
        self._has_ended = True
        self._replay.clear()
        if self._events is not None:
            self._events.stop()

    async def close(self) -> None:
        """Let go of everything."""
        self.stop()
        if self._record_watch is not None:
            self._record_watch.close()
        if self._events is not None:
            await self._events.close()


def _deleted(status: TaskStatus) -> TaskStatus:
    """A status once its tombstone is there: the version that no report can have taken, since none is allowed."""
    return TaskStatus(
        job=status.job, task=status.task, tag=status.tag, version=status.version + 1, timestamp=status.timestamp
    )


async def synchronize(
    tracking: TaskTracking, tag: str, target: int, timeout: float | None, *, wait_for_errors: bool
) -> TaskBarrier:
    """Wait until every expected task has reached a status; see `JobTasks.synchronize`."""
    check_tag(tag)
    check_status(target)
    until = None if timeout is None else tracking.store.runtime.monotonic() + _checked_timeout(timeout)
    following = TaskFollowing(tracking, None, tag)
    try:
        await following.start()
        return await _barrier(tracking, following, tag, target, until, wait_for_errors)
    finally:
        await following.close()


async def _barrier(
    tracking: TaskTracking, following: TaskFollowing, tag: str, target: int, until: float | None, wait_for_errors: bool
) -> TaskBarrier:
    statuses = [tracking.default(task, tag) for task in range(tracking.opened.tasks)]
    missing = {status.task for status in statuses if status.status < target}
    errors: set[int] = set()
    # What was there is read to its end, even where nothing need be waited for: it is what is returned.
    while following.is_replaying or (missing and (wait_for_errors or not errors)):
        update = await following.next(until)
        if update is None:
            break
        status = update.status
        statuses[status.task] = status
        for tasks, holds in ((missing, status.status < target), (errors, status.is_error and status.status < target)):
            (tasks.add if holds else tasks.discard)(status.task)
    return TaskBarrier(tuple(statuses), not missing)


def _checked_timeout(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidInputError(f"timeout={value!r}: seconds, from 0; None waits for as long as it takes")
    return value
