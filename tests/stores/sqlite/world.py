"""Batches for the port, and a look at how an engine groups them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eventstate.core.documents import CURSOR, HEAD, Batch, Key, Put, Require
from eventstate.runtime.blocking import drive
from eventstate.runtime.clock import unique
from eventstate.stores.base import Store
from eventstate.stores.sqlite.engine import Engine
from eventstate.stores.sqlite.group import Member
from eventstate.stores.sqlite.store import SqliteStore


def url_of(path: Path, options: str = "") -> str:
    return f"sqlite:///{path}{options}"


def engine_of(store: Store) -> Engine:
    assert isinstance(store, SqliteStore)
    return store.engine


def put(id: str, body: bytes = b"{}", when: Require | str = Require.ABSENT, *, kind: str = CURSOR) -> Batch:
    """A batch that writes one document."""
    return Batch(unique(), (Put(Key(kind, "g", id), body, when),))


def head(id: str, when: Require | str = Require.ABSENT) -> Batch:
    return put(id, b"{}", when, kind=HEAD)


def commit(store: Store, batch: Batch) -> Any:
    return drive(store.commit(batch))


def get(store: Store, key: Key) -> Any:
    return drive(store.get([key])).documents.get(key)


@contextmanager
def groups_of(engine: Engine) -> Iterator[list[int]]:
    """The sizes of the groups that are committed meanwhile."""
    sizes: list[int] = []
    run = engine.group._run

    def counted(group: Sequence[Member]) -> None:
        sizes.append(len(group))
        run(group)

    engine.group._run = counted
    try:
        yield sizes
    finally:
        engine.group._run = run
