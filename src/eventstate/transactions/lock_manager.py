"""The sync face of locks."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

from eventstate.errors import ConfigurationError
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store
from eventstate.transactions.locking import TTL_SECONDS, WAIT_SECONDS, Locking
from eventstate.transactions.locks import DistributedLock, LockInfo


class LockManager:
    """Locks that hold across threads, processes and machines, for one governor of one store.

    A lock is a lease: it ends by itself unless it is renewed, so a holder that dies or hangs blocks nobody for
    longer than its ``ttl``. A holder that was only slow does not know that; pass the lock as ``fence=`` to
    whatever is written under it, and the store refuses what comes too late.

    A ``client_id`` names one unit of work, which waits for one lock at a time. Safe to use from many threads.

    Args:
        store: from `open_store`.
        governor: the namespace that owns the locks.
    """

    def __init__(self, store: Store, *, governor: str = "default") -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncLockManager with it")
        self._locking = Locking(store, governor)

    def acquire_lock(
        self,
        resource: str,
        client_id: str,
        *,
        ttl: float = TTL_SECONDS,
        wait: float = WAIT_SECONDS,
        purpose: str | None = None,
        reentrant: bool = False,
    ) -> DistributedLock:
        """Acquire a lock; it lasts ``ttl`` seconds unless it is extended. `lock` renews it for you.

        Args:
            resource: what to lock, any id.
            client_id: who asks.
            ttl: seconds until it ends by itself, measured by the store's clock.
            wait: seconds to wait for it; 0 for not waiting.
            purpose: shown to whoever lists locks.
            reentrant: a lock that this client holds through this manager is held once more; each hold is
                released by itself.

        Raises:
            LockTimeoutError: somebody else has it.
            LockAlreadyHeldError: this client has it, and ``reentrant`` is not set.
            DeadlockDetectedError: waiting for it closed a circle, and this client gives way.
        """
        return drive(
            self._locking.acquire(resource, client_id, ttl=ttl, wait=wait, purpose=purpose, reentrant=reentrant)
        )

    def acquire_locks(
        self,
        resources: Sequence[str],
        client_id: str,
        *,
        ttl: float = TTL_SECONDS,
        wait: float = WAIT_SECONDS,
        purpose: str | None = None,
    ) -> list[DistributedLock]:
        """Acquire several locks, or none, always in one order, so that such calls can't deadlock each other.

        The locks come in the order of ``resources``. ``wait`` is for all together; ``ttl`` counts from each
        one's own acquisition. Raises like `acquire_lock`, but gives way and begins anew in a deadlock.
        """
        return drive(self._locking.acquire_all(resources, client_id, ttl=ttl, wait=wait, purpose=purpose))

    @contextmanager
    def lock(
        self,
        resource: str,
        client_id: str,
        *,
        ttl: float = TTL_SECONDS,
        wait: float = WAIT_SECONDS,
        purpose: str | None = None,
        reentrant: bool = False,
    ) -> Generator[DistributedLock]:
        """Hold a lock for the block: renewed meanwhile, released at its end.

        Look at ``lock.is_lost`` in long work, or call ``lock.check()``. A block that ends without an error although
        the lock was lost raises LeaseLostError. Raises like `acquire_lock`.
        """
        held = self.acquire_lock(resource, client_id, ttl=ttl, wait=wait, purpose=purpose, reentrant=reentrant)
        kept = self._locking.renewal.keep(held, held.end)
        try:
            yield held
        except BaseException:
            self._locking.renewal.drop(kept)
            drive(self._locking.release_all((held,)))
            raise
        self._locking.renewal.drop(kept)
        self.release_lock(held)

    def release_lock(self, lock: DistributedLock | str, lock_token: str | None = None) -> None:
        """Give a lock back: the lock itself, or its resource and token.

        Raises:
            LeaseLostError: it was not held any more.
        """
        drive(self._locking.release(lock, lock_token))

    def extend_lock(self, lock: DistributedLock | str, lock_token: str | None = None) -> DistributedLock:
        """Have a lock last its ``ttl`` from now; also after it expired, as long as nobody else has it.

        Raises:
            LeaseLostError: it is not held any more.
        """
        return drive(self._locking.extend(lock, lock_token))

    def list_locks(self) -> Iterator[LockInfo]:
        """The locks that are held, or expired and not yet taken over, by resource; a page at a time."""
        after: str | None = None
        while True:
            infos, after = drive(self._locking.page(after))
            yield from infos
            if after is None:
                return

    def break_lock(self, resource: str) -> LockInfo | None:
        """End a hold on a lock, whoever has it: its fence is void at once. What it was, or None if nobody had it."""
        return drive(self._locking.break_lock(resource))

    def cleanup_expired_locks(self) -> int:
        """End the leases that have expired, and sweep the waits of dead clients; how many leases.

        Nothing depends on it: an expired lock can be acquired as it is.
        """
        return drive(self._locking.cleanup())

    def detect_deadlocks(self) -> list[tuple[str, ...]]:
        """The circles of clients that wait for each other now, the one that gives way first in each.

        Each victim is told, as the waiting clients themselves would do within a second.
        """
        return drive(self._locking.deadlocks())
