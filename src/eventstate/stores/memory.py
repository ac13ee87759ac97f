"""A store in this process's memory, for tests: as strict as the durable ones, and gone with the process."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from eventstate.core.documents import (
    ENTRY,
    Batch,
    CommitResult,
    Committed,
    Delete,
    Document,
    FeedPage,
    Fetched,
    Key,
    Page,
    Put,
    Refused,
)
from eventstate.errors import StoreClosedError
from eventstate.runtime.base import Runtime
from eventstate.stores.base import PAGE_BYTES, Capabilities, Closing
from eventstate.stores.limits import check_batch, refused_keys
from eventstate.stores.watching import Watch, Watches, changed_keys


class MemoryStore(Closing):
    """Implements `eventstate.stores.base.Store`; safe to use from many threads."""

    def __init__(self, runtime: Runtime, *, url: str = "memory://") -> None:
        self._runtime = runtime
        self._url = url
        self._node = f"m{runtime.unique()[-7:]}"
        self._mutex = threading.Lock()
        self._documents: dict[Key, Document] = {}
        self._places: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self._feed: list[tuple[int, Key]] = []
        self._position = 0
        self._watches = Watches()
        self._clock_offset = runtime.now() - _micros(runtime.monotonic())
        self._closed = False

    @property
    def url(self) -> str:
        return self._url

    @property
    def node(self) -> str:
        return self._node

    @property
    def epoch(self) -> int:
        return 1

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    def _now(self) -> int:
        """The store's clock: a changed wall clock does not move it."""
        return self._clock_offset + _micros(self._runtime.monotonic())

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError(store=self._url)

    async def get(self, keys: Sequence[Key]) -> Fetched:
        self._check_open()
        with self._mutex:
            found = {key: self._documents[key] for key in keys if key in self._documents}
            return Fetched(found, self._now())

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
        self._check_open()
        with self._mutex:
            places = self._places.get((kind, owner), [])
            start = bisect_left(places, (prefix if id is None else id, -1))
            if after is not None:
                start = max(start, bisect_right(places, (after.id, after.n)))
            documents: list[Document] = []
            size = 0
            more = False
            for place in places[start:]:
                if place[0] != id if id is not None else not place[0].startswith(prefix):
                    break
                if len(documents) == limit or size >= PAGE_BYTES:
                    more = True
                    break
                document = self._documents[Key(kind, owner, *place)]
                size += len(document.body)
                documents.append(document)
            return Page(documents, documents[-1].key if more else None, self._now())

    async def owners(self, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        self._check_open()
        with self._mutex:
            owners = {owner for (_, owner), places in self._places.items() if places and owner > after}
            return sorted(owners)[:limit]

    async def feed(self, after: int, *, limit: int = 1000) -> FeedPage:
        self._check_open()
        with self._mutex:
            start = bisect_right(self._feed, after, key=lambda item: item[0])
            entries = [(position, self._documents[key]) for position, key in self._feed[start : start + limit]]
            return FeedPage(entries, entries[-1][0] if entries else after)

    async def commit(self, batch: Batch) -> CommitResult:
        self._check_open()
        check_batch(batch, _CAPABILITIES)
        with self._mutex:
            present = {op.key: self._documents.get(op.key) for op in batch.operations}
            refused = refused_keys(batch, {key: doc.revision if doc else None for key, doc in present.items()})
            if refused:
                return Refused(refused)
            at = self._now()
            position = None
            for operation in batch.operations:
                if isinstance(operation, Put):
                    self._put(operation.key, bytes(operation.body), batch.token, at)
                    if operation.key.kind == ENTRY:
                        position = self._position
                elif isinstance(operation, Delete):
                    self._delete(operation.key)
            puts = {op.key: batch.token for op in batch.operations if isinstance(op, Put)}
        self._watches.wake(changed_keys(batch))
        return Committed(puts, at, position)

    def watch(self, keys: Sequence[Key]) -> Watch:
        self._check_open()
        return self._watches.add(keys, self._runtime)

    def _put(self, key: Key, body: bytes, token: str, at: int) -> None:
        if key not in self._documents:
            insort(self._places.setdefault((key.kind, key.owner), []), (key.id, key.n))
        if key.kind == ENTRY:
            if key in self._documents:
                self._feed = [item for item in self._feed if item[1] != key]
            self._position += 1
            self._feed.append((self._position, key))
        self._documents[key] = Document(key, body, token, at)

    def _delete(self, key: Key) -> None:
        if self._documents.pop(key, None) is not None:
            places = self._places[key.kind, key.owner]
            del places[bisect_left(places, (key.id, key.n))]
            if key.kind == ENTRY:
                self._feed = [item for item in self._feed if item[1] != key]

    async def aclose(self) -> None:
        self._closed = True
        self._watches.wake_all()
        self._runtime.close()


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)


_CAPABILITIES = Capabilities(feed_order="store", durability="none", shared=False)
