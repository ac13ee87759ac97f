"""The one port that every backend implements: documents, batches, scans and a feed.

The contract below is tested by `eventstate.testing.conformance` against every backend.
"""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

from eventstate.core.documents import Batch, CommitResult, FeedPage, Fetched, Key, Page
from eventstate.runtime.base import Runtime
from eventstate.runtime.blocking import drive
from eventstate.stores.watching import Watch

MAX_BODY_BYTES = 900 * 1024
MAX_BATCH_BYTES = 3_900_000
MAX_BATCH_OPERATIONS = 500
PAGE_BYTES = 4 * 1024 * 1024


class Capabilities(NamedTuple):
    """What this backend promises beyond, or less than, the port.

    Attributes:
        feed_order: ``store`` when the feed is in commit order and complete; ``stream`` when it is
            a hint in which only the order inside one stream is kept.
        durability: ``power-loss``, ``process-crash`` or ``none``: what an acknowledged commit survives.
        shared: True when other processes can see and change the same data.
        max_body_bytes, max_batch_bytes, max_batch_operations: limits checked before anything is sent.
    """

    feed_order: Literal["store", "stream"]
    durability: Literal["power-loss", "process-crash", "none"]
    shared: bool
    max_body_bytes: int = MAX_BODY_BYTES
    max_batch_bytes: int = MAX_BATCH_BYTES
    max_batch_operations: int = MAX_BATCH_OPERATIONS


@runtime_checkable
class Store(Protocol):
    """Durable documents with atomic, conditional batches.

    One implementation serves both worlds: the methods are coroutines which only ever wait
    through the `Runtime` they were made with, so the sync faces can drive them without a loop.

    Every method raises:
        StoreClosedError: after close.
        StoreForkedError: in a child forked after opening.
        StoreUnavailableError: no answer within the store's deadline (reads), or certainly nothing sent (commit).
        StorePermissionError, NotADatabaseError, CorruptionError: as their texts say.
    """

    @property
    def url(self) -> str:
        """How this store is named in messages; never holds a secret."""
        ...

    @property
    def node(self) -> str:
        """The vector clock node of this store file or database: the same for every process that uses it."""
        ...

    @property
    def epoch(self) -> int:
        """Counts the restores of this store's data from a copy, from 1: what was given out before one is void."""
        ...

    @property
    def runtime(self) -> Runtime: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def get(self, keys: Sequence[Key]) -> Fetched:
        """The documents of these keys as each was last committed; absent ones are left out.

        Reads see every commit acknowledged before the call began. Several keys are not one
        snapshot: a batch committed meanwhile may show in one and not in another.
        """
        ...

    async def scan(
        self,
        kind: str,
        owner: str,
        *,
        id: str | None = None,
        prefix: str = "",
        after: Key | None = None,
        limit: int = 1000,
    ) -> Page:
        """One page of documents of a kind and owner in ascending ``(id, n)`` order (ids by UTF-8 bytes).

        ``id`` keeps to one id, ``prefix`` to ids that begin so; ``after`` is exclusive and need not exist
        (for numbered kinds ``Key(kind, owner, id, 41)`` begins at 42). A page holds at most ``limit``
        documents and ends early once it holds `PAGE_BYTES`; it is complete when ``next`` is None.
        Nothing is held open between pages.
        """
        ...

    async def owners(self, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Governors that have documents, ascending, strictly after ``after``."""
        ...

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        """Entries after a position (0 is the beginning), in the order named by ``capabilities.feed_order``.

        With ``store`` order no entry committed later ever gets a position at or below one already returned.
        """
        ...

    async def commit(self, batch: Batch) -> CommitResult:
        """Apply a batch: every precondition is judged against one state of the store, then all or nothing is written.

        `Committed` is final and as durable as the capabilities say. `Refused` means that this copy wrote
        nothing. `Unknown` means that an answer is missing: the caller settles it (core.settlement) by
        sending the identical batch again. A cancelled call counts as unknown.

        Raises:
            InvalidInputError: two operations on one key.
            DocumentTooLargeError: before anything is sent.
            StorageFullError, StoreReadOnlyError, StoreUnavailableError: certainly nothing was applied.
        """
        ...

    def watch(self, keys: Sequence[Key]) -> Watch:
        """Wake-ups for these documents, until the watch is closed.

        Every change committed after this call, in this process or another, leads to a wake-up: soon, but
        not before a read can see it. Where the way to the store can break, as on Firestore, a change may
        stay unnoticed until it is mended; so whoever waits looks again by himself from time to time.

        Where ``capabilities.feed_order`` is ``store``, `eventstate.stores.watching.entries_of` gives keys that
        stand for every entry of a governor, or of all.
        """
        ...

    async def aclose(self) -> None:
        """Release everything; calls in flight end first. Closing twice is fine."""
        ...

    def close(self) -> None:
        """`aclose` for stores of a blocking runtime."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...


class Closing:
    """``with`` and ``async with`` for stores, and a close for sync callers."""

    async def aclose(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Close a store opened with `open_store`."""
        drive(self.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
