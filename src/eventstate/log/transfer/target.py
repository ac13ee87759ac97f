"""Streams written into a store: many in one commit, and long ones in several, each of which leaves a sound stream.

Every commit that writes entries moves the head of their stream in the same batch, on the condition that it is where it
was. So a process may die at any moment, and whoever else writes to the stream meanwhile is noticed; what is there says
how far a copy has come. Entries keep the token of the commit that made them, the heads carry that of this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from eventstate.core.chain import head_context, seal, stored_digest
from eventstate.core.documents import ENTRY, HEAD, SNAPSHOT, Batch, Delete, Key, Operation, Put, Refused, Require
from eventstate.core.format import (
    DELETED,
    NO_CLOCK,
    Base,
    Tip,
    decode_head,
    encode_head,
    load_members,
    sealed_members,
    snapshot_key,
)
from eventstate.errors import HistoryConflictError, TransactionConflictError
from eventstate.log.transfer.places import TargetHeads
from eventstate.log.transfer.report import TransferReport
from eventstate.log.transfer.streams import COPYING, StreamHead, StreamPart, Walk
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

BATCH_BYTES: Final = 1_500_000
"""Of bodies gathered before they are committed. An entry, two snapshots and a head of the largest size fit as well."""

SPARE_OPERATIONS: Final = 8
"""Left free in a batch for the head of the stream that is under way and for parts that are kept together."""


class _Anchor(NamedTuple):
    """Where the new chain of a stream that is pruned in its source goes on: its place, digest and time in the target.

    The digests before it can't be made from the source any more.
    """

    version: int
    digest: bytes
    at: int


@dataclass(slots=True)
class _Writing:
    """A stream on its way into the store: as it was found there, and what has been gathered of it since."""

    head: StreamHead
    walk: Walk
    found: Tip | None
    revision: str | None
    is_partial: bool
    is_proven: bool
    """What was found is the beginning of what is copied."""
    anchor: _Anchor | None = None
    snapshots: list[int] = field(default_factory=list[int])
    """Those of the source that are here, too."""
    gathered: int = 0
    """Operations since the last commit."""
    is_ahead: bool = False
    """Entries are among them."""
    is_written: bool = False

    @property
    def base(self) -> Base | None:
        """Where it begins here."""
        return self.found.base if self.found is not None else self.head.base

    @property
    def kept(self) -> list[int]:
        """Its snapshots once it is complete."""
        return sorted({*self.snapshots, *((self.base.version,) if self.base is not None else ())})


class StreamTarget:
    """Writes the streams of one governor into a store."""

    def __init__(self, store: Store, governor: str, source: str, report: TransferReport) -> None:
        """``source`` is the governor they come from."""
        self._store = store
        self._owner = governor
        self._source = source
        self._report = report
        self._committer = Committer(store, governor)
        self._heads = TargetHeads(store, governor)
        self._stream: _Writing | None = None
        self._operations: list[Operation] = []
        self._bytes = 0
        self._token = store.runtime.unique()

    async def begin(self, head: StreamHead) -> bool:
        """Look at a stream before it is written; False where it is there already.

        Raises:
            HistoryConflictError: it is there with another history.
            CorruptionError: it is there, and corrupt.
        """
        document = await self._heads.of(head.id)
        tip = decode_head(document)[0].tip if document is not None else None
        found = tip if tip is not None and tip.version else None  # a head at 0 only stopped a commit
        is_partial = document is not None and COPYING in sealed_members(document)
        if found is not None:
            self._check_place(found, head)
            if self._source == self._owner and found.version == head.version and not is_partial:
                if found.digest != head.digest:
                    raise self._conflict(head.id, f"they differ at version {found.version} or before")
                self._report.streams_there += 1
                return False
        self._stream = _Writing(
            head=head,
            walk=Walk(head, self._source, self._owner),
            found=found,
            revision=tip.revision if tip is not None else None,
            is_partial=is_partial,
            is_proven=found is None,
        )
        if found is not None and head.base is not None and self._source != self._owner:
            self._stream.anchor = await self._anchor(found, head.base)
            self._follow_anchor(self._stream)
        self._prove(self._stream)  # a source that was pruned may begin just where this one ends
        return True

    async def _anchor(self, found: Tip, base: Base) -> _Anchor:
        """The target's place at which its source begins, or the first one after it that the target still has."""
        version = max(base.version, found.base.version if found.base is not None else 0)
        is_base = found.base is not None and found.base.version == version
        key = Key(SNAPSHOT if is_base else ENTRY, self._owner, found.id, version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            raise self._conflict(found.id, f"no event of its source ends at version {version} there")
        members = sealed_members(document) if is_base else load_members(document.body, key)
        digest = found.base.digest if is_base and found.base is not None else stored_digest(document.body)
        return _Anchor(version, digest, members["at"])

    def _follow_anchor(self, stream: _Writing) -> None:
        if stream.anchor is not None and stream.walk.version == stream.anchor.version:
            stream.walk.made_digest = stream.anchor.digest

    def _check_anchor(self, stream: _Writing, at: int) -> None:
        """What ends where the target's entry does must have been recorded at the same time: then it is the same."""
        anchor = stream.anchor
        if anchor is not None and stream.walk.version == anchor.version and at != anchor.at:
            raise self._conflict(stream.head.id, f"they differ at version {anchor.version} or before")

    def _check_place(self, found: Tip, head: StreamHead) -> None:
        if found.version > head.version:
            raise self._conflict(head.id, f"it is at version {found.version}, its source at {head.version}")
        if head.base is not None and found.version < head.base.version:
            problem = f"it is at version {found.version}, its source is pruned up to {head.base.version}"
            raise self._conflict(head.id, problem)

    def _conflict(self, id: str, problem: str) -> HistoryConflictError:
        return HistoryConflictError(store=self._store.url, stream=id, problem=problem)

    async def take(self, part: StreamPart) -> None:
        """The next part of the stream. What is not there yet is written with one of the next commits.

        Raises:
            CorruptionError: it is not what follows in the source.
            HistoryConflictError: the stream is there with another history.
            TransactionConflictError: somebody else writes to what is copied.
        """
        stream = self._stream
        assert stream is not None
        # A snapshot goes with its entry, and that at the base with the first one.
        if part.name == "entry" and self._is_full(len(part.body)) and (stream.is_ahead or not stream.gathered):
            await self.flush()
        if part.name == "snapshot":
            body = stream.walk.snapshot(part)
            if stream.walk.last is None:  # of its base: the last entry that is pruned
                self._check_anchor(stream, orjson.loads(part.body)["at"])
            self._take_snapshot(stream, body)
        else:
            self._take_entry(stream, stream.walk.entry(part))

    def _take_entry(self, stream: _Writing, body: bytes) -> None:
        walk, found = stream.walk, stream.found
        self._check_anchor(stream, walk.at)
        self._follow_anchor(stream)
        self._prove(stream)
        if found is not None and walk.version <= found.version:
            return
        self._gather(stream, Put(Key(ENTRY, self._owner, stream.head.id, walk.version), body, Require.ABSENT))
        stream.is_ahead = stream.is_written = True
        self._report.entries += 1
        self._report.events += len(walk.events)

    def _prove(self, stream: _Writing) -> None:
        walk, found = stream.walk, stream.found
        if stream.is_proven or found is None or walk.version < found.version:
            return
        if walk.version > found.version or walk.made_digest != found.digest:
            raise self._conflict(stream.head.id, f"they differ at version {found.version} or before")
        stream.is_proven = True

    def _take_snapshot(self, stream: _Writing, body: bytes) -> None:
        version, found = stream.walk.version, stream.found
        if found is not None and version <= found.version:
            if version in found.snapshots:
                stream.snapshots.append(version)
            return
        stream.snapshots.append(version)
        self._gather(stream, Put(snapshot_key(self._owner, stream.head.id, version), body, Require.ANY))
        self._report.snapshots += 1

    async def finish(self) -> None:
        """The stream is complete: its head is written as it is in the source.

        Raises:
            CorruptionError: the head does not fit to the entries.
            HistoryConflictError, TransactionConflictError: as `take`.
        """
        stream = self._stream
        assert stream is not None
        stream.walk.finish()
        self._prove(stream)
        if stream.is_written or stream.is_partial:
            if self._is_full(len(self._head_body(stream))):
                await self.flush()
            self._gather_end(stream)
            self._report.streams += 1
        else:
            self._report.streams_there += 1
        self._stream = None

    def _gather_end(self, stream: _Writing) -> None:
        found = stream.found.snapshots if stream.found is not None else ()
        for version in sorted(set(found) - set(stream.kept)):  # the source has dropped them
            self._gather(stream, Delete(snapshot_key(self._owner, stream.head.id, version), Require.ANY))
        self._gather(stream, Put(self._head_key(stream), self._head_body(stream), self._head_when(stream)))

    def _head_key(self, stream: _Writing) -> Key:
        return Key(HEAD, self._owner, stream.head.id)

    def _head_when(self, stream: _Writing) -> Require | str:
        return Require.ABSENT if stream.revision is None else stream.revision

    def _head_body(self, stream: _Writing) -> bytes:
        """The head of the complete stream: what the source's says, under this store's chain, base and snapshots."""
        members: dict[str, Any] = {"t": self._token, **stream.head.members}
        members["chain"] = stream.walk.made_digest.decode("ascii")
        members.pop("base", None)
        if stream.base is not None:
            members["base"] = {"n": stream.base.version, "chain": stream.base.digest.decode("ascii")}
        if stream.kept:
            members["snapshots"] = stream.kept
        return seal(head_context(self._owner, stream.head.id), orjson.dumps(members))[0]

    def _partial_head_body(self, stream: _Writing) -> bytes:
        """The head of the stream as far as it has come: without a state, and with the version it is to reach."""
        walk, event = stream.walk, stream.walk.last_event()
        found = stream.found.snapshots if stream.found is not None else ()
        tip = Tip(
            owner=self._owner,
            id=stream.head.id,
            revision=None,
            version=walk.version,
            digest=walk.made_digest,
            at=event.at,
            clock=event.clock or NO_CLOCK,
            incarnation=walk.incarnation,
            deleted=event.type == DELETED,
            base=stream.base,
            snapshots=tuple(sorted({*found, *stream.kept})),
            last=walk.version,
        )
        members = orjson.loads(encode_head(tip, None, token=self._token, action=event.type, metadata=event.metadata))
        del members["h"]
        members[COPYING] = stream.head.version
        return seal(head_context(self._owner, stream.head.id), orjson.dumps(members))[0]

    def _gather(self, stream: _Writing, operation: Operation) -> None:
        self._operations.append(operation)
        self._bytes += len(operation.body) if isinstance(operation, Put) else 0
        stream.gathered += 1

    def _is_full(self, size: int) -> bool:
        limit = self._store.capabilities.max_batch_operations - SPARE_OPERATIONS
        return bool(self._operations) and (self._bytes + size > BATCH_BYTES or len(self._operations) >= limit)

    async def flush(self) -> None:
        """Commit what has been gathered.

        Raises:
            TransactionConflictError: somebody else writes to what is copied.
        """
        if not self._operations:
            return
        stream = self._stream
        if stream is not None and stream.is_ahead:
            put = Put(self._head_key(stream), self._partial_head_body(stream), self._head_when(stream))
            self._operations.append(put)
        result = await self._committer.commit_guarded(Batch(self._token, tuple(self._operations)))
        if isinstance(result, Refused):
            raise await self._refused(result)
        if stream is not None and stream.is_ahead:
            stream.revision = result.revisions.get(self._head_key(stream), "")
            stream.is_ahead, stream.is_partial = False, True
        if stream is not None:
            stream.gathered = 0
        self._operations, self._bytes, self._token = [], 0, self._store.runtime.unique()

    async def _refused(self, result: Refused) -> TransactionConflictError:
        keys = sorted(result.keys) if result.keys is not None else [op.key for op in self._operations[:1]]
        detail = "the target is written to by others; what was copied stays, so run it again"
        return TransactionConflictError(keys=tuple(str(key) for key in keys[:3]), detail=detail)
