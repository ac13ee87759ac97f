"""The raw compare-and-swap: apsw, one row that is read and then updated where it still has the revision read."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import orjson

from benchmarks.arms.raw_arm import connect, connection_facts

SCHEMA: Final = "CREATE TABLE counters (name TEXT PRIMARY KEY, revision INTEGER NOT NULL, body TEXT NOT NULL)"
READ: Final = "SELECT revision, body FROM counters WHERE name = 'one'"
SWAP: Final = "UPDATE counters SET revision = revision + 1, body = ? WHERE name = 'one' AND revision = ?"


class RawCounter:
    """One connection that the threads take in turn, for the read and again for the write: the fastest of its kind.

    With a connection for each thread the writers wait for each other inside SQLite, which polls.
    """

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._connection.execute(SCHEMA)
        self._connection.execute("INSERT INTO counters VALUES ('one', 0, '{\"data\":0}')")
        self._lock = threading.Lock()

    def increment(self) -> bool:
        while True:
            revision, body = self._read()
            if self._swap(orjson.dumps({"data": orjson.loads(body)["data"] + 1}).decode(), revision):
                return True

    def _read(self) -> tuple[int, str]:
        with self._lock:
            return self._connection.execute(READ).get

    def _swap(self, body: str, revision: int) -> bool:
        with self._lock:
            self._connection.execute(SWAP, (body, revision))  # a transaction of its own
            return self._connection.changes() == 1

    def value(self) -> int:
        return orjson.loads(self._read()[1])["data"]

    def facts(self) -> dict[str, str]:
        return connection_facts(self._connection)

    def close(self) -> None:
        self._connection.close()


def open_counter(path: Path, *, variant: str) -> RawCounter:
    return RawCounter(path)
