"""Letting old events go, online: archived first, then a base with its state, then deletes of what lies before it.

Each step can be the last one: a run that was killed leaves streams that load, verify and go on, and the next run ends
what it began. A stream begins at its base from the moment that its head says so; what is left before it is never read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eventstate.core.backoff import full_jitter
from eventstate.core.chain import genesis
from eventstate.core.documents import (
    ENTRY,
    HEAD,
    SNAPSHOT,
    Batch,
    Check,
    Committed,
    Delete,
    Document,
    Key,
    Operation,
    Page,
    Put,
    Require,
)
from eventstate.core.format import (
    Base,
    Image,
    Snapshot,
    Tip,
    decode_head,
    decode_snapshot,
    encode_snapshot,
    rebased_head,
    snapshot_key,
)
from eventstate.core.ids import machine_of
from eventstate.core.pins import register_key
from eventstate.core.retention import Cut, Policies, kept_snapshots
from eventstate.errors import CorruptionError, EventStateError, OutcomeError, StoreError
from eventstate.log.archiving import PackSink
from eventstate.log.pinning import PinKeeper, SeenPins
from eventstate.log.pins import Pins as UnreadPins
from eventstate.log.pins import pins as pins_of_subscriptions
from eventstate.log.reading import Chain, StreamReader
from eventstate.log.sealing.bounds import SealedBounds
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store
from eventstate.transactions.commit import Committer

HEADS = 1000
"""Streams that are looked at together."""

GROUP_OPERATIONS = 400
GROUP_BYTES = 2_000_000
"""Bounds of one commit, well below those of the stores."""

MOVE_DELETES = GROUP_OPERATIONS - 2
"""Snapshots that go with a base; where there are more of them, the oldest go with the entries."""

ROUND_BYTES = 8 * 1024 * 1024
"""What is held in memory before it is written."""

ATTEMPTS = 20
MAX_PROBLEMS = 100
MEANWHILE = "others write, prune or pin it at this moment; the next run tries again"

ImageAt = Callable[[Tip, int], Awaitable[Image]]
"""Makes what a snapshot of a stream at a version keeps."""


@dataclass(slots=True)
class PruneCount:
    """What a prune found of one machine's streams, or of all.

    Attributes:
        streams: looked at.
        events: that they had in the store.
        pruned_streams: of which something goes, or went.
        pruned_events, pruned_bytes: what goes, or went; bytes are those of stored entries.
        held_streams: of which a policy lets more go than pins do.
    """

    streams: int = 0
    events: int = 0
    pruned_streams: int = 0
    pruned_events: int = 0
    pruned_bytes: int = 0
    held_streams: int = 0

    def add(self, other: PruneCount) -> None:
        """Count what the other counts too."""
        self.streams += other.streams
        self.events += other.events
        self.pruned_streams += other.pruned_streams
        self.pruned_events += other.pruned_events
        self.pruned_bytes += other.pruned_bytes
        self.held_streams += other.held_streams


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneProblem:
    """A stream that was left as it is, and why."""

    state_id: str
    problem: str


@dataclass(slots=True, kw_only=True)
class PruneReport:
    """What a prune did, or would do.

    Attributes:
        by_machine: counts by the name of the machine; '' for states of none that was declared or has a policy.
        held_by: how many streams each pin or subscription held back, by its kind and name.
        problems: streams that were left as they are; the first hundred.
        problem_count: all of them.
        packs: blobs written to the archive.
        deleted_entries: rows deleted, those left by an earlier run included.
    """

    by_machine: dict[str, PruneCount] = field(default_factory=dict[str, PruneCount])
    held_by: dict[str, int] = field(default_factory=dict[str, int])
    problems: list[PruneProblem] = field(default_factory=list[PruneProblem])
    problem_count: int = 0
    packs: int = 0
    deleted_entries: int = 0

    @property
    def total(self) -> PruneCount:
        """The sum over all machines."""
        total = PruneCount()
        for count in self.by_machine.values():
            total.add(count)
        return total

    def count(self, machine: str) -> PruneCount:
        """The counts of a machine."""
        return self.by_machine.setdefault(machine, PruneCount())

    def note(self, id: str, problem: str) -> None:
        """Remember that a stream was left as it is."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(PruneProblem(state_id=id, problem=problem))


class Unread(Protocol):
    """What subscriptions have not read yet."""

    def first_unread(self, state_id: str, /) -> int | None:
        """The first version of a stream that some subscription still needs; None where none does."""
        ...


class Bounds(NamedTuple):
    """What holds streams back: pins, subscriptions, and what is not sealed yet where the governor takes seals."""

    seen: SeenPins
    unread: Unread | None
    sealed: Mapping[str, int] | None = None

    def limit(self, id: str) -> tuple[int, str] | None:
        """The last version that may go, and the name of what keeps the next one."""
        found = self.seen.pins.limit(id)
        pin = None if found is None else (found.version, f"{found.pin.kind}:{found.pin.name}")
        first = self.unread.first_unread(id) if self.unread is not None else None
        unread = None if first is None else (first - 1, "subscriptions")
        sealed = None if self.sealed is None else (self.sealed.get(id, 0), "seal")
        return min((bound for bound in (pin, unread, sealed) if bound is not None), default=None)


class Planned(NamedTuple):
    """A stream that is to begin at ``base``: its head as it was seen, and the state there."""

    document: Document
    tip: Tip
    base: Base
    at: int
    incarnation: int
    image: Image
    counted: PruneCount

    @property
    def size(self) -> int:
        return len(self.document.body) + len(self.image.state or b"")


class Doomed(NamedTuple):
    """Entries of a stream that lie at or before its base."""

    id: str
    base: Base


class Pruner:
    """Prunes the streams of one governor, a page of streams at a time."""

    def __init__(
        self,
        store: Store,
        owner: str,
        *,
        reader: StreamReader,
        committer: Committer,
        pins: PinKeeper,
        image_at: ImageAt,
        policies: Policies,
        machines: Collection[str],
        archive: Archive | None,
    ) -> None:
        self._store = store
        self._owner = owner
        self._reader = reader
        self._committer = committer
        self._pins = pins
        self._image_at = image_at
        self._policies = policies
        self._machines = {*machines, *policies.machines}
        self._archive = archive
        self._sealed = SealedBounds(store, owner)
        self._unread: tuple[str | None, UnreadPins] | None = None
        """What subscriptions have not read, and the revision of the register that this belongs to."""

    async def bounds(self) -> Bounds:
        """What holds streams back now; of what subscriptions have not read, all that is written by now."""
        seen = await self._pins.seen()  # before the subscriptions: one that comes later is not in its register
        if self._unread is not None and self._unread[0] == seen.register:
            await self._unread[1].read_on()
        else:
            self._unread = seen.register, await pins_of_subscriptions(self._store, self._owner)
        return Bounds(seen, self._unread[1])

    async def _bounds_of(self, after: str, page: Page) -> Bounds:
        """What holds a page of streams back: read after their heads, so that it knows of all that these hold.

        Of what the newest seal saw, the part for this page: what lies beyond must stay until it is sealed.
        """
        bounds = await self.bounds()
        last = page.documents[-1].key.id if page.next is not None else None
        return bounds._replace(sealed=await self._sealed.page(after, last))

    async def _renewed(self, bounds: Bounds) -> Bounds:
        """The pins anew, and the subscriptions: one that is new rewrites the register as a new pin does."""
        renewed = await self.bounds()
        # What the first seal saw, where it was taken meanwhile, is for the next run to look at.
        sealed: Mapping[str, int] | None = bounds.sealed
        if sealed is None and await self._sealed.has_begun():
            sealed = {}
        return renewed._replace(sealed=sealed)

    async def plan_page(self, after: str, report: PruneReport) -> str | None:
        """Add to the report what a prune of some streams would do; the id to go on from, or None. Writes nothing."""
        page = await self._store.scan(HEAD, self._owner, after=self._after(after), limit=HEADS)
        bounds = await self._bounds_of(after, page)
        for document in page.documents:
            await self._cut(document, bounds, report)
        return page.next.id if page.next else None

    async def prune_page(self, after: str, report: PruneReport) -> str | None:
        """Prune some streams; the id to go on from, or None.

        Raises:
            StoreError: the store or the archive can't work. What was done stays done, and a new run goes on.
            CorruptionError: the archive did not give back what was written to it.
        """
        page = await self._store.scan(HEAD, self._owner, after=self._after(after), limit=HEADS)
        bounds = await self._bounds_of(after, page)
        sink = PackSink(self._archive, self._owner, self._store.runtime) if self._archive is not None else None
        planned: list[Planned] = []
        left: list[Doomed] = []
        held = 0
        for document in page.documents:
            doomed = await self._left_behind(document)
            if doomed is not None:
                left.append(doomed)
            one = await self._plan(document, bounds, report, sink)
            if one is not None:
                planned.append(one)
                held += one.size
            if held >= ROUND_BYTES or (sink is not None and sink.is_full):
                await self._finish(planned, left, sink, bounds, report)
                planned, left, held = [], [], 0
        await self._finish(planned, left, sink, bounds, report)
        report.packs += sink.packs if sink is not None else 0
        return page.next.id if page.next else None

    def _after(self, id: str) -> Key | None:
        return Key(HEAD, self._owner, id) if id else None

    # What may go

    async def _cut(self, document: Document, bounds: Bounds, report: PruneReport) -> tuple[Tip, Cut] | None:
        """Where a stream can be cut, counted in the report; None where it stays as it is."""
        id = document.key.id
        try:
            tip = decode_head(document)[0].tip
        except CorruptionError as error:
            report.note(id, str(error))
            return None
        if tip.version == 0:
            return None
        start = tip.base or Base(0, genesis(self._owner, id))
        count = self._count(id, report)
        count.streams += 1
        count.events += tip.version - start.version
        policy = self._policies.of(id)
        wanted = policy.limit(tip)
        bound = bounds.limit(id)
        limit = wanted if bound is None else min(wanted, bound[0])
        horizon = policy.horizon(self._store.runtime.now())
        if bound is not None and max(limit, start.version) < wanted:
            count.held_streams += 1
            report.held_by[bound[1]] = report.held_by.get(bound[1], 0) + 1
        if limit <= start.version:
            return None
        try:
            cut = await self._follow(tip, start, Cut(limit, horizon))
        except CorruptionError as error:
            report.note(id, await self._said(error, document))
            return None
        if cut.base is None:
            return None
        count.pruned_streams += 1
        count.pruned_events += cut.events
        count.pruned_bytes += cut.size
        return tip, cut

    async def _follow(self, tip: Tip, start: Base, cut: Cut) -> Cut:
        chain = Chain(*start)
        while chain.version < cut.limit:
            documents = await self._reader.entries_to(tip.version, tip, chain)
            for document, entry in zip(documents, chain.follow(documents), strict=True):
                if not cut.takes(entry, len(document.body)):
                    return cut
        return cut

    async def _plan(
        self, document: Document, bounds: Bounds, report: PruneReport, sink: PackSink | None
    ) -> Planned | None:
        found = await self._cut(document, bounds, report)
        if found is None:
            return None
        tip, cut = found
        assert cut.base is not None
        count = PruneCount(pruned_streams=1, pruned_events=cut.events, pruned_bytes=cut.size)
        try:
            old = await self._old_base(tip)
            image = await self._image_at(tip, cut.base.version)
            if sink is not None:
                await self._archived(tip, cut.base, old[1] if old else None, sink)
        except (StoreError, OutcomeError):
            raise
        except Exception as error:  # noqa: BLE001 of evolve, or of a stream that is damaged: the others go on
            self._take_back(tip.id, count, report, await self._said(error, document))
            return None
        incarnation = (old[0].incarnation if old else 1) + cut.reopened
        return Planned(document, tip, cut.base, cut.at, incarnation, image, count)

    async def _said(self, error: Exception, document: Document) -> str:
        """What is wrong with a stream, unless it was only changed while it was read."""
        now = (await self._store.get([document.key])).documents.get(document.key)
        if now is None or now.revision != document.revision:
            return MEANWHILE
        return str(error) if isinstance(error, EventStateError) else f"{type(error).__name__}: {error}"

    def _count(self, id: str, report: PruneReport) -> PruneCount:
        name = machine_of(id)
        return report.count(name if name in self._machines else "")

    def _take_back(self, id: str, count: PruneCount, report: PruneReport, problem: str) -> None:
        total = self._count(id, report)
        total.pruned_streams -= count.pruned_streams
        total.pruned_events -= count.pruned_events
        total.pruned_bytes -= count.pruned_bytes
        report.note(id, problem)

    async def _old_base(self, tip: Tip) -> tuple[Snapshot, bytes] | None:
        """The snapshot that a pruned stream begins at now, and its bytes."""
        if tip.base is None:
            return None
        key = snapshot_key(self._owner, tip.id, tip.base.version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            raise CorruptionError(where=str(key), problem="the snapshot at its base is missing")
        return decode_snapshot(document)[0], document.body

    async def _archived(self, tip: Tip, base: Base, snapshot: bytes | None, sink: PackSink) -> None:
        start = tip.base or Base(0, genesis(self._owner, tip.id))
        chain = Chain(*start)
        sink.begin(tip.id, start, snapshot)
        try:
            while chain.version < base.version:
                documents = await self._reader.entries_to(base.version, tip, chain)
                for document, entry in zip(documents, chain.follow(documents, base.version), strict=False):
                    await sink.add(tip.id, entry, document)
        finally:
            sink.end()
        if chain.digest != base.digest:
            raise CorruptionError(where=str(tip.key), problem="its entries changed while they were archived")

    # What is done

    async def _finish(
        self,
        planned: Sequence[Planned],
        left: Sequence[Doomed],
        sink: PackSink | None,
        bounds: Bounds,
        report: PruneReport,
    ) -> None:
        """Archive, move the bases, delete: in this order."""
        if sink is not None:
            await sink.flush()
        moved = await self._move(planned, bounds, report)
        moved_ids = {doomed.id for doomed in moved}
        await self._delete([*(one for one in left if one.id not in moved_ids), *moved], bounds, report)

    async def _move(self, planned: Sequence[Planned], bounds: Bounds, report: PruneReport) -> list[Doomed]:
        """Have streams begin at their new bases, many in one commit; those that somebody writes meanwhile, alone."""
        moved: list[Doomed] = []
        for group in _grouped(planned):
            token = self._store.runtime.unique()
            operations = [operation for one in group for operation in self._moving(one, one.document, token)]
            if await self._committed(token, operations, bounds):
                moved.extend(Doomed(one.tip.id, one.base) for one in group)
                continue
            for one in group:
                if await self._move_alone(one, bounds):
                    moved.append(Doomed(one.tip.id, one.base))
                else:
                    self._take_back(one.tip.id, one.counted, report, MEANWHILE)
        return moved

    async def _move_alone(self, one: Planned, bounds: Bounds) -> bool:
        runtime = self._store.runtime
        for attempt in range(1, ATTEMPTS + 1):
            bounds = await self._renewed(bounds)
            bound = bounds.limit(one.tip.id)
            document = await self._reader.head_document(one.tip.id)
            if document is None or (bound is not None and bound[0] < one.base.version):
                return False
            base = decode_head(document)[0].tip.base
            if base is not None and base.version >= one.base.version:
                return base == one.base
            token = runtime.unique()
            if await self._committed(token, self._moving(one, document, token), bounds):
                return True
            await runtime.sleep(full_jitter(attempt, runtime.random()))
        return False

    def _moving(self, one: Planned, document: Document, token: str) -> list[Operation]:
        tip = decode_head(document)[0].tip
        kept, dropped = kept_snapshots(tip.snapshots, one.base.version)
        dropped = dropped[-MOVE_DELETES:]  # older ones go with the entries
        there = tip._replace(
            version=one.base.version, digest=one.base.digest, at=one.at, incarnation=one.incarnation, base=None
        )
        key = snapshot_key(self._owner, tip.id, one.base.version)
        snapshot = encode_snapshot(there, one.image, token=token, is_base=True)
        head = rebased_head(document, one.base, kept, token)
        return [
            Put(key, snapshot, Require.ANY),
            Put(document.key, head, document.revision),
            *(Delete(snapshot_key(self._owner, tip.id, version), Require.ANY) for version in dropped),
        ]

    async def _committed(self, token: str, operations: Sequence[Operation], bounds: Bounds) -> bool:
        """Commit unless a pin was made since the bounds were read."""
        register = bounds.seen.register
        check = Check(register_key(self._owner), Require.ABSENT if register is None else register)
        return isinstance(await self._committer.commit_guarded(Batch(token, (*operations, check))), Committed)

    # Deleting

    async def _left_behind(self, document: Document) -> Doomed | None:
        """What an earlier run has not deleted any more."""
        try:
            tip = decode_head(document)[0].tip
        except CorruptionError:
            return None
        if tip.base is None:
            return None
        for kind, last in ((ENTRY, tip.base.version), (SNAPSHOT, tip.base.version - 1)):
            page = await self._store.scan(kind, self._owner, id=tip.id, limit=1)
            if page.documents and page.documents[0].key.n <= last:
                return Doomed(tip.id, tip.base)
        return None

    async def _delete(self, doomed: Sequence[Doomed], bounds: Bounds, report: PruneReport) -> None:
        """Delete the entries before the bases of streams, oldest first."""
        pending: list[Key] = []
        for one in doomed:
            if not await self._is_founded(one, report):
                continue
            for kind, last in ((SNAPSHOT, one.base.version - 1), (ENTRY, one.base.version)):
                after = Key(kind, self._owner, one.id, 0)
                while after.n < last:
                    page = await self._store.scan(kind, self._owner, id=one.id, after=after, limit=GROUP_OPERATIONS)
                    keys = [document.key for document in page.documents if document.key.n <= last]
                    if not keys:
                        break
                    for key in keys:
                        pending.append(key)
                        if len(pending) == GROUP_OPERATIONS:
                            bounds = await self._delete_entries(pending, bounds, report)
                            pending = []
                    after = keys[-1]
        await self._delete_entries(pending, bounds, report)

    async def _is_founded(self, one: Doomed, report: PruneReport) -> bool:
        """Whether the state that the stream begins at is there, read back."""
        key = snapshot_key(self._owner, one.id, one.base.version)
        document = (await self._store.get([key])).documents.get(key)
        try:
            if document is None:
                raise CorruptionError(where=str(key), problem="the snapshot at its base is missing")
            if decode_snapshot(document)[0].digest != one.base.digest:
                raise CorruptionError(where=str(key), problem="it does not belong to this stream's chain")
        except CorruptionError as error:
            if await self._begins_at(one):  # else another prune has gone further, and deletes these too
                report.note(one.id, str(error))
            return False
        return True

    async def _begins_at(self, one: Doomed) -> bool:
        head = await self._reader.head_document(one.id)
        return head is not None and decode_head(head)[0].tip.base == one.base

    async def _delete_entries(self, keys: Sequence[Key], bounds: Bounds, report: PruneReport) -> Bounds:
        """Delete entries but for those that a pin made meanwhile holds; the bounds that were seen last."""
        runtime = self._store.runtime
        for attempt in range(1, ATTEMPTS + 1):
            allowed = [key for key in keys if _may_go(key, bounds)]
            if not allowed:
                return bounds
            if await self._committed(runtime.unique(), [Delete(key, Require.ANY) for key in allowed], bounds):
                report.deleted_entries += sum(key.kind == ENTRY for key in allowed)
                return bounds
            bounds = await self._renewed(bounds)
            await runtime.sleep(full_jitter(attempt, runtime.random()))
        return bounds


def _may_go(key: Key, bounds: Bounds) -> bool:
    pinned = bounds.seen.pins.limit(key.id)
    return pinned is None or key.n <= pinned.version


def _grouped(planned: Sequence[Planned]) -> list[list[Planned]]:
    """Streams whose bases move in one commit."""
    groups: list[list[Planned]] = []
    operations = size = 0
    for one in planned:
        needed = 2 + min(len(one.tip.snapshots), MOVE_DELETES)
        if not groups or operations + needed > GROUP_OPERATIONS or size + one.size > GROUP_BYTES:
            groups.append([])
            operations = size = 0
        groups[-1].append(one)
        operations += needed
        size += one.size
    return groups
