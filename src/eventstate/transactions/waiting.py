"""Waiting for a lock: in a queue that others can see, woken by changes, and ended where it is part of a deadlock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventstate.core.documents import WAIT, Batch, Committed, Delete, Document, Key, Put, Require
from eventstate.core.leases import HANDOVER_MICROS, Lease, LockState, counter_key, decode_lease, lease_key
from eventstate.core.waits import (
    BEAT_SECONDS,
    Deadlock,
    StoredWait,
    Wait,
    decode_wait,
    encode_wait,
    find_deadlocks,
    plan_mark,
    wait_key,
)
from eventstate.errors import DeadlockDetectedError, EventStateError, LockTimeoutError
from eventstate.stores.watching import Watch
from eventstate.transactions.locks import DistributedLock, Locks, Request

SCAN_SECONDS = 0.5
"""Between looks at all waits for circles. The first look comes right after the wait was written."""

QUEUE_STEP_SECONDS = 0.05
"""How much longer each further one in the queue leaves an expired lock alone."""

MARGIN_SECONDS = 0.005
"""Waited beyond a lease's end: the store tells time in its own steps."""


class WaitingClient:
    """One client's wait for one lock, from its first document to its last."""

    def __init__(self, locks: Locks, request: Request, wait: float) -> None:
        self._locks = locks
        self._store = locks.store
        self._runtime = locks.store.runtime
        self._request = request
        self._began = self._runtime.monotonic()
        self._until = self._began + wait
        self._key: Key | None = None
        """Where its document is, or may be."""
        self._wait: Wait | None = None
        self._own: StoredWait | None = None
        """As it was last read or written."""
        self._place = 0
        self._scan_at = 0.0
        self._beat_at = 0.0

    async def acquire(self) -> DistributedLock:
        """The lock, as soon as it can be had.

        Raises:
            LockTimeoutError: not in time.
            DeadlockDetectedError: the wait was part of a circle, and chosen to end.
        """
        request, locks = self._request, self._locks
        state = await locks.look(request.resource)
        if state.holder is None and not await self._is_waiting(state.kept_for):
            lock = await locks.take(state, request)
            if lock is not None:
                return lock
            state = await locks.look(request.resource)
        if self._is_over():
            raise self._timed_out(state)
        keys = (counter_key(locks.governor, request.resource), lease_key(locks.governor, request.resource))
        try:
            await self._write_wait(state.read_at)
            assert self._key is not None
            with self._store.watch((*keys, self._key)) as watch:
                return await self._acquire_in_turn(watch)
        except BaseException:
            await self._leave()
            raise

    async def _acquire_in_turn(self, watch: Watch) -> DistributedLock:
        while True:
            state = await self._look()
            if self._own is None:
                continue
            if await self._may_take(state):
                own = self._own.document
                lock = await self._locks.take(state, self._request, (Delete(own.key, own.revision),))
                if lock is not None:
                    return lock
                if self._is_over():
                    raise self._timed_out(state)
                continue
            if self._is_over():
                raise self._timed_out(state)
            now = self._runtime.monotonic()
            if now >= self._scan_at:
                await self._scan()
                continue
            if now >= self._beat_at:
                await self._beat()
            await watch.wait(self._pause(state))

    def _pause(self, state: LockState) -> float:
        now = self._runtime.monotonic()
        due = min(self._scan_at, self._beat_at, self._until) - now
        if state.lease is not None:
            due = min(due, state.expires_in + MARGIN_SECONDS + self._place * QUEUE_STEP_SECONDS)
        elif state.counter is not None:
            kept_until = (state.counter.written_at + HANDOVER_MICROS - state.read_at) / 1_000_000
            due = min(due, max(0.0, kept_until) + MARGIN_SECONDS + self._place * QUEUE_STEP_SECONDS)
        return max(due, 0.0)

    async def _may_take(self, state: LockState) -> bool:
        assert self._key is not None
        if state.lease is not None:
            # The longest waiting goes first, where all see the end of a lease at the same time.
            patience = self._place * QUEUE_STEP_SECONDS * 1_000_000
            age = state.read_at - state.lease.written_at
            return age > decode_lease(state.lease).ttl + patience
        kept_for = state.kept_for
        return kept_for in (None, self._key.id) or not await self._is_waiting(kept_for)

    async def _is_waiting(self, wait_id: str | None) -> bool:
        """Whether the wait that a lock is kept for is still there."""
        if wait_id is None:
            return False
        key = Key(WAIT, self._locks.governor, wait_id)
        fetched = await self._store.get((key,))
        document = fetched.documents.get(key)
        return document is not None and decode_wait(document).is_live(fetched.read_at)

    # Its own document

    async def _write_wait(self, since: int) -> None:
        """Join the queue."""
        self._wait = Wait(self._request.resource, self._request.client_id, since)
        self._key = wait_key(self._locks.governor, self._wait, self._runtime.unique())
        await self._put(self._wait, Require.ABSENT)

    async def _put(self, wait: Wait, when: Require | str) -> None:
        assert self._key is not None
        token = self._runtime.unique()
        body = encode_wait(wait, token)
        result = await self._locks.committer.commit_guarded(Batch(token, (Put(self._key, body, when),)))
        if isinstance(result, Committed):
            document = Document(self._key, body, result.revisions[self._key], result.at)
            self._own = StoredWait(wait, document)
        # Refused: it was marked, or swept away; the next look shows which.
        self._beat_at = self._runtime.monotonic() + BEAT_SECONDS

    async def _beat(self) -> None:
        assert self._own is not None
        await self._put(self._own.wait._replace(beats=self._own.wait.beats + 1), self._own.document.revision)

    async def _look(self) -> LockState:
        """The lock as it is now, and the own wait with it.

        Raises:
            DeadlockDetectedError: the own wait is marked.
        """
        assert self._key is not None
        assert self._wait is not None
        governor, resource = self._locks.governor, self._request.resource
        counter, lease = counter_key(governor, resource), lease_key(governor, resource)
        fetched = await self._store.get((counter, lease, self._key))
        found = fetched.documents
        own = found.get(self._key)
        if own is None:  # this process was stopped for so long that others took it for dead
            await self._put(self._wait, Require.ABSENT)
        else:
            self._own = decode_wait(own)
            if self._own.wait.cycle:
                cycle = self._own.wait.cycle
                raise DeadlockDetectedError(resource=resource, client_id=self._request.client_id, cycle=cycle)
        return LockState(resource=resource, read_at=fetched.read_at, counter=found.get(counter), lease=found.get(lease))

    async def _leave(self) -> None:
        """Take the own wait away; whatever goes wrong, it is not renewed any more and soon counts for nothing."""
        if self._key is None:
            return
        token = self._runtime.unique()
        try:
            await self._locks.committer.commit_guarded(Batch(token, (Delete(self._key, Require.ANY),)))
        except EventStateError:
            return

    # Deadlocks

    async def _scan(self) -> None:
        """Look at all waits: for the own place in the queue, for circles, and for what the dead left behind."""
        self._scan_at = self._runtime.monotonic() + SCAN_SECONDS
        assert self._own is not None
        survey = await survey_waits(self._locks)
        ahead = [
            stored
            for stored in survey.waits
            if stored.wait.resource == self._request.resource and stored.document.key.id < self._own.document.key.id
        ]
        self._place = len(ahead)
        for deadlock in survey.deadlocks:
            if self._request.client_id in deadlock.clients:
                await mark(self._locks, deadlock)
        await sweep(self._locks, survey.dead)

    def _is_over(self) -> bool:
        return self._runtime.monotonic() >= self._until

    def _timed_out(self, state: LockState) -> LockTimeoutError:
        holder: Lease | None = state.holder
        return LockTimeoutError(
            resource=self._request.resource,
            client_id=self._request.client_id,
            waited=self._runtime.monotonic() - self._began,
            holder=holder.client_id if holder is not None else None,
        )


class Survey(NamedTuple):
    """All waits of a governor at about one time: those alive, those of the dead, and the circles among the first."""

    waits: Sequence[StoredWait]
    dead: Sequence[StoredWait]
    deadlocks: Sequence[Deadlock]


async def survey_waits(locks: Locks) -> Survey:
    """Read all waits, and who holds what they wait for."""
    live: list[StoredWait] = []
    dead: list[StoredWait] = []
    after: Key | None = None
    while True:
        page = await locks.store.scan(WAIT, locks.governor, after=after)
        for document in page.documents:
            stored = decode_wait(document)
            if stored.is_stale(page.read_at):
                dead.append(stored)
            elif not stored.wait.cycle:
                live.append(stored)
        after = page.next
        if after is None:
            break
    return Survey(live, dead, find_deadlocks(live, await _holders(locks, live), locks.governor))


async def _holders(locks: Locks, waits: Sequence[StoredWait]) -> dict[str, Lease]:
    keys = list({lease_key(locks.governor, stored.wait.resource) for stored in waits})
    if len(keys) < 2:  # a circle goes over two locks at least
        return {}
    fetched = await locks.store.get(keys)
    holders: dict[str, Lease] = {}
    for key, document in fetched.documents.items():
        lease = decode_lease(document)
        if fetched.read_at - document.written_at <= lease.ttl:
            holders[key.id] = lease
    return holders


async def mark(locks: Locks, deadlock: Deadlock) -> bool:
    """Tell the victim of a circle to give way, if all of the circle is still there."""
    batch = plan_mark(deadlock, token=locks.store.runtime.unique())
    return isinstance(await locks.committer.commit_guarded(batch), Committed)


async def sweep(locks: Locks, dead: Sequence[StoredWait]) -> None:
    """Take away the waits of clients that died, each unless it was renewed meanwhile."""
    for stored in dead:
        batch = Batch(locks.store.runtime.unique(), (Delete(stored.document.key, stored.document.revision),))
        await locks.committer.commit_guarded(batch)
