"""The asyncio face of locks: the methods of `LockManager`, awaited."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from eventstate.errors import ConfigurationError, LeaseLostError
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store
from eventstate.transactions.locking import TTL_SECONDS, WAIT_SECONDS, Locking
from eventstate.transactions.locks import DistributedLock, LockInfo


class AsyncLockManager:
    """`LockManager` for asyncio; its store is one of `open_async_store`."""

    def __init__(self, store: Store, *, governor: str = "default") -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use LockManager with it")
        self._locking = Locking(store, governor)
        self._runtime = store.runtime

    async def acquire_lock(
        self,
        resource: str,
        client_id: str,
        *,
        ttl: float = TTL_SECONDS,
        wait: float = WAIT_SECONDS,
        purpose: str | None = None,
        reentrant: bool = False,
    ) -> DistributedLock:
        """As `LockManager.acquire_lock`."""
        return await self._locking.acquire(
            resource, client_id, ttl=ttl, wait=wait, purpose=purpose, reentrant=reentrant
        )

    async def acquire_locks(
        self,
        resources: Sequence[str],
        client_id: str,
        *,
        ttl: float = TTL_SECONDS,
        wait: float = WAIT_SECONDS,
        purpose: str | None = None,
    ) -> list[DistributedLock]:
        """As `LockManager.acquire_locks`."""
        return await self._locking.acquire_all(resources, client_id, ttl=ttl, wait=wait, purpose=purpose)

    @asynccontextmanager
    async def lock(
        self,
        resource: str,
        client_id: str,
        *,
        ttl: float = TTL_SECONDS,
        wait: float = WAIT_SECONDS,
        purpose: str | None = None,
        reentrant: bool = False,
    ) -> AsyncGenerator[DistributedLock]:
        """Hold a lock for the block: renewed meanwhile, released at its end.

        Where the lock is lost the block is cancelled, and LeaseLostError raised in the place of the cancellation.
        Raises like `acquire_lock`.
        """
        held = await self.acquire_lock(resource, client_id, ttl=ttl, wait=wait, purpose=purpose, reentrant=reentrant)
        interruption = self._runtime.interruption()

        def lost() -> None:
            held.end()
            interruption.fire()

        kept = self._locking.renewal.keep(held, lost)
        try:
            yield held
        except BaseException as error:
            self._locking.renewal.drop(kept)
            if interruption.absorb(error):
                await self._locking.release_all((held,))
                raise LeaseLostError(resource=resource, token=held.lock_token) from error
            await self._locking.release_all((held,))
            raise
        self._locking.renewal.drop(kept)
        interruption.absorb(None)
        await self.release_lock(held)

    async def release_lock(self, lock: DistributedLock | str, lock_token: str | None = None) -> None:
        """As `LockManager.release_lock`."""
        await self._locking.release(lock, lock_token)

    async def extend_lock(self, lock: DistributedLock | str, lock_token: str | None = None) -> DistributedLock:
        """As `LockManager.extend_lock`."""
        return await self._locking.extend(lock, lock_token)

    async def list_locks(self) -> AsyncIterator[LockInfo]:
        """As `LockManager.list_locks`."""
        after: str | None = None
        while True:
            infos, after = await self._locking.page(after)
            for info in infos:
                yield info
            if after is None:
                return

    async def break_lock(self, resource: str) -> LockInfo | None:
        """As `LockManager.break_lock`."""
        return await self._locking.break_lock(resource)

    async def cleanup_expired_locks(self) -> int:
        """As `LockManager.cleanup_expired_locks`."""
        return await self._locking.cleanup()

    async def detect_deadlocks(self) -> list[tuple[str, ...]]:
        """As `LockManager.detect_deadlocks`."""
        return await self._locking.deadlocks()
