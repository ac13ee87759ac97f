"""Streams in a transaction: read once, appended to in memory, written together at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from eventstate.core.causality import VectorClock
from eventstate.core.documents import Document
from eventstate.core.fold import Fold
from eventstate.core.format import DELETED, NO_STATE, Image, NewEvent, Tip
from eventstate.core.instants import utc_of
from eventstate.core.metadata import metadata_from_plain
from eventstate.core.planner import Append, Plan
from eventstate.errors import InvalidInputError, StateDeletedError, StateNotFoundError
from eventstate.log.planning import Change, Current
from eventstate.log.reading import Known
from eventstate.machines.core import PersisterCore
from eventstate.machines.protecting import ProtectedFold
from eventstate.machines.states import StateSnapshot
from eventstate.transactions.readset import ReadSet


@dataclass(slots=True, kw_only=True)
class Work:
    """One stream as a transaction sees it.

    Attributes:
        tip: where it was when it was read.
        state: the state now, own events included, as JSON text: what callers get is made anew each time.
        shared: the same as it is handed to callers who change none; `NO_STATE` where each gets one of his own.
        events: the own ones, each with its metadata.
    """

    tip: Tip
    state: bytes
    fold: Fold
    action: str
    metadata: Mapping[str, Any]
    deleted: bool
    recovered: bool
    shared: Any = NO_STATE
    events: list[tuple[NewEvent, Mapping[str, Any]]] = field(default_factory=list[tuple[NewEvent, Mapping[str, Any]]])
    image: Image | None = None
    reopen: bool = False

    @property
    def shown(self) -> list[Any]:
        """What the own events say, equal for equal events."""
        fold = self.fold
        if not isinstance(fold, ProtectedFold):
            return [event for event, _ in self.events]
        start = self.version - len(self.events) + 1
        return [fold.revealed(event, version) for version, (event, _) in enumerate(self.events, start)]

    @property
    def version(self) -> int:
        return self.tip.version + len(self.events) + self.reopen


class Left(NamedTuple):
    """A stream as a committed transaction has left it, for the next one of the same caller to begin from.

    What it says may be out of date: the commit of whoever begins from it is refused then.
    """

    work: Work
    tip: Tip
    head: Document


class StreamBuffer:
    """What one attempt of a transaction reads and appends.

    Args:
        shares_states: callers change no state that they get, so that each is made once.
    """

    def __init__(self, core: PersisterCore, reads: ReadSet, *, shares_states: bool = False) -> None:
        self._core = core
        self._reads = reads
        self._shares_states = shares_states
        self._opened: dict[str, Work] = {}

    @property
    def written(self) -> list[Work]:
        return [work for work in self._opened.values() if work.events]

    async def find(self, state_id: str) -> StateSnapshot[Any] | None:
        """The state, or None where it does not exist or is deleted."""
        work = await self._open(state_id)
        return None if work.version == 0 or work.deleted else self._shown(state_id, work)

    async def peek(self, state_id: str) -> Any:
        """The state's data alone, None where it does not exist or is deleted."""
        work = await self._open(state_id)
        return None if work.version == 0 or work.deleted else self._state(state_id, work, work.fold)

    async def load(self, state_id: str) -> StateSnapshot[Any]:
        work = await self._open(state_id)
        if work.version == 0:
            raise StateNotFoundError(governor=self._core.governor, state_id=state_id)
        if work.deleted:
            raise StateDeletedError(state_id=state_id, version=work.version)
        return self._shown(state_id, work)

    async def change(self, change: Change) -> StateSnapshot[Any]:
        """Add a change's events; the state after them."""
        return self._shown(change.id, await self.apply(change))

    async def apply(self, change: Change) -> Work:
        """Add a change's events; the stream after them."""
        work = await self._open(change.id)
        if work.events and work.deleted and not change.tolerate_deleted:
            raise InvalidInputError(f"{change.id!r} was deleted in this transaction: begin anew in another one")
        tip = work.tip._replace(version=work.version, deleted=work.deleted)
        current = Current(tip, None if work.deleted else self._state(change.id, work, change.fold), None, None, False)
        planned = self._core.appender.planner.plan(change, current)
        if planned is not None:
            work.reopen = work.reopen or (tip.deleted and change.reopen)
            append = planned.append
            work.events.extend((event, change.metadata) for event in append.events)
            work.image = append.image
            work.action = append.events[-1].type
            work.metadata = {**change.metadata, **(append.events[-1].metadata or {})}
            work.deleted = work.action == DELETED
            if append.image is not None and append.image.state is not None:
                work.state = append.image.state
                work.shared = planned.state if self._shares_states else NO_STATE
        return work

    def begin_with(self, left: Left) -> None:
        """Go on from where a stream was left, without reading it."""
        self._reads.note(left.head.key, left.head)
        work = left.work
        again = Work(
            tip=left.tip,
            state=work.state,
            fold=work.fold,
            action=work.action,
            metadata=work.metadata,
            deleted=work.deleted,
            recovered=False,
            shared=work.shared,
        )
        self._opened.setdefault(left.tip.id, again)

    def left(self, state_id: str, plan: Plan, revision: str, at: int) -> Left:
        """A stream after the commit of a plan, which was made of `appends`; where states are shared."""
        works = self.written
        index = next(index for index, work in enumerate(works) if work.tip.id == state_id)
        tip = plan.tips[index]._replace(revision=revision)
        return Left(works[index], tip, Document(tip.key, plan.heads[index], revision, at))

    def appends(self) -> list[Append]:
        """What the planner makes entries and heads of."""
        return [self._append(work) for work in self.written]

    def _append(self, work: Work) -> Append:
        shared = work.events[0][1]
        if all(metadata == shared for _, metadata in work.events):
            events = [event for event, _ in work.events]
        else:  # each event keeps that of its own call
            shared = {}
            events = [
                event._replace(metadata={**metadata, **(event.metadata or {})}) for event, metadata in work.events
            ]
        return Append(work.tip, events, work.image, shared, self._core.policy, work.reopen)

    async def _open(self, state_id: str) -> Work:
        work = self._opened.get(state_id)
        if work is None:
            # Two tasks may open it at the same time: both go on with the one that came first.
            work = self._opened.setdefault(state_id, await self._read(state_id))
        return work

    async def _read(self, state_id: str) -> Work:
        core = self._core
        key = core.reader.key(state_id)
        is_new = key not in self._reads.keys
        document = await self._reads.get(key)
        if document is None and is_new and await core.reader.has_entries(state_id):
            document = await core.appender.planner.mend(state_id)
            self._reads.replace(key, document)
        fold = core.fold_of(state_id)
        known = Known(document) if document is not None else None
        tip, state, head, current, rebuilt = await core.appender.planner.opened(state_id, fold, known)
        if current is not None and current is not known:  # it was mended, or had to be read anew
            self._reads.replace(key, current.document)
        return Work(
            tip=tip,
            state=b"null" if tip.deleted or self._shares_states else fold.dump(state),
            shared=state if self._shares_states else NO_STATE,
            fold=fold,
            action=head.action if head else "",
            metadata=head.metadata if head else {},
            deleted=tip.deleted,
            recovered=rebuilt and head is not None and head.image is not None,
        )

    def _state(self, state_id: str, work: Work, fold: Fold) -> Any:
        if work.shared is not NO_STATE:
            return work.shared
        return fold.load(orjson.loads(work.state), fold.schema, state_id)

    def _shown(self, state_id: str, work: Work) -> StateSnapshot[Any]:
        version = work.version
        return StateSnapshot(
            id=state_id,
            data=None if work.deleted else self._state(state_id, work, work.fold),
            version=version,
            timestamp=utc_of(work.tip.at),
            metadata=metadata_from_plain(work.metadata, max(version - 1, 0)),
            causality=VectorClock(work.tip.clock),
            action=work.action,
            recovered=work.recovered,
        )
