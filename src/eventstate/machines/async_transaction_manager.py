"""The asyncio face of transactions: the methods of `TransactionManager`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from eventstate.core.retrying import RetryPolicy
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import InvalidInputError
from eventstate.machines.async_keyring import AsyncKeyring
from eventstate.machines.async_transaction import AsyncTransaction
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
from eventstate.machines.transacting import NewStates, Transacting, states_to_write
from eventstate.stores.base import Store
from eventstate.transactions.async_lock_manager import AsyncLockManager
from eventstate.transactions.fencing import Fences
from eventstate.transactions.records import TransactionRecord, TransactionStatus

T = TypeVar("T")


class AsyncTransactionManager(AsyncLockManager):
    """`TransactionManager` for asyncio; its store is one of `open_async_store`, its operations are coroutines."""

    def __init__(
        self,
        store: Store,
        *,
        governor: str = "default",
        machines: Iterable[Machine[Any, Any]] = (),
        guarded: Iterable[str] = (),
        retry: RetryPolicy | None = None,
        keep_records: bool = True,
        retention: timedelta = timedelta(days=7),
        snapshot_every: int = 100,
        keep_snapshots: int = 5,
        keyring: AsyncKeyring | None = None,
    ) -> None:
        super().__init__(store, governor=governor)
        self._transacting = Transacting(
            store,
            governor,
            machines,
            SnapshotPolicy(every=snapshot_every, keep=keep_snapshots),
            guarded=guarded,
            retry=retry or RetryPolicy(),
            keep_records=keep_records,
            retention=retention,
            keyring=keyring.core if keyring is not None else None,
        )

    async def execute_transaction(
        self,
        operation: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        fence: Fences = None,
        idempotency_key: str | None = None,
        token: str | None = None,
        retry: RetryPolicy | None = None,
        check_repeatable: bool = False,
    ) -> T:
        """As `TransactionManager.execute_transaction`."""
        options = self._transacting.options(
            operation,
            args,
            retry=retry,
            idempotency_key=idempotency_key,
            fence=fence,
            check_repeatable=check_repeatable,
        )

        async def call(core: TransactionCore) -> T:
            awaitable = operation(AsyncTransaction(core), *args)
            if not isinstance(awaitable, Awaitable):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidInputError("the operation is no coroutine function: use TransactionManager for it")
            return await awaitable

        return await self._transacting.execute(call, options, token)

    async def read_write_transaction(
        self,
        to_read: Sequence[str],
        to_write: NewStates,
        *,
        action: str = "saved",
        changed_by: str | None = None,
        reason: str | None = None,
        context: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        occurred_at: datetime | None = None,
        fence: Fences = None,
    ) -> dict[str, StateSnapshot[Any]]:
        """As `TransactionManager.read_write_transaction`."""

        async def operation(transaction: AsyncTransaction) -> dict[str, StateSnapshot[Any]]:
            states = {id: await transaction.find(id) for id in to_read}
            return {
                id: await transaction.save_state(
                    id,
                    data,
                    action=action,
                    changed_by=changed_by,
                    reason=reason,
                    context=context,
                    correlation_id=correlation_id,
                    causation_id=causation_id,
                    occurred_at=occurred_at,
                )
                for id, data in states_to_write(to_write, states).items()
            }

        return await self.execute_transaction(operation, fence=fence)

    async def get_transaction(self, transaction_id: str) -> TransactionRecord | None:
        """As `TransactionManager.get_transaction`."""
        return await self._transacting.records.get(transaction_id)

    async def get_transaction_log(
        self, *, since: datetime | None = None, status: TransactionStatus | None = None
    ) -> AsyncIterator[TransactionRecord]:
        """As `TransactionManager.get_transaction_log`."""
        after: str | None = self._transacting.records.first_after(since)
        while after is not None:
            records, after = await self._transacting.records.page(after)
            for record in records:
                if status is None or record.status is status:
                    yield record

    async def prune_transactions(self) -> int:
        """As `TransactionManager.prune_transactions`."""
        return await self._transacting.records.sweep()
