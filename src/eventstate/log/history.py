"""Reading what happened: single events, transitions with the states around them, versions by time."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from eventstate.core.chain import genesis, stored_digest
from eventstate.core.documents import ENTRY, Key
from eventstate.core.fold import Fold
from eventstate.core.format import DELETED, StoredEvent, Tip
from eventstate.errors import ConfigurationError
from eventstate.log.reading import Chain, Start, StreamReader
from eventstate.stores.base import Store


class Step(NamedTuple):
    """An event and the states around it; ``rebuilt`` is False where no rules for the states are at hand."""

    event: StoredEvent
    before: Any
    after: Any
    rebuilt: bool


class Resume(NamedTuple):
    """Where a history goes on: the state so far, and the entry boundary at or before it."""

    state: Any
    rebuilt: bool
    start: Start


class HistoryReader:
    """Reads the events of one governor's streams."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def transitions(
        self, tip: Tip, fold: Fold, reader: StreamReader, first: int, last: int, resume: Resume | None
    ) -> tuple[list[Step], Resume]:
        """The events of versions ``first`` to ``last``, with the states before and after each.

        ``resume`` is what the call for the versions just before gave back: with it nothing is replayed twice.
        """
        state, rebuilt = (
            (resume.state, resume.rebuilt) if resume else await self._state_before(tip, fold, reader, first)
        )
        start = resume.start if resume else await self._start_before(tip, first)
        events, reached = await self._events(tip, reader, start, first, last)
        steps: list[Step] = []
        for event in events:
            before = _copied(fold, state, tip) if event.version > 1 else None
            if rebuilt:
                try:
                    state = fold.step(state, _apart(event), f"event {self._owner}/{tip.id} version {event.version}")
                except ConfigurationError:
                    rebuilt, state = False, None
            steps.append(Step(event, before, None if event.type == DELETED else _copied(fold, state, tip), rebuilt))
        return steps, Resume(state, rebuilt, reached)

    async def _state_before(self, tip: Tip, fold: Fold, reader: StreamReader, first: int) -> tuple[Any, bool]:
        """The state before a version, and whether the rules to rebuild it are at hand."""
        base = tip.base.version if tip.base else 0
        version = max(first - 1, base)
        try:
            state = (await reader.rebuild(tip, fold, version)).state if version else fold.initial()
        except ConfigurationError:
            return None, False
        return state, True

    async def _events(
        self, tip: Tip, reader: StreamReader, start: Start, first: int, last: int
    ) -> tuple[list[StoredEvent], Start]:
        """Events of a range, chain-checked from an entry boundary before it, and the last boundary within it."""
        events: list[StoredEvent] = []
        chain = Chain(start.version, start.digest)
        boundary = start
        while chain.version < last:
            documents = await reader.entries_to(last, tip, chain)
            for entry in chain.follow(documents, last):
                wanted = range(max(first, entry.first), min(last, entry.version) + 1)
                events.extend(map(entry.event, wanted))
                if entry.version <= last:
                    boundary = Start(None, entry.version, entry.digest)
        return events, boundary

    async def _start_before(self, tip: Tip, first: int) -> Start:
        """A boundary at or below ``first - 1`` whose digest is known without reading all before it."""
        candidates = [n for n in tip.snapshots if n < first]
        if candidates:
            key = Key(ENTRY, self._owner, tip.id, candidates[-1])
            document = (await self._store.get([key])).documents.get(key)
            if document is not None:
                return Start(None, candidates[-1], stored_digest(document.body))
        if tip.base is not None:
            return Start(None, tip.base.version, tip.base.digest)
        return Start(None, 0, genesis(tip.owner, tip.id))


class TimeReader:
    """Finds versions by time."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    async def version_at(self, tip: Tip, at: int) -> int | None:
        """The last version, in stream order, that had happened by ``at``; None if none had.

        An event happened at its ``occurred_at``, or else when it was recorded. Occurrence need not
        follow stream order, so all events are looked at.
        """
        found: int | None = None
        chain = Chain(*tip.base) if tip.base else Chain(0, genesis(tip.owner, tip.id))
        while chain.version < tip.version:
            documents = await self._reader.entries_to(tip.version, tip, chain)
            for entry in chain.follow(documents, tip.version):
                recorded, shared = entry.at, entry.metadata.get("occ")
                for version, body in enumerate(entry.events, entry.first):
                    occurred = body["m"].get("occ", shared) if "m" in body else shared
                    if (recorded if occurred is None else occurred) <= at:
                        found = version
        return found


def _apart(event: StoredEvent) -> StoredEvent:
    """The same event for a fold, which may keep parts of it as its state; the caller gets the event itself."""
    return event._replace(body=orjson.loads(orjson.dumps(event.body)))


def _copied(fold: Fold, state: Any, tip: Tip) -> Any:
    rules = fold.bare
    return None if state is None else rules.load(orjson.loads(rules.dump(state)), fold.schema, tip.id)
