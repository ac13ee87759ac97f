"""Bugs in a store: planted in the memory store, whose code is the shortest."""

# pyright: reportPrivateUsage=false
# A planted bug is a change inside; it needs what is private there.

from __future__ import annotations

import hashlib
import itertools
import time
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any, Final

from eventstate.core.documents import (
    ENTRY,
    Batch,
    Check,
    CommitResult,
    Committed,
    Document,
    FeedPage,
    Key,
    Page,
    Put,
    Refused,
    Require,
)
from eventstate.stores import memory
from eventstate.stores.limits import refused_keys
from eventstate.stores.memory import MemoryStore
from eventstate.testing.conformance.contention import ContentionCases
from eventstate.testing.conformance.documents import DocumentCases
from eventstate.testing.conformance.feeding import FeedCases
from eventstate.testing.conformance.scanning import ScanCases
from eventstate.testing.planted.plant import Patch, Plant

_commit = MemoryStore.commit
_scan = MemoryStore.scan
_put = MemoryStore._put


def _existence_ignored() -> list[Patch]:
    def refused(batch: Batch, revisions: Any) -> frozenset[Key]:
        named = [op for op in batch.operations if isinstance(op.when, str)]
        return refused_keys(Batch(batch.token, named), revisions)

    return [(memory, "refused_keys", refused)]


def _revisions_ignored() -> list[Patch]:
    def refused(batch: Batch, revisions: Any) -> frozenset[Key]:
        others = [op for op in batch.operations if not isinstance(op.when, str)]
        return refused_keys(Batch(batch.token, others), revisions)

    return [(memory, "refused_keys", refused)]


def _one_by_one() -> list[Patch]:
    async def commit(self: MemoryStore, batch: Batch) -> CommitResult:
        revisions: dict[Key, str] = {}
        result: CommitResult = Refused(None)
        for operation in batch.operations:
            result = await _commit(self, Batch(batch.token, [operation]))
            if not isinstance(result, Committed):
                return result
            revisions.update(result.revisions)
        assert isinstance(result, Committed)
        return result._replace(revisions=revisions)

    return [(MemoryStore, "commit", commit)]


def _checks_write() -> list[Patch]:
    async def commit(self: MemoryStore, batch: Batch) -> CommitResult:
        written = [
            Put(op.key, b"", op.when) if isinstance(op, Check) and op.when is Require.ABSENT else op
            for op in batch.operations
        ]
        return await _commit(self, Batch(batch.token, written))

    return [(MemoryStore, "commit", commit)]


def _revision_of_content() -> list[Patch]:
    def put(self: MemoryStore, key: Key, body: bytes, _token: str, at: int) -> None:
        _put(self, key, body, hashlib.sha256(body).hexdigest(), at)

    async def commit(self: MemoryStore, batch: Batch) -> CommitResult:
        result = await _commit(self, batch)
        if not isinstance(result, Committed):
            return result
        puts = [op for op in batch.operations if isinstance(op, Put)]
        return result._replace(revisions={op.key: hashlib.sha256(op.body).hexdigest() for op in puts})

    return [(MemoryStore, "_put", put), (MemoryStore, "commit", commit)]


def _position_outside() -> list[Patch]:
    positions = itertools.count(1)

    async def commit(self: MemoryStore, batch: Batch) -> CommitResult:
        position = next(positions)
        time.sleep(0.0005 * (position % 3))  # noqa: ASYNC251 - a slow thread
        with_position[batch.token] = position
        return await _commit(self, batch)

    def put(self: MemoryStore, key: Key, body: bytes, token: str, at: int) -> None:
        _put(self, key, body, token, at)
        if key.kind == ENTRY:
            self._feed.pop()
            self._position = with_position[token]
            insort(self._feed, (self._position, key))

    with_position: dict[str, int] = {}
    return [(MemoryStore, "commit", commit), (MemoryStore, "_put", put)]


def _resumes_at() -> list[Patch]:
    async def feed(self: MemoryStore, after: int, *, limit: int = 1000) -> FeedPage:
        start = bisect_left(self._feed, after, key=lambda item: item[0])
        entries = [(position, self._documents[key]) for position, key in self._feed[start : start + limit]]
        return FeedPage(entries, entries[-1][0] if entries else after)

    return [(MemoryStore, "feed", feed)]


def _page_forgets() -> list[Patch]:
    async def scan(self: MemoryStore, kind: str, owner: str, **options: Any) -> Page:
        limit: int = options.pop("limit", 1000)
        page = await _scan(self, kind, owner, limit=limit + 1, **options)
        if len(page.documents) <= limit:
            return page
        # The one read too many tells that there is more; going on after it leaves it out.
        return Page(page.documents[:limit], page.documents[-1].key, page.read_at)

    return [(MemoryStore, "scan", scan)]


def _after_is_included() -> list[Patch]:
    async def scan(self: MemoryStore, kind: str, owner: str, **options: Any) -> Page:
        after: Key | None = options.get("after")
        page = await _scan(self, kind, owner, **options)
        document = self._documents.get(after) if after is not None else None
        return page if document is None else page._replace(documents=[document, *page.documents])

    return [(MemoryStore, "scan", scan)]


def _utf16_order() -> list[Patch]:
    async def scan(self: MemoryStore, kind: str, owner: str, **options: Any) -> Page:
        page = await _scan(self, kind, owner, **options)

        def place(document: Document) -> tuple[bytes, int]:
            return document.key.id.encode("utf-16-be"), document.key.n

        return page._replace(documents=sorted(page.documents, key=place))

    return [(MemoryStore, "scan", scan)]


DOCUMENT_PLANTS: Final[Sequence[Plant]] = (
    Plant(
        name="absent-and-exists-ignored",
        story="preconditions compare revisions; absence is taken as given",
        patches=_existence_ignored,
        suite=DocumentCases,
        cases=["test_every_precondition_with_every_operation"],
    ),
    Plant(
        name="revision-ignored",
        story="a document that is there may be replaced",
        patches=_revisions_ignored,
        suite=ContentionCases,
        cases=["test_of_several_who_replace_a_revision_one_wins"],
        in_simulation=True,
    ),
    Plant(
        name="batch-one-by-one",
        story="each operation is judged and applied in its turn",
        patches=_one_by_one,
        suite=DocumentCases,
        cases=["test_a_refused_batch_writes_nothing"],
        in_simulation=True,
    ),
    Plant(
        name="check-leaves-ghost",
        story="a check for absence is a write with exists=false",
        patches=_checks_write,
        suite=DocumentCases,
        cases=["test_a_check_for_absence_leaves_no_ghost"],
    ),
    Plant(
        name="revision-of-content",
        story="the hash of the bytes is their revision",
        patches=_revision_of_content,
        suite=DocumentCases,
        cases=["test_a_revision_never_comes_again"],
    ),
    Plant(
        name="position-outside-the-lock",
        story="positions come from a counter before the commit takes its lock",
        patches=_position_outside,
        suite=FeedCases,
        cases=["test_a_reader_close_behind_writers_misses_nothing"],
    ),
    Plant(
        name="feed-resumes-at-position",
        story="a feed begins at the position it is given",
        patches=_resumes_at,
        suite=FeedCases,
        cases=["test_it_goes_on_from_every_position"],
    ),
    Plant(
        name="page-forgets-one",
        story="the document read to see whether there is more is where the next page goes on after",
        patches=_page_forgets,
        suite=ScanCases,
        cases=["test_every_page_size_gives_the_whole_list"],
    ),
    Plant(
        name="after-included",
        story="a scan begins at the key it is given",
        patches=_after_is_included,
        suite=ScanCases,
        cases=["test_after_is_exclusive_and_need_not_exist"],
    ),
    Plant(
        name="utf-16-order",
        story="ids are sorted as the language sorts text elsewhere",
        patches=_utf16_order,
        suite=ScanCases,
        cases=["test_ids_come_in_the_order_of_their_utf8_bytes"],
    ),
)
