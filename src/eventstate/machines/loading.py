"""What a persister reads: states at versions and times, histories, lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from eventstate.core.causality import VectorClock
from eventstate.core.documents import HEAD, Document, Key
from eventstate.core.fold import PLAIN, Fold
from eventstate.core.format import (
    DELETED,
    Tip,
    decode_head,
)
from eventstate.core.ids import machine_of
from eventstate.core.instants import micros_of, utc_of
from eventstate.core.metadata import metadata_from_plain
from eventstate.errors import (
    CorruptionError,
    InvalidInputError,
    StateDeletedError,
    StateNotFoundError,
    VersionNotFoundError,
)
from eventstate.log.history import HistoryReader, Resume, TimeReader
from eventstate.log.reading import Known, StateAt, StreamReader
from eventstate.machines.scope import Scope
from eventstate.machines.states import StatePage, StateSnapshot, Transition

T = TypeVar("T")


class HistoryPlace(NamedTuple):
    """The version a history goes on with, and what is known there."""

    version: int
    resume: Resume


class Reach(NamedTuple):
    """A stream as far back as it can be read, and what reads it."""

    tip: Tip
    reader: StreamReader
    events: HistoryReader


class Loading(Scope):
    """The reading half of a persister."""

    async def load(
        self, state_id: str, *, at_version: int | None = None, at_time: datetime | None = None
    ) -> StateSnapshot[Any]:
        if at_version is not None and at_time is not None:
            raise InvalidInputError("pass at_version or at_time, not both")
        if at_version is not None:
            return await self._load_version(state_id, _version(at_version))
        if at_time is not None:
            return await self._load_time(state_id, micros_of(at_time, "at_time"))
        known, recovered = await self.known(state_id)
        fold = self.fold_of(state_id)
        try:
            head, state, rebuilt = await self.reader.state_of(known, fold)
        except CorruptionError as error:
            if error.where != str(known.document.key):
                if not recovered and await self.has_moved(decode_head(known.document)[0].tip):
                    return await self.load(state_id)
                raise
            known, recovered = await self._known_from_log(state_id), True
            head, state, rebuilt = await self.reader.state_of(known, fold)
        self.check_there(head.tip)
        if rebuilt:
            known = Known(known.document, fold.dump(state))
        if known.document.revision:
            self.appender.remember(state_id, known)
        return self.current(head, state, known, recovered or (rebuilt and head.image is not None))

    async def _whole(self, tip: Tip, version: int) -> Reach:
        """How to read a stream from a version on: with what is archived of it, where that version is pruned."""
        if self.archived is None or tip.base is None or version > tip.base.version:
            return Reach(tip, self.reader, self.events)
        view = await self.archived.view(tip)
        store = view.store if self.protection is None else self.protection.over(view.store)
        return Reach(view.tip, StreamReader(store, self.governor), HistoryReader(store, self.governor))

    async def _unmoved(self, state_id: str, read: Callable[[Tip], Awaitable[T]]) -> T:
        """What ``read`` makes of a stream's tip; again if a prune went over what it was reading."""
        while True:
            tip = await self.tip_of(state_id)
            try:
                return await read(tip)
            except CorruptionError:
                if not await self.has_moved(tip):
                    raise

    async def _load_version(self, state_id: str, version: int) -> StateSnapshot[Any]:
        return await self._unmoved(state_id, lambda tip: self._version_of(tip, version))

    async def _version_of(self, tip: Tip, version: int) -> StateSnapshot[Any]:
        state_id = tip.id
        fold = self.fold_of(state_id)
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

    async def _load_time(self, state_id: str, at: int) -> StateSnapshot[Any]:
        return await self._unmoved(state_id, lambda tip: self._time_of(tip, at))

    async def _time_of(self, tip: Tip, at: int) -> StateSnapshot[Any]:
        version = await TimeReader(self.reader).version_at(tip, at)
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
        page = await self.store.scan(HEAD, self.governor, after=self.after(after), limit=limit)
        states: list[StateSnapshot[Any]] = []
        for document in page.documents:
            try:
                states.append(await self._load_time(document.key.id, micros))
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
        fold = self.fold_of(state_id)
        steps, place = await events.transitions(tip, fold, reader, start, stop, resume.resume if resume else None)
        following = HistoryPlace(stop + 1, place) if stop < end else None
        return [self._transition(state_id, step) for step in steps], following

    def _transition(self, state_id: str, step: Any) -> Transition:
        event = step.event
        data = self.event_of(state_id, event)
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

    async def list_page(
        self, *, prefix: str, machine: str | None, state: str | None, after: str, limit: int
    ) -> StatePage:
        """Some of the states that exist, in id order."""
        if limit < 1:
            raise InvalidInputError(f"limit={limit}: ask for at least one")
        if machine is not None:
            prefix = prefix or f"{machine}-"
        states: list[StateSnapshot[Any]] = []
        key = self.after(after)
        while True:
            page = await self.store.scan(HEAD, self.governor, prefix=prefix, after=key, limit=limit)
            for document in page.documents:
                found = await self._listed(document, machine, state)
                if found is not None:
                    states.append(found)
                if len(states) == limit:
                    more = page.next is not None or document is not page.documents[-1]
                    return StatePage(states, document.key.id if more else None)
            key = page.next
            if key is None:
                return StatePage(states, None)

    async def _listed(self, document: Document, machine: str | None, state: str | None) -> StateSnapshot[Any] | None:
        id = document.key.id
        if machine is not None and machine_of(id) != machine:
            return None
        fold = self.fold_of(id)
        try:
            head, data, rebuilt = await self.reader.state_of(Known(document), fold)
        except CorruptionError:
            try:
                found = await self.load(id)
            except (StateDeletedError, StateNotFoundError):
                return None
            return found if state is None or fold.label(found.data) == state else None
        if head.tip.version == 0 or head.tip.deleted:
            return None
        label = head.action if fold is PLAIN else fold.label(data)
        if state is not None and label != state:
            return None
        return self.current(head, data, Known(document), rebuilt)

    async def present(self, state_ids: Sequence[str]) -> dict[str, StateSnapshot[Any]]:
        """Those of these states that exist, in this order: read together, at one time each."""
        keys = [self.reader.key(id) for id in state_ids]
        documents = (await self.store.get(keys)).documents
        found: dict[str, StateSnapshot[Any]] = {}
        for key in keys:
            document = documents.get(key)
            listed = None if document is None else await self._listed(document, None, None)
            if listed is not None:
                found[key.id] = listed
        return found

    async def governors(self) -> list[str]:
        found: list[str] = []
        while True:
            page = await self.store.owners(after=found[-1] if found else "")
            if not page:
                return found
            found.extend(page)

    async def events_between(self, start: datetime, end: datetime, prefix: str) -> list[Transition]:
        """Transitions by when they happened, both ends included."""
        first, last = micros_of(start, "start"), micros_of(end, "end")
        found: list[Transition] = []
        key: Key | None = None
        while True:
            page = await self.store.scan(HEAD, self.governor, prefix=prefix, after=key)
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

    async def exists(self, state_id: str) -> bool:
        try:
            tip = await self.tip_of(state_id)
        except StateNotFoundError:
            return False
        return not tip.deleted

    async def batch_get(self, state_ids: Sequence[str]) -> dict[str, StateSnapshot[Any] | None]:
        found: dict[str, StateSnapshot[Any] | None] = {}
        for id in state_ids:
            try:
                found[id] = await self.load(id)
            except (StateNotFoundError, StateDeletedError):
                found[id] = None
        return found


def _version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInputError(f"version {value!r}: versions begin at 1")
    return value
