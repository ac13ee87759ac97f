"""Proving a governor's streams intact: chains, heads, snapshots, states against replays, and all against a seal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventstate.core.chain import genesis
from eventstate.core.codec import decode
from eventstate.core.documents import ENTRY, HEAD, Document, Key, Revision
from eventstate.core.fold import Fold, same_state
from eventstate.core.format import NO_STATE, Entry, Tip, decode_head, decode_snapshot, snapshot_key
from eventstate.core.ids import MAX_VERSION
from eventstate.core.seals import SealedTip, problem_with
from eventstate.errors import ConfigurationError, CorruptionError, EncodingError, KeyLostError, SchemaError
from eventstate.log.ahead import NO_ENTRIES, EntriesAhead, FirstEntries
from eventstate.log.reading import Chain, usable
from eventstate.log.sealing.lists import SealedList
from eventstate.stores.base import Store

LOOKS = 10
"""How often a stream is looked at that others keep writing."""

MAX_FINDINGS = 10_000
"""So many are listed; the others are counted."""

FoldOf = Callable[[str], Fold]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it was written. ``state_id`` is empty where it is no stream, but a seal."""

    state_id: str
    where: str
    problem: str


@dataclass(slots=True, kw_only=True)
class ConsistencyReport:
    """What a verification saw. ``findings`` come in id order, the first bad entry of each stream first.

    Attributes:
        seal: number of the seal that the streams were held against, None if there was none.
        sealed_streams: how many of them the seal covers.
        pruned_streams: of those, how many begin later now than the seal saw: retention does that.
        unlisted_findings: findings beyond the first 10,000.
        position: id of the last stream that was looked at; a verification can go on from here.
        is_complete: whether all streams have been looked at.
    """

    total_streams: int = 0
    total_events: int = 0
    total_snapshots: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    seal: int | None = None
    sealed_streams: int = 0
    pruned_streams: int = 0
    unlisted_findings: int = 0
    position: str = ""
    is_complete: bool = False

    @property
    def is_consistent(self) -> bool:
        return not self.findings

    def add(self, finding: Finding) -> None:
        """List a finding, or count it where there are too many."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.unlisted_findings += 1


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The entries of one stream as far as they have been read."""

    id: str
    head: Document | None
    chain: Chain
    fold: Fold
    sealed: SealedTip | None = None
    sealed_by: int = 0
    met: bool = False
    last: int = MAX_VERSION
    beyond: bool = False
    state: Any = None
    folding: bool = True
    at: int = 0
    digests: dict[int, bytes] = field(default_factory=dict[int, bytes])
    states: dict[int, bytes] = field(default_factory=dict[int, bytes])
    snapshots: tuple[int, ...] = ()


class Verifier:
    """Verifies the streams of one governor, a page at a time."""

    def __init__(self, store: Store, owner: str, fold_of: FoldOf) -> None:
        self._store = store
        self._owner = owner
        self._fold_of = fold_of

    async def page(
        self, after: str, report: ConsistencyReport, limit: int = 100, listed: SealedList | None = None
    ) -> str | None:
        """Verify the streams after an id, adding to ``report``; the id to go on from, or None at the end.

        ``listed`` is what a seal saw, read as far as ``after``.
        """
        start = Key(HEAD, self._owner, after) if after else None
        heads = await self._store.scan(HEAD, self._owner, after=start, limit=limit)
        known = {document.key.id: document for document in heads.documents}
        last = heads.documents[-1].key.id if heads.next is not None else None
        sealed = {tip.id: tip for tip in await listed.upto(last)} if listed is not None else {}
        number = listed.sealed.number if listed is not None else 0
        ahead = EntriesAhead(self._store, self._owner, after, last)
        listed_ids = deque(sorted({*known, *sealed}))
        while True:
            # A stream may have entries without a head, too.
            with_entries = await ahead.next_id()
            id = min(filter(None, (with_entries, listed_ids[0] if listed_ids else None)), default=None)
            if id is None:
                return last
            if listed_ids and listed_ids[0] == id:
                listed_ids.popleft()
            first = ahead.take(id) if id == with_entries else NO_ENTRIES
            await self.stream(id, known.get(id), report, sealed.get(id), number, first)
            report.position = id

    async def stream(
        self,
        id: str,
        head: Document | None,
        report: ConsistencyReport,
        sealed: SealedTip | None = None,
        sealed_by: int = 0,
        first: FirstEntries | None = None,
    ) -> None:
        """Verify one stream, adding to ``report``; also against what the seal of a number saw of it.

        ``first`` is what was read of its entries already, after its head.
        It is verified as far as its head, so that writers don't disturb. What snapshots and prunes that come and go
        could make is looked at again: a finding counts if the head stayed the same, or if it is found again.
        """
        report.total_streams += 1
        seen = ConsistencyReport()
        before: Finding | None = None
        for look in range(1, LOOKS + 1):
            seen = ConsistencyReport()
            walk = _Walk(
                id=id,
                head=head,
                chain=Chain(0, genesis(self._owner, id)),
                fold=self._fold_of(id),
                sealed=sealed,
                sealed_by=sealed_by,
            )
            finding = await self._finding(walk, seen, first if look == 1 else None)
            if finding is None:
                break
            now = await self._head(id)
            if _revision(now) == _revision(head) or finding == before or look == LOOKS:
                report.add(finding)
                break
            head, before = now, finding
        report.sealed_streams += sealed is not None
        report.pruned_streams += seen.pruned_streams
        report.total_events += seen.total_events
        report.total_snapshots += seen.total_snapshots

    async def _head(self, id: str) -> Document | None:
        key = Key(HEAD, self._owner, id)
        return (await self._store.get([key])).documents.get(key)

    async def _finding(self, walk: _Walk, report: ConsistencyReport, first: FirstEntries | None) -> Finding | None:
        try:
            await self._begin(walk, report)
            await self._entries(walk, report, first)
            if walk.beyond:
                await self._check_beyond(walk)
            self._check_seal(walk)
            self._check_head(walk)
            await self._check_snapshots(walk, report)
        except (CorruptionError, SchemaError, KeyLostError) as error:
            return Finding(state_id=walk.id, where=error.where, problem=error.problem)
        except EncodingError as error:  # evolve gave something that is no state
            where = str(Key(HEAD, self._owner, walk.id))
            return Finding(state_id=walk.id, where=where, problem=f"it can't be replayed: {error}")
        return None

    async def _begin(self, walk: _Walk, report: ConsistencyReport) -> None:
        walk.state = walk.fold.initial()
        if walk.head is None:
            return
        try:
            tip = decode_head(walk.head)[0].tip
        except CorruptionError:
            return  # reported once its entries have been read
        walk.snapshots = tip.snapshots
        walk.last = tip.version
        if tip.base is not None:
            walk.chain = Chain(*tip.base)
            walk.digests[tip.base.version] = tip.base.digest
            if walk.sealed is not None:
                report.pruned_streams += tip.base.version > walk.sealed.base
                self._begin_sealed(walk, walk.sealed, tip)
            await self._begin_at_base(walk, tip.base.version)

    def _begin_sealed(self, walk: _Walk, sealed: SealedTip, tip: Tip) -> None:
        """Where the seal saw no more than is pruned, the base alone can be held against it."""
        if tip.base is None or tip.base.version < sealed.version:
            return
        problem = problem_with(sealed, walk.sealed_by, tip)
        if problem is not None:
            raise CorruptionError(where=str(tip.key), problem=problem)
        walk.met = True

    async def _begin_at_base(self, walk: _Walk, version: int) -> None:
        key = snapshot_key(self._owner, walk.id, version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            walk.folding = False
            return
        snapshot, plain = decode_snapshot(document)
        if usable(snapshot.image, walk.fold, str(key), plain, version):
            walk.state = walk.fold.load(plain, snapshot.image.schema, str(key))
        else:
            walk.folding = False

    async def _entries(self, walk: _Walk, report: ConsistencyReport, first: FirstEntries | None) -> None:
        after = Key(ENTRY, self._owner, walk.id, walk.chain.version)
        if first is not None:
            # What a prune left before the base means nothing.
            documents = [document for document in first.documents if document.key.n > after.n]
            if self._followed(walk, report, documents) or first.is_all:
                return
            after = max(after, first.documents[-1].key)
        while True:
            page = await self._store.scan(ENTRY, self._owner, id=walk.id, after=after)
            if self._followed(walk, report, page.documents) or page.next is None:
                return
            after = page.next

    def _followed(self, walk: _Walk, report: ConsistencyReport, documents: Sequence[Document]) -> bool:
        """Whether these entries lead beyond the head, so that no more are wanted."""
        for entry in walk.chain.follow(documents, walk.last):
            self._entry(walk, entry)
            report.total_events += len(entry.events)
        walk.beyond = bool(documents) and documents[-1].key.n > walk.last
        return walk.beyond

    async def _check_beyond(self, walk: _Walk) -> None:
        """Fail if there are entries after the head's though it is the head still."""
        if walk.head is not None and _revision(await self._head(walk.id)) == walk.head.revision:
            problem = f"it is at {walk.last}, and there are entries beyond it"
            raise CorruptionError(where=str(walk.head.key), problem=problem)

    def _entry(self, walk: _Walk, entry: Entry) -> None:
        if entry.at < walk.at:
            key = Key(ENTRY, self._owner, walk.id, entry.version)
            raise CorruptionError(where=str(key), problem="it is older than the event before it")
        walk.at = entry.at
        if walk.sealed is not None and entry.version == walk.sealed.version:
            self._meet(walk, walk.sealed, entry)
        self._fold(walk, entry)
        if entry.version in walk.snapshots:
            walk.digests[entry.version] = entry.digest
            if walk.folding:
                walk.states[entry.version] = walk.fold.bare.dump(walk.state)

    def _meet(self, walk: _Walk, sealed: SealedTip, entry: Entry) -> None:
        if entry.digest != sealed.digest:
            problem = f"it is not the entry that seal {walk.sealed_by} saw: the history up to it was rewritten"
            raise CorruptionError(where=str(Key(ENTRY, self._owner, walk.id, entry.version)), problem=problem)
        walk.met = True

    def _check_seal(self, walk: _Walk) -> None:
        """Fail unless the stream led through what the seal saw."""
        sealed = walk.sealed
        if sealed is None or walk.met:
            return
        reached = walk.chain.version
        seen = f"seal {walk.sealed_by} saw version {sealed.version}"
        if reached < sealed.version:
            key = Key(ENTRY, self._owner, walk.id, reached + 1)
            problem = f"{seen}, and it is missing: the end was cut off" if reached else f"{seen}: all of it is gone"
        else:
            key = Key(ENTRY, self._owner, walk.id, sealed.version)
            problem = f"{seen}, where no entry ends now: the history was rewritten"
        raise CorruptionError(where=str(key), problem=problem)

    def _fold(self, walk: _Walk, entry: Entry) -> None:
        if not walk.folding:
            return

        def where(_version: int) -> str:
            return str(Key(ENTRY, self._owner, walk.id, entry.version))

        try:
            walk.state = walk.fold.replay(walk.state, (entry,), entry.version, where)
        except ConfigurationError:  # a typed stream without its machine: chains are all that can be proven
            walk.folding = False
        except (CorruptionError, SchemaError, KeyLostError):
            raise
        except Exception as error:  # of evolve itself: the stream can't be replayed, which is what is asked here
            problem = f"it can't be replayed: {type(error).__name__}: {error}"
            raise CorruptionError(where=where(entry.version), problem=problem) from error

    def _check_head(self, walk: _Walk) -> None:
        if walk.head is None:
            key = Key(HEAD, self._owner, walk.id)
            raise CorruptionError(where=str(key), problem="the head is missing though its entries are there")
        where = str(walk.head.key)
        head, plain = decode_head(walk.head)
        reached = walk.chain.version
        if head.tip.version != reached:
            if head.tip.version > reached:
                key = Key(ENTRY, self._owner, walk.id, reached + 1)
                raise CorruptionError(where=str(key), problem="the entry is missing, the head is beyond it")
            raise CorruptionError(where=where, problem=f"it is at {head.tip.version}, its entries reach {reached}")
        if head.tip.digest != walk.chain.digest:
            raise CorruptionError(where=where, problem="its chain digest is not that of its entries")
        trusted = walk.folding and plain is not NO_STATE and head.image is not None and not head.tip.deleted
        if trusted and head.image is not None and usable(head.image, walk.fold, where, plain, head.tip.version):
            kept = walk.fold.load(plain, head.image.schema, where)
            if not same_state(walk.fold, kept, walk.state):
                raise CorruptionError(where=where, problem="its state is not what its events lead to")

    async def _lists(self, walk: _Walk, snapshot: int) -> bool:
        """Whether the head lists a snapshot now; those that are not needed any more go with each new one."""
        head = await self._head(walk.id)
        return head is None or snapshot in decode_head(head)[0].tip.snapshots

    async def _check_snapshots(self, walk: _Walk, report: ConsistencyReport) -> None:
        keys = {version: snapshot_key(self._owner, walk.id, version) for version in walk.snapshots}
        if not keys:
            return
        documents = (await self._store.get(list(keys.values()))).documents
        for version, key in keys.items():
            document = documents.get(key)
            if document is None:
                if not await self._lists(walk, version):
                    continue
                raise CorruptionError(where=str(key), problem="the head lists it, but it is missing")
            report.total_snapshots += 1
            snapshot, plain = decode_snapshot(document)
            if version in walk.digests and snapshot.digest != walk.digests[version]:
                raise CorruptionError(where=str(key), problem="it does not belong to this stream's chain")
            if version in walk.states and usable(snapshot.image, walk.fold, str(key), plain, version):
                kept = walk.fold.load(plain, snapshot.image.schema, str(key))
                replayed = walk.fold.bare.load(decode(walk.states[version], str(key)), walk.fold.schema, str(key))
                if not same_state(walk.fold, kept, replayed):
                    raise CorruptionError(where=str(key), problem="its state is not what its events lead to")


def _revision(document: Document | None) -> Revision | None:
    return document.revision if document is not None else None
