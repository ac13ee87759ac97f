"""What the cases about transactions share: managers of either world through the core of both, and small operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final

from eventstate.core.documents import DOCUMENT, OUTBOX, OUTCOME, TRANSACTION, Document, Key, Page
from eventstate.core.retrying import RetryPolicy
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.machines import transacting
from eventstate.machines.async_transaction import AsyncTransaction
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.machine import Machine
from eventstate.machines.transacting import Transacting
from eventstate.stores.base import Store
from eventstate.testing.conformance.doubt import SettlementSuite
from eventstate.testing.conformance.persisters import DOORS, GOVERNOR, TALLIES, Added
from eventstate.testing.faults import Fault, FaultyStore
from eventstate.transactions.fencing import Fences
from eventstate.transactions.records import TransactionRecord

Tx = AsyncTransaction

NOTES: Final = "notes"
ORDERS: Final = "orders"
"""The second one is declared guarded."""

PATIENT: Final = RetryPolicy(attempts=200, initial=0.001, cap=0.02, timeout=60)
"""For races in which everybody must come through, however unlucky."""

_running: ContextVar[Any] = vars(transacting)["_running"]


class Manager:
    """A transaction manager whose operations are coroutines in either world."""

    def __init__(
        self,
        store: Store,
        *,
        governor: str = GOVERNOR,
        guarded: Iterable[str] = (ORDERS,),
        machines: Iterable[Machine[Any, Any]] = (TALLIES, DOORS),
        retry: RetryPolicy | None = None,
        keep_records: bool = True,
        retention: timedelta = timedelta(days=7),
    ) -> None:
        self.store = store
        self.core = Transacting(
            store,
            governor,
            machines,
            SnapshotPolicy(),
            guarded=guarded,
            retry=retry or RetryPolicy(),
            keep_records=keep_records,
            retention=retention,
        )

    async def run(
        self,
        operation: Callable[..., Awaitable[Any]],
        *args: Any,
        token: str | None = None,
        retry: RetryPolicy | None = None,
        key: str | None = None,
        fence: Fences = None,
        check_repeatable: bool = False,
    ) -> Any:
        """As `TransactionManager.execute_transaction`."""
        options = self.core.options(
            operation, args, retry=retry, idempotency_key=key, fence=fence, check_repeatable=check_repeatable
        )

        async def call(core: TransactionCore) -> Any:
            return await operation(AsyncTransaction(core), *args)

        return await self.core.execute(call, options, token)

    async def meanwhile(self, operation: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """The same from inside another's operation, as if somebody else did it just then."""
        reset = _running.set(None)
        try:
            return await self.run(operation, *args, **options)
        finally:
            _running.reset(reset)

    async def log(self) -> list[TransactionRecord]:
        """All records, oldest first."""
        found: list[TransactionRecord] = []
        after: str | None = ""
        while after is not None:
            records, after = await self.core.records.page(after)
            found += records
        return found


class TransactionSuite(SettlementSuite):
    """A suite whose cases run transactions."""

    def manager(self, store: Store | None = None, **options: Any) -> Manager:
        """A manager with a memory of its own, on a store of this test."""
        return Manager(store if store is not None else self.open(), **options)

    async def notes(self, store: Store) -> dict[str, Any]:
        """All notes, by id, as somebody sees them who has never been here before."""
        prefix = f"{NOTES}/"
        page = await store.scan(DOCUMENT, GOVERNOR, prefix=prefix)
        ids = [document.key.id.removeprefix(prefix) for document in page.documents]

        async def read(tx: Tx) -> dict[str, Any]:
            return {id: await tx.get_document(NOTES, id) for id in ids}

        return await self.manager(store).run(read)

    async def note(self, store: Store, **values: Any) -> None:
        """Write notes, in one transaction, from inside another or not."""
        await self.manager(store).meanwhile(put_notes, values)

    async def written(self, store: Store) -> list[Document]:
        """All documents that transactions may leave, besides the log of those that were given up."""
        found: list[Document] = []
        for kind in (DOCUMENT, "guard", "head", "entry", "snapshot", "command", OUTBOX, OUTCOME):
            found += (await store.scan(kind, GOVERNOR)).documents
        return found


class SlowLists(FaultyStore):
    """A store whose lists come in pages of two, with time for others between two pages, and a clock to be set.

    Attributes:
        between: awaited before each page but the first.
        later: microseconds by which lists seem to be read later.
    """

    def __init__(self, store: Store, *, later: int = 0) -> None:
        super().__init__(store)
        self.between: Callable[[], Awaitable[Any]] | None = None
        self.later = later

    async def scan(
        self,
        kind: str,
        owner: str,
        *,
        id: str | None = None,
        prefix: str = "",
        after: Key | None = None,
        limit: int = 1000,
    ) -> Page:
        between = self.between
        if kind == DOCUMENT and after is not None and between is not None:
            self.between = None
            await between()
        limit = 2 if kind == DOCUMENT else limit
        page = await super().scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit)
        return page._replace(read_at=page.read_at + self.later)


class Sequence:
    """Lets something happen once, in the first attempt only.

    Attributes:
        attempts: how often it was come by.
    """

    def __init__(self, happening: Callable[[], Awaitable[Any]], times: int = 1) -> None:
        self._happening = happening
        self._times = times
        self.attempts = 0

    async def here(self) -> None:
        self.attempts += 1
        if self.attempts <= self._times:
            await self._happening()


# Operations


async def put_note(tx: Tx, id: str, value: Any) -> Any:
    await tx.put_document(NOTES, id, value)
    return value


async def put_notes(tx: Tx, values: dict[str, Any]) -> None:
    for id, value in values.items():
        if value is None:
            await tx.delete_document(NOTES, id)
        else:
            await tx.put_document(NOTES, id, value)


async def get_note(tx: Tx, id: str) -> Any:
    return await tx.get_document(NOTES, id)


async def count_up(tx: Tx, id: str) -> int:
    """One more in a note."""
    value = (await tx.get_document(NOTES, id) or 0) + 1
    await tx.put_document(NOTES, id, value)
    return value


async def add(tx: Tx, mark: str, id: str = "1") -> int:
    """One more event; the version."""
    return (await tx.append(TALLIES, id, Added(mark))).version


async def add_and_note(tx: Tx, mark: str) -> int:
    """An event and a document together."""
    version = await add(tx, mark)
    await tx.put_document(NOTES, mark, version)
    return version


async def order(tx: Tx, id: str, value: Any = 1) -> None:
    """Put a document into the guarded collection."""
    await tx.put_document(ORDERS, id, value)


__all__ = [
    "DOCUMENT",
    "NOTES",
    "ORDERS",
    "OUTBOX",
    "OUTCOME",
    "PATIENT",
    "TRANSACTION",
    "Fault",
    "Manager",
    "Sequence",
    "SlowLists",
    "TransactionSuite",
    "Tx",
    "add",
    "add_and_note",
    "count_up",
    "get_note",
    "order",
    "put_note",
    "put_notes",
]
