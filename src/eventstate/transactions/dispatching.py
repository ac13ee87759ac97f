"""Delivering effects, written once for both dispatchers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from eventstate.core.documents import Document, Key
from eventstate.core.privacy import named_keys
from eventstate.errors import InvalidInputError, LeaseLostError, LockAlreadyHeldError, LockTimeoutError
from eventstate.stores.base import Store
from eventstate.transactions.locking import TTL_SECONDS, Locking
from eventstate.transactions.locks import DistributedLock
from eventstate.transactions.outbox import DeliveryReport, Effect, Outbox, decode_effect

OUTBOX_LOCK = "eventstate/outbox"
"""The resource that dispatchers lock: one delivers at a time, so effects go out in order."""

ATTEMPTS = 10

Handle = Callable[[Effect], Awaitable[None]]


class Dispatching:
    """Delivers the effects of one governor, one after the other, oldest first."""

    def __init__(self, store: Store, governor: str, attempts: int) -> None:
        if attempts < 1:
            raise InvalidInputError(f"attempts={attempts}: at least 1")
        self._locking = Locking(store, governor)
        self.outbox = Outbox(store, governor, self._locking.locks.committer)
        self._attempts = attempts
        self._client_id = f"dispatcher-{store.runtime.unique()}"
        self.runtime = store.runtime

    async def deliver(self, handle: Handle) -> DeliveryReport:
        """Hand each waiting effect to its handler once. Nothing is done while another dispatcher is at it."""
        try:
            lock = await self._locking.acquire(
                OUTBOX_LOCK, self._client_id, ttl=TTL_SECONDS, wait=0, purpose="delivering effects", reentrant=False
            )
        except (LockTimeoutError, LockAlreadyHeldError):
            return DeliveryReport()
        kept = self._locking.renewal.keep(lock, lock.end)
        try:
            return await self._deliver_all(handle, lock)
        finally:
            self._locking.renewal.drop(kept)
            await self._locking.release_all((lock,))

    async def _deliver_all(self, handle: Handle, lock: DistributedLock) -> DeliveryReport:
        report = DeliveryReport()
        after: Key | None = None
        while True:
            documents, after = await self.outbox.page(after)
            for document in documents:
                if lock.is_lost:
                    return report
                report = await self._deliver(document, handle, lock, report)
            if after is None:
                return report

    async def _deliver(
        self, document: Document, handle: Handle, lock: DistributedLock, report: DeliveryReport
    ) -> DeliveryReport:
        effect, parked = decode_effect(document)
        if parked:
            return report
        try:
            await handle(effect)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is noted, and tried again later
            problem = type(error).__name__
            if not named_keys(document.body):  # of an encrypted payload, the text may say what is in it
                problem = f"{problem}: {error}"
            parks = effect.attempts + 1 >= self._attempts
            self._check(await self.outbox.failed(document, effect, problem, lock.fence, parked=parks), lock)
            return replace(report, failed=report.failed + 1, parked=report.parked + parks)
        self._check(await self.outbox.done(document, lock.fence), lock)
        return replace(report, delivered=report.delivered + 1)

    def _check(self, is_noted: bool, lock: DistributedLock) -> None:
        if not is_noted:
            raise LeaseLostError(resource=lock.resource, token=lock.lock_token)
