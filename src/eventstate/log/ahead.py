"""Entries of many streams read together: one page of a governor's entries serves all the small streams in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from eventstate.core.documents import ENTRY, Document, Key
from eventstate.core.ids import MAX_VERSION
from eventstate.stores.base import Store

PAGE: Final = 1000
"""Entries in memory at once. Not fewer: a query of the Firestore emulator takes as long as one for everything."""


class FirstEntries(NamedTuple):
    """What is at hand of a stream's entries.

    Attributes:
        documents: its first entries, in order.
        is_all: whether there were no more when they were read.
    """

    documents: Sequence[Document]
    is_all: bool


NO_ENTRIES = FirstEntries((), True)


class EntriesAhead:
    """The entries of the streams between two ids, stream by stream; a page at a time in memory."""

    def __init__(self, store: Store, owner: str, after: str, last: str | None) -> None:
        self._store = store
        self._owner = owner
        self._last = last
        self._after = _beyond(owner, after) if after else None
        self._page: Sequence[Document] = ()
        self._at = 0
        self._is_end = False

    async def next_id(self) -> str | None:
        """The next stream that has entries; None where there is none up to the last id."""
        if self._at == len(self._page) and not self._is_end:
            page = await self._store.scan(ENTRY, self._owner, after=self._after, limit=PAGE)
            self._page, self._at = page.documents, 0
            self._after = page.next
            self._is_end = page.next is None
        if self._at == len(self._page):
            return None
        id = self._page[self._at].key.id
        return None if self._last is not None and id > self._last else id

    def take(self, id: str) -> FirstEntries:
        """The first entries of the next stream, as far as they are in memory; the next one is another from then on."""
        start = self._at
        page = self._page
        while self._at < len(page) and page[self._at].key.id == id:
            self._at += 1
        is_all = self._at < len(page) or self._is_end
        if not is_all:  # the page ends in this stream
            self._after = _beyond(self._owner, id)
        return FirstEntries(page[start : self._at], is_all)


def _beyond(owner: str, id: str) -> Key:
    """A place after all entries of a stream."""
    return Key(ENTRY, owner, id, MAX_VERSION)
