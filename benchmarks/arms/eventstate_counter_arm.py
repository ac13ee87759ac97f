"""One number counted up by eventstate: in transactions, or by the bare compare-and-swap of its store."""

from __future__ import annotations

from pathlib import Path

import orjson

from benchmarks.arms.apsw_facts import Connections
from eventstate import EventStateError, Store, Transaction, TransactionManager, open_store
from eventstate.core.documents import DOCUMENT, Batch, Committed, Key, Put, Require
from eventstate.runtime.blocking import drive

CONNECTIONS = Connections()
GOVERNOR = "bench"
COLLECTION, NAME = "counters", "one"


class StoreCounter:
    """Reads, writes at the revision read, again at once until it works: the store and nothing above it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._key = Key(DOCUMENT, GOVERNOR, f"{COLLECTION}/{NAME}")

    def increment(self) -> bool:
        key, store = self._key, self.store
        while True:
            document = drive(store.get((key,))).documents.get(key)
            value = 1 if document is None else orjson.loads(document.body)["data"] + 1
            token = store.runtime.unique()
            body = orjson.dumps({"t": token, "data": value})
            when = Require.ABSENT if document is None else document.revision
            if isinstance(drive(store.commit(Batch(token, (Put(key, body, when),)))), Committed):
                return True

    def value(self) -> int:
        document = drive(self.store.get((self._key,))).documents[self._key]
        return orjson.loads(document.body)["data"]

    def facts(self) -> dict[str, str]:
        return CONNECTIONS.facts()

    def close(self) -> None:
        self.store.close()


class TransactionCounter:
    """The same by `execute_transaction`, with its records, outcomes and retries."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._manager = TransactionManager(store, governor=GOVERNOR)

    def increment(self) -> bool:
        try:
            self._manager.execute_transaction(count_up)
        except EventStateError:
            return False
        return True

    def value(self) -> int:
        return self._manager.execute_transaction(lambda tx: tx.get_document(COLLECTION, NAME))

    def facts(self) -> dict[str, str]:
        return CONNECTIONS.facts()

    def close(self) -> None:
        self.store.close()


def count_up(tx: Transaction) -> None:
    tx.put_document(COLLECTION, NAME, (tx.get_document(COLLECTION, NAME) or 0) + 1)


def open_counter(path: Path, *, variant: str) -> StoreCounter | TransactionCounter:
    store = open_store(f"sqlite:///{path.absolute()}")
    return TransactionCounter(store) if variant == "transactions" else StoreCounter(store)
