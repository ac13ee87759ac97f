"""Taking, keeping and giving back locks: one look and one batch each. Waiting is in `waiting`, renewal in `renewal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from eventstate.core.documents import LEASE, WAIT, Committed, Document, Key, Operation, Revision
from eventstate.core.format import token_in
from eventstate.core.ids import check_id
from eventstate.core.instants import utc_of
from eventstate.core.leases import (
    Fence,
    Lease,
    LockState,
    counter_key,
    decode_counter,
    fence_of,
    lease_key,
    plan_acquire,
    plan_end,
    plan_release,
    plan_renew,
)
from eventstate.core.waits import decode_wait, wait_prefix
from eventstate.errors import EventStateError, InvalidInputError, LeaseLostError
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

MAX_TTL_SECONDS = 7 * 86_400.0
LISTED = 100
"""Locks looked at together when all are listed."""


class Request(NamedTuple):
    """What a client asks for."""

    resource: str
    client_id: str
    ttl: float
    purpose: str | None


class DistributedLock:
    """A lock that was acquired. It is held while its lease is renewed in time; the fence proves it.

    Pass it as ``fence=`` to every append and transaction made under it: they are refused once it has moved on.

    Attributes:
        resource, client_id, purpose: as asked for.
        fence: what commits check.
        ttl: seconds that the lease lasts without renewal.
        acquired_at: by the store's clock.
    """

    def __init__(self, store: Store, request: Request, fence: Fence, counter: Revision, lease: Lease) -> None:
        self._runtime = store.runtime
        self.resource = request.resource
        self.client_id = request.client_id
        self.ttl = request.ttl
        self.purpose = request.purpose
        self.fence = fence
        self.acquired_at: datetime = utc_of(lease.acquired_at)
        self.counter = counter
        self.lease = lease
        self.depth = 1
        self.deadline = 0.0
        self._is_over = False
        self._expires_at = 0

    def __repr__(self) -> str:
        return f"DistributedLock({self.resource!r}, {self.client_id!r}, token {self.lock_token})"

    @property
    def lock_token(self) -> str:
        """``epoch-count``: grows each time the lock changes hands, for ever."""
        return self.fence.token

    @property
    def expires_at(self) -> datetime:
        """When the lease ends unless it is renewed, by the store's clock."""
        return utc_of(self._expires_at)

    @property
    def is_lost(self) -> bool:
        """Whether it must be taken for lost: refused, given back, or not renewed in time by this process's clock.

        A False may be out of date at once; only ``fence=`` is certain.
        """
        return self._is_over or self._runtime.monotonic() >= self.deadline

    def check(self) -> None:
        """Raise a LeaseLostError if the lock must be taken for lost."""
        if self.is_lost:
            raise LeaseLostError(resource=self.resource, token=self.lock_token)

    def extended(self, sent_at: float, at: int) -> None:
        """Note a renewal that was sent at a monotonic time, and applied at a time of the store's clock."""
        self.deadline = sent_at + self.ttl
        self._expires_at = at + int(self.ttl * 1_000_000)

    def end(self) -> None:
        """Note that it is not held any more."""
        self._is_over = True


class LockInfo(NamedTuple):
    """A lock as a list shows it. Times are by the store's clock."""

    resource: str
    client_id: str
    lock_token: str
    purpose: str | None
    acquired_at: datetime
    expires_in: float
    renewals: int
    waiting: int

    @property
    def is_expired(self) -> bool:
        return self.expires_in <= 0


def is_seconds(value: object) -> bool:
    """Whether it is a number at all."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


class Locks:
    """The locks of one governor in one store."""

    def __init__(self, store: Store, governor: str) -> None:
        self.store = store
        self.governor = check_id("governor", governor)
        self.committer = Committer(store, governor)
        self._impatient = Committer(store, governor, settle_seconds=0)

    def request(self, resource: object, client_id: object, ttl: float, purpose: str | None) -> Request:
        """A request that can be made.

        Raises:
            InvalidIdError, InvalidInputError: it can't.
        """
        resource, client_id = check_id("resource", resource), check_id("client_id", client_id)
        if not is_seconds(ttl) or not 1e-6 <= ttl <= MAX_TTL_SECONDS:
            raise InvalidInputError(f"ttl={ttl!r}: pass seconds above 0, up to {MAX_TTL_SECONDS:,.0f}")
        if purpose is not None and not _is_text(purpose):
            raise InvalidInputError(f"purpose={purpose!r}: pass text")
        return Request(resource, client_id, ttl, purpose)

    async def look(self, resource: str) -> LockState:
        """The lock as it is now."""
        counter, lease = counter_key(self.governor, resource), lease_key(self.governor, resource)
        fetched = await self.store.get((counter, lease))
        found = fetched.documents
        return LockState(resource=resource, read_at=fetched.read_at, counter=found.get(counter), lease=found.get(lease))

    async def take(self, state: LockState, request: Request, extra: Sequence[Operation] = ()) -> DistributedLock | None:
        """Take a lock that was read as free or expired; None if somebody else was faster.

        ``extra`` belongs to the same commit. An answer that is missing is waited for, so what comes back is final.
        """
        runtime = self.store.runtime
        token = runtime.unique()
        ttl = int(request.ttl * 1_000_000)
        batch, fence = plan_acquire(
            state,
            self.governor,
            epoch=self.store.epoch,
            client_id=request.client_id,
            ttl=ttl,
            purpose=request.purpose,
            token=token,
            extra=extra,
        )
        sent_at = runtime.monotonic()
        try:
            result = await self.committer.commit_guarded(batch)
        except BaseException:
            await self._give_back(request.resource, token)
            raise
        if not isinstance(result, Committed):
            return None
        revision = result.revisions.get(counter_key(self.governor, request.resource))
        if revision is None:  # it was had, but others have ended it since
            return None
        lease = Lease(fence.number, request.client_id, ttl, result.at, request.purpose)
        lock = DistributedLock(self.store, request, fence, revision, lease)
        lock.extended(sent_at, result.at)
        return lock

    async def _give_back(self, resource: str, token: str) -> None:
        """Let go of a lock that an interrupted caller may have got; where that fails, it expires."""
        with suppress(EventStateError):
            state = await self.look(resource)
            if state.lease is not None and token_in(state.lease.body) == token:
                await self.end(state)

    async def extend(self, lock: DistributedLock, *, patiently: bool = True) -> None:
        """Renew the lease of a lock, from now. A missing answer is waited for; not ``patiently``, it is an error.

        Raises:
            LeaseLostError: it is not held any more.
        """
        self._check_epoch(lock.fence)
        runtime = self.store.runtime
        committer = self.committer if patiently else self._impatient
        sent_at = runtime.monotonic()
        result = await committer.commit_guarded(plan_renew(lock.fence, lock.lease, token=runtime.unique()))
        if not isinstance(result, Committed):
            lock.end()
            raise LeaseLostError(resource=lock.resource, token=lock.lock_token)
        lock.lease = lock.lease._replace(renewals=lock.lease.renewals + 1)
        lock.extended(sent_at, result.at)

    async def release(self, lock: DistributedLock) -> None:
        """Give a lock back, and keep it a moment for whoever has waited longest.

        Raises:
            LeaseLostError: it was not held any more.
        """
        # One whose time is over ends by itself, so nobody is kept waiting for an answer about it.
        committer = self._impatient if lock.is_lost else self.committer
        lock.end()
        token = self.store.runtime.unique()
        kept_for = await self.longest_waiting(lock.resource)
        batch = plan_release(lock.fence, lock.counter, kept_for=kept_for, token=token)
        if isinstance(await committer.commit_guarded(batch), Committed):
            return
        counter = (await self.look(lock.resource)).counter
        # Its answer was lost, and whoever took the lock next was faster than the question what became of it.
        if counter is None or decode_counter(counter).before != token:
            raise LeaseLostError(resource=lock.resource, token=lock.lock_token)

    async def is_held(self, lock: DistributedLock) -> bool:
        """Whether a lock is still held, by what is stored; if not, it is noted."""
        lease = (await self.look(lock.resource)).last_lease
        if lease is not None and lease.number == lock.fence.number:
            return True
        lock.end()
        return False

    async def held(self, resource: str, token: str) -> DistributedLock:
        """The lock that a token stands for, as it is stored.

        Raises:
            LeaseLostError: it is not held with this token.
        """
        fence = fence_of(self.governor, resource, token)
        self._check_epoch(fence)
        state = await self.look(resource)
        lease = state.last_lease
        if lease is None or state.counter is None or lease.number != fence.number:
            raise LeaseLostError(resource=resource, token=token)
        request = Request(resource, lease.client_id, lease.ttl / 1_000_000, lease.purpose)
        lock = DistributedLock(self.store, request, fence, state.counter.revision, lease)
        assert state.lease is not None
        lock.extended(self.store.runtime.monotonic() - request.ttl + state.expires_in, state.lease.written_at)
        return lock

    def _check_epoch(self, fence: Fence) -> None:
        """Raise for a fence from before the data was restored: what the copy says about it is past."""
        if fence.epoch < self.store.epoch:
            raise LeaseLostError(resource=fence.resource, token=fence.token)

    async def longest_waiting(self, resource: str) -> str | None:
        """The id of the wait that began first, of those still alive."""
        page = await self.store.scan(WAIT, self.governor, prefix=wait_prefix(resource), limit=LISTED)
        alive = (document.key.id for document in page.documents if decode_wait(document).is_live(page.read_at))
        return next(alive, None)

    async def end(self, state: LockState) -> bool:
        """End whatever hold there is on a lock, as it was read; False if it has changed meanwhile."""
        if state.counter is None:
            return False
        kept_for = await self.longest_waiting(state.resource)
        batch = plan_end(state, self.governor, kept_for=kept_for, token=self.store.runtime.unique())
        return isinstance(await self.committer.commit_guarded(batch), Committed)

    async def cleanup(self) -> int:
        """End every lease that has expired; how many."""
        ended = 0
        after: Key | None = None
        while True:
            states, after = await self.states_page(after)
            for state in states:
                if state.is_expired:
                    ended += await self.end(state)
            if after is None:
                return ended

    async def states_page(self, after: Key | None) -> tuple[list[LockState], Key | None]:
        """Some of the locks that somebody holds or held until it expired, and where to go on."""
        page = await self.store.scan(LEASE, self.governor, after=after, limit=LISTED)
        keys = [counter_key(self.governor, lease.key.id) for lease in page.documents]
        counters: Mapping[Key, Document] = (await self.store.get(keys)).documents if keys else {}
        states = [
            LockState(resource=lease.key.id, read_at=page.read_at, counter=counters.get(key), lease=lease)
            for key, lease in zip(keys, page.documents, strict=True)
        ]
        return states, page.next

    async def infos_page(self, after: Key | None) -> tuple[list[LockInfo], Key | None]:
        """Some of the locks that are held, and where to go on."""
        states, following = await self.states_page(after)
        return [await self.info(state) for state in states], following

    async def info(self, state: LockState) -> LockInfo:
        lease = state.last_lease
        assert lease is not None
        waits = await self.store.scan(WAIT, self.governor, prefix=wait_prefix(state.resource))
        return LockInfo(
            resource=state.resource,
            client_id=lease.client_id,
            lock_token=Fence(self.governor, state.resource, lease.number).token,
            purpose=lease.purpose,
            acquired_at=utc_of(lease.acquired_at),
            # Never rounded to 0 before its time: 0 says that it can be taken.
            expires_in=0.0 if state.is_expired else max(0.001, round(state.expires_in, 3)),
            renewals=lease.renewals,
            waiting=sum(decode_wait(document).is_live(waits.read_at) for document in waits.documents),
        )
