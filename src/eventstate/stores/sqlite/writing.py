"""Judging and applying one batch inside the write transaction."""

from __future__ import annotations

import apsw

from eventstate.core.documents import (
    ENTRY,
    HEAD,
    Batch,
    Committed,
    Delete,
    Key,
    Put,
    Refused,
    Require,
)
from eventstate.stores.limits import holds
from eventstate.stores.sqlite.clock import StoreClock

StreamNumbers = dict[tuple[str, str], int]

# SQLite would give out the highest position again once its row is gone, so that row stays, as an entry of no stream.
_KEEP_HIGHEST_POSITION = (
    "UPDATE entries SET stream = 0, version = position, body = x''"
    " WHERE stream = ? AND version = ? AND position = (SELECT max(position) FROM entries)"
)


class Writing:
    """One open write transaction. New streams are remembered here until it is committed."""

    def __init__(self, connection: apsw.Connection, known: StreamNumbers, clock: StoreClock) -> None:
        self._connection = connection
        self._run = connection.cursor().execute
        self._known = known
        self.fresh: StreamNumbers = {}
        self._clock = clock

    def apply(self, batch: Batch, careful: bool = False) -> Committed | Refused:
        """Judge every precondition before the first write, then write all or nothing.

        Raises:
            apsw.ConstraintError: an append without snapshots met what its head did not tell of; ``careful`` names it.
        """
        token, operations = batch
        if len(operations) == 2 and not careful:
            entry, head = operations
            if isinstance(entry, Put) and isinstance(head, Put):
                result = self._append(entry, head, token)
                if result is not None:
                    return result
        refused = [op.key for op in batch.operations if op.when is not Require.ANY and not self._holds(op.key, op.when)]
        if refused:
            return Refused(frozenset(refused))
        at = self._clock.now()
        position: int | None = None
        revisions: dict[Key, str] = {}
        for operation in batch.operations:
            if isinstance(operation, Put):
                key = operation.key
                revisions[key] = token
                if key.kind == ENTRY:
                    if operation.when is not Require.ABSENT:
                        self._delete(key)
                    position = self._put_entry(key, operation.body, at)
                    revisions[key] = str(position)
                elif key.kind == HEAD:
                    self._put_head(key, operation.body, token, at)
                else:
                    self._put_document(key, operation.body, token, at)
            elif isinstance(operation, Delete):
                self._delete(operation.key)
        return Committed(revisions, at, position)

    def _append(self, entry: Put, head: Put, token: str) -> Committed | None:
        """The usual append in two statements: the head's says by its count whether it was as expected.

        None, with nothing written, where it was not, or where this is no usual append. That the entry is absent follows
        from the head; where it is not, the index refuses it.
        """
        entry_key, entry_body, absent = entry
        head_key, head_body, revision = head
        kind, owner, id, _ = head_key
        if kind != HEAD or entry_key[:3] != (ENTRY, owner, id) or absent is not Require.ABSENT:
            return None
        number = self._known.get((owner, id))
        if number is None or isinstance(revision, Require):
            return None
        at = self._clock.now()
        self._run(
            "UPDATE heads SET revision = ?, written_at = ?, body = ? WHERE stream = ? AND revision = ?",
            (token, at, head_body, number, revision),
        )
        if not self._connection.changes():
            return None
        self._run(
            "INSERT INTO entries (stream, version, written_at, body) VALUES (?, ?, ?, ?)",
            (number, entry_key.n, at, entry_body),
        )
        position = self._connection.last_insert_rowid()
        return Committed({entry_key: str(position), head_key: token}, at, position)

    def _holds(self, key: Key, when: Require | str) -> bool:
        return holds(when, self._revision(key))

    def _revision(self, key: Key) -> str | None:
        if key.kind == HEAD:
            number = self._number(key)
            if number is None:
                return None
            row = self._run("SELECT revision FROM heads WHERE stream = ?", (number,)).fetchone()
        elif key.kind == ENTRY:
            number = self._number(key)
            if number is None:
                return None
            row = self._run("SELECT position FROM entries WHERE stream = ? AND version = ?", (number, key.n)).fetchone()
            return None if row is None else str(row[0])
        else:
            row = self._run(
                "SELECT revision FROM documents WHERE kind = ? AND owner = ? AND id = ? AND n = ?", key
            ).fetchone()
        return None if row is None else row[0]

    def _number(self, key: Key) -> int | None:
        name = (key.owner, key.id)
        number = self._known.get(name) or self.fresh.get(name)
        if number is None:
            row = self._run("SELECT number FROM streams WHERE owner = ? AND id = ?", name).fetchone()
            if row is None:
                return None
            number = self.fresh[name] = row[0]
        return number

    def _number_made(self, key: Key) -> int:
        number = self._number(key)
        if number is None:
            self._run("INSERT INTO streams (owner, id) VALUES (?, ?)", (key.owner, key.id))
            number = self.fresh[key.owner, key.id] = self._connection.last_insert_rowid()
        return number

    def _put_entry(self, key: Key, body: bytes, at: int) -> int:
        number = self._number_made(key)
        self._run(
            "INSERT INTO entries (stream, version, written_at, body) VALUES (?, ?, ?, ?)", (number, key.n, at, body)
        )
        return self._connection.last_insert_rowid()

    def _put_head(self, key: Key, body: bytes, token: str, at: int) -> None:
        self._run(
            "INSERT INTO heads VALUES (?1, ?2, ?3, ?4) ON CONFLICT (stream) DO UPDATE"
            " SET revision = ?2, written_at = ?3, body = ?4",
            (self._number_made(key), token, at, body),
        )

    def _put_document(self, key: Key, body: bytes, token: str, at: int) -> None:
        self._run(
            "INSERT INTO documents VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (kind, owner, id, n) DO UPDATE"
            " SET revision = ?5, written_at = ?6, body = ?7",
            (*key, token, at, body),
        )

    def _delete(self, key: Key) -> None:
        if key.kind == HEAD or key.kind == ENTRY:
            number = self._number(key)
            if number is None:
                return
            if key.kind == HEAD:
                self._run("DELETE FROM heads WHERE stream = ?", (number,))
            else:
                self._run(_KEEP_HIGHEST_POSITION, (number, key.n))
                self._run("DELETE FROM entries WHERE stream = ? AND version = ?", (number, key.n))
        else:
            self._run("DELETE FROM documents WHERE kind = ? AND owner = ? AND id = ? AND n = ?", key)
