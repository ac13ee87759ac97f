"""What both lock managers do, written once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from eventstate.core.backoff import full_jitter
from eventstate.core.ids import check_id
from eventstate.core.leases import lease_key
from eventstate.errors import (
    ConfigurationError,
    DeadlockDetectedError,
    EventStateError,
    InvalidInputError,
    LeaseLostError,
    LockAlreadyHeldError,
    LockTimeoutError,
)
from eventstate.stores.base import Store
from eventstate.transactions.locks import DistributedLock, LockInfo, Locks, Request, is_seconds
from eventstate.transactions.renewal import Renewal
from eventstate.transactions.waiting import WaitingClient, mark, survey_waits, sweep

TTL_SECONDS = 30.0
WAIT_SECONDS = 10.0

LockRef = DistributedLock | str


class Locking:
    """Locks of one governor, as one manager holds them."""

    def __init__(self, store: Store, governor: str) -> None:
        self.locks = Locks(store, governor)
        self.renewal = Renewal(self.locks)
        self._runtime = store.runtime
        self._mutex = threading.Lock()
        self._held: dict[tuple[str, str], DistributedLock] = {}

    async def acquire(
        self, resource: str, client_id: str, *, ttl: float, wait: float, purpose: str | None, reentrant: bool
    ) -> DistributedLock:
        _check_wait(wait)
        request = self.locks.request(resource, client_id, ttl, purpose)
        held = await self._entered(request, reentrant)
        if held is not None:
            return held
        lock = await WaitingClient(self.locks, request, wait).acquire()
        with self._mutex:
            self._held[resource, client_id] = lock
        return lock

    async def _entered(self, request: Request, reentrant: bool) -> DistributedLock | None:
        """The lock that this client holds already, held once more; None if it holds none, or has lost it."""
        with self._mutex:
            held = self._held.get((request.resource, request.client_id))
        # It is looked for, since a lock that others ended is not known to be lost until somebody asks.
        if held is None or held.is_lost or not await self.locks.is_held(held):
            return None
        if not reentrant:
            raise LockAlreadyHeldError(resource=request.resource, client_id=request.client_id)
        with self._mutex:
            if held.depth == 0:  # given back by another thread meanwhile
                return None
            held.depth += 1
            return held

    async def acquire_all(
        self, resources: Sequence[str], client_id: str, *, ttl: float, wait: float, purpose: str | None
    ) -> list[DistributedLock]:
        """All locks, in the order of their names so that two such calls can't wait for each other; or none."""
        if isinstance(resources, str):
            raise InvalidInputError(f"acquire_locks({resources!r}): pass a sequence of resources, or use acquire_lock")
        _check_wait(wait)
        names = sorted({check_id("resource", resource) for resource in resources})
        until = self._runtime.monotonic() + wait
        attempt = 0
        while True:
            held: list[DistributedLock] = []
            try:
                for name in names:
                    left = max(0.0, until - self._runtime.monotonic())
                    held.append(
                        await self.acquire(name, client_id, ttl=ttl, wait=left, purpose=purpose, reentrant=False)
                    )
                by_name = {lock.resource: lock for lock in held}
                return [by_name[resource] for resource in dict.fromkeys(resources)]
            except DeadlockDetectedError as error:
                await self.release_all(held)
                attempt += 1
                if self._runtime.monotonic() >= until:
                    raise LockTimeoutError(resource=error.resource, client_id=client_id, waited=wait) from error
                await self._runtime.sleep(full_jitter(attempt, self._runtime.random()))
            except BaseException:
                await self.release_all(held)
                raise

    async def release_all(self, locks: Sequence[DistributedLock]) -> None:
        """Give several locks back, the last first; a lock that was lost already is fine."""
        for lock in reversed(locks):
            try:
                await self.release(lock)
            except EventStateError:
                continue

    async def release(self, lock: LockRef, token: str | None = None) -> None:
        found = await self._resolve(lock, token)
        with self._mutex:
            found.depth -= 1
            if found.depth > 0:
                return
            self._forget(found)
        await self.locks.release(found)

    async def extend(self, lock: LockRef, token: str | None = None) -> DistributedLock:
        found = await self._resolve(lock, token)
        try:
            await self.locks.extend(found)
        except LeaseLostError:
            with self._mutex:
                self._forget(found)
            raise
        return found

    async def _resolve(self, lock: LockRef, token: str | None) -> DistributedLock:
        if isinstance(lock, DistributedLock):
            if lock.fence.governor != self.locks.governor:
                raise ConfigurationError(f"{lock!r} is of governor {lock.fence.governor!r}: use its own manager")
            return lock
        resource = check_id("resource", lock)
        if token is None:
            raise InvalidInputError(f"which hold on {resource!r}? Pass the lock itself, or its lock_token too")
        with self._mutex:
            own = [held for held in self._held.values() if (held.resource, held.lock_token) == (resource, token)]
        return own[0] if own else await self.locks.held(resource, token)

    def _forget(self, lock: DistributedLock) -> None:
        if self._held.get((lock.resource, lock.client_id)) is lock:
            del self._held[lock.resource, lock.client_id]

    async def break_lock(self, resource: str) -> LockInfo | None:
        """End a hold on a lock, whoever has it; what it was, or None if nobody had it."""
        check_id("resource", resource)
        while True:
            state = await self.locks.look(resource)
            if state.lease is None:
                return None
            info = await self.locks.info(state)
            if await self.locks.end(state):
                return info

    async def cleanup(self) -> int:
        """End expired leases and the waits of the dead; how many leases."""
        ended = await self.locks.cleanup()
        await sweep(self.locks, (await survey_waits(self.locks)).dead)
        return ended

    async def deadlocks(self) -> list[tuple[str, ...]]:
        """The circles there are now, each told to its victim; usually the waiting clients find them first."""
        survey = await survey_waits(self.locks)
        for found in survey.deadlocks:
            await mark(self.locks, found)
        return [found.clients for found in survey.deadlocks]

    async def page(self, after: str | None) -> tuple[list[LockInfo], str | None]:
        """Some of the locks that are held, and the resource to go on after."""
        key = lease_key(self.locks.governor, after) if after is not None else None
        infos, following = await self.locks.infos_page(key)
        return infos, following.id if following is not None else None


def _check_wait(wait: float) -> None:
    if not is_seconds(wait) or not 0 <= wait < float("inf"):
        raise InvalidInputError(f"wait={wait!r}: pass seconds, 0 for not waiting at all; every wait has an end")
