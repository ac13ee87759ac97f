"""Reading streams: heads that are checked, states rebuilt by snapshot-then-replay."""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
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
    Snapshot,
    StoredEvent,
    Tip,
    decode_entry,
    decode_head,
    decode_snapshot,
    sealed_members,
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
    image: Image | None = None
    """The state at ``tip``, where this process has made it itself."""
    metadata: Mapping[str, Any] = {}
    """Those of the event that led to ``tip``, where that is given."""


class Chain:
    """Follows the entries of one stream, each checked against the one before.

    Attributes:
        version, digest: of the last entry so far, or of the place it began at.
        last: that entry, None at the beginning.
    """

    __slots__ = ("digest", "last", "version")

    def __init__(self, version: int, digest: bytes) -> None:
        self.version = version
        self.digest = digest
        self.last: Entry | None = None

    def follow(self, documents: Iterable[Document], last: int = MAX_VERSION) -> Iterator[Entry]:
        """The next entries, as far as the version ``last``; one at a time, so that each is soon forgotten.

        Raises:
            CorruptionError: an entry is changed, missing or out of place.
        """
        for document in documents:
            version = self.version
            if version >= last:
                return
            entry = decode_entry(document, self.digest)
            if entry.first != version + 1:
                raise CorruptionError(where=str(document.key), problem=f"version {version + 1} is missing before it")
            self.version, self.digest, self.last = entry.version, entry.digest, entry
            yield entry


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


Longer = Callable[[Tip], Awaitable["tuple[Tip, StreamReader]"]]
"""Gives the tip of a stream with its archived entries before it, and what reads it so."""


class StreamReader:
    """Reads the streams of one governor."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self.longer: Longer | None = None
        """Where an archive is at hand that may hold what was pruned."""

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

    async def entries(self, id: str, version: int, limit: int = PAGE) -> tuple[Sequence[Document], bool]:
        """The entries after a version as they are stored, and whether more follow."""
        page = await self._store.scan(
            ENTRY, self._owner, id=id, after=Key(ENTRY, self._owner, id, version), limit=limit
        )
        return page.documents, page.next is not None

    async def entries_to(self, last: int, tip: Tip, chain: Chain) -> Sequence[Document]:
        """A page of the entries that follow a chain, as far as the version ``last``; at least one.

        Raises:
            CorruptionError: there is none.
        """
        documents, _ = await self.entries(tip.id, chain.version, min(PAGE, last - chain.version))
        if not documents:
            raise CorruptionError(where=_where(tip, chain.version + 1), problem="the entry is missing")
        return documents

    async def state_of(self, known: Known, fold: Fold) -> tuple[Head, Any, bool]:
        """The current state of a stream, and whether it had to be rebuilt.

        A head of another fold version is passed over, like one whose state is too large to keep.
        """
        head, plain = decode_head(known.document)
        image = head.image
        where = str(known.document.key)
        if known.state is not None:
            plain = decode(known.state, where)
            if image is not None:  # this process has made that text, by its own schema
                image = image._replace(schema=fold.schema)
        if head.tip.deleted:
            return head, None, False
        if plain is not NO_STATE and image is not None and usable(image, fold, where, plain, head.tip.version):
            return head, fold.load(plain, image.schema, where), False
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
            past = await self._past_erased_base(tip, fold, version, event_needed) if fold.protects else None
            if past is None:
                past = await self._past_old_base(tip, fold, version, event_needed)
            if past is not None:
                return past
            raise problem or CorruptionError(where=str(tip.key), problem="the snapshot at its base is missing")
        origin = Start(fold.initial(), 0, genesis(tip.owner, tip.id))
        return await self._replay(tip, fold, origin, version)

    async def _past_erased_base(self, tip: Tip, fold: Fold, version: int, event_needed: bool) -> StateAt | None:
        """The state at a version where the one that a pruned stream begins with was erased; None where it was not.

        Replayed from what is archived, where that is at hand.
        """
        assert tip.base is not None
        key = snapshot_key(tip.owner, tip.id, tip.base.version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            return None
        state = fold.begin_erased(decode_snapshot(document)[1], str(key))
        if state is NO_STATE:
            return None
        if self.longer is not None:
            longer, reader = await self.longer(tip)
            if longer.base is None or longer.base.version < tip.base.version:
                return await reader.rebuild(longer, fold, version, event_needed=event_needed)
        if version == tip.base.version:
            return StateAt(state, version, None)
        return await self._replay(tip, fold, Start(state, *tip.base), version)

    async def _past_old_base(self, tip: Tip, fold: Fold, version: int, event_needed: bool) -> StateAt | None:
        """The state at a version where a pruned stream begins with a state of another fold version; None where not.

        Replayed from what is archived, where all of that is at hand; else from the kept state, as a fork is.
        """
        assert tip.base is not None
        key = snapshot_key(tip.owner, tip.id, tip.base.version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            return None
        snapshot, plain = decode_snapshot(document)
        image = snapshot.image
        if snapshot.digest != tip.base.digest or usable(image, fold, str(key), plain, tip.base.version):
            return None
        if self.longer is not None:
            longer, reader = await self.longer(tip)
            if longer.base is None:
                return await reader.rebuild(longer, fold, version, event_needed=event_needed)
        if not fold.accepts(image.schema, str(key)) or (fold.protects and not fold.opens(plain, tip.base.version)):
            return None
        start = Start(fold.load(plain, image.schema, str(key)), *tip.base)
        if version == tip.base.version:
            return StateAt(start.state, version, None)
        return await self._replay(tip, fold, start, version)

    async def _replay_from_snapshot(self, tip: Tip, fold: Fold, candidate: int, version: int) -> StateAt:
        key = snapshot_key(tip.owner, tip.id, candidate)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            raise CorruptionError(where=str(key), problem="the head lists it, but it is missing")
        snapshot, plain = decode_snapshot(document)
        if not usable(snapshot.image, fold, str(key), plain, candidate):
            raise CorruptionError(where=str(key), problem="it is of another fold version, or a key of it was erased")
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
        return await self._replay(tip, fold, start, version, documents)

    async def _replay(
        self, tip: Tip, fold: Fold, start: Start, version: int, documents: Sequence[Document] = ()
    ) -> StateAt:
        state = start.state
        chain = Chain(start.version, start.digest)
        where = partial(_where, tip)
        while True:
            state = fold.replay(state, chain.follow(documents, version), version, where)
            if chain.last is not None and chain.version >= version:
                if chain.version == tip.version and chain.digest != tip.digest:
                    raise CorruptionError(where=str(tip.key), problem="its chain digest is not that of its entries")
                return StateAt(_as_stored(fold, state, tip), version, chain.last.event(version))
            documents = await self.entries_to(version, tip, chain)

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
        birth = unborn(self._owner, id)._replace(revision=current.revision if current else None)
        # A prune marks the snapshot that its stream begins at; entries before it may be left for a while.
        marked = [snapshot for snapshot in snapshots if snapshot.is_base]
        if marked:
            return await _to_the_tip(self, _begun_at(birth, marked[-1]), snapshots)
        try:
            return await _to_the_tip(self, birth, snapshots)
        except CorruptionError:
            bases = [snapshot for snapshot in snapshots if snapshot.version < first.documents[0].key.n]
            if not bases:
                raise
        return await _to_the_tip(self, _begun_at(birth, bases[-1]), snapshots)

    async def _good_snapshots(self, id: str) -> list[Snapshot]:
        good: list[Snapshot] = []
        after: Key | None = None
        while True:
            page = await self._store.scan(SNAPSHOT, self._owner, id=id, after=after, limit=100)
            for document in page.documents:
                try:
                    good.append(decode_snapshot(document)[0])
                except CorruptionError:
                    continue
            after = page.next
            if after is None:
                return good


def _begun_at(birth: Tip, snapshot: Snapshot) -> Tip:
    """The tip of a pruned stream at the snapshot that it begins at."""
    base = Base(snapshot.version, snapshot.digest)
    return birth._replace(
        version=base.version, digest=base.digest, base=base, incarnation=snapshot.incarnation, at=snapshot.at
    )


async def _to_the_tip(reader: StreamReader, begin: Tip, snapshots: Sequence[Snapshot]) -> Repaired:
    """Walk the entries from a place to their end."""
    chain = Chain(begin.version, begin.digest)
    reopened = 0
    more = True
    while more:
        documents, more = await reader.entries(begin.id, chain.version)
        for entry in chain.follow(documents):
            reopened += sum(1 for event in entry.events if event["type"] == REOPENED)
    first = begin.base.version if begin.base else 0
    kept = tuple(snapshot.version for snapshot in snapshots if first <= snapshot.version <= chain.version)
    tip = begin._replace(snapshots=kept)
    last = chain.last
    if last is None:
        return Repaired(tip, "", {})
    event = last.event(last.version)
    tip = tip._replace(
        version=last.version,
        last=last.version,
        digest=last.digest,
        at=last.at,
        clock=last.clock,
        incarnation=begin.incarnation + reopened,
        deleted=event.type == DELETED,
    )
    return Repaired(tip, event.type, event.metadata)


def kept_state(document: Document, fold: Fold) -> tuple[int, Any]:
    """The version and the state of a head; `NO_STATE` where the log must be asked, or there is none.

    Raises:
        CorruptionError: the head is not what was written.
    """
    members = sealed_members(document)
    version = members["n"]
    if version == 0 or "state" not in members or "deleted" in members:
        return version, NO_STATE
    schema = members["v"]
    if not _same_rules(members["fold"], schema, fold, document.key):
        return version, NO_STATE
    if fold.protects and not fold.opens(members["state"], version):
        return version, NO_STATE
    return version, fold.load(members["state"], schema, document.key)


def usable(image: Image, fold: Fold, where: str, plain: Any, version: int) -> bool:
    """Whether a state kept for a version was made by the same rules, and can be read.

    Without its machine (fold version 0) a typed stream still shows the state that was recorded.
    """
    return _same_rules(image.fold, image.schema, fold, where) and (not fold.protects or fold.opens(plain, version))


def _same_rules(made_by: int, schema: int, fold: Fold, where: Key | str) -> bool:
    return fold.version == 0 or (made_by == fold.version and fold.accepts(schema, where))


def _as_stored(fold: Fold, state: Any, tip: Tip) -> Any:
    """The state as it comes back from its JSON text: a replay gives what a head or a snapshot would."""
    if state is None:
        return None
    rules = fold.bare
    return rules.load(decode(rules.dump(state), tip.id), fold.schema, str(tip.key))


def _where(tip: Tip, version: int) -> str:
    return f"event {tip.owner}/{tip.id} version {version}"
