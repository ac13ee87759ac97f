"""Streams read from a store: one pass over heads and entries side by side, both in the order of ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eventstate.core.chain import key_context, stored_digest, verified
from eventstate.core.documents import COMMAND, DOCUMENT, ENTRY, HEAD, Document, Key
from eventstate.core.exports import Loose
from eventstate.core.format import decode_snapshot, sealed_members, snapshot_key
from eventstate.core.ids import MAX_VERSION, check_id
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    InvalidInputError,
    StateNotFoundError,
    TransactionConflictError,
)
from eventstate.log.transfer.streams import COPYING, LooseItem, StreamHead, StreamPart
from eventstate.stores.base import Store

HEADS: Final = 10_000
ENTRIES: Final = 10_000
"""In one read, which a page's bytes end in time. Few large reads: each may cost a look at the whole collection."""

FIRST_ENTRIES: Final = 500
"""In the first read after streams were passed over: it may be this one stream that is wanted."""

ASKED: Final = 100
"""Heads in one get."""

_OF_ITS_PLACE: Final = ("h", "t", "snapshots")
_KINDS: Final[Mapping[Loose, str]] = {"command": COMMAND, "document": DOCUMENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which streams, and what besides them.

    Attributes:
        prefix: ids that begin so.
        state_ids: these alone, sorted; empty for all.
        includes: what belongs to no stream.
    """

    prefix: str = ""
    state_ids: tuple[str, ...] = ()
    includes: tuple[Loose, ...] = ()

    @classmethod
    def of(cls, *, prefix: str, state_ids: Sequence[str] | None, commands: bool, documents: bool) -> Selection:
        """Checked.

        Raises:
            InvalidInputError: an id that can't be, no ids, or parts that exclude each other.
        """
        if isinstance(state_ids, str) or (state_ids is not None and not state_ids):
            raise InvalidInputError(f"state_ids={state_ids!r}: pass a list of at least one state id, or leave it out")
        if state_ids and prefix:
            raise ConfigurationError("prefix and state_ids exclude each other: pass one of them")
        if (commands or documents) and (state_ids or prefix):
            raise ConfigurationError(
                "idempotency keys and documents belong to the governor as a whole: leave them out, or the filter"
            )
        includes: list[Loose] = []
        if commands:
            includes.append("command")
        if documents:
            includes.append("document")
        ids = sorted({check_id("state id", id) for id in state_ids or ()})
        return cls(prefix=prefix, state_ids=tuple(ids), includes=tuple(includes))


class StoreSource:
    """The streams of one governor of a store. See `eventstate.log.transfer.streams.StreamSource`.

    Entries are read after the heads that speak of them, so a stream that is written meanwhile is read as far as its
    head says.
    """

    def __init__(self, store: Store, governor: str, selection: Selection) -> None:
        self._store = store
        self._owner = governor
        self._selection = selection
        self._ids = deque(selection.state_ids)
        self._heads: deque[Document] = deque()
        self._page_ids: set[str] = set()
        self._after_page: Key | None = None
        self._page_begins: Key | None = None
        self._is_last_page = False
        self._entries: deque[Document] = deque()
        self._head: StreamHead | None = None
        self._head_document: Document | None = None
        self._snapshots: frozenset[int] = frozenset()
        self._reached = 0
        self._is_begun = True
        self._has_jumped = False
        self._limit = FIRST_ENTRIES
        self._first_id = ""
        self._kinds = deque(selection.includes)
        self._loose_after: Key | None = None

    @property
    def governor(self) -> str:
        return self._owner

    async def next(self) -> StreamHead | None:
        while True:
            if not self._heads and not await self._more_heads():
                return None
            document = self._heads.popleft()
            members: dict[str, Any] = dict(sealed_members(document))
            if members["n"] == 0:  # made to stop a commit, of a stream without events
                continue
            if COPYING in members:
                raise InvalidInputError(
                    f"{document.key.id!r} in {self._store.url} is itself copied in part, up to version {members['n']}"
                    f" of {members[COPYING]}: finish that copy first"
                )
            self._snapshots = frozenset(members.get("snapshots", ()))
            for name in _OF_ITS_PLACE:
                members.pop(name, None)
            head = StreamHead(document.key.id, members)
            self._head, self._head_document = head, document
            self._reached = head.base.version if head.base else 0
            self._has_jumped = not self._is_begun
            self._is_begun = False
            return head

    async def _more_heads(self) -> bool:
        self._entries.clear()  # they were read before the heads that come now
        if self._selection.state_ids:
            return await self._more_asked()
        if self._is_last_page:
            await self._check_rest()
            return False
        page = await self._store.scan(
            HEAD, self._owner, prefix=self._selection.prefix, after=self._after_page, limit=HEADS
        )
        self._is_last_page = page.next is None
        self._page_begins = self._after_page
        if page.documents:
            self._after_page = page.documents[-1].key
        self._take_page(page.documents)
        if not page.documents:
            await self._check_rest()
        return bool(page.documents)

    async def _more_asked(self) -> bool:
        ids = [self._ids.popleft() for _ in range(min(ASKED, len(self._ids)))]
        found = (await self._store.get([Key(HEAD, self._owner, id) for id in ids])).documents
        for id in ids:
            if Key(HEAD, self._owner, id) not in found:
                raise StateNotFoundError(governor=self._owner, state_id=id)
        self._take_page([found[Key(HEAD, self._owner, id)] for id in ids])
        return bool(ids)

    def _take_page(self, heads: Sequence[Document]) -> None:
        self._heads.extend(heads)
        self._page_ids = {document.key.id for document in heads}
        self._first_id = heads[0].key.id if heads else ""

    async def parts(self) -> Sequence[StreamPart]:
        head = self._head
        assert head is not None
        parts: list[StreamPart] = []
        if not self._is_begun and head.base is not None:
            parts.append(await self._base_snapshot(head))
        if self._reached >= head.version:
            return parts
        documents = await self._more_entries(head)
        self._is_begun = True
        for document in documents:
            n = document.key.n
            if n > head.version:
                break
            parts.append(StreamPart("entry", n, document.body))
            self._reached = n
            if n in self._snapshots:
                snapshot = await self._snapshot(head.id, n)
                if snapshot is not None and snapshot[1] == stored_digest(document.body):
                    parts.append(StreamPart("snapshot", n, snapshot[0]))
        if not documents:
            key = Key(ENTRY, self._owner, head.id, self._reached + 1)
            await self.check_unchanged(head)
            raise CorruptionError(where=str(key), problem="the entry is missing, the head is beyond it")
        return parts

    async def _more_entries(self, head: StreamHead) -> Sequence[Document]:
        key = Key(ENTRY, self._owner, head.id, self._reached)
        if not self._is_begun and not self._selection.state_ids:
            await self._drop_before(key)
            if not self._entries:
                self._entries.extend(await self._fetch(key))
                await self._drop_before(key)
            taken: list[Document] = []
            while self._entries and self._entries[0].key.id == head.id:
                taken.append(self._entries.popleft())
            if taken:
                return taken
        return (await self._store.scan(ENTRY, self._owner, id=head.id, after=key, limit=ENTRIES)).documents

    async def _drop_before(self, key: Key) -> None:
        while self._entries and self._entries[0].key <= key:
            await self._check_known(self._entries.popleft().key)

    async def _fetch(self, key: Key) -> Sequence[Document]:
        """Entries of this stream and of those after it; at the first of a page also of those before, without a head."""
        prefix, after = self._selection.prefix, key
        self._limit = FIRST_ENTRIES if self._has_jumped else min(self._limit * 4, ENTRIES)
        if key.id == self._first_id:
            before = self._page_begins
            after = Key(ENTRY, self._owner, before.id, MAX_VERSION) if before else None
        return (await self._store.scan(ENTRY, self._owner, prefix=prefix, after=after, limit=self._limit)).documents

    async def _check_known(self, key: Key) -> None:
        """Fail where an entry's stream has no head: it would be left out unseen."""
        if key.id in self._page_ids:
            return
        head = Key(HEAD, self._owner, key.id)
        if not (await self._store.get([head])).documents:  # otherwise it has been made since
            raise CorruptionError(where=str(head), problem="the head is missing though its entries are there")
        self._page_ids.add(key.id)

    async def _check_rest(self) -> None:
        last = Key(ENTRY, self._owner, self._after_page.id, MAX_VERSION) if self._after_page else None
        page = await self._store.scan(ENTRY, self._owner, prefix=self._selection.prefix, after=last, limit=1)
        for document in page.documents:
            await self._check_known(document.key)

    async def _base_snapshot(self, head: StreamHead) -> StreamPart:
        base = head.base
        assert base is not None
        snapshot = await self._snapshot(head.id, base.version)
        if snapshot is None or snapshot[1] != base.digest:
            await self.check_unchanged(head)
            key = snapshot_key(self._owner, head.id, base.version)
            raise CorruptionError(where=str(key), problem="the snapshot at the base is missing or corrupt")
        return StreamPart("snapshot", base.version, snapshot[0])

    async def _snapshot(self, id: str, version: int) -> tuple[bytes, bytes] | None:
        """Its body and the chain's digest there; None for one that can't be used: there is the log."""
        key = snapshot_key(self._owner, id, version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            return None
        try:
            return document.body, decode_snapshot(document)[0].digest
        except CorruptionError:
            return None

    async def check_unchanged(self, head: StreamHead) -> None:
        before = self._head_document
        key = Key(HEAD, self._owner, head.id)
        now = (await self._store.get([key])).documents.get(key)
        if before is not None and before.key == key and (now is None or now.revision != before.revision):
            detail = "it was written to or pruned while it was read; what was copied stays, so run it again"
            raise TransactionConflictError(keys=(str(key),), detail=detail)

    async def loose(self) -> Sequence[LooseItem]:
        while self._kinds:
            kind = self._kinds[0]
            page = await self._store.scan(_KINDS[kind], self._owner, after=self._loose_after, limit=HEADS)
            self._loose_after = page.next
            if page.next is None:
                self._kinds.popleft()
            if page.documents:
                return [self._item(kind, document) for document in page.documents]
        return ()

    def _item(self, kind: Loose, document: Document) -> LooseItem:
        if kind == "document":
            verified(key_context(document.key), document.body, document.key)
        return LooseItem(kind, document.key.id, document.body)
