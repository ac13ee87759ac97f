"""Proving a governor's streams intact: chains, heads, snapshots, and states against replays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventstate.core.chain import genesis
from eventstate.core.codec import decode
from eventstate.core.documents import ENTRY, HEAD, Document, Key
from eventstate.core.fold import Fold, same_state
from eventstate.core.format import NO_STATE, Entry, decode_head, decode_snapshot, snapshot_key
from eventstate.core.ids import MAX_VERSION
from eventstate.errors import ConfigurationError, CorruptionError, SchemaError
from eventstate.log.reading import Chain, usable
from eventstate.stores.base import Store

LOOKS = 10
"""How often a stream is looked at that others keep writing."""

FoldOf = Callable[[str], Fold]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it was written."""

    state_id: str
    where: str
    problem: str


@dataclass(slots=True, kw_only=True)
class ConsistencyReport:
    """What a verification saw. ``findings`` come in id order, the first bad entry of each stream first."""

    total_streams: int = 0
    total_events: int = 0
    total_snapshots: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def is_consistent(self) -> bool:
        return not self.findings


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The entries of one stream as far as they have been read."""

    id: str
    head: Document | None
    chain: Chain
    fold: Fold
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

    async def page(self, after: str, report: ConsistencyReport, limit: int = 100) -> str | None:
        """Verify the streams after an id, adding to ``report``; the id to go on from, or None at the end."""
        start = Key(HEAD, self._owner, after) if after else None
        heads = await self._store.scan(HEAD, self._owner, after=start, limit=limit)
        known = {document.key.id: document for document in heads.documents}
        last = heads.documents[-1].key.id if heads.next is not None else None
        for id in sorted({*known, *await self._streams_with_entries(after, last)}):
            await self.stream(id, known.get(id), report)
        return last

    async def _streams_with_entries(self, after: str, last: str | None) -> Sequence[str]:
        """Ids that have entries, whether or not they have a head."""
        found: list[str] = []
        position = after
        while True:
            # One step per stream: jump over all versions of the one just seen.
            beyond = Key(ENTRY, self._owner, position, MAX_VERSION) if position else None
            page = await self._store.scan(ENTRY, self._owner, after=beyond, limit=1)
            if not page.documents or (last is not None and page.documents[0].key.id > last):
                return found
            position = page.documents[0].key.id
            found.append(position)

    async def stream(self, id: str, head: Document | None, report: ConsistencyReport) -> None:
        """Verify one stream, adding to ``report``.

        A stream that is written meanwhile is looked at again: a finding counts only if its head stayed the same.
        """
        report.total_streams += 1
        seen = ConsistencyReport()
        for _ in range(LOOKS):
            seen = ConsistencyReport()
            finding = await self._finding(id, head, seen)
            if finding is None:
                break
            now = await self._head(id)
            if (now and now.revision) == (head and head.revision):
                report.findings.append(finding)
                break
            head = now
        report.total_events += seen.total_events
        report.total_snapshots += seen.total_snapshots

    async def _head(self, id: str) -> Document | None:
        key = Key(HEAD, self._owner, id)
        return (await self._store.get([key])).documents.get(key)

    async def _finding(self, id: str, head: Document | None, report: ConsistencyReport) -> Finding | None:
        walk = _Walk(id=id, head=head, chain=Chain(0, genesis(self._owner, id)), fold=self._fold_of(id))
        try:
            await self._begin(walk)
            await self._entries(walk, report)
            self._check_head(walk)
            await self._check_snapshots(walk, report)
        except (CorruptionError, SchemaError) as error:
            return Finding(state_id=id, where=error.where, problem=error.problem)
        return None

    async def _begin(self, walk: _Walk) -> None:
        walk.state = walk.fold.initial()
        if walk.head is None:
            return
        try:
            tip = decode_head(walk.head)[0].tip
        except CorruptionError:
            return  # reported once its entries have been read
        walk.snapshots = tip.snapshots
        if tip.base is not None:
            walk.chain = Chain(*tip.base)
            await self._begin_at_base(walk, tip.base.version)

    async def _begin_at_base(self, walk: _Walk, version: int) -> None:
        key = snapshot_key(self._owner, walk.id, version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            walk.folding = False
            return
        snapshot, plain = decode_snapshot(document)
        if usable(snapshot.image, walk.fold, str(key)):
            walk.state = walk.fold.load(plain, snapshot.image.schema, str(key))
        else:
            walk.folding = False

    async def _entries(self, walk: _Walk, report: ConsistencyReport) -> None:
        after = Key(ENTRY, self._owner, walk.id, walk.chain.version)
        while True:
            page = await self._store.scan(ENTRY, self._owner, id=walk.id, after=after)
            for entry in walk.chain.follow(page.documents):
                self._entry(walk, entry)
                report.total_events += len(entry.events)
            if page.next is None:
                return
            after = page.next

    def _entry(self, walk: _Walk, entry: Entry) -> None:
        if entry.at < walk.at:
            key = Key(ENTRY, self._owner, walk.id, entry.version)
            raise CorruptionError(where=str(key), problem="it is older than the event before it")
        walk.at = entry.at
        self._fold(walk, entry)
        if entry.version in walk.snapshots:
            walk.digests[entry.version] = entry.digest
            if walk.folding:
                walk.states[entry.version] = walk.fold.dump(walk.state)

    def _fold(self, walk: _Walk, entry: Entry) -> None:
        if not walk.folding:
            return

        def where(_version: int) -> str:
            return str(Key(ENTRY, self._owner, walk.id, entry.version))

        try:
            walk.state = walk.fold.replay(walk.state, (entry,), entry.version, where)
        except ConfigurationError:  # a typed stream without its machine: chains are all that can be proven
            walk.folding = False
        except (CorruptionError, SchemaError):
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
        if trusted and head.image is not None and usable(head.image, walk.fold, where):
            kept = walk.fold.load(plain, head.image.schema, where)
            if not same_state(walk.fold, kept, walk.state):
                raise CorruptionError(where=where, problem="its state is not what its events lead to")

    async def _check_snapshots(self, walk: _Walk, report: ConsistencyReport) -> None:
        for version in walk.snapshots:
            key = snapshot_key(self._owner, walk.id, version)
            document = (await self._store.get([key])).documents.get(key)
            if document is None:
                raise CorruptionError(where=str(key), problem="the head lists it, but it is missing")
            report.total_snapshots += 1
            snapshot, plain = decode_snapshot(document)
            if version in walk.digests and snapshot.digest != walk.digests[version]:
                raise CorruptionError(where=str(key), problem="it does not belong to this stream's chain")
            if version in walk.states and usable(snapshot.image, walk.fold, str(key)):
                kept = walk.fold.load(plain, snapshot.image.schema, str(key))
                replayed = walk.fold.load(decode(walk.states[version], str(key)), walk.fold.schema, str(key))
                if not same_state(walk.fold, kept, replayed):
                    raise CorruptionError(where=str(key), problem="its state is not what its events lead to")
