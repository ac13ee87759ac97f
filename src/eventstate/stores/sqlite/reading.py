"""The queries that read a store file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final

import apsw

from eventstate.core.documents import ENTRY, HEAD, KINDS, Document, FeedPage, Key, Row, Rows, made
from eventstate.stores.base import PAGE_BYTES
from eventstate.stores.sqlite.writing import StreamNumbers

Found = Iterable[tuple[Any, ...]]
StreamNames = dict[int, tuple[str, str]]


def document(connection: apsw.Connection, key: Key, known: StreamNumbers) -> Document | None:
    """One document, or None."""
    if key.kind == HEAD or key.kind == ENTRY:
        number = stream_number(connection, key, known)
        if number is None:
            return None
        if key.kind == HEAD:
            sql = "SELECT revision, written_at, body FROM heads WHERE stream = ?"
            row = connection.execute(sql, (number,)).fetchone()
        else:
            sql = "SELECT position, written_at, body FROM entries WHERE stream = ? AND version = ?"
            row = connection.execute(sql, (number, key.n)).fetchone()
    else:
        sql = "SELECT revision, written_at, body FROM documents WHERE kind = ? AND owner = ? AND id = ? AND n = ?"
        row = connection.execute(sql, key).fetchone()
    return None if row is None else Document(key, row[2], str(row[0]), row[1])


def stream_number(connection: apsw.Connection, key: Key, known: StreamNumbers) -> int | None:
    """The number of a stream; numbers never change, so what was read once is kept."""
    name = (key.owner, key.id)
    number = known.get(name)
    if number is None:
        row = connection.execute("SELECT number FROM streams WHERE owner = ? AND id = ?", name).fetchone()
        if row is not None:
            number = known[name] = row[0]
    return number


def scan(
    connection: apsw.Connection, kind: str, owner: str, id: str | None, prefix: str, after: Key | None, limit: int
) -> tuple[list[Document], bool]:
    """Documents in ``(id, n)`` order, and whether more follow."""
    start = (after.id, after.n) if after is not None else ("", -1)
    if kind == HEAD:
        rows = _heads(connection, owner, id, prefix, start, limit)
    elif kind == ENTRY and id is not None:
        return _stream_page(connection, owner, id, prefix, start, limit)
    elif kind == ENTRY:
        rows = _entries(connection, owner, prefix, start, limit)
    else:
        rows = _others(connection, kind, owner, id, prefix, start, limit)
    return _page(rows, kind, owner, prefix, limit)


def _heads(
    connection: apsw.Connection, owner: str, id: str | None, prefix: str, start: tuple[str, int], limit: int
) -> Found:
    sql = (
        "SELECT s.id, 0, h.revision, h.written_at, h.body FROM streams s JOIN heads h ON h.stream = s.number"
        " WHERE s.owner = ? AND s.id"
    )
    if id is not None:
        return connection.execute(sql + " = ? AND s.id > ?", (owner, id, start[0]))
    if start[0] and start[0] >= prefix:
        return connection.execute(sql + " > ? ORDER BY s.id LIMIT ?", (owner, start[0], limit + 1))
    return connection.execute(sql + " >= ? ORDER BY s.id LIMIT ?", (owner, prefix, limit + 1))


def _entries(connection: apsw.Connection, owner: str, prefix: str, start: tuple[str, int], limit: int) -> Found:
    sql = (
        "SELECT s.id, e.version, e.position, e.written_at, e.body"
        " FROM streams s CROSS JOIN entries e ON e.stream = s.number"
        " WHERE s.owner = ? AND s.id >= ? AND (s.id, e.version) > (?, ?)"
        " ORDER BY s.id, e.version LIMIT ?"
    )
    return connection.execute(sql, (owner, max(prefix, start[0]), *start, limit + 1))


def _others(
    connection: apsw.Connection,
    kind: str,
    owner: str,
    id: str | None,
    prefix: str,
    start: tuple[str, int],
    limit: int,
) -> Found:
    sql = (
        "SELECT id, n, revision, written_at, body FROM documents"
        " WHERE kind = ? AND owner = ? AND id >= ? AND (id, n) > (?, ?)"
    )
    if id is not None:
        sql += " AND id = ? ORDER BY id, n LIMIT ?"
        return connection.execute(sql, (kind, owner, id, *start, id, limit + 1))
    return connection.execute(sql + " ORDER BY id, n LIMIT ?", (kind, owner, max(prefix, start[0]), *start, limit + 1))


def _page(rows: Found, kind: str, owner: str, prefix: str, limit: int) -> tuple[list[Document], bool]:
    documents: list[Document] = []
    size = 0
    for id, n, revision, written_at, body in rows:
        if prefix and not id.startswith(prefix):
            return documents, False
        if len(documents) == limit or size >= PAGE_BYTES:
            return documents, True
        size += len(body)
        documents.append(made(Document, (made(Key, (kind, owner, id, n)), body, str(revision), written_at)))
    return documents, False


def _stream_page(
    connection: apsw.Connection, owner: str, id: str, prefix: str, start: tuple[str, int], limit: int
) -> tuple[list[Document], bool]:
    """The entries of one stream, without its id in each row."""
    documents: list[Document] = []
    if start[0] > id or not id.startswith(prefix):
        return documents, False
    sql = (
        "SELECT e.version, e.position, e.written_at, e.body"
        " FROM streams s CROSS JOIN entries e ON e.stream = s.number"
        " WHERE s.owner = ? AND s.id = ? AND e.version > ? ORDER BY e.version LIMIT ?"
    )
    size = 0
    for n, position, written_at, body in connection.execute(
        sql, (owner, id, start[1] if start[0] == id else -1, limit + 1)
    ):
        if len(documents) == limit or size >= PAGE_BYTES:
            return documents, True
        size += len(body)
        documents.append(made(Document, (made(Key, (ENTRY, owner, id, n)), body, str(position), written_at)))
    return documents, False


def owners(connection: apsw.Connection, after: str, limit: int) -> Sequence[str]:
    """Governors that have documents, ascending: one index step each, not a scan."""
    found: list[str] = []
    while len(found) < limit:
        row = connection.execute(_NEXT_OWNER, (after,)).fetchone()
        if row is None or row[0] is None:
            break
        after = row[0]
        found.append(after)
    return found


# A stream's row stays when its documents are gone.
_NEXT_STREAM_OWNER = (
    "SELECT * FROM (SELECT owner FROM streams WHERE owner > ?1 AND"
    " (EXISTS (SELECT 1 FROM heads WHERE stream = number) OR"
    " EXISTS (SELECT 1 FROM entries WHERE stream = number)) ORDER BY owner LIMIT 1)"
)
_NEXT_DOCUMENT_OWNERS = [
    f"SELECT min(owner) FROM documents WHERE kind = '{kind}' AND owner > ?1" for kind in sorted(KINDS - {HEAD, ENTRY})
]
_NEXT_OWNER = f"SELECT min(owner) FROM ({' UNION ALL '.join([_NEXT_STREAM_OWNER, *_NEXT_DOCUMENT_OWNERS])})"


_FEED = "SELECT position, stream, version, written_at, body FROM entries WHERE position > ? ORDER BY position LIMIT ?"
# Without what belongs to no stream, such as the entry of stream 0 that keeps the highest position taken.
_FEED_OF_STREAMS = (
    "SELECT e.position, e.stream, e.version, e.written_at, e.body FROM entries e"
    " JOIN streams s ON s.number = e.stream WHERE e.position > ? ORDER BY e.position LIMIT ?"
)


ROWS_AT_ONCE: Final = 16
"""Of a feed: a turn of a Python loop between two rows costs more than to drop a few that are too many."""


def feed(connection: apsw.Connection, after: int, limit: int, names: StreamNames) -> FeedPage:
    """Entries in commit order."""
    rows = _feed_rows(connection, _FEED, after, limit)
    if not _know_names(connection, rows, names):
        rows = _feed_rows(connection, _FEED_OF_STREAMS, after, limit)
        _know_names(connection, rows, names)
    return FeedPage(Rows(rows, names), rows[-1][0] if rows else after)


def _feed_rows(connection: apsw.Connection, sql: str, after: int, limit: int) -> list[Row]:
    rows: list[Row] = []
    size = 0
    found: Iterator[Row] = connection.execute(sql, (after, limit))
    while size < PAGE_BYTES and (some := list(islice(found, ROWS_AT_ONCE))):
        rows += some
        size += sum(map(len, map(_BODY, some)))
    while rows and size - len(rows[-1][4]) >= PAGE_BYTES:
        size -= len(rows.pop()[4])
    return rows


def _know_names(connection: apsw.Connection, rows: Sequence[Row], names: StreamNames) -> bool:
    """Have the names of the streams, read once where a join would read them for every entry; whether all have one."""
    unknown = set(map(_STREAM, rows)) - names.keys()
    for number in unknown:
        row = connection.execute("SELECT owner, id FROM streams WHERE number = ?", (number,)).fetchone()
        if row is None:
            return False
        names[number] = row
    return True


_STREAM: Final[Callable[[Row], Any]] = itemgetter(1)
_BODY: Final[Callable[[Row], bytes]] = itemgetter(4)
