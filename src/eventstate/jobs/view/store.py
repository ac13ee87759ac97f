"""The view of an orchestration in memory."""

from __future__ import annotations

import logging
import threading
from typing import Final

from eventstate.errors import UnhandledEventError
from eventstate.jobs.view.events import OrchestrationEvent, check_event
from eventstate.jobs.view.fold import Rules, View, judge
from eventstate.jobs.view.graph import GraphData, graph_of
from eventstate.jobs.view.snapshot import OrchestrationSnapshot, snapshot_of

_log: Final = logging.getLogger(__name__)


class OrchestrationStore:
    """Keeps the view of one orchestration in memory, event by event. Safe to use from many threads.

    An event that can't be used changes nothing: it is counted, kept with its reason in the snapshot, and logged. One
    whose id has come before is passed over.

    Args:
        guarded: what has ended stays so until the next ``orch.started``, and no unit goes back. Without it every
            event has its effect whatever came before.
        numbered: ``task.started`` sets the current task to the number it has, rather than adding one.
        strict: raise where an event can't be used.
    """

    def __init__(self, *, guarded: bool = False, numbered: bool = False, strict: bool = False) -> None:
        self._rules = Rules(guarded, numbered)
        self._strict = strict
        self._lock = threading.Lock()
        self._now = (View(), False)
        """The view and whether the orchestrator is connected: one reference, so that readers need no lock."""
        self._seen = set[str]()

    def handle_event(self, event: OrchestrationEvent | None) -> None:
        """Let an event have its effect. None has none.

        Raises:
            UnhandledEventError: it can't be used, and the store is strict; nothing has changed.
            InvalidInputError: it is no `OrchestrationEvent`.
        """
        if event is None:
            return
        check_event(event)
        with self._lock:
            if event.id in self._seen:
                return
            view, connected = self._now
            after, problem = judge(view, event, self._rules)
            if problem is not None and self._strict:
                raise UnhandledEventError(event_type=event.type, unit=event.unit, reason=problem)
            if event.id is not None:
                self._seen.add(event.id)
            self._now = (after, connected)
        if problem is not None:
            log_unhandled(event, problem)

    def snapshot(self) -> OrchestrationSnapshot:
        """The view as it is now."""
        return snapshot_of(*self._now)

    def graph(self) -> GraphData | None:
        """The dependency graph; None until one was received."""
        text = self._now[0].graph
        return None if text is None else graph_of(text)

    def set_connected(self, connected: bool) -> None:
        """Say whether the orchestrator is connected."""
        with self._lock:
            self._now = (self._now[0], connected)

    def reset(self) -> None:
        """Forget everything, for a new run: waiting, not connected, no units."""
        with self._lock:
            self._now = (View(), False)
            self._seen.clear()


def log_unhandled(event: OrchestrationEvent, problem: str) -> None:
    """Say in the log that an event changed nothing."""
    _log.warning("event %.200s of unit %.200s changed nothing: %s", event.type, event.unit or "(none)", problem)
