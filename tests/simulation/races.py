"""Races on purpose: each is a shorter way somebody might have taken, and a scenario whose schedules must find it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from eventstate.core import leases
from eventstate.core.documents import FENCE, GUARD, WAIT, Batch, Check, Delete, Key, Put, Refused, Require, Unknown
from eventstate.core.leases import LockState, decode_counter, plan_acquire, plan_release, plan_renew
from eventstate.core.retrying import Fate, fate_of
from eventstate.core.waits import plan_mark
from eventstate.errors import CommitUnknownError, LeaseLostError
from eventstate.jobs.queue import layout
from eventstate.jobs.queue.chaining import Chaining
from eventstate.jobs.queue.claiming import Claiming
from eventstate.jobs.queue.core import Doubt, QueueCore, id_in
from eventstate.jobs.queue.releasing import Releasing
from eventstate.jobs.queue.transaction import QueueTransaction
from eventstate.log.appending import Appender
from eventstate.testing.planted.plant import Patch
from eventstate.testing.planted.watches import WATCH_PLANTS
from eventstate.testing.simulation import Scenario
from eventstate.transactions import locks, retry, waiting
from eventstate.transactions.commit import Committer
from eventstate.transactions.documents import DocumentBuffer
from eventstate.transactions.locks import DistributedLock, Locks
from eventstate.transactions.readset import ReadSet
from eventstate.transactions.waiting import WaitingClient
from tests.simulation.deadlocks import circle, knots
from tests.simulation.histories import reading_and_appending
from tests.simulation.locking import locking
from tests.simulation.queues import working
from tests.simulation.rosters import filling_a_roster
from tests.simulation.transfers import transferring

_put_counter = leases._put_counter
_take = Locks.take
_look = WaitingClient._look
_append = Appender.append
_operations = DocumentBuffer.operations
_changed = ReadSet.changed
_checks = ReadSet.checks
_extended = DistributedLock.extended
_run = QueueCore.run
_release = Releasing.release
_chain = Chaining.report


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """A bug that only some schedules show."""

    name: str
    story: str
    scenarios: Sequence[Scenario]
    patches: Callable[[], Sequence[Patch]]

    @contextmanager
    def planted(self) -> Generator[None]:
        with ExitStack() as stack:
            for target, name, value in self.patches():
                stack.enter_context(patch.object(target, name, value))
            yield


def _with(batch: Batch, *operations: Any) -> Batch:
    return Batch(batch.token, operations)


def _counter_unguarded() -> list[Patch]:
    return [(leases, "_put_counter", lambda *args: _put_counter(*args)._replace(when=Require.ANY))]


def _fence_left() -> list[Patch]:
    def plan(*args: Any, **options: Any) -> Any:
        batch, fence = plan_acquire(*args, **options)
        kept = [op for op in batch.operations if not (isinstance(op, Delete) and op.key.kind == FENCE)]
        return _with(batch, *kept), fence

    return [(locks, "plan_acquire", plan)]


class _Unsettled:
    def __init__(self, store: Any) -> None:
        self._store = store

    async def commit_guarded(self, batch: Batch) -> Any:
        result = await self._store.commit(batch)
        return Refused(None) if isinstance(result, Unknown) else result


def _acquire_unsettled() -> list[Patch]:
    async def take(self: Locks, *args: Any) -> Any:
        other = copy.copy(self)
        other.committer = _Unsettled(self.store)  # type: ignore[assignment]
        return await _take(other, *args)

    return [(Locks, "take", take)]


def _release_unchecked() -> list[Patch]:
    def plan(*args: Any, **options: Any) -> Batch:
        batch = plan_release(*args, **options)
        return _with(batch, *(op._replace(when=Require.ANY) for op in batch.operations))

    return [(locks, "plan_release", plan)]


def _renewal_unchecked() -> list[Patch]:
    def plan(*args: Any, **options: Any) -> Batch:
        batch = plan_renew(*args, **options)
        return _with(batch, *(op for op in batch.operations if not isinstance(op, Check)))

    return [(locks, "plan_renew", plan)]


def _mark_unchecked() -> list[Patch]:
    def plan(*args: Any, **options: Any) -> Batch:
        batch = plan_mark(*args, **options)
        return _with(batch, *(op for op in batch.operations if not isinstance(op, Check)))

    return [(waiting, "plan_mark", plan)]


def _marked_twice() -> list[Patch]:
    def plan(*args: Any, **options: Any) -> Batch:
        batch = plan_mark(*args, **options)
        return _with(batch, *(op._replace(when=Require.EXISTS) for op in batch.operations))

    return [(waiting, "plan_mark", plan)]


def _mark_overwritten() -> list[Patch]:
    async def beat(self: WaitingClient) -> None:
        assert self._own is not None
        await self._put(self._own.wait._replace(beats=self._own.wait.beats + 1), Require.EXISTS)

    return [(WaitingClient, "_beat", beat), (waiting, "BEAT_SECONDS", 0.01)]


def _marked_before_its_answer() -> list[Patch]:
    async def look(self: WaitingClient) -> Any:
        assert self._own is not None
        return await _look(self)

    return [(WaitingClient, "_look", look)]


def _wait_kept() -> list[Patch]:
    async def take(self: Locks, state: LockState, request: Any, _extra: Any = ()) -> Any:
        return await _take(self, state, request)

    return [(Locks, "take", take)]


def _interrupted_and_held() -> list[Patch]:
    async def give_back(_self: Locks, _resource: str, _token: str) -> None:
        return

    return [(Locks, "_give_back", give_back)]


def _interrupted_and_waiting() -> list[Patch]:
    async def leave(_self: WaitingClient) -> None:
        return

    return [(WaitingClient, "_leave", leave)]


def _kept_for_ever() -> list[Patch]:
    def kept_for(self: LockState) -> str | None:
        return None if self.counter is None or self.lease is not None else decode_counter(self.counter).next

    async def is_waiting(self: WaitingClient, wait_id: str | None) -> bool:
        return wait_id is not None and bool((await self._store.get((Key(WAIT, self._locks.governor, wait_id),)))[0])

    return [(LockState, "kept_for", property(kept_for)), (WaitingClient, "_is_waiting", is_waiting)]


def _lost_by_the_answer() -> list[Patch]:
    def extended(self: DistributedLock, _sent_at: float, at: int) -> None:
        _extended(self, self._runtime.monotonic(), at)

    return [(DistributedLock, "extended", extended)]


def _lost_by_the_wall_clock() -> list[Patch]:
    def is_lost(self: DistributedLock) -> bool:
        return self._is_over or self._runtime.now() >= self._expires_at

    return [(DistributedLock, "is_lost", property(is_lost))]


def _fence_looked_at_before() -> list[Patch]:
    async def append(self: Appender, changes: Any, *, fences: Any = (), **options: Any) -> Any:
        for fence in fences:
            if not (await self._store.get((fence.key,))).documents:
                raise LeaseLostError(resource=fence.resource, token=fence.token)
        return await _append(self, changes, **options)

    return [(Appender, "append", append)]


def _reads_unchecked() -> list[Patch]:
    def checks(self: ReadSet, besides: Any) -> Any:
        return [] if besides else _checks(self, besides)

    return [(ReadSet, "checks", checks)]


def _reads_never_looked_at_again() -> list[Patch]:
    async def changed(_self: ReadSet, _committer: Committer) -> frozenset[Any]:
        return frozenset()

    return [(ReadSet, "changed", changed)]


def _list_is_one_read() -> list[Patch]:
    async def changed(self: ReadSet, committer: Committer) -> frozenset[Any]:
        return frozenset() if len(self) < 2 else await _changed(self, committer)

    return [(ReadSet, "changed", changed)]


def _no_outcome() -> list[Patch]:
    return [(Committer, "with_outcome", lambda _self, batch: batch)]


def _unknown_is_tried_again() -> list[Patch]:
    def fate(error: BaseException) -> Fate:
        return Fate.TRANSIENT if isinstance(error, CommitUnknownError) else fate_of(error)

    return [(retry, "fate_of", fate)]


def _guard_left_alone() -> list[Patch]:
    def operations(self: DocumentBuffer, token: str) -> Any:
        return [op for op in _operations(self, token) if not (isinstance(op, Put) and op.key.kind == GUARD)]

    return [(DocumentBuffer, "operations", operations)]


def _unfenced(*names: str) -> list[Patch]:
    async def run(self: QueueCore, operation: Any, *, fence: Any = None, **options: Any) -> Any:
        is_one = any(operation.__qualname__.startswith(name) for name in names)
        return await _run(self, operation, fence=None if is_one else fence, **options)

    return [(QueueCore, "run", run)]


def _claimed_without_the_lock() -> list[Patch]:
    return _unfenced("Claiming.claim")


def _ended_without_the_lock() -> list[Patch]:
    return _unfenced("Ending.report", "Ending.give_back")


def _dead_by_its_lease() -> list[Patch]:
    async def end(_self: Locks, _state: LockState) -> bool:
        return True

    return [(Locks, "end", end)]


def _forgotten_before_it_is_told() -> list[Patch]:
    async def release(self: Releasing, release: str, *, forget: bool = True) -> int:
        await self.forget([release])
        return await _release(self, release, forget=False)

    return [(Releasing, "release", release)]


def _slot_unchecked() -> list[Patch]:
    async def free_slot(self: Claiming, _tx: QueueTransaction, limit: str) -> str | None:
        most = await self._core.limit(limit)
        if most is None:
            return None
        taken = {id_in(document) for document in (await self._core.list(layout.SLOTS, f"{limit}/")).documents}
        return next((slot for n in range(most) if (slot := layout.slot_id(limit, n)) not in taken), "")

    return [(Claiming, "_free_slot", free_slot)]


def _doubt_forgotten() -> list[Patch]:
    async def run(self: QueueCore, operation: Any, *, doubt: Any = None, **options: Any) -> Any:
        return await _run(self, operation, **options)

    return [(QueueCore, "run", run)]


def _doubt_of_both_forgotten() -> list[Patch]:
    async def report(self: Chaining, claim: Any, report: Any, _doubt: Doubt, *args: Any, **options: Any) -> Any:
        return await _chain(self, claim, report, Doubt(), *args, **options)

    return [(Chaining, "report", report)]


RACES: Sequence[Race] = (
    Race(
        name="takeover-without-the-counter",
        story="the lease has a revision, that is guard enough",
        scenarios=[locking],
        patches=_counter_unguarded,
    ),
    Race(
        name="fence-left-by-a-takeover",
        story="the old fence has an old number, who would look at it",
        scenarios=[locking],
        patches=_fence_left,
    ),
    Race(
        name="acquire-not-settled",
        story="no answer: look again, and try anew",
        scenarios=[locking],
        patches=_acquire_unsettled,
    ),
    Race(
        name="release-unchecked",
        story="whoever releases has the lock",
        scenarios=[locking],
        patches=_release_unchecked,
    ),
    Race(
        name="renewal-unchecked",
        story="there is a lease, and it is renewed",
        scenarios=[locking],
        patches=_renewal_unchecked,
    ),
    Race(
        name="mark-unchecked",
        story="there was a circle just now",
        scenarios=[knots],
        patches=_mark_unchecked,
    ),
    Race(
        name="marked-twice",
        story="told twice, understood once",
        scenarios=[circle, knots],
        patches=_marked_twice,
    ),
    Race(
        name="mark-overwritten",
        story="my wait is mine to renew",
        scenarios=[circle],
        patches=_mark_overwritten,
    ),
    Race(
        name="marked-before-its-answer",
        story="whoever is here has written its wait",
        scenarios=[knots],
        patches=_marked_before_its_answer,
    ),
    Race(
        name="wait-kept-by-its-acquire",
        story="a wait that is not renewed is soon stale",
        scenarios=[circle, locking],
        patches=_wait_kept,
    ),
    Race(
        name="interrupted-and-held",
        story="whoever is cancelled has nothing",
        scenarios=[locking],
        patches=_interrupted_and_held,
    ),
    Race(
        name="interrupted-and-waiting",
        story="a wait that is not renewed is soon stale",
        scenarios=[locking],
        patches=_interrupted_and_waiting,
    ),
    Race(
        name="wakes-only-who-waits",
        story="where nobody waits there is nobody to wake",
        scenarios=[locking],
        patches=next(plant.patches for plant in WATCH_PLANTS if plant.name == "wakes-only-who-waits"),
    ),
    Race(
        name="kept-for-ever",
        story="the lock is for who waited longest",
        scenarios=[locking],
        patches=_kept_for_ever,
    ),
    Race(
        name="lost-by-the-answer",
        story="the lease begins when I hear of it",
        scenarios=[locking],
        patches=_lost_by_the_answer,
    ),
    Race(
        name="lost-by-the-wall-clock",
        story="the store said when it ends",
        scenarios=[locking],
        patches=_lost_by_the_wall_clock,
    ),
    Race(
        name="fence-looked-at-before-the-commit",
        story="the fence is there, so write",
        scenarios=[locking],
        patches=_fence_looked_at_before,
    ),
    Race(
        name="reads-unchecked",
        story="what was only read has not been written",
        scenarios=[reading_and_appending],
        patches=_reads_unchecked,
    ),
    Race(
        name="reads-never-looked-at-again",
        story="whoever only reads can do no harm",
        scenarios=[transferring, reading_and_appending],
        patches=_reads_never_looked_at_again,
    ),
    Race(
        name="list-is-one-read",
        story="one guard was read, so all of it was as it was at one time",
        scenarios=[filling_a_roster],
        patches=_list_is_one_read,
    ),
    Race(
        name="no-outcome",
        story="documents prove themselves",
        scenarios=[transferring],
        patches=_no_outcome,
    ),
    Race(
        name="unknown-is-tried-again",
        story="a store that does not answer is tried again",
        scenarios=[transferring],
        patches=_unknown_is_tried_again,
    ),
    Race(
        name="guard-left-alone",
        story="the guard is for those who list",
        scenarios=[filling_a_roster],
        patches=_guard_left_alone,
    ),
    Race(
        name="claimed-without-the-lock",
        story="whoever claims lives",
        scenarios=[working],
        patches=_claimed_without_the_lock,
    ),
    Race(
        name="ended-without-the-lock",
        story="whoever ends a job has it",
        scenarios=[working],
        patches=_ended_without_the_lock,
    ),
    Race(
        name="dead-by-its-lease",
        story="its time is over, that is enough",
        scenarios=[working],
        patches=_dead_by_its_lease,
    ),
    Race(
        name="forgotten-before-it-is-told",
        story="whoever takes it on will do it",
        scenarios=[working],
        patches=_forgotten_before_it_is_told,
    ),
    Race(
        name="slot-unchecked",
        story="the list says that it is free",
        scenarios=[working],
        patches=_slot_unchecked,
    ),
    Race(
        name="doubt-forgotten",
        story="no answer: say it again",
        scenarios=[working],
        patches=_doubt_forgotten,
    ),
    Race(
        name="doubt-of-both-forgotten",
        story="the end and the next claim were tried, now the end alone",
        scenarios=[working],
        patches=_doubt_of_both_forgotten,
    ),
)
