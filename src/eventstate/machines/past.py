"""What was: states at versions and times, and what happened between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from eventstate.core.causality import VectorClock
from eventstate.core.documents import HEAD, Key
from eventstate.core.fold import Fold
from eventstate.core.format import DELETED, Tip
from eventstate.core.instants import micros_of, utc_of
from eventstate.core.metadata import ChangeMetadata, metadata_from_plain
from eventstate.errors import (
    CorruptionError,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    VersionNotFoundError,
)
from eventstate.log.history import HistoryReader, Resume, TimeReader
from eventstate.log.reading import StateAt, StreamReader
from eventstate.machines.scope import Scope
from eventstate.machines.states import StatePage, StateSnapshot

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One event of a stream's history, with the states around it.

    Attributes:
        data: the typed event, or its plain data where no machine declares it; None where it has none.
        from_state, to_state: the states before and after; None before the first event and after a
            deletion, and for typed events whose machine is not given (``rebuilt`` is False then).
        timestamp: when it was recorded, aware UTC, never before that of an earlier version.
        occurred_at: when it happened, where that was said.
    """

    state_id: str
    version: int
    action: str
    data: Any
    from_state: Any
    to_state: Any
    timestamp: datetime
    metadata: ChangeMetadata
    causality: VectorClock
    rebuilt: bool = True

    @property
    def occurred_at(self) -> datetime | None:
        return self.metadata.occurred_at

    @property
    def effective_at(self) -> datetime:
        """When it happened, or else when it was recorded: what ``at_time`` looks at."""
        return self.metadata.occurred_at or self.timestamp


class HistoryPlace(NamedTuple):
    """The version a history goes on with, and what is known there."""

    version: int
    resume: Resume


class Reach(NamedTuple):
    """A stream as far back as it can be read, and what reads it."""

    tip: Tip
    reader: StreamReader
    events: HistoryReader


class Past:
    """The past of the streams of one governor."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def at_version(self, state_id: str, version: int) -> StateSnapshot[Any]:
        """The state at a version."""
        _version(version)
        return await self._unmoved(state_id, lambda tip: self._version_of(tip, version))

    async def at_time(self, state_id: str, at: datetime) -> StateSnapshot[Any]:
        """The state of the last version that had happened by a time."""
        return await self._at(state_id, micros_of(at, "at_time"))

    async def _at(self, state_id: str, micros: int) -> StateSnapshot[Any]:
        return await self._unmoved(state_id, lambda tip: self._time_of(tip, micros))

    async def _whole(self, tip: Tip, version: int) -> Reach:
        """How to read a stream from a version on: with what is archived of it, where that version is pruned."""
        if self._scope.archived is None or tip.base is None or version > tip.base.version:
            return Reach(tip, self._scope.reader, HistoryReader(self._scope.store, self._scope.governor))
        view = await self._scope.archived.view(tip)
        store = view.store if self._scope.protection is None else self._scope.protection.over(view.store)
        return Reach(view.tip, StreamReader(store, self._scope.governor), HistoryReader(store, self._scope.governor))

    async def _unmoved(self, state_id: str, read: Callable[[Tip], Awaitable[T]]) -> T:
        """What ``read`` makes of a stream's tip; again if a prune went over what it was reading."""
        while True:
            tip = await self._scope.tip_of(state_id)
            try:
                return await read(tip)
            except CorruptionError:
                if not await self._scope.has_moved(tip):
                    raise

    async def _version_of(self, tip: Tip, version: int) -> StateSnapshot[Any]:
        state_id = tip.id
        fold = self._scope.fold_of(state_id)
        reach = await self._whole(tip, version)
        at = await reach.reader.rebuild(reach.tip, fold, version)
        event = at.event
        if event is None:  # the base of a pruned stream: the state is kept, its event is not
            return StateSnapshot(id=state_id, data=at.state, version=version, action="")
        if event.type == DELETED:
            raise StateDeletedError(state_id=state_id, version=version)
        return StateSnapshot(
            id=state_id,
            data=at.state,
            version=version,
            timestamp=utc_of(event.at),
            metadata=metadata_from_plain(event.metadata, version - 1),
            causality=VectorClock(event.clock),
            action=event.type,
        )

    async def rebuilt(self, state_id: str, fold: Fold, version: int) -> StateAt:
        """The state at a version, archived ones too, folded by a fold of the caller's."""

        async def read(tip: Tip) -> StateAt:
            reach = await self._whole(tip, version)
            return await reach.reader.rebuild(reach.tip, fold, version, event_needed=False)

        return await self._unmoved(state_id, read)

    async def _time_of(self, tip: Tip, at: int) -> StateSnapshot[Any]:
        version = await TimeReader(self._scope.reader).version_at(tip, at)
        if version is None and tip.base is not None:
            reach = await self._whole(tip, tip.base.version)
            if reach.tip != tip:
                version = await TimeReader(reach.reader).version_at(reach.tip, at)
        if version is None:
            first = tip.base.version if tip.base else 1
            raise VersionNotFoundError(state_id=tip.id, asked=f"state at {utc_of(at)}", first=first, last=tip.version)
        return await self._version_of(tip, version)

    async def states_page_at(self, at: datetime, after: str, limit: int) -> StatePage:
        """The states that existed at a time, of some of the streams."""
        micros = micros_of(at, "at")
        page = await self._scope.store.scan(HEAD, self._scope.governor, after=self._scope.after(after), limit=limit)
        states: list[StateSnapshot[Any]] = []
        for document in page.documents:
            try:
                states.append(await self._at(document.key.id, micros))
            except (VersionNotFoundError, StateDeletedError, StateNotFoundError):
                continue
        return StatePage(states, page.next.id if page.next else None)

    async def history_page(
        self, state_id: str, first: int, last: int | None, *, limit: int = 500, resume: HistoryPlace | None = None
    ) -> tuple[list[Transition], HistoryPlace | None]:
        """Transitions from a version on, and the place to go on from (None at the end)."""
        _version(first)
        return await self._unmoved(state_id, lambda tip: self._history_of(tip, first, last, limit, resume))

    async def _history_of(
        self, tip: Tip, first: int, last: int | None, limit: int, resume: HistoryPlace | None
    ) -> tuple[list[Transition], HistoryPlace | None]:
        state_id = tip.id
        tip, reader, events = await self._whole(tip, resume.version if resume else first)
        base = tip.base.version if tip.base else 0
        if resume and resume.version <= base:
            raise VersionNotFoundError(
                state_id=state_id, asked=f"version {resume.version} any more", first=base, last=tip.version
            )
        start = resume.version if resume else max(first, base + 1)
        end = tip.version if last is None else min(_version(last), tip.version)
        if start > end:
            return [], None
        stop = min(end, start + limit - 1)
        fold = self._scope.fold_of(state_id)
        steps, place = await events.transitions(tip, fold, reader, start, stop, resume.resume if resume else None)
        following = HistoryPlace(stop + 1, place) if stop < end else None
        return [self._transition(state_id, step) for step in steps], following

    def _transition(self, state_id: str, step: Any) -> Transition:
        event = step.event
        data = self._scope.event_of(state_id, event)
        return Transition(
            state_id=state_id,
            version=event.version,
            action=event.type,
            data=data,
            from_state=step.before,
            to_state=step.after,
            timestamp=utc_of(event.at),
            metadata=metadata_from_plain(event.metadata, event.version - 1),
            causality=VectorClock(event.clock),
            rebuilt=step.rebuilt,
        )

    async def events_between(self, start: datetime, end: datetime, prefix: str) -> list[Transition]:
        """Transitions by when they happened, both ends included."""
        first, last = micros_of(start, "start"), micros_of(end, "end")
        found: list[Transition] = []
        key: Key | None = None
        while True:
            page = await self._scope.store.scan(HEAD, self._scope.governor, prefix=prefix, after=key)
            for document in page.documents:
                place: HistoryPlace | None = None
                while True:
                    transitions, place = await self._history_or_nothing(document.key.id, place)
                    found.extend(t for t in transitions if first <= micros_of(t.effective_at, "time") <= last)
                    if place is None:
                        break
            key = page.next
            if key is None:
                return sorted(found, key=lambda t: (t.effective_at, t.state_id, t.version))

    async def _history_or_nothing(
        self, state_id: str, place: HistoryPlace | None
    ) -> tuple[list[Transition], HistoryPlace | None]:
        try:
            return await self.history_page(state_id, 1, None, resume=place)
        except StateNotFoundError:  # a head without any event: a commit that was given up left it
            return [], None


def _version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"version {value!r}: versions begin at 1")
    return value
