"""What the cases about locks share: holding, watching who waits, and the ways in which a lock moves on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Final

from eventstate.core.documents import FENCE, LEASE, LOCK, WAIT, Document, Key
from eventstate.core.leases import Fence, lease_key
from eventstate.errors import EventStateError, LockTimeoutError
from eventstate.stores.base import Store
from eventstate.testing.conformance.persisters import GOVERNOR, PersisterSuite
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.transactions.locking import Locking
from eventstate.transactions.locks import DistributedLock

LONG: Final = 60.0
"""A time to live that no case waits for the end of."""
SHORT: Final = 0.25
"""One that cases wait for the end of; none relies on its not being over."""
PATIENCE: Final = 20.0
R: Final = "the lock"

End = Callable[["LockSuite", Locking, DistributedLock], Awaitable[None]]


class LockSuite(PersisterSuite):
    """One store, and as many lock managers on it as a case wants; each `Locking` is that of one process."""

    patience: ClassVar[float] = PATIENCE
    """Seconds after which something that must come counts as missing."""

    def locking(self, store: Store | None = None, *, governor: str = GOVERNOR) -> Locking:
        return Locking(store if store is not None else self.open(), governor)

    def faulty(self, store: Store, *faults: Fault) -> FaultyStore:
        """The store through faults, with waits between resends that take no time."""
        return FaultyStore(store, faults, runtime=self.world.steered())

    async def until(self, happened: Callable[[], Awaitable[object]], what: str) -> None:
        """Wait until something is so."""
        began = self.runtime.monotonic()
        while not await happened():
            assert self.runtime.monotonic() - began < self.patience, f"not in {self.patience:.0f} s: {what}"
            await self.runtime.sleep(0.01)

    async def expired(self, locking: Locking, resource: str = R) -> None:
        """Wait until the lease on a resource is over."""

        async def is_over() -> bool:
            return (await locking.locks.look(resource)).is_expired

        await self.until(is_over, f"the lease on {resource!r} ends")

    async def swept(self, store: Store, resource: str = R, client_id: str = "who waits") -> None:
        """Wait for a lock that is held until nobody else's wait is there any more."""

        async def is_swept() -> bool:
            error = await attempt(acquire(self.locking(store), resource, client_id, wait=0.1))
            assert isinstance(error, LockTimeoutError), error
            return await waits(store) == []

        await self.until(is_swept, "somebody who waits sweeps the waits of the dead away")

    async def waiting(self, store: Store, count: int, governor: str = GOVERNOR) -> None:
        """Wait until so many clients stand in queues."""

        async def there() -> bool:
            return len(await waits(store, governor)) == count

        await self.until(there, f"{count} wait")


async def acquire(
    locking: Locking,
    resource: str = R,
    client_id: str = "a",
    *,
    ttl: float = LONG,
    wait: float = 0,
    purpose: str | None = None,
    reentrant: bool = False,
) -> DistributedLock:
    """Acquire a lock, by default at once or not at all."""
    return await locking.acquire(resource, client_id, ttl=ttl, wait=wait, purpose=purpose, reentrant=reentrant)


async def acquire_all(
    locking: Locking, resources: Sequence[str], client_id: str = "a", *, ttl: float = LONG, wait: float = 0
) -> list[DistributedLock]:
    return await locking.acquire_all(resources, client_id, ttl=ttl, wait=wait, purpose=None)


async def waits(store: Store, governor: str = GOVERNOR) -> Sequence[Document]:
    return (await store.scan(WAIT, governor)).documents


async def lock_documents(store: Store, governor: str = GOVERNOR) -> dict[Key, Document]:
    """All that locks have stored."""
    found: dict[Key, Document] = {}
    for kind in (LOCK, LEASE, FENCE, WAIT):
        found.update({document.key: document for document in (await store.scan(kind, governor)).documents})
    return found


async def fences(store: Store, resource: str = R, governor: str = GOVERNOR) -> list[int]:
    """The numbers of the fences that stand: one for a lock that is held, none for another."""
    return [document.key.n for document in (await store.scan(FENCE, governor, id=resource)).documents]


async def holder(store: Store, resource: str = R, governor: str = GOVERNOR) -> Document | None:
    key = lease_key(governor, resource)
    return (await store.get([key])).documents.get(key)


async def attempt(call: Awaitable[object]) -> EventStateError | None:
    """The error of a call, or None where it went well."""
    try:
        await call
    except EventStateError as error:
        return error
    return None


def number(lock: DistributedLock) -> int:
    fence: Fence = lock.fence
    return fence.number


# The ways in which a lock moves on


async def released(_suite: LockSuite, locking: Locking, lock: DistributedLock) -> None:
    await locking.release(lock)


async def broken(suite: LockSuite, locking: Locking, lock: DistributedLock) -> None:
    other = suite.locking(locking.locks.store)
    assert await other.break_lock(lock.resource) is not None


async def taken_over(suite: LockSuite, locking: Locking, lock: DistributedLock) -> None:
    other = suite.locking(locking.locks.store)
    await suite.expired(other, lock.resource)
    await acquire(other, lock.resource, "who came next")


async def cleaned_up(suite: LockSuite, locking: Locking, lock: DistributedLock) -> None:
    other = suite.locking(locking.locks.store)
    await suite.expired(other, lock.resource)
    assert await other.cleanup() == 1


ENDS: Final[dict[End, float]] = {released: LONG, broken: LONG, taken_over: SHORT, cleaned_up: SHORT}
"""Each with the time to live that it needs."""
