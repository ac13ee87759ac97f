"""A SQLite store, looked at through a connection of the kind that writers use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventstate.cli.doctor.files import check_file
from eventstate.cli.doctor.lines import Line, bad, guarded, ok, warn
from eventstate.cli.urls import read_only, sqlite_file

if TYPE_CHECKING:
    from eventstate.stores.sqlite.store import SqliteStore

_DURABILITY: Final = {
    0: warn("durability", "synchronous=OFF: power loss may corrupt the file; use ?durability=full"),
    1: warn("durability", "synchronous=NORMAL: power loss may undo the last acknowledged commits"),
    2: ok("durability", "synchronous=FULL: an acknowledged commit survives power loss"),
    3: ok("durability", "synchronous=EXTRA: an acknowledged commit survives power loss"),
}

_PRAGMAS: Final = ("page_size", "cache_size", "wal_autocheckpoint", "journal_size_limit")


def check_sqlite(url: str, *, integrity: bool) -> Iterator[Line]:
    """Everything about a SQLite store; ``integrity`` also has SQLite check its own structures."""
    path = sqlite_file(url)
    if path is None or not path.exists():
        yield bad("file", f"there is no file {path or url}; name the store with --url")
        return
    yield from check_file(path)
    yield from guarded("store", lambda: _opened(url, path, integrity=integrity))


def _opened(url: str, path: Path, *, integrity: bool) -> Iterator[Line]:
    from eventstate.stores.sqlite.store import SqliteStore
    from eventstate.stores.url import open_store

    writable = os.access(path, os.W_OK) and "mode=ro" not in url
    with open_store(url if writable else read_only(url)) as store:
        assert isinstance(store, SqliteStore)
        yield from _connection(store, writable=writable, integrity=integrity)


def _connection(store: SqliteStore, *, writable: bool, integrity: bool) -> Iterator[Line]:
    engine = store.engine
    with engine.exclusive_writer() if writable else engine.reader() as connection:
        version = connection.execute("SELECT sqlite_version()").get
        yield ok("sqlite", f"{version}, format {connection.pragma('user_version')}")
        yield ok("node", f"{store.node}, epoch {engine.epoch}")
        yield _journal(connection.pragma("journal_mode"))
        if writable:
            yield _DURABILITY[connection.pragma("synchronous")]
        else:
            yield ok("durability", "opened read-only: nothing is written")
        yield ok("pragmas", ", ".join(f"{name}={connection.pragma(name)}" for name in _PRAGMAS))
        if integrity:
            yield _integrity([str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")])


def _journal(mode: object) -> Line:
    return ok("journal", "WAL") if mode == "wal" else bad("journal", f"{mode}, not WAL: who changed it?")


def _integrity(found: Sequence[str]) -> Line:
    if found == ["ok"]:
        return ok("integrity", "SQLite finds its structures whole; 'eventstate verify' checks what they hold")
    return bad("integrity", "; ".join(found) + "; restore a backup")
