"""The sync face of transactions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from eventstate.core.retrying import RetryPolicy
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import InvalidInputError
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.keyring import Keyring
from eventstate.machines.machine import Machine
from eventstate.machines.states import StateSnapshot
from eventstate.machines.transacting import NewStates, Transacting, states_to_write
from eventstate.machines.transaction import Transaction
from eventstate.runtime.blocking import drive
from eventstate.stores.base import Store
from eventstate.transactions.fencing import Fences
from eventstate.transactions.lock_manager import LockManager
from eventstate.transactions.records import TransactionRecord, TransactionStatus

T = TypeVar("T")


class TransactionManager(LockManager):
    """Changes of several states and documents that happen together or not at all; and the locks of its governor.

    Transactions are serializable: what one has read still holds when it commits, or its operation runs again. One
    manager in a process serves all its threads, and lets those that collide take turns.

    Args:
        store: from `open_store`.
        governor: the namespace that owns the states, documents and locks; a transaction is of one governor.
        machines: the declared machines, as for `StateMachinePersister`.
        guarded: collections of documents that transactions may list.
        retry: how often and how long an operation is tried.
        keep_records: leave a record of each transaction that wrote something or failed.
        retention: how long records are kept.
        snapshot_every, keep_snapshots: as for `StateMachinePersister`.
        keyring: the same. With it, records keep neither results nor the texts of errors.
    """

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
        keyring: Keyring | None = None,
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

    def execute_transaction(
        self,
        operation: Callable[..., T],
        /,
        *args: Any,
        fence: Fences = None,
        idempotency_key: str | None = None,
        token: str | None = None,
        retry: RetryPolicy | None = None,
        check_repeatable: bool = False,
    ) -> T:
        """Run ``operation(transaction, *args)``, commit all it did, and return what it returned.

        It runs again when something it read has changed, so it must have no effects of its own besides its
        transaction: those go to `Transaction.on_commit`. If it raises, nothing is written, and its exception passes
        unchanged.

        Args:
            fence: locks that must still be held at the commit.
            idempotency_key: names this command for good; the same call again gives the first one's result, as plain
                JSON data, without running (None where the result has no short JSON form).
            token: of the CommitUnknownError that this call ended with before: its outcome is found out first,
                and the operation run only if it was not committed, and only once however often this is called. What
                comes back is as for a key.
            retry: in the place of the manager's own.
            check_repeatable: run the operation twice on the same data, and refuse one that does not do the same.

        Raises:
            TransactionConflictError: others were faster every time.
            CommitUnknownError: the store did not answer; call again with the same key, or with ``token``.
            LeaseLostError: a lock of ``fence`` is not held any more.
            NestedTransactionError: called from inside another operation.
            NotRepeatableError: see ``check_repeatable``.
            StoreUnavailableError and others of the store: nothing was written.
        """
        options = self._transacting.options(
            operation,
            args,
            retry=retry,
            idempotency_key=idempotency_key,
            fence=fence,
            check_repeatable=check_repeatable,
        )

        async def call(core: TransactionCore) -> T:
            result = operation(Transaction(core), *args)
            if isinstance(result, Coroutine):
                cast("Coroutine[Any, Any, Any]", result).close()
                raise InvalidInputError("the operation is a coroutine function: use AsyncTransactionManager for it")
            return result

        return drive(self._transacting.execute(call, options, token))

    def read_write_transaction(
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
        """Read states and write states, all at one time; the written ones by id.

        Args:
            to_read: ids of states that must not change meanwhile, whether they exist or not.
            to_write: new states by id, or a function that makes them from the states read (None where there is
                none). Ids that are not in ``to_read`` are read too.
            action, changed_by, reason, context, correlation_id, causation_id, occurred_at: of each event.
            fence: locks that must still be held at the commit.

        Raises like `execute_transaction`.
        """

        def operation(transaction: Transaction) -> dict[str, StateSnapshot[Any]]:
            states = {id: transaction.find(id) for id in to_read}
            return {
                id: transaction.save_state(
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

        return self.execute_transaction(operation, fence=fence)

    def get_transaction(self, transaction_id: str) -> TransactionRecord | None:
        """The record of a transaction; None where there is none (any more)."""
        return drive(self._transacting.records.get(transaction_id))

    def get_transaction_log(
        self, *, since: datetime | None = None, status: TransactionStatus | None = None
    ) -> Iterator[TransactionRecord]:
        """Records of transactions, oldest first, a page at a time.

        Those that only read leave none, nor does one whose outcome is not known.

        Args:
            since: of those that ended from then on, about.
            status: of these only.
        """
        after: str | None = self._transacting.records.first_after(since)
        while after is not None:
            records, after = drive(self._transacting.records.page(after))
            for record in records:
                if status is None or record.status is status:
                    yield record

    def prune_transactions(self) -> int:
        """Delete records beyond their retention; how many. A manager in use does it about once an hour by itself."""
        return drive(self._transacting.records.sweep())
