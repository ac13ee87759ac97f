"""The documents of a projection between two commits."""

from __future__ import annotations

from typing import Any, Final

import orjson

from eventstate.core.codec import encode
from eventstate.core.documents import Delete, Key, Operation, Put, Require
from eventstate.errors import DocumentTooLargeError, InvalidInputError
from eventstate.log.projections import document_body, document_key, value_of
from eventstate.stores.base import Store

MAX_OPERATIONS: Final = 200
MAX_BYTES: Final = 1_500_000
MAX_ENTRY_OPERATIONS: Final = 450
MAX_ENTRY_BYTES: Final = 3_000_000
BODY_OVERHEAD: Final = 200
"""What one commit holds at most, unless a single entry makes more of it."""
MAX_CACHED_BYTES: Final = 32 * 1024 * 1024


class ViewBuffer:
    """The documents of one generation, as its handler reads and writes them between two commits."""

    def __init__(self, store: Store, owner: str, name: str, number: int) -> None:
        self._store = store
        self._owner = owner
        self._name = name
        self._number = number
        self._kept: dict[Key, bytes | None] = {}
        """Values as they are in the store, or will be with the next commit; None for what is not there."""
        self._kept_bytes = 0
        self._pending: dict[Key, bytes | None] = {}
        self._pending_bytes = 0
        self._entry: dict[Key, bytes | None] = {}
        """What the handler has written for the present entry: taken back if it fails."""

    async def get(self, id: str) -> Any:
        """The value of a document, or None where there is none."""
        text = await self._text(document_key(self._owner, self._name, self._number, id))
        return None if text is None else orjson.loads(text)

    async def put(self, id: str, value: Any) -> None:
        key, text = document_key(self._owner, self._name, self._number, id), encode(value)
        limit = self._store.capabilities.max_body_bytes - BODY_OVERHEAD
        if len(text) > limit:
            raise DocumentTooLargeError(what=f"the document {id!r}", size=len(text), limit=limit)
        self._entry[key] = text

    async def delete(self, id: str) -> None:
        self._entry[document_key(self._owner, self._name, self._number, id)] = None

    async def _text(self, key: Key) -> bytes | None:
        for texts in (self._entry, self._pending, self._kept):
            if key in texts:
                return texts[key]
        document = (await self._store.get((key,))).documents.get(key)
        text = None if document is None else encode(value_of(document))
        self._keep(key, text)
        return text

    def _keep(self, key: Key, text: bytes | None) -> None:
        if self._kept_bytes > MAX_CACHED_BYTES:
            self._kept.clear()
            self._kept_bytes = 0
        self._kept[key] = text
        self._kept_bytes += 200 + len(text or b"")

    def check_entry(self) -> None:
        """Raise where the events of one commit write more than one commit can hold."""
        if len(self._entry) > MAX_ENTRY_OPERATIONS:
            raise InvalidInputError(f"{len(self._entry)} documents for one commit, the limit is {MAX_ENTRY_OPERATIONS}")
        size = sum(len(text or b"") for text in self._entry.values())
        if size > MAX_ENTRY_BYTES:
            raise DocumentTooLargeError(what="what the events of one commit write", size=size, limit=MAX_ENTRY_BYTES)

    def end_entry(self) -> None:
        """What was written for an entry is to be committed."""
        self._pending.update(self._entry)
        self._pending_bytes += sum(len(text or b"") for text in self._entry.values())
        self._entry.clear()

    def drop_entry(self) -> None:
        """Take back what was written for an entry."""
        self._entry.clear()

    @property
    def is_full(self) -> bool:
        return len(self._pending) >= MAX_OPERATIONS or self._pending_bytes > MAX_BYTES

    @property
    def is_crowded(self) -> bool:
        """Whether what the present entry wrote had better not be committed together with what came before it."""
        size = self._pending_bytes + sum(len(text or b"") for text in self._entry.values())
        return len(self._pending) + len(self._entry) > MAX_OPERATIONS or size > MAX_BYTES

    def operations(self, token: str) -> list[Operation]:
        """What the next commit writes."""
        return [
            Delete(key, Require.ANY) if text is None else Put(key, document_body(key, text, token), Require.ANY)
            for key, text in self._pending.items()
        ]

    def committed(self) -> None:
        for key, text in self._pending.items():
            self._keep(key, text)
        self._pending.clear()
        self._pending_bytes = 0
