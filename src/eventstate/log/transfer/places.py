"""The heads that a target has, looked up for ascending ids in few reads."""

from __future__ import annotations

from typing import Final

from eventstate.core.documents import ENTRY, HEAD, Document, Key
from eventstate.errors import CorruptionError
from eventstate.stores.base import Store

FIRST_HEADS: Final = 100
HEADS: Final = 10_000
"""In one read at first, and once reads have followed one upon the other."""

_END: Final = "\U0010ffff"


class TargetHeads:
    """Heads of one governor, asked for in ascending order of their ids."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._asked = ""
        self._limit = FIRST_HEADS
        self._known: dict[str, Document] = {}
        self._known_to = ""
        """The heads up to this id are known."""
        self._empty_to = ""
        """No stream between the last one looked for and this id has entries."""

    async def of(self, id: str) -> Document | None:
        """The head of a stream, None where the stream does not exist.

        Raises:
            CorruptionError: the head is missing though there are entries.
        """
        if id > self._known_to:
            after = Key(HEAD, self._owner, self._asked) if self._asked else None
            page = await self._store.scan(HEAD, self._owner, after=after, limit=self._limit)
            self._known = {document.key.id: document for document in page.documents}
            self._known_to = page.documents[-1].key.id if page.next is not None else _END
            self._limit = min(self._limit * 4, HEADS)
        self._asked = id
        if id <= self._known_to:
            found = self._known.get(id)
        else:  # there are many others before it
            self._limit = FIRST_HEADS
            found = await self._read(id)
        if found is None and await self._has_entries(id):
            found = await self._read(id)  # it may have been made between the two reads
            if found is None:
                where = f"{Key(HEAD, self._owner, id)} in {self._store.url}"
                raise CorruptionError(where=where, problem="the head is missing though its entries are there")
        return found

    async def _read(self, id: str) -> Document | None:
        key = Key(HEAD, self._owner, id)
        return (await self._store.get([key])).documents.get(key)

    async def _has_entries(self, id: str) -> bool:
        if id > self._empty_to:
            page = await self._store.scan(ENTRY, self._owner, after=Key(ENTRY, self._owner, id), limit=1)
            self._empty_to = page.documents[0].key.id if page.documents else _END
        return id == self._empty_to
