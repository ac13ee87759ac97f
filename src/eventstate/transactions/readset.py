"""What a transaction has read, and whether it still holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from eventstate.core.documents import DOCUMENT, Batch, Check, Committed, Document, Key, Operation, Require
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer
from eventstate.transactions.turns import Turn


class ReadSet:
    """The documents that one attempt of a transaction has read, each once."""

    def __init__(self, store: Store, turn: Turn) -> None:
        self._store = store
        self._turn = turn
        self._seen: dict[Key, Document | None] = {}
        self._lists: dict[tuple[Key, str], Sequence[Document]] = {}
        self._guards: set[Key] = set()
        self._pages = 0

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def keys(self) -> Collection[Key]:
        return self._seen.keys()

    async def get(self, key: Key) -> Document | None:
        """A document as this attempt sees it from its first read on."""
        if key not in self._seen:
            await self._turn.respect(key)
            found = (await self._store.get((key,))).documents.get(key)
            self._seen.setdefault(key, found)  # of two tasks that read it at the same time both see what one has read
        return self._seen[key]

    async def read_ahead(self, keys: Collection[Key]) -> int:
        """Read documents together that will be asked for one by one; the store's clock then."""
        unseen = [key for key in keys if key not in self._seen]
        for key in unseen:
            await self._turn.respect(key)
        fetched = await self._store.get(unseen or list(keys))
        for key in unseen:
            self._seen.setdefault(key, fetched.documents.get(key))
        return fetched.read_at

    async def scan(self, guard: Key, prefix: str) -> Sequence[Document]:
        """Documents whose ids begin so, as this attempt sees them from its first list on.

        ``guard`` is the document that everybody replaces who writes one of them.
        """
        if (guard, prefix) not in self._lists:
            await self.get(guard)  # before the documents: whatever is written from here on replaces it
            self._guards.add(guard)
            documents: list[Document] = []
            after: Key | None = None
            while True:
                page = await self._store.scan(DOCUMENT, guard.owner, prefix=prefix, after=after)
                self._pages += 1
                documents += page.documents
                after = page.next
                if after is None:
                    break
            self._lists.setdefault((guard, prefix), documents)
        return self._lists[guard, prefix]

    def note(self, key: Key, document: Document | None) -> None:
        """Count a document as read that came by another way."""
        self._seen.setdefault(key, document)

    def replace(self, key: Key, document: Document) -> None:
        """Count a document as read at a newer revision, with which nothing has changed in what it says."""
        self._seen[key] = document

    def checks(self, besides: Collection[Key]) -> list[Operation]:
        """What must hold at the commit, of the documents that the commit does not write itself."""
        return [Check(key, when_of(document)) for key, document in self._seen.items() if key not in besides]

    def when(self, key: Key) -> Require | str:
        """What must hold for a document that the commit writes: as it was read, or anything if it was not."""
        return when_of(self._seen[key]) if key in self._seen else Require.ANY

    async def changed(self, committer: Committer) -> frozenset[Key]:
        """The documents that are not as they were read, or some that stand for them; none if all of it held at once.

        One document is always as it was at one time, and so is one page of a list. Several are if none of them, or of
        their guards, has changed since: revisions do not repeat, but an absent document may have come and gone, so
        then a commit looks at all of them together.
        """
        if len(self._seen) - len(self._guards) + self._pages < 2:
            return frozenset()
        if None in self._seen.values():
            batch = Batch(self._store.runtime.unique(), self.checks(()))
            result = await committer.commit_guarded(batch)
            if isinstance(result, Committed):
                return frozenset()
            return result.keys or frozenset(self._seen)
        found = (await self._store.get(list(self._seen))).documents
        return frozenset(
            key
            for key, document in self._seen.items()
            if document is not None and (key not in found or found[key].revision != document.revision)
        )


def when_of(document: Document | None) -> Require | str:
    """The precondition that a document is as it was read."""
    return Require.ABSENT if document is None else document.revision
