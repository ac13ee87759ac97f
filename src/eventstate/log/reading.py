"""Reading streams: heads that are checked, states rebuilt by snapshot-then-replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eventstate.core.chain import genesis, stored_digest
from eventstate.core.codec import decode
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Document, Key
from eventstate.core.fold import Fold
from eventstate.core.format import (
    DELETED,
    NO_STATE,
    REOPENED,
    Base,
    Entry,
    Head,
    Image,
    StoredEvent,
    Tip,
    decode_entry,
    decode_head,
    decode_snapshot,
    snapshot_key,
    unborn,
)
from eventstate.core.ids import MAX_VERSION
from eventstate.errors import (
    CorruptionError,
    StateNotFoundError,
    VersionNotFoundError,
)
from eventstate.stores.base import Store

PAGE = 1000


class Known(NamedTuple):
    """A stream as it was last seen: its head document, and the state where the head holds none.

    Bytes, not objects: a state handed to a caller is decoded anew, so nothing a caller does to it
    can reach the next append.
    """

    document: Document
    state: bytes | None = None
    tip: Tip | None = None
    """What the document says of the tip, where it has been decoded and checked before."""


class Start(NamedTuple):
    """A trusted place to replay from: the state, version and chain digest there."""

    state: Any
    version: int
    digest: bytes


class Repaired(NamedTuple):
    """What the entries alone tell of a stream: its tip, and the type and metadata of its last event."""

    tip: Tip
    action: str
    metadata: Mapping[str, Any]


class StateAt(NamedTuple):
    """A state rebuilt at a version, with the event that led to it where that was asked for and is retained."""

    state: Any
    version: int
    event: StoredEvent | None


class StreamReader:
    """Reads the streams of one governor."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner

    def key(self, id: str) -> Key:
        return Key(HEAD, self._owner, id)

    async def head_document(self, id: str) -> Document | None:
        """The head as stored, or None for a stream that never existed.

        Raises:
            CorruptionError: the head is missing though there are entries.
        """
        key = self.key(id)
        found = (await self._store.get([key])).documents.get(key)
        if found is None and await self.has_entries(id):
            # It may have been made between the two reads.
            found = (await self._store.get([key])).documents.get(key)
            if found is None:
                raise CorruptionError(where=str(key), problem="the head is missing though its entries are there")
        return found

    async def has_entries(self, id: str) -> bool:
        """Whether the stream has any entry."""
        return bool((await self._store.scan(ENTRY, self._owner, id=id, limit=1)).documents)

    async def page(self, id: str, after: Start, limit: int = PAGE, last: int = MAX_VERSION) -> tuple[list[Entry], bool]:
        """Up to ``limit`` entries after a place, as far as ``last``, chain-checked, and whether more may follow.

        Raises:
            CorruptionError: an entry is changed, missing or out of place.
        """
        scanned = await self._store.scan(
            ENTRY, self._owner, id=id, after=Key(ENTRY, self._owner, id, after.version), limit=limit
        )
        return chained(scanned.documents, after.version, after.digest, last), scanned.next is not None

    async def state_of(self, known: Known, fold: Fold) -> tuple[Head, Any, bool]:
        """The current state of a stream, and whether it had to be rebuilt.

        A head of another fold version is passed over, like one whose state is too large to keep.
        """
        head, plain = decode_head(known.document)
        where = str(known.document.key)
        if known.state is not None:
            plain = decode(known.state, where)
        if head.tip.deleted:
            return head, None, False
        if plain is not NO_STATE and head.image is not None and usable(head.image, fold, where):
            return head, fold.load(plain, head.image.schema, where), False
        if head.tip.version == 0:
            return head, fold.initial(), False
        rebuilt = await self.rebuild(head.tip, fold, head.tip.version, event_needed=False)
        return head, rebuilt.state, True

    async def rebuild(self, tip: Tip, fold: Fold, version: int, *, event_needed: bool = True) -> StateAt:
        """The state at a version: newest good snapshot at or below it, then replay.

        Where its event is needed, replay begins below the version, so that the event comes chain-checked;
        only at the base of a pruned stream there is none.

        Raises:
            VersionNotFoundError: beyond the tip or below what is retained.
            CorruptionError: an entry on the way is corrupt and no snapshot leads past it.
        """
        base = tip.base.version if tip.base else 0
        if not base <= version <= tip.version or version < 1:
            first = max(base, 1)
            raise VersionNotFoundError(state_id=tip.id, asked=f"version {version}", first=first, last=tip.version)
        ceiling = version - 1 if event_needed and version > base else version
        candidates = [n for n in reversed(tip.snapshots) if n <= ceiling]
        problem: CorruptionError | None = None
        for candidate in candidates:
            try:
                return await self._replay_from_snapshot(tip, fold, candidate, version)
            except CorruptionError as error:
                problem = problem or error
        if tip.base is not None:
            raise problem or CorruptionError(where=str(tip.key), problem="the snapshot at its base is missing")
        origin = Start(fold.initial(), 0, genesis(tip.owner, tip.id))
        return await self._replay(tip, fold, origin, version)

    async def _replay_from_snapshot(self, tip: Tip, fold: Fold, candidate: int, version: int) -> StateAt:
        key = snapshot_key(tip.owner, tip.id, candidate)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            raise CorruptionError(where=str(key), problem="the head lists it, but it is missing")
        snapshot, plain = decode_snapshot(document)
        if not usable(snapshot.image, fold, str(key)):
            raise CorruptionError(where=str(key), problem="it is of another fold version")
        # One entry more than the tail: the entry the snapshot was taken at must carry the digest it names.
        limit = min(PAGE, version - candidate + 1)
        boundary = Key(ENTRY, tip.owner, tip.id, candidate - 1)
        page = await self._store.scan(ENTRY, tip.owner, id=tip.id, after=boundary, limit=limit)
        documents = page.documents
        pruned = tip.base is not None and tip.base.version == candidate
        if documents and documents[0].key.n == candidate:
            if stored_digest(documents[0].body) != snapshot.digest:
                raise CorruptionError(where=str(key), problem="it does not belong to this stream's chain")
            documents = documents[1:]
        elif not pruned or (tip.base is not None and tip.base.digest != snapshot.digest):
            raise CorruptionError(where=str(key), problem="the entry it was taken at is missing")
        start = Start(fold.load(plain, snapshot.image.schema, str(key)), candidate, snapshot.digest)
        if version == candidate:
            return StateAt(start.state, version, None)
        entries = chained(documents, candidate, snapshot.digest, version)
        return await self._replay(tip, fold, start, version, entries)

    async def _replay(self, tip: Tip, fold: Fold, start: Start, version: int, entries: Sequence[Entry] = ()) -> StateAt:
        state, reached, digest = start
        last_event: StoredEvent | None = None
        while True:
            for entry in entries:
                for event in entry.each():
                    if event.version <= version:
                        state = fold.step(state, event, _where(tip, event.version))
                        reached, last_event = event.version, event
                digest = entry.digest
                if entry.version >= version:
                    if entry.version == tip.version and digest != tip.digest:
                        raise CorruptionError(where=str(tip.key), problem="its chain digest is not that of its entries")
                    return StateAt(_as_stored(fold, state, tip), reached, last_event)
            last = entries[-1].version if entries else reached
            entries, _ = await self.page(tip.id, Start(None, last, digest), min(PAGE, version - reached), version)
            if not entries:
                raise CorruptionError(where=_where(tip, reached + 1), problem="the entry is missing")

    async def repaired(self, id: str) -> Repaired:
        """The stream as the entries alone tell it, where its head is corrupt or missing.

        Raises:
            StateNotFoundError: no entries either.
            CorruptionError: the entries are corrupt too.
        """
        current = (await self._store.get([self.key(id)])).documents.get(self.key(id))
        snapshots = await self._good_snapshots(id)
        first = await self._store.scan(ENTRY, self._owner, id=id, limit=1)
        if not first.documents:
            raise StateNotFoundError(governor=self._owner, state_id=id)
        return await rebuild_tip(self, self._owner, id, current, snapshots, first.documents[0].key.n)

    async def _good_snapshots(self, id: str) -> dict[int, bytes]:
        good: dict[int, bytes] = {}
        after: Key | None = None
        while True:
            page = await self._store.scan(SNAPSHOT, self._owner, id=id, after=after, limit=100)
            for document in page.documents:
                try:
                    good[document.key.n] = decode_snapshot(document)[0].digest
                except CorruptionError:
                    continue
            after = page.next
            if after is None:
                return good


async def rebuild_tip(
    reader: StreamReader, owner: str, id: str, current: Document | None, snapshots: dict[int, bytes], first_entry: int
) -> Repaired:
    """Walk the entries from their beginning (or from the snapshot a pruned stream begins at) to the tip."""
    tip = unborn(owner, id)._replace(revision=current.revision if current else None)
    try:
        entries, more = await reader.page(id, Start(None, 0, tip.digest))
    except CorruptionError:
        bases = [n for n in sorted(snapshots) if n < first_entry]
        if not bases:
            raise
        base = Base(bases[-1], snapshots[bases[-1]])
        tip = tip._replace(version=base.version, digest=base.digest, base=base)
        entries, more = await reader.page(id, Start(None, base.version, base.digest))
    last: Entry | None = None
    while entries:
        for entry in entries:
            last = entry
            incarnation = tip.incarnation + sum(1 for event in entry.events if event["type"] == REOPENED)
            tip = tip._replace(
                version=entry.version,
                last=entry.version,
                digest=entry.digest,
                at=entry.at,
                clock=entry.clock,
                incarnation=incarnation,
                deleted=entry.events[-1]["type"] == DELETED,
            )
        if not more:
            break
        entries, more = await reader.page(id, Start(None, tip.version, tip.digest))
    tip = tip._replace(snapshots=tuple(n for n in sorted(snapshots) if n <= tip.version))
    event = last.each()[-1] if last else None
    return Repaired(tip, event.type if event else "", event.metadata if event else {})


def chained(documents: Sequence[Document], version: int, digest: bytes, last: int = MAX_VERSION) -> list[Entry]:
    """Decode consecutive entries, each checked against the one before, as far as the version ``last``."""
    entries: list[Entry] = []
    for document in documents:
        if version >= last:
            break
        entry = decode_entry(document, digest)
        if entry.first != version + 1:
            raise CorruptionError(where=str(document.key), problem=f"version {version + 1} is missing before it")
        entries.append(entry)
        version = entry.version
        digest = entry.digest
    return entries


def usable(image: Image, fold: Fold, where: str) -> bool:
    """Whether a kept state was made by the same rules.

    Without its machine (fold version 0) a typed stream still shows the state that was recorded.
    """
    return fold.version == 0 or (image.fold == fold.version and fold.accepts(image.schema, where))


def _as_stored(fold: Fold, state: Any, tip: Tip) -> Any:
    """The state as it comes back from its JSON text: a replay gives what a head or a snapshot would."""
    return None if state is None else fold.load(decode(fold.dump(state), tip.id), fold.schema, str(tip.key))


def _where(tip: Tip, version: int) -> str:
    return f"event {tip.owner}/{tip.id} version {version}"
