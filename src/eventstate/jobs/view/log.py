"""The sync face of a recorded orchestration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventstate.errors import ConfigurationError
from eventstate.jobs.view.events import OrchestrationEvent
from eventstate.jobs.view.fold import Rules
from eventstate.jobs.view.graph import GraphData, graph_of
from eventstate.jobs.view.recording import Recording, pieces
from eventstate.jobs.view.snapshot import OrchestrationSnapshot, snapshot_of
from eventstate.machines.past import HistoryPlace
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class OrchestrationLog:
    """Records the events of one orchestration in a store, and gives the view that they come to.

    The view is written in the commit of each event, and is the fold of them: after a crash it is there again, for
    every process that opens the same run. Several processes may report. An event that can't be used is recorded too,
    counted in the snapshot with its reason, and logged. One with an id is recorded once, however often it is reported.
    Safe to use from many threads.

    Args:
        store: from `open_store`.
        run_id: names the orchestration. There is no reset: a new run has a new id.
        governor: the namespace that owns the run.
        guarded, numbered, strict: as for `OrchestrationStore`. The log says with each event how it was taken.

    All methods raise `StoreError` and its kin where the store can't work.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        governor: str = "jobs",
        guarded: bool = False,
        numbered: bool = False,
        strict: bool = False,
    ) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncOrchestrationLog with it")
        self._recording = Recording(store, run_id, governor, Rules(guarded, numbered), strict=strict)
        self._connected = False

    def handle_event(self, event: OrchestrationEvent | None) -> bool:
        """Record an event; whether it was new. None is passed over.

        Raises:
            UnhandledEventError: it can't be used, and the log is strict; nothing was written.
            EncodingError, DocumentTooLargeError: it can't be stored.
            InvalidInputError: it is no `OrchestrationEvent`.
            InvalidIdError: its id can't be used.
            TransactionConflictError: others were faster for 30 seconds.
            CommitUnknownError: the store did not answer. An event with an id may be reported again.
        """
        return self.handle_events([event]) > 0

    def handle_events(self, events: Iterable[OrchestrationEvent | None]) -> int:
        """Record events in their order, up to 100 in one commit; how many were new.

        Raises like `handle_event`; those of earlier commits are recorded then.
        """
        return sum(drive(self._recording.write(piece)).new for piece in pieces(events))

    def snapshot(self) -> OrchestrationSnapshot:
        """The view as it was committed last, by whichever process."""
        return snapshot_of(drive(self._recording.view()), self._connected)

    def graph(self) -> GraphData | None:
        """The dependency graph; None until one was received."""
        text = drive(self._recording.view()).graph
        return None if text is None else graph_of(text)

    def events(self) -> Iterator[OrchestrationEvent]:
        """The events of the run as they were recorded, a page at a time."""
        place: HistoryPlace | None = None
        while True:
            events, place = drive(self._recording.events_page(place))
            yield from events
            if place is None:
                return

    def rebuild(self) -> OrchestrationSnapshot:
        """Make the view anew from the events alone, and write it where it was not that.

        Raises:
            CorruptionError: an event is not what was written.
        """
        return snapshot_of(drive(self._recording.rebuild()), self._connected)

    def set_connected(self, connected: bool) -> None:
        """Say whether this process is connected to the orchestrator. It is not recorded: it is about this process."""
        self._connected = connected
