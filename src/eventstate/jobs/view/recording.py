"""What both faces of a recorded orchestration do, written once: its events are a stream, and its view their fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from eventstate.core.codec import encode
from eventstate.core.documents import Key
from eventstate.core.expected import ANY
from eventstate.core.format import RESERVED
from eventstate.core.ids import check_id
from eventstate.core.retrying import RetryPolicy
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import InvalidIdError, StateNotFoundError, UnhandledEventError
from eventstate.jobs.view.events import OrchestrationEvent, check_event
from eventstate.jobs.view.fold import Rules, View, judge
from eventstate.jobs.view.machine import ORCHESTRATIONS
from eventstate.jobs.view.store import log_unhandled
from eventstate.machines.attempt import TransactionCore
from eventstate.machines.events import Event
from eventstate.machines.past import HistoryPlace
from eventstate.machines.transacting import Transacting
from eventstate.stores.base import Store

SEEN: Final = "orchestration-events"
"""The collection with a document for each event that had an id: ``{run}/{event id}``.

A ``/`` in the run is written ``%2F``, and ``%`` ``%25``, so that no two runs share a document.
"""

AT_ONCE: Final = 100
"""Events written in one commit: with a document each they stay far below what a commit may have."""

_PIECE_BYTES: Final = 400_000
"""Of the events of one commit, unless a single one has more: all of them are in one entry."""

_OTHER: Final = "other"
"""The stored name of an event whose own type can name none. Its data has the type."""

_RETRY: Final = RetryPolicy(attempts=300, cap=0.1)
"""Reporters of one run meet at its head."""


def pieces(events: Iterable[OrchestrationEvent | None]) -> list[list[OrchestrationEvent]]:
    """Events as they go into one commit each; None is left out.

    Raises:
        EncodingError: one of them can't be stored.
        InvalidInputError: one of them is none.
    """
    made: list[list[OrchestrationEvent]] = []
    size = 0
    for event in events:
        if event is None:
            continue
        length = len(encode(check_event(event).to_json()))
        if not made or len(made[-1]) == AT_ONCE or size + length > _PIECE_BYTES:
            made.append([])
            size = 0
        made[-1].append(event)
        size += length
    return made


class Problem(NamedTuple):
    """An event that was recorded and changed nothing."""

    event: OrchestrationEvent
    reason: str


class Written(NamedTuple):
    """What came of reporting events: how many were new, and which of them changed nothing."""

    new: int
    problems: Sequence[Problem]


class Recording:
    """The events of one orchestration in a store."""

    def __init__(self, store: Store, run_id: str, governor: str, rules: Rules, *, strict: bool) -> None:
        self._store = store
        self._run_id = check_id("run id", run_id)
        self._seen_of_run = self._run_id.replace("%", "%25").replace("/", "%2F")
        self._rules = rules
        self._strict = strict
        self._transacting = Transacting(
            store,
            governor,
            (ORCHESTRATIONS,),
            SnapshotPolicy(every=100, keep=2),
            guarded=(),
            retry=_RETRY,
            keep_records=False,
            retention=timedelta(days=7),
        )
        self._core = self._transacting.core
        self._state_id = self._core.resolve(ORCHESTRATIONS, self._run_id)

    async def write(self, events: Sequence[OrchestrationEvent]) -> Written:
        """Record one of the `pieces`, in one commit with the view that it leads to."""
        for event in events:
            if event.id is not None:
                check_id("document id", self._key(event.id).id)

        async def call(transaction: TransactionCore) -> Written:
            return await self._write(transaction, events)

        options = self._transacting.options(
            self._write, (), retry=None, idempotency_key=None, fence=None, check_repeatable=False
        )
        written: Written = await self._transacting.execute(call, options)
        for problem in written.problems:
            log_unhandled(problem.event, problem.reason)
        return written

    async def _write(self, transaction: TransactionCore, events: Sequence[OrchestrationEvent]) -> Written:
        fresh = await self._fresh(transaction, events)
        state = await transaction.find(self._state_id)
        view = View() if state is None else state.data
        problems: list[Problem] = []
        for event in fresh:
            view, reason = judge(view, event, self._rules)
            if reason is None:
                continue
            if self._strict:
                raise UnhandledEventError(event_type=event.type, unit=event.unit, reason=reason)
            problems.append(Problem(event, reason))
        if fresh:
            stored = [self._stored(event) for event in fresh]
            await transaction.append(self._state_id, stored, expected=ANY, metadata={}, reopen=False)
        return Written(len(fresh), problems)

    async def _fresh(
        self, transaction: TransactionCore, events: Sequence[OrchestrationEvent]
    ) -> list[OrchestrationEvent]:
        """The events that were not recorded before, each of them noted in the transaction."""
        named = [self._key(event.id) for event in events if event.id is not None]
        if named:  # all in one read, rather than one after the other
            found = (await self._store.get(list(dict.fromkeys(named)))).documents
            for key in named:
                transaction.reads.note(key, found.get(key))
        fresh: list[OrchestrationEvent] = []
        for event in events:
            if event.id is not None:
                document = self._document(event.id)
                if await transaction.get_document(SEEN, document) is not None:
                    continue
                await transaction.put_document(SEEN, document, event.type)
            fresh.append(event)
        return fresh

    def _document(self, event_id: str) -> str:
        return f"{self._seen_of_run}/{event_id}"

    def _key(self, event_id: str) -> Key:
        return self._transacting.collections.key(SEEN, self._document(event_id))

    def _stored(self, event: OrchestrationEvent) -> Event:
        """The event with the rules it was taken by, so that a replay takes it by the same."""
        rules = [name for name, holds in self._rules._asdict().items() if holds]
        data: dict[str, Any] = {"event": event.to_json()}
        if rules:
            data["rules"] = rules
        return Event(_name(event.type), data)

    async def view(self) -> View:
        """The view as it was committed last."""
        try:
            return (await self._core.load(self._state_id)).data
        except StateNotFoundError:
            return View()

    async def rebuild(self) -> View:
        """The view made anew from the events alone, and written where it was not that."""
        try:
            return (await self._core.upkeep.rebuild(self._state_id, full=True)).data
        except StateNotFoundError:
            return View()

    async def events_page(self, resume: HistoryPlace | None) -> tuple[list[OrchestrationEvent], HistoryPlace | None]:
        """Some of the events as they were recorded, and the place to go on from."""
        try:
            transitions, place = await self._core.past.history_page(
                self._state_id, 1, None, limit=AT_ONCE, resume=resume
            )
        except StateNotFoundError:
            return [], None
        return [OrchestrationEvent.from_json(step.data.data["event"]) for step in transitions], place


def _name(type: str) -> str:
    try:
        check_id("event type", type)
    except InvalidIdError:
        return _OTHER
    return _OTHER if type.startswith(RESERVED) else type
