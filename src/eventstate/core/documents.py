"""The values that cross the store port: keys, documents, batches and their outcomes.

Keys and operations are named tuples, not dataclasses: several are made for every event.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

import enum
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, overload

HEAD: Final = "head"
ENTRY: Final = "entry"
SNAPSHOT: Final = "snapshot"
COMMAND: Final = "command"
OUTCOME: Final = "outcome"
TRANSACTION: Final = "transaction"
LOCK: Final = "lock"
LEASE: Final = "lease"
FENCE: Final = "fence"
WAIT: Final = "wait"
CURSOR: Final = "cursor"
PROJECTION: Final = "projection"
PIN: Final = "pin"
SEAL: Final = "seal"
DOCUMENT: Final = "document"
GUARD: Final = "guard"
OUTBOX: Final = "outbox"
KEYRING: Final = "keyring"
SUBJECT: Final = "subject"
SECRET: Final = "secret"  # noqa: S105 - a kind of documents, not one of them

KINDS: Final[frozenset[str]] = frozenset(
    {HEAD, ENTRY, SNAPSHOT, COMMAND, OUTCOME, TRANSACTION, LOCK, LEASE, FENCE, WAIT}
    | {CURSOR, PROJECTION, PIN, SEAL, DOCUMENT, GUARD, OUTBOX, KEYRING, SUBJECT, SECRET}
)
NUMBERED: Final[frozenset[str]] = frozenset({ENTRY, SNAPSHOT, FENCE, SEAL})
"""Kinds whose keys carry a number ``n``; all others have ``n == 0``."""

Revision: TypeAlias = str
"""Opaque; compared for equality only; never the same for two contents of one key."""


class Key(NamedTuple):
    """Where a document lives.

    ``owner`` is a governor, ``id`` a state id, resource or name, ``n`` a version or
    number for the kinds in `NUMBERED`. Parts are the caller's own text: each store encodes them.
    """

    kind: str
    owner: str
    id: str
    n: int = 0

    def __str__(self) -> str:
        number = f":{self.n}" if self.kind in NUMBERED else ""
        return f"{self.kind} {self.owner}/{self.id}{number}"


class Require(enum.Enum):
    """Preconditions that name no revision."""

    ABSENT = "absent"
    EXISTS = "exists"
    ANY = "any"


Precondition: TypeAlias = Require | Revision


class Put(NamedTuple):
    """Write the whole document if ``when`` holds."""

    key: Key
    body: bytes
    when: Precondition


class Delete(NamedTuple):
    """Remove the document if ``when`` holds; removing an absent one under ANY does nothing."""

    key: Key
    when: Precondition


class Check(NamedTuple):
    """Write nothing; the batch is refused unless ``when`` holds at its commit."""

    key: Key
    when: Precondition


Operation: TypeAlias = Put | Delete | Check


class Batch(NamedTuple):
    """Operations applied together or not at all; at most one per key.

    ``token`` names this batch for ever: a resend carries the same token and the same bytes.
    Every body in it contains the token, so that no write leaves a document as it was.
    """

    token: str
    operations: Sequence[Operation]


class Document(NamedTuple):
    """A stored document. ``written_at`` is the store's clock in microseconds."""

    key: Key
    body: bytes
    revision: Revision
    written_at: int


made: Final[Any] = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
"""``made(Key, (kind, owner, id, n))``: a named tuple in a third of the time, where one is made for every row."""


class Fetched(NamedTuple):
    """Answer to a get: absent keys are missing from ``documents``. Not a snapshot across keys."""

    documents: Mapping[Key, Document]
    read_at: int


class Page(NamedTuple):
    """Answer to a scan. ``next`` is the key to pass as ``after`` for the following page, or None at the end."""

    documents: Sequence[Document]
    next: Key | None
    read_at: int


Row: TypeAlias = tuple[int, Hashable, int, int, bytes]
"""An entry of a feed that is no document yet: position, what stands for its stream, number, ``written_at``, body."""


class Rows(Sequence["tuple[int, Document]"]):
    """Entries of a feed that are made documents as they are looked at. A follower reads the rows instead.

    Attributes:
        rows: in feed order.
        streams: owner and id of the streams in them, perhaps of others, too.
    """

    __slots__ = ("rows", "streams")

    def __init__(self, rows: Sequence[Row], streams: Mapping[Any, tuple[str, str]]) -> None:
        self.rows = rows
        self.streams = streams

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[int, Document]]:
        return map(self._positioned, self.rows)

    @overload
    def __getitem__(self, index: int) -> tuple[int, Document]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[int, Document]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, Document] | Sequence[tuple[int, Document]]:
        if isinstance(index, slice):
            return Rows(self.rows[index], self.streams)
        return self._positioned(self.rows[index])

    def _positioned(self, row: Row) -> tuple[int, Document]:
        position, stream, n, written_at, body = row
        return position, Document(Key(ENTRY, *self.streams[stream], n), body, str(position), written_at)


def rows_of(entries: Sequence[tuple[int, Document]]) -> Rows:
    """The entries of a feed page as rows, whatever they are now."""
    if isinstance(entries, Rows):
        return entries
    rows = [(position, key[1:3], key.n, at, body) for position, (key, body, _, at) in entries]
    return Rows(rows, {row[1]: row[1] for row in rows})


class FeedPage(NamedTuple):
    """Entries in feed order and the position to go on from (equal to ``after`` where nothing is new)."""

    entries: Sequence[tuple[int, Document]]
    position: int


class Committed(NamedTuple):
    """The batch is applied and durable. ``position`` is that of its last entry where the store has an order."""

    revisions: Mapping[Key, Revision]
    at: int
    position: int | None = None


class Refused(NamedTuple):
    """Nothing was applied: these preconditions did not hold (None where the store can't tell which)."""

    keys: frozenset[Key] | None


class Unknown(NamedTuple):
    """No answer: the batch may be applied, may not be, or may still be. ``cause`` is for the message only."""

    cause: str


CommitResult: TypeAlias = Committed | Refused | Unknown
