"""What a stream of answers is collected into, cut off where a page is full."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from eventstate.core.documents import Document, FeedPage, Fetched, Key, Page
from eventstate.errors import CorruptionError
from eventstate.stores.base import PAGE_BYTES
from eventstate.stores.firestore.messages import document, feed_time, microseconds
from eventstate.stores.firestore.paths import Paths, parse_segment
from eventstate.stores.firestore.rpc import Message

_NOT_OURS: Final = "its name is none that eventstate writes: something else shares this collection"


class Reading:
    """The store's clock at a read: the earliest that any of its answers names, so that no age is overstated."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: int | None = None

    def note(self, response: Message) -> None:
        if response.HasField("read_time"):
            at = microseconds(response.read_time)
            self._at = at if self._at is None else min(self._at, at)

    def at(self, otherwise: Callable[[], int]) -> int:
        """Microseconds; ``otherwise`` tells the time where there was nothing to ask."""
        return otherwise() if self._at is None else self._at


class Documents:
    """Collects the documents of a get."""

    __slots__ = ("_found", "_keys", "_reading")

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = keys
        self._found: dict[Key, Document] = {}
        self._reading = Reading()

    def take(self, response: Message) -> bool:
        self._reading.note(response)
        if response.HasField("found"):
            key = self._keys[response.found.name]
            self._found[key] = document(key, response.found)
        return True

    def fetched(self, now: Callable[[], int]) -> Fetched:
        return Fetched(self._found, self._reading.at(now))


class PageBuilder:
    """Collects one page of a scan. One document more than the page holds tells that it is not the last."""

    __slots__ = ("_documents", "_kind", "_limit", "_more", "_owner", "_reading", "_size")

    def __init__(self, kind: str, owner: str, limit: int) -> None:
        self._kind = kind
        self._owner = owner
        self._limit = limit
        self._documents: list[Document] = []
        self._size = 0
        self._more = False
        self._reading = Reading()

    def take(self, response: Message) -> bool:
        """False once the page is known to be full."""
        self._reading.note(response)
        if not response.HasField("document"):
            return True
        if len(self._documents) == self._limit or self._size >= PAGE_BYTES:
            self._more = True
            return False
        found = document(self._key(response.document.name), response.document)
        self._documents.append(found)
        self._size += len(found.body)
        return True

    def page(self, now: Callable[[], int]) -> Page:
        following = self._documents[-1].key if self._more else None
        return Page(self._documents, following, self._reading.at(now))

    def _key(self, name: str) -> Key:
        key = parse_segment(self._kind, self._owner, name.rpartition("/")[2])
        if key is None:
            raise CorruptionError(where=name, problem=_NOT_OURS)
        return key


class FeedBuilder:
    """Collects one page of the feed, which never ends between two entries of the same time."""

    __slots__ = ("_cut", "_limit", "_paths", "_seen", "_size")

    def __init__(self, paths: Paths, limit: int | None) -> None:
        """``limit`` None takes everything."""
        self._paths = paths
        self._limit = limit
        self._seen: list[tuple[int, Document | None]] = []
        self._size = 0
        self._cut: int | None = None

    def take(self, response: Message) -> bool:
        """False once the page is known to be full."""
        if not response.HasField("document"):
            return True
        at = feed_time(response.document)
        if self._limit is not None and (len(self._seen) == self._limit or self._size >= PAGE_BYTES):
            self._cut = at
            return False
        key = self._paths.entry_key(response.document.name)
        # A copy that something else made elsewhere is passed over: it is no entry of this store.
        found = None if key is None else document(key, response.document)
        self._size += len(found.body) if found else 0
        self._seen.append((at, found))
        return True

    def crowded_time(self) -> int | None:
        """The time that all of a full page has and that goes on beyond it: it must be read to its end."""
        return self._cut if self._seen and self._seen[0][0] == self._cut else None

    def page(self, after: int) -> FeedPage:
        """The entries before the time at which the page was cut off."""
        whole = [(at, found) for at, found in self._seen if self._cut is None or at < self._cut]
        entries = [(at, found) for at, found in whole if found is not None]
        return FeedPage(entries, whole[-1][0] if whole else after)
