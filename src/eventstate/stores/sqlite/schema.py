"""The tables of a store file. Entries and heads have typed tables, everything else shares one."""

from __future__ import annotations

from typing import Final

import apsw

from eventstate.errors import FormatError, NotADatabaseError

APPLICATION_ID: Final = 0x65767374  # "evst"
FORMAT: Final = 1

_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- A stream's number never changes and its row is never deleted, so a lost head is seen as lost.
CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    UNIQUE (owner, id)
);

CREATE TABLE heads (
    stream INTEGER PRIMARY KEY REFERENCES streams,
    revision TEXT NOT NULL,
    written_at INTEGER NOT NULL,
    body BLOB NOT NULL
);

-- The position is the rowid: given out under the write lock, so it is commit order. The row with the highest
-- position is never deleted (an entry of stream 0 takes its place), so no position comes twice.
CREATE TABLE entries (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES streams,
    version INTEGER NOT NULL,
    written_at INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX entries_by_stream ON entries (stream, version);

CREATE TABLE documents (
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    n INTEGER NOT NULL,
    revision TEXT NOT NULL,
    written_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (kind, owner, id, n)
);
"""


def check_format(connection: apsw.Connection, store: str) -> bool:
    """True for a store of this format, False for an empty file.

    Raises:
        NotADatabaseError: a SQLite database of another application.
        FormatError: written by a newer version of this library.
    """
    application = connection.pragma("application_id")
    found = connection.pragma("user_version")
    if application == APPLICATION_ID:
        if found > FORMAT:
            raise FormatError(store=store, found=found, supported=FORMAT)
        return found == FORMAT
    if application or found or connection.execute("SELECT count(*) FROM sqlite_schema").get:
        if connection.pragma("application_id") == APPLICATION_ID:  # another process has just made its tables
            return check_format(connection, store)
        raise NotADatabaseError(store=store, detail="it is a SQLite database of another application")
    return False


def create(connection: apsw.Connection, node: str) -> None:
    """Make the tables, inside the caller's transaction."""
    connection.execute(_TABLES)
    connection.execute("INSERT INTO meta VALUES ('node', ?), ('epoch', 1)", (node,))
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", FORMAT)


def begin_incarnation_of_backup(connection: apsw.Connection) -> None:
    """A backup that is opened to be written goes on by itself: from here its history is another's."""
    if connection.execute("SELECT count(*) FROM meta WHERE name = 'backed up'").get:
        begin_incarnation(connection)


def begin_incarnation(connection: apsw.Connection) -> None:
    """Mark a restored file as another history than the one it was copied from."""
    with connection:
        connection.execute("UPDATE meta SET value = value || '+' || lower(hex(randomblob(2))) WHERE name = 'node'")
        connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
        connection.execute("DELETE FROM meta WHERE name = 'backed up'")
