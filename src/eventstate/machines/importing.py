"""Rows of a file as events, exactly once: each commit holds some rows and how far the file has been read.

A process that dies between two commits leaves both at the same row, so the next one goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.codec import encode
from eventstate.core.documents import CURSOR, Key, Operation, Put, Require, Revision
from eventstate.core.expected import ANY
from eventstate.core.fold import PLAIN
from eventstate.core.format import RESERVED, NewEvent
from eventstate.core.ids import check_id
from eventstate.core.metadata import ChangeMetadata, metadata_to_plain
from eventstate.core.privacy import is_encrypted
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import DocumentTooLargeError, InvalidInputError, TransactionConflictError
from eventstate.log.appending import Appender
from eventstate.log.planning import Change
from eventstate.log.reading import StreamReader
from eventstate.stores.base import MAX_BATCH_OPERATIONS, MAX_BODY_BYTES, Store

MAX_ROW_BYTES: Final = MAX_BODY_BYTES - 8 * 1024
"""Leaves room for what an entry says besides its state."""

CHUNK_BYTES: Final = 512 * 1024
"""Of rows in one commit. Each may be stored three times (entry, head, snapshot), which stays below every limit."""

CHUNK_STREAMS: Final = (MAX_BATCH_OPERATIONS - 1) // 4
"""A stream takes up to four operations: its entry, its head, a snapshot made and one dropped."""

_ROW_OVERHEAD: Final = 200


class Row(NamedTuple):
    """One row, ready to append."""

    state_id: str
    event: NewEvent
    size: int


def make_row(state_id: str, action: str, state: Mapping[str, Any], metadata: ChangeMetadata) -> Row:
    """A row whose event is named ``action`` and carries the whole state after it.

    Raises:
        InvalidInputError: an id or action that can't be used, or a value without an exact JSON form.
        DocumentTooLargeError: the state alone is too large for one event.
    """
    check_id("state id", state_id)
    check_id("action", action)
    if action.startswith(RESERVED):
        raise InvalidInputError(f"action {action!r}: names beginning with {RESERVED!r} are reserved")
    text = encode(state)
    if len(text) > MAX_ROW_BYTES:
        raise DocumentTooLargeError(what=f"the row of {state_id!r}", size=len(text), limit=MAX_ROW_BYTES)
    plain = metadata_to_plain(metadata)
    encode(plain, "$.metadata")
    return Row(state_id, NewEvent(action, state=text, metadata=plain), len(text) + len(action) + _ROW_OVERHEAD)


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in their order, in lists that fit into one commit each."""
    chunk: list[Row] = []
    streams: set[str] = set()
    size = 0
    for row in rows:
        too_many = row.state_id not in streams and len(streams) == CHUNK_STREAMS
        if chunk and (too_many or size + row.size > CHUNK_BYTES):
            yield chunk
            chunk, streams, size = [], set[str](), 0
        chunk.append(row)
        streams.add(row.state_id)
        size += row.size
    if chunk:
        yield chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is imported: the same content read in the same way is the same source, whatever it is called.

    Attributes:
        name: for people.
        digest: of the content.
        options: how its rows become events.
    """

    name: str
    digest: str
    options: Mapping[str, str | None]

    @property
    def id(self) -> str:
        """Names the cursor."""
        parts = orjson.dumps([self.digest, dict(self.options)], option=orjson.OPT_SORT_KEYS)
        return "import:" + hashlib.sha256(parts).hexdigest()


class Progress(NamedTuple):
    """How far an import has come."""

    rows: int
    total: int

    @property
    def is_finished(self) -> bool:
        return self.rows == self.total


class RowImporter:
    """Imports one source into one governor. Rows become recorded states: no machine judges them."""

    def __init__(self, store: Store, governor: str, source: Source, policy: SnapshotPolicy | None = None) -> None:
        self._store = store
        self._source = source
        self._key = Key(CURSOR, check_id("governor", governor), source.id)
        self._appender = Appender(store, governor, StreamReader(store, governor), policy or SnapshotPolicy())
        self._progress = Progress(0, 0)
        self._revision: Revision | None = None
        self._token = ""

    async def resume(self) -> Progress | None:
        """How far the source has been imported; None if it never was begun."""
        document = (await self._store.get([self._key])).documents.get(self._key)
        if document is None:
            return None
        cursor = orjson.loads(document.body)
        self._progress = Progress(cursor["rows"], cursor["total"])
        self._revision, self._token = document.revision, cursor["t"]
        return self._progress

    async def append(self, rows: Sequence[Row], total: int) -> Progress:
        """Append the next rows of ``total``, those of one stream in their order, in one commit with the cursor.

        Raises:
            TransactionConflictError: somebody else imports the same source; no row is doubled or lost.
            StateDeletedError: a stream is deleted; none of these rows was written.
            InvalidInputError: the state of a stream is encrypted; none of these rows was written.
            CommitUnknownError: the store did not answer; `resume` tells.
        """
        progress = Progress(self._progress.rows + len(rows), total)
        token = ""

        def cursor(made: str) -> Sequence[Operation]:
            nonlocal token
            token = made
            when = Require.ABSENT if self._revision is None else self._revision
            return (Put(self._key, self._body(progress, made), when),)

        try:
            await self._appender.append(_changes(rows), extra=cursor)
        except TransactionConflictError as error:
            raise self._conflict() if str(self._key) in error.keys else error from None
        await self.resume()  # what the cursor is guarded by next
        if self._token != token:
            raise self._conflict()
        return progress

    def _conflict(self) -> TransactionConflictError:
        return TransactionConflictError(
            keys=(str(self._key),), detail=f"{self._source.name} is being imported elsewhere"
        )

    def _body(self, progress: Progress, token: str) -> bytes:
        source = self._source
        return orjson.dumps(
            {
                "t": token,
                "source": source.name,
                "digest": source.digest,
                "options": dict(source.options),
                "rows": progress.rows,
                "total": progress.total,
            }
        )


def _changes(rows: Sequence[Row]) -> list[Change]:
    events: dict[str, list[NewEvent]] = {}
    for row in rows:
        events.setdefault(row.state_id, []).append(row.event)
    return [_change(state_id, events) for state_id, events in events.items()]


def _change(state_id: str, events: Sequence[NewEvent]) -> Change:
    def given(state: Any, _version: int) -> Sequence[NewEvent]:
        if is_encrypted(state):  # what came after it could not be erased with it
            raise InvalidInputError(
                f"{state_id!r} is encrypted, and rows are stored as they are: append to it from Python, with a keyring"
            )
        return events

    return Change(id=state_id, fold=PLAIN, events=given, expected=ANY, carries_state=True)
