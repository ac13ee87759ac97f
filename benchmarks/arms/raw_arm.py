"""The raw limit: apsw, one log row and one head row per append, WAL with synchronous=FULL, nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import apsw
import orjson

from benchmarks.arms.raw_group import AsyncGroup, ThreadGroup
from benchmarks.arms.session import Shape, durability, machine_name
from benchmarks.payloads import CHANGED_BY, REASON, State, state

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS log (
    position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL,
    UNIQUE (stream, version)
);
CREATE TABLE IF NOT EXISTS heads (stream TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS snapshots (
    stream TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (stream, version)
);
"""
APPEND: Final = "INSERT INTO log (stream, version, body) VALUES (?, ?, ?)"
UPSERT: Final = (
    "INSERT INTO heads (stream, version, body) VALUES (?, ?, ?)"
    " ON CONFLICT (stream) DO UPDATE SET version = excluded.version, body = excluded.body"
)
CURRENT: Final = "SELECT body FROM heads WHERE stream = ?"
SNAPSHOT: Final = "INSERT INTO snapshots (stream, version, body) VALUES (?, ?, ?)"


class Row(NamedTuple):
    """One append, encoded."""

    stream: str
    version: int
    entry: str
    head: str


def encode(machine: str, before: int, value: State) -> Row:
    """The two rows of one append: the event with its metadata, and the state."""
    now = time.time_ns() // 1000
    entry = {"type": "Changed", "data": value, "changed_by": CHANGED_BY, "reason": REASON, "at": now}
    return Row(machine, before + 1, orjson.dumps(entry).decode(), orjson.dumps(value).decode())


def connect(path: Path, *, synchronous: str = "FULL") -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(30_000)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(SCHEMA)
    return connection


def write(connection: apsw.Connection, rows: Iterable[Row]) -> None:
    """Commit these appends together."""
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    for row in rows:
        execute(APPEND, (row.stream, row.version, row.entry))
        execute(UPSERT, (row.stream, row.version, row.head))
    execute("COMMIT")


class RawSession:
    """Blocking calls on the caller's own thread; with ``group`` many threads share each commit."""

    def __init__(self, path: Path, *, group: bool = False) -> None:
        self._connection = connect(path)
        self._group = ThreadGroup(self._write) if group else None

    def append(self, machine: str, before: int, state: State) -> None:
        row = encode(machine, before, state)
        if self._group is None:
            write(self._connection, (row,))
        else:
            self._group.submit(row)

    def _write(self, rows: list[Row]) -> None:
        write(self._connection, rows)

    def rebuild(self, machine: str) -> int:
        return rebuild(self._connection, machine)

    def current(self, machine: str) -> int:
        return orjson.loads(self._connection.execute(CURRENT, (machine,)).get)["n"]

    def recover(self) -> tuple[int, int]:
        states = [orjson.loads(body) for (body,) in self._connection.execute("SELECT body FROM heads")]
        return len(states), sum(value["n"] for value in states)

    def facts(self) -> dict[str, str]:
        return connection_facts(self._connection)

    def close(self) -> None:
        if self._group is not None:
            self._group.close()
        self._connection.close()


class AsyncRawSession:
    """asyncio callers, one writer thread that commits whatever has queued up."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path)
        self._group = AsyncGroup(self._write)

    def _write(self, rows: list[Row]) -> None:
        write(self._connection, rows)

    async def append(self, machine: str, before: int, state: State) -> None:
        await self._group.submit(encode(machine, before, state))

    async def rebuild(self, machine: str) -> int:
        return rebuild(self._connection, machine)

    async def recover(self) -> tuple[int, int]:
        raise NotImplementedError("reads are measured on the blocking session")

    async def facts(self) -> dict[str, str]:
        return connection_facts(self._connection)

    async def close(self) -> None:
        self._group.close()
        self._connection.close()


def rebuild(connection: apsw.Connection, machine: str) -> int:
    """The newest snapshot, if any, then every later event; only the last state is kept."""
    version, value = 0, {"n": 0}
    newest = "SELECT version, body FROM snapshots WHERE stream = ? ORDER BY version DESC LIMIT 1"
    snapshot = connection.execute(newest, (machine,)).fetchone()
    if snapshot is not None:
        version, value = snapshot[0], orjson.loads(snapshot[1])
    tail = "SELECT body FROM log WHERE stream = ? AND version > ? ORDER BY version"
    for (body,) in connection.execute(tail, (machine, version)):
        value = orjson.loads(body)["data"]
    return value["n"]


def connection_facts(connection: apsw.Connection) -> dict[str, str]:
    return durability(
        journal_mode=str(connection.pragma("journal_mode")),
        synchronous=int(str(connection.pragma("synchronous"))),
        sqlite=apsw.sqlite_lib_version(),
    )


def open_sync(path: Path, *, variant: str, shape: Shape | None) -> RawSession:
    return RawSession(path, group=variant == "group")


async def open_async(path: Path, *, variant: str, shape: Shape | None) -> AsyncRawSession:
    return AsyncRawSession(path)


def seed(path: Path, shape: Shape, *, variant: str) -> None:
    """Write a store of this shape, machine after machine for each event, as live traffic would leave it."""
    connection = connect(path, synchronous="OFF")
    for n in range(1, shape.events + 1):
        value = state(shape.size, n)
        write(connection, (encode(machine_name(index), n - 1, value) for index in range(shape.machines)))
        if shape.snapshot_every and n % shape.snapshot_every == 0:
            body = orjson.dumps(value).decode()
            connection.executemany(SNAPSHOT, ((machine_name(index), n, body) for index in range(shape.machines)))
    connection.close()
