"""Bugs in locks: each is a step that trusts what it read, what it is called, or the clock on the wall."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar, Final

import orjson

from eventstate.core import leases, waits
from eventstate.core.documents import Batch, Check, Delete, Operation, Put, Require
from eventstate.core.leases import Counter, Fence, LockState, counter_key, decode_lease
from eventstate.core.waits import Deadlock, StoredWait
from eventstate.testing.conformance.deadlocks import DeadlockCases
from eventstate.testing.conformance.lock_faults import LockDoubtCases
from eventstate.testing.conformance.lock_fences import FenceCases
from eventstate.testing.conformance.lock_queue import QueueCases
from eventstate.testing.conformance.locking import LockingCases
from eventstate.testing.planted.plant import Patch, Plant
from eventstate.transactions import locks, waiting
from eventstate.transactions.locking import Locking
from eventstate.transactions.locks import DistributedLock, Locks, Request
from eventstate.transactions.waiting import WaitingClient

_take = Locks.take
_look = Locks.look


class ImpatientCases(QueueCases):
    """With these bugs what must come is waited for in vain."""

    patience: ClassVar[float] = 6.0


def _counter_unchecked() -> list[Patch]:
    def plan(state: LockState, governor: str, **options: Any) -> tuple[Batch, Fence]:
        batch, fence = leases.plan_acquire(state, governor, **options)
        counter = counter_key(governor, state.resource)
        operations = [
            operation._replace(when=Require.ANY) if operation.key == counter else operation
            for operation in batch.operations
        ]
        return Batch(batch.token, operations), fence

    return [(locks, "plan_acquire", plan)]


def _fence_left_on_takeover() -> list[Patch]:
    def plan(state: LockState, governor: str, **options: Any) -> tuple[Batch, Fence]:
        batch, fence = leases.plan_acquire(state, governor, **options)
        return Batch(batch.token, [op for op in batch.operations if not isinstance(op, Delete)]), fence

    return [(locks, "plan_acquire", plan)]


def _number_from_the_lease() -> list[Patch]:
    def plan(state: LockState, governor: str, **options: Any) -> tuple[Batch, Fence]:
        if state.counter is not None:
            last = decode_lease(state.lease).number if state.lease is not None else 0
            members = orjson.loads(state.counter.body)
            body = orjson.dumps({**members, "last": last})
            state = state._replace(counter=state.counter._replace(body=body))
        return leases.plan_acquire(state, governor, **options)

    return [(locks, "plan_acquire", plan)]


def _renewal_without_fence() -> list[Patch]:
    def plan(fence: Fence, lease: leases.Lease, *, token: str) -> Batch:
        batch = leases.plan_renew(fence, lease, token=token)
        return Batch(token, [operation for operation in batch.operations if not isinstance(operation, Check)])

    return [(locks, "plan_renew", plan)]


def _wall_clock() -> list[Patch]:
    async def look(self: Locks, resource: str) -> LockState:
        return (await _look(self, resource))._replace(read_at=self.store.runtime.now())

    return [(Locks, "look", look)]


def _own_by_client_id() -> list[Patch]:
    async def take(
        self: Locks, state: LockState, request: Request, extra: Sequence[Operation] = ()
    ) -> DistributedLock | None:
        lock = await _take(self, state, request, extra)
        if lock is not None:
            return lock
        lease = (await self.look(request.resource)).last_lease
        if lease is None or lease.client_id != request.client_id:
            return None
        return await self.held(request.resource, Fence(self.governor, request.resource, lease.number).token)

    return [(Locks, "take", take)]


def _release_leaves_fence() -> list[Patch]:
    def plan(fence: Fence, counter: str, *, kept_for: str | None, token: str) -> Batch:
        batch = leases.plan_release(fence, counter, kept_for=kept_for, token=token)
        operations = [fence.check if operation.key == fence.key else operation for operation in batch.operations]
        return Batch(token, operations)

    return [(locks, "plan_release", plan)]


def _break_leaves_fence() -> list[Patch]:
    def plan(state: LockState, governor: str, *, kept_for: str | None, token: str) -> Batch:
        batch = leases.plan_end(state, governor, kept_for=kept_for, token=token)
        return Batch(token, [operation for operation in batch.operations if operation.key.kind != "fence"])

    return [(locks, "plan_end", plan)]


def _release_without_counter() -> list[Patch]:
    def plan(fence: Fence, counter: str, *, kept_for: str | None, token: str) -> Batch:
        batch = leases.plan_release(fence, counter, kept_for=kept_for, token=token)
        return Batch(token, [op for op in batch.operations if not isinstance(op, Put)])

    return [(locks, "plan_release", plan)]


def _fence_read_before() -> list[Patch]:
    def check(self: Fence) -> Check:
        return Check(self.key, Require.ANY)

    return [(Fence, "check", property(check))]


def _told_twice() -> list[Patch]:
    def plan(deadlock: Deadlock, *, token: str) -> Batch:
        batch = waits.plan_mark(deadlock, token=token)
        operations = [op._replace(when=Require.EXISTS) if isinstance(op, Put) else op for op in batch.operations]
        return Batch(token, operations)

    return [(waiting, "plan_mark", plan)]


def _told_though_open() -> list[Patch]:
    def plan(deadlock: Deadlock, *, token: str) -> Batch:
        batch = waits.plan_mark(deadlock, token=token)
        return Batch(token, [operation for operation in batch.operations if not isinstance(operation, Check)])

    return [(waiting, "plan_mark", plan)]


def _leaves_its_wait() -> list[Patch]:
    async def take(self: Locks, state: LockState, request: Request, *_extra: object) -> DistributedLock | None:
        return await _take(self, state, request)

    return [(Locks, "take", take)]


def _each_chooses_for_itself() -> list[Patch]:
    looks = count()

    def find(*args: Any) -> list[Deadlock]:
        turn = next(looks)
        return [
            Deadlock(
                [found.waits[(place + turn) % len(found.waits)] for place in range(len(found.waits))],
                [found.fences[(place + turn) % len(found.waits)] for place in range(len(found.waits))],
            )
            for found in waits.find_deadlocks(*args)
        ]

    return [(waiting, "find_deadlocks", find)]


def _kept_for_nobody() -> list[Patch]:
    return [(LockState, "kept_for", property(lambda _self: None))]


def _kept_for_ever() -> list[Patch]:
    return [(leases, "HANDOVER_MICROS", 3_600_000_000), (waiting, "HANDOVER_MICROS", 3_600_000_000)]


def _not_given_back() -> list[Patch]:
    async def give_back(_self: Locks, _resource: str, _token: str) -> None:
        return None

    return [(Locks, "_give_back", give_back)]


def _wait_not_left() -> list[Patch]:
    async def leave(_self: WaitingClient) -> None:
        return None

    return [(WaitingClient, "_leave", leave)]


def _the_dead_wait() -> list[Patch]:
    def is_stale(_self: StoredWait, _read_at: int) -> bool:
        return False

    return [(StoredWait, "is_stale", is_stale)]


def _refused_release_is_a_loss() -> list[Patch]:
    def decode(document: Any) -> Counter:
        return leases.decode_counter(document)._replace(before=None)

    return [(locks, "decode_counter", decode)]


def _keeps_some() -> list[Patch]:
    async def release_all(_self: Locking, _locks: Sequence[DistributedLock]) -> None:
        return None

    return [(Locking, "release_all", release_all)]


def _lost_is_held() -> list[Patch]:
    async def is_held(_self: Locks, _lock: DistributedLock) -> bool:
        return True

    return [(Locks, "is_held", is_held)]


LOCK_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="counter-unchecked-on-takeover",
        story="the lease is checked, and the lease is what says who holds it",
        patches=_counter_unchecked,
        suite=LockingCases,
        cases=["test_what_was_read_before_a_change_takes_nothing"],
    ),
    Plant(
        name="fence-left-on-takeover",
        story="whoever lost the lock knows that its time is over",
        patches=_fence_left_on_takeover,
        suite=FenceCases,
        cases=["test_nothing_is_written_once_the_lock_has_moved_on"],
    ),
    Plant(
        name="number-from-the-lease",
        story="the next number is that of the lease before, plus 1",
        patches=_number_from_the_lease,
        suite=LockingCases,
        cases=["test_numbers_grow_whatever_ends_a_hold"],
    ),
    Plant(
        name="renewal-without-the-fence",
        story="a renewal is of a lock that is held",
        patches=_renewal_without_fence,
        suite=LockingCases,
        cases=["test_an_expired_lock_is_anybodys", "test_of_a_renewal_and_a_takeover_one_wins"],
    ),
    Plant(
        name="late-renewal-without-the-fence",
        story="a copy of a renewal that comes late does no harm",
        patches=_renewal_without_fence,
        suite=LockDoubtCases,
        cases=["test_a_renewal_is_settled_and_its_late_copy_is_harmless"],
    ),
    Plant(
        name="expiry-by-the-wall-clock",
        story="the time is the time",
        patches=_wall_clock,
        suite=LockingCases,
        cases=["test_only_the_clock_of_the_store_ends_a_lease"],
    ),
    Plant(
        name="own-acquire-by-client-id",
        story="no answer: look whose name is on the lease",
        patches=_own_by_client_id,
        suite=LockDoubtCases,
        cases=["test_a_namesake_is_not_oneself"],
    ),
    Plant(
        name="release-leaves-the-fence",
        story="the lease is gone, so the lock is free",
        patches=_release_leaves_fence,
        suite=FenceCases,
        cases=["test_nothing_is_written_once_the_lock_has_moved_on"],
    ),
    Plant(
        name="break-leaves-the-fence",
        story="a broken lock has no lease",
        patches=_break_leaves_fence,
        suite=FenceCases,
        cases=["test_nothing_is_written_once_the_lock_has_moved_on"],
    ),
    Plant(
        name="release-leaves-the-counter",
        story="the last number is the same after a release",
        patches=_release_without_counter,
        suite=LockingCases,
        cases=["test_every_change_of_hands_replaces_the_counter"],
    ),
    Plant(
        name="fence-not-in-the-commit",
        story="the lock was looked at just before the commit",
        patches=_fence_read_before,
        suite=FenceCases,
        cases=["test_a_fence_is_judged_at_the_commit_itself", "test_a_late_copy_under_an_old_fence_is_dead"],
    ),
    Plant(
        name="wait-marked-twice",
        story="told is told, once more does no harm",
        patches=_told_twice,
        suite=DeadlockCases,
        cases=["test_a_circle_is_told_once", "test_of_many_who_look_at_once_one_tells"],
    ),
    Plant(
        name="told-though-the-circle-is-open",
        story="a circle that was seen is there",
        patches=_told_though_open,
        suite=DeadlockCases,
        cases=["test_nobody_gives_way_once_the_circle_is_open"],
    ),
    Plant(
        name="acquire-leaves-its-wait",
        story="the wait is taken away right after the lock was had",
        patches=_leaves_its_wait,
        suite=QueueCases,
        cases=["test_the_end_of_a_lease_wakes_who_waits"],
    ),
    Plant(
        name="each-detector-chooses-its-victim",
        story="whoever finds a circle gives way",
        patches=_each_chooses_for_itself,
        suite=DeadlockCases,
        cases=["test_of_many_who_look_at_once_one_tells", "test_a_circle_is_told_once"],
    ),
    Plant(
        name="kept-for-nobody",
        story="a free lock is for whoever comes",
        patches=_kept_for_nobody,
        suite=QueueCases,
        cases=["test_nobody_comes_between_a_release_and_who_waited"],
    ),
    Plant(
        name="kept-for-ever",
        story="whoever waited longest will come",
        patches=_kept_for_ever,
        suite=ImpatientCases,
        cases=["test_a_lock_is_kept_for_the_dead_for_a_moment_only"],
    ),
    Plant(
        name="not-given-back",
        story="a caller that is cancelled got nothing",
        patches=_not_given_back,
        suite=LockDoubtCases,
        cases=["test_who_is_cancelled_leaves_no_hold"],
    ),
    Plant(
        name="wait-not-left",
        story="a wait ends when nobody renews it",
        patches=_wait_not_left,
        suite=QueueCases,
        cases=["test_a_wait_that_ends_leaves_nothing"],
    ),
    Plant(
        name="the-dead-wait",
        story="who waits takes his wait away in the end",
        patches=_the_dead_wait,
        suite=DeadlockCases,
        cases=["test_the_dead_are_in_no_circle"],
    ),
    Plant(
        name="refused-release-is-a-loss",
        story="a release that is refused came too late",
        patches=_refused_release_is_a_loss,
        suite=LockDoubtCases,
        cases=["test_who_released_is_not_told_that_it_was_lost"],
    ),
    Plant(
        name="some-of-several",
        story="what was had is had",
        patches=_keeps_some,
        suite=LockingCases,
        cases=["test_several_locks_come_all_or_none"],
    ),
    Plant(
        name="lost-is-held",
        story="what this process acquired it holds",
        patches=_lost_is_held,
        suite=LockingCases,
        cases=["test_a_lost_lock_is_not_held_once_more"],
    ),
)
