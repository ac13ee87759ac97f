"""Plain documents in a transaction: read by key, written together at its end.

A document is one JSON value, under an id in a collection of its governor. A collection that is declared guarded has one
more document, its guard, which every write to the collection replaces. So a transaction that lists the collection
is refused if anything was written to it meanwhile; and its writers never get in each other's way because of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import orjson

from eventstate.core.chain import key_context, seal
from eventstate.core.codec import encode
from eventstate.core.documents import DOCUMENT, GUARD, Delete, Document, Key, Operation, Put
from eventstate.core.format import sealed_members
from eventstate.core.ids import check_id
from eventstate.errors import ConfigurationError, InvalidIdError, ScanNotSerializableError
from eventstate.stores.base import Store
from eventstate.transactions.readset import ReadSet

SEPARATOR: Final = "/"
GUARDED: Final = "!"
"""Ends the name of a guarded collection in a key, so that nobody writes to one without its guard."""

AGREED_SECONDS: Final = 10.0
"""How long a manager goes on without looking whether others have declared a collection guarded."""


def check_collection(name: object) -> str:
    """Return ``name`` if it can name a collection.

    Raises:
        InvalidIdError: not an id, or with ``/`` or ``!``.
    """
    name = check_id("collection", name)
    if SEPARATOR in name or GUARDED in name:
        raise InvalidIdError(what="collection", value=name, rule="'/' and '!' are not allowed in it")
    return name


class Collections:
    """The collections of one governor, as one manager declares them."""

    def __init__(self, governor: str, guarded: Iterable[str]) -> None:
        self.governor = governor
        self.guarded = frozenset(check_collection(name) for name in guarded)
        self.agreed_until: dict[str, float] = {}
        """Collections that were seen to be in the store as they are declared here, and when to look again."""

    def key(self, collection: str, id: str) -> Key:
        mark = GUARDED if collection in self.guarded else ""
        return Key(DOCUMENT, self.governor, f"{collection}{mark}{SEPARATOR}{id}")

    def guard(self, collection: str) -> Key:
        return Key(GUARD, self.governor, collection)


class DocumentBuffer:
    """What one attempt of a transaction reads and writes of documents."""

    def __init__(self, store: Store, collections: Collections, reads: ReadSet) -> None:
        self._store = store
        self._collections = collections
        self._reads = reads
        self._written: dict[Key, bytes | None] = {}
        self._touched: set[str] = set()

    @property
    def written(self) -> Mapping[Key, bytes | None]:
        """New values as JSON text, None for what is deleted."""
        return self._written

    async def get(self, collection: str, id: str) -> Any:
        """The value, or None where there is none."""
        key = await self._key(collection, id, reads=True)
        if key in self._written:
            text = self._written[key]
            return None if text is None else orjson.loads(text)
        document = await self._reads.get(key)
        return None if document is None else value_of(document)

    async def put(self, collection: str, id: str, value: Any) -> None:
        key = await self._key(collection, id)
        self._written[key] = encode(value)
        self._touched.add(collection)

    async def delete(self, collection: str, id: str) -> None:
        key = await self._key(collection, id)
        self._written[key] = None
        self._touched.add(collection)

    async def list(self, collection: str, prefix: str) -> list[tuple[str, Any]]:
        """Ids and values of a guarded collection, in the order of the ids.

        Raises:
            ScanNotSerializableError: the collection is not declared guarded.
        """
        if check_collection(collection) not in self._collections.guarded:
            raise ScanNotSerializableError(what=f"collection {collection!r}")
        await self._agree(collection)
        start = self._collections.key(collection, "").id
        documents = await self._reads.scan(self._collections.guard(collection), start + prefix)
        found = {document.key.id[len(start) :]: value_of(document) for document in documents}
        for key, text in self._written.items():
            if key.id.startswith(start + prefix):
                id = key.id[len(start) :]
                found.pop(id, None)
                if text is not None:
                    found[id] = orjson.loads(text)
        return sorted(found.items(), key=lambda item: item[0].encode())

    async def _key(self, collection: str, id: str, *, reads: bool = False) -> Key:
        collection, id = check_collection(collection), check_id("document id", id)
        key = self._collections.key(collection, id)
        check_id("document id", key.id)
        await self._agree(collection, key if reads else None)
        return key

    async def _agree(self, collection: str, key: Key | None = None) -> None:
        """See now and then that a collection is declared here as it is in the store; read ``key`` with it.

        Not in each commit: that would have all writers of a collection meet at one document.

        Raises:
            ConfigurationError: it is guarded there and not here, or its documents were written without a guard.
        """
        collections = self._collections
        now = self._store.runtime.monotonic()
        if collections.agreed_until.get(collection, now) > now:
            return
        guard = collections.guard(collection)
        found = (await self._store.get((guard,) if key is None else (key, guard))).documents
        if collection not in collections.guarded and guard in found:
            raise ConfigurationError(
                f"collection {collection!r} is guarded in this store: name it in TransactionManager(guarded=[...])"
            )
        if collection in collections.guarded and guard not in found:
            start = f"{collection}{SEPARATOR}"
            if (await self._store.scan(DOCUMENT, guard.owner, prefix=start, limit=1)).documents:
                raise ConfigurationError(
                    f"collection {collection!r} has documents that were written without a guard, and transactions that"
                    " list it would not see them: copy them to a new collection that all managers declare guarded"
                )
        if key is not None:
            self._reads.note(key, found.get(key))
        collections.agreed_until[collection] = now + AGREED_SECONDS

    def operations(self, token: str) -> list[Operation]:
        """What the commit writes: documents as they were read, or over whatever is there where they were not."""
        operations: list[Operation] = []
        for key, text in self._written.items():
            when = self._reads.when(key)
            if text is None:
                operations.append(Delete(key, when))
            else:
                operations.append(Put(key, _body(key, text, token), when))
        for collection in sorted(self._touched & self._collections.guarded):
            guard = self._collections.guard(collection)
            operations.append(Put(guard, orjson.dumps({"t": token}), self._reads.when(guard)))
        return operations

    def keys(self) -> Collection[Key]:
        return self._written.keys()


def _body(key: Key, text: bytes, token: str) -> bytes:
    members = orjson.dumps({"t": token, "data": orjson.Fragment(text)})
    return seal(key_context(key), members)[0]


def value_of(document: Document) -> Any:
    """The value of a stored document.

    Raises:
        CorruptionError: its bytes do not match their digest.
    """
    return sealed_members(document)["data"]
