"""The log of transactions: what each one did, kept for a while and then swept away.

The record of a committed transaction is part of its commit, so it is there exactly if the transaction is. That of
one that was given up is written afterwards, as well as can be. Records are for people and prove nothing
(core.settlement says what does).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from eventstate.core.documents import OUTCOME, TRANSACTION, Batch, Delete, Document, Key, Put, Require
from eventstate.core.instants import micros_of, utc_of
from eventstate.core.settlement import PROOF_KEPT_MICROS
from eventstate.errors import ConfigurationError, CorruptionError, EventStateError
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

SHORTEST_RETENTION: Final = timedelta(hours=1)
SWEEP_SECONDS: Final = 3600.0
"""A manager that is used sweeps so often."""

PAGE: Final = 200
MAX_KEYS: Final = 100
"""Keys that a record names; more are counted only."""

MAX_REASON: Final = 1000


class TransactionStatus(enum.Enum):
    """How a transaction ended."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    """Its operation raised an error of the caller's own; nothing was written."""
    FAILED = "failed"
    """The library gave it up: conflicts, a lost lock, a store that did not answer; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRecord:
    """One transaction, as its log tells it.

    Attributes:
        transaction_id: also the token of its last commit; ids rise with time.
        start_time, end_time: by the clock of the process that ran it.
        reads: what it read, such as ``head shop/order-42``; the first 100.
        writes: what it wrote or would have written.
        attempts: how often its operation ran.
        reason: the error that ended it, None for a committed one.
        result: what its operation returned, where that is short plain data.
    """

    transaction_id: str
    start_time: datetime
    end_time: datetime
    status: TransactionStatus
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    attempts: int
    reason: str | None = None
    result: Any = None


def encode_record(
    *,
    token: str,
    started: int,
    ended: int,
    status: TransactionStatus,
    reads: Iterable[Key],
    writes: Iterable[Key],
    attempts: int,
    reason: str | None = None,
    result: bytes | None = None,
) -> bytes:
    """The body of a record; ``result`` is JSON text."""
    members: dict[str, Any] = {
        "t": token,
        "start": started,
        "end": ended,
        "status": status.value,
        "reads": _shown(reads),
        "writes": _shown(writes),
        "attempts": attempts,
    }
    if reason is not None:
        members["reason"] = reason[:MAX_REASON]
    if result is not None:
        members["result"] = orjson.Fragment(result)
    return orjson.dumps(members)


def _shown(keys: Iterable[Key]) -> list[str]:
    names = sorted(str(key) for key in keys)
    return names if len(names) <= MAX_KEYS else [*names[:MAX_KEYS], f"and {len(names) - MAX_KEYS} more"]


def decode_record(document: Document) -> TransactionRecord:
    """A record read back.

    Raises:
        CorruptionError: it is none.
    """
    try:
        members = orjson.loads(document.body)
        return TransactionRecord(
            transaction_id=document.key.id,
            start_time=utc_of(members["start"]),
            end_time=utc_of(members["end"]),
            status=TransactionStatus(members["status"]),
            reads=tuple(members["reads"]),
            writes=tuple(members["writes"]),
            attempts=members["attempts"],
            reason=members.get("reason"),
            result=members.get("result"),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(where=str(document.key), problem=f"no transaction record ({error})") from None


def new_transaction_id(now: int, unique: str) -> str:
    """An id that sorts by time: microseconds in hexadecimal digits, then chance."""
    return f"{now:014x}-{unique}"


def first_id_at(micros: int) -> str:
    """An id at or below those of all transactions from a time on."""
    return f"{max(micros, 0):014x}"


class RecordKeeper:
    """Writes, finds and sweeps the records of one governor."""

    def __init__(self, store: Store, governor: str, committer: Committer, retention: timedelta) -> None:
        if retention < SHORTEST_RETENTION:
            raise ConfigurationError(f"retention={retention}: records are kept for an hour at least")
        self._store = store
        self._governor = governor
        self._committer = committer
        self._retention = int(retention.total_seconds() * 1_000_000)
        self._sweep_at = store.runtime.monotonic() + SWEEP_SECONDS

    def key(self, transaction_id: str) -> Key:
        return Key(TRANSACTION, self._governor, transaction_id)

    async def write(self, transaction_id: str, token: str, body: bytes) -> None:
        """Write the record of a transaction that did not commit; one that can't be written is left out.

        ``token`` is that of this commit, and in the body.
        """
        put = Put(self.key(transaction_id), body, Require.ABSENT)
        try:
            await self._committer.commit_guarded(Batch(token, (put,)))
        except EventStateError:
            return

    async def get(self, transaction_id: str) -> TransactionRecord | None:
        key = self.key(transaction_id)
        document = (await self._store.get((key,))).documents.get(key)
        return None if document is None else decode_record(document)

    @staticmethod
    def first_after(since: datetime | None) -> str:
        """Where `page` begins for transactions from a time on."""
        return "" if since is None else first_id_at(micros_of(since, "since"))

    async def page(self, after: str) -> tuple[list[TransactionRecord], str | None]:
        """Records in the order of their ids, which is that of time; and the id to go on after."""
        key = self.key(after) if after else None
        page = await self._store.scan(TRANSACTION, self._governor, after=key, limit=PAGE)
        following = page.next.id if page.next is not None else None
        return [decode_record(document) for document in page.documents], following

    async def sweep_if_due(self) -> None:
        """Sweep once in a while; what goes wrong is left for the next time."""
        now = self._store.runtime.monotonic()
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_SECONDS
        try:
            await self.sweep()
        except EventStateError:
            return

    async def sweep(self) -> int:
        """Delete records beyond their retention, and the proofs of commits that nobody may ask for any more."""
        swept = 0
        after: Key | None = None
        while True:
            page = await self._store.scan(TRANSACTION, self._governor, after=after, limit=PAGE)
            old = [document for document in page.documents if page.read_at - document.written_at > self._retention]
            await self._delete(old)
            swept += len(old)
            after = page.next
            if after is None or len(old) < len(page.documents):
                break
        return swept + await self._sweep_outcomes()

    async def _sweep_outcomes(self) -> int:
        swept = 0
        after: Key | None = None
        while True:
            page = await self._store.scan(OUTCOME, self._governor, after=after, limit=PAGE)
            old = [document for document in page.documents if page.read_at - document.written_at > PROOF_KEPT_MICROS]
            await self._delete(old)
            swept += len(old)
            after = page.next
            if after is None:
                return swept

    async def _delete(self, documents: list[Document]) -> None:
        if documents:
            deletes = [Delete(document.key, Require.ANY) for document in documents]
            await self._committer.commit_guarded(Batch(self._store.runtime.unique(), deletes))
