"""Holding today's code against recorded histories: every version whose state comes out differently is named.

What was recorded is compared wherever it is: the state in the head, the states in snapshots, and the states inside
events that carry data too. A typed stream records no state in between, so there a difference shows at the next
snapshot or at the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from eventstate.core.chain import genesis
from eventstate.core.differences import Difference, differences
from eventstate.core.documents import HEAD, Document, Key
from eventstate.core.fold import PLAIN, Fold, same_state
from eventstate.core.format import (
    DELETED,
    NO_STATE,
    RESERVED,
    Entry,
    Image,
    StoredEvent,
    Tip,
    decode_head,
    decode_snapshot,
    snapshot_key,
)
from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    EncodingError,
    EventStateError,
    IllegalTransitionError,
    KeyringError,
    SchemaError,
    SchemaNewerError,
)
from eventstate.log.reading import Chain, StreamReader
from eventstate.log.verify import LOOKS, FoldOf
from eventstate.stores.base import Store

MAX_CHANGES: Final = 20
"""So many places are named of one divergence."""

_LOST: Final = object()
"""Stands for a state that today's code could not reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """A version at which today's code comes to something else than what was recorded.

    Attributes:
        kind: ``differs`` (another state), ``fails`` (an event can't be folded any more), ``illegal`` (today's
            declaration would refuse the event), or ``corrupt`` (the log itself is damaged; see `validate_consistency`).
        recorded_in: ``head``, ``snapshot`` or ``event``: where the recorded state is.
        recorded_fold: the ``fold_version`` it was recorded under (0: without a machine), and ``fold`` the present one.
            Where they differ, the change of meaning was declared.
        problem: what went wrong, in words.
        changes: from the recorded state to the one that came out; at most 20 places.
    """

    state_id: str
    version: int
    kind: Literal["differs", "fails", "illegal", "corrupt"]
    problem: str
    recorded_in: Literal["head", "snapshot", "event"] | None = None
    recorded_fold: int = 0
    fold: int = 0
    changes: Sequence[Difference] = ()

    @property
    def is_declared(self) -> bool:
        """Whether ``fold_version`` was raised since, so that a difference is no surprise."""
        return self.kind == "differs" and self.recorded_fold not in (0, self.fold)


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """What a replay of recorded histories came to.

    Attributes:
        streams, events: that were folded.
        compared: recorded states that were held against what came out.
        incomparable: recorded states that can't be read: of a schema that is not declared, or of erased subjects.
        without_machine: typed streams whose machine was not given: nothing to fold them with.
        total_divergences, declared: how many in all, and how many of them under a raised ``fold_version``.
        divergences: the first ones, in the order of ids and versions.
        checked_to: the id of the last stream that was looked at; pass it as ``after`` to go on from there.
        is_finished: whether all streams have been looked at.
    """

    streams: int = 0
    events: int = 0
    compared: int = 0
    incomparable: int = 0
    without_machine: int = 0
    total_divergences: int = 0
    declared: int = 0
    divergences: list[Divergence] = field(default_factory=list[Divergence])
    checked_to: str = ""
    is_finished: bool = False
    keep: int = 1000

    @property
    def is_same(self) -> bool:
        """Whether everything that could be compared came out as it was recorded."""
        return self.total_divergences == 0

    def add(self, stream: ReplayReport) -> None:
        """Add what was found in one stream."""
        self.streams += stream.streams
        self.events += stream.events
        self.compared += stream.compared
        self.incomparable += stream.incomparable
        self.without_machine += stream.without_machine
        self.total_divergences += stream.total_divergences
        self.declared += stream.declared
        self.divergences += stream.divergences[: max(0, self.keep - len(self.divergences))]

    def note(self, divergence: Divergence) -> None:
        """Count a divergence, and keep it if there is room."""
        self.total_divergences += 1
        self.declared += divergence.is_declared
        if len(self.divergences) < self.keep:
            self.divergences.append(divergence)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One stream as far as it has been folded."""

    tip: Tip
    fold: Fold
    report: ReplayReport
    judged: bool
    state: Any
    version: int = 0

    def where(self, version: int) -> str:
        return f"event {self.tip.owner}/{self.tip.id} version {version}"

    def note(self, kind: Literal["fails", "illegal", "corrupt"], version: int, problem: str) -> None:
        self.report.note(
            Divergence(state_id=self.tip.id, version=version, kind=kind, problem=problem, fold=self.fold.version)
        )


class ReplayChecker:
    """Folds the recorded streams of one governor with today's code, a page at a time."""

    def __init__(self, store: Store, owner: str, fold_of: FoldOf, *, judge_transitions: bool = False) -> None:
        self._store = store
        self._owner = owner
        self._fold_of = fold_of
        self._judged = judge_transitions
        self._reader = StreamReader(store, owner)

    async def page(self, report: ReplayReport, *, prefix: str = "", limit: int = 20) -> None:
        """Fold the streams after ``report.checked_to``, and add to the report."""
        after = Key(HEAD, self._owner, report.checked_to) if report.checked_to else None
        page = await self._store.scan(HEAD, self._owner, prefix=prefix, after=after, limit=limit)
        for document in page.documents:
            report.add(await self.stream(document, report.keep))
            report.checked_to = document.key.id
        report.is_finished = page.next is None

    async def stream(self, head: Document, keep: int) -> ReplayReport:
        """Fold one stream. If it is pruned or replaced meanwhile, it is looked at again."""
        found = ReplayReport(keep=keep)
        for _ in range(LOOKS):
            found = ReplayReport(streams=1, keep=keep)
            if not await self._folded(head, found):
                break
            now = (await self._store.get([head.key])).documents.get(head.key)
            if now is None or now.revision == head.revision:
                break
            head = now
        return found

    async def _folded(self, document: Document, report: ReplayReport) -> bool:
        """Fold one stream into a report; whether it was found damaged, or changed under our hands."""
        id = document.key.id
        plain, image = NO_STATE, None
        try:
            head, plain = decode_head(document)
            tip, image = head.tip, head.image
        except CorruptionError as error:
            report.note(Divergence(state_id=id, version=0, kind="corrupt", problem=str(error)))
            return True
        fold = self._fold_of(id)
        walk = _Walk(tip=tip, fold=fold, report=report, judged=self._judged, state=fold.initial())
        try:
            await self._begin(walk)
            await self._entries(walk)
        except CorruptionError as error:
            walk.note("corrupt", walk.version + 1, str(error))
            return True
        except ConfigurationError:  # a typed stream whose machine was not given
            report.without_machine += 1
            return False
        if plain is not NO_STATE and image is not None and not tip.deleted and tip.version:
            self._compare(walk, "head", image, plain)
        return False

    async def _begin(self, walk: _Walk) -> None:
        base = walk.tip.base
        if base is None:
            return
        walk.version = base.version
        walk.state = _LOST
        await self._snapshot(walk, base.version)

    async def _entries(self, walk: _Walk) -> None:
        tip = walk.tip
        chain = Chain(*tip.base) if tip.base else Chain(0, genesis(tip.owner, tip.id))
        while chain.version < tip.version:
            documents = await self._reader.entries_to(tip.version, tip, chain)
            for entry in chain.follow(documents, tip.version):
                self._entry(walk, entry)
                if entry.version in tip.snapshots:
                    await self._snapshot(walk, entry.version)
        if chain.digest != tip.digest:
            raise CorruptionError(where=str(tip.key), problem="its chain digest is not that of its entries")

    def _entry(self, walk: _Walk, entry: Entry) -> None:
        for event in entry.each():
            walk.version = event.version
            walk.report.events += 1
            if walk.state is not _LOST or event.type == DELETED:
                self._event(walk, event)

    def _event(self, walk: _Walk, event: StoredEvent) -> None:
        where = walk.where(event.version)
        try:
            walk.state = self._after(walk, event, where)
        except EventStateError as error:
            if walk.fold is PLAIN and isinstance(error, ConfigurationError):
                raise
            walk.note("fails", event.version, str(error))
            walk.state = _LOST
            return
        except Exception as error:  # noqa: BLE001 - of evolve itself: that it raises is what is asked here
            walk.note("fails", event.version, f"{event.type}: evolve raised {type(error).__name__}: {error}")
            walk.state = _LOST
            return
        if walk.fold is not PLAIN and {"state", "data"} <= event.body.keys() and not event.type.startswith(RESERVED):
            self._compare(walk, "event", Image(None, 0, walk.fold.schema), event.body["state"])

    def _after(self, walk: _Walk, event: StoredEvent, where: str) -> Any:
        if not walk.judged:
            return walk.fold.step(walk.state, event, where)
        rules = walk.fold.bare
        before = rules.dump(walk.state) if walk.state is not None else None
        try:
            return walk.fold.step_new(walk.state, event, where)
        except IllegalTransitionError as error:
            walk.note("illegal", event.version, str(error))
        state = None if before is None else rules.load(orjson.loads(before), rules.schema, where)
        return walk.fold.step(state, event, where)

    async def _snapshot(self, walk: _Walk, version: int) -> None:
        """Compare with a snapshot; where today's code has lost the way, go on from it."""
        key = snapshot_key(walk.tip.owner, walk.tip.id, version)
        document = (await self._store.get([key])).documents.get(key)
        if document is None:
            if walk.tip.base is not None and version == walk.tip.base.version:
                raise CorruptionError(where=str(key), problem="the snapshot at its base is missing")
            return  # dropped meanwhile, as old ones are
        snapshot, plain = decode_snapshot(document)
        if walk.state is not _LOST:
            self._compare(walk, "snapshot", snapshot.image, plain)
            return
        try:
            if walk.fold.accepts(snapshot.image.schema, key) and walk.fold.opens(plain, version):
                walk.state = walk.fold.load(plain, snapshot.image.schema, key)
        except (CorruptionError, SchemaError, KeyringError):
            walk.report.incomparable += 1

    def _compare(self, walk: _Walk, kept: Literal["head", "snapshot", "event"], image: Image, recorded: Any) -> None:
        if walk.state is _LOST:
            return
        fold, where = walk.fold, walk.where(walk.version)
        try:
            accepted = fold.accepts(image.schema, where) and fold.opens(recorded, walk.version)
        except (SchemaNewerError, KeyringError):
            accepted = False
        if not accepted:
            walk.report.incomparable += 1
            return
        walk.report.compared += 1
        try:
            changes = _changes(fold, walk.state, image.schema, recorded, where)
        except EncodingError as error:  # evolve gave something that is no state
            walk.note("fails", walk.version, str(error))
            walk.state = _LOST
            return
        if changes:
            walk.report.note(
                Divergence(
                    state_id=walk.tip.id,
                    version=walk.version,
                    kind="differs",
                    problem=f"not the state that its {kept} has",
                    recorded_in=kept,
                    recorded_fold=image.fold,
                    fold=fold.version,
                    changes=changes[:MAX_CHANGES],
                )
            )


def _changes(fold: Fold, state: Any, schema: int, recorded: Any, where: str) -> list[Difference]:
    """From what was recorded to what came out; empty where they are the same."""
    rules = fold.bare
    text = rules.dump(state)
    try:
        before = fold.load(recorded, schema, where)
        if same_state(fold, before, rules.load(orjson.loads(text), rules.schema, where)):
            return []
        recorded = orjson.loads(rules.dump(before))
    except (CorruptionError, SchemaError):
        pass  # it is no such state any more: compared as the data that it is
    return differences(recorded, orjson.loads(text))
