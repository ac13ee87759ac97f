"""The asyncio face of a recorded orchestration: the methods of `OrchestrationLog`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from eventstate.errors import ConfigurationError
from eventstate.jobs.view.events import OrchestrationEvent
from eventstate.jobs.view.fold import Rules
from eventstate.jobs.view.graph import GraphData, graph_of
from eventstate.jobs.view.recording import Recording, pieces
from eventstate.jobs.view.snapshot import OrchestrationSnapshot, snapshot_of
from eventstate.machines.past import HistoryPlace
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


class AsyncOrchestrationLog:
    """`OrchestrationLog` for asyncio; its store is one of `open_async_store`."""

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
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use OrchestrationLog with it")
        self._recording = Recording(store, run_id, governor, Rules(guarded, numbered), strict=strict)
        self._connected = False

    async def handle_event(self, event: OrchestrationEvent | None) -> bool:
        """As `OrchestrationLog.handle_event`."""
        return await self.handle_events([event]) > 0

    async def handle_events(self, events: Iterable[OrchestrationEvent | None]) -> int:
        """As `OrchestrationLog.handle_events`."""
        count = 0
        for piece in pieces(events):
            count += (await self._recording.write(piece)).new
        return count

    async def snapshot(self) -> OrchestrationSnapshot:
        """As `OrchestrationLog.snapshot`."""
        return snapshot_of(await self._recording.view(), self._connected)

    async def graph(self) -> GraphData | None:
        """As `OrchestrationLog.graph`."""
        text = (await self._recording.view()).graph
        return None if text is None else graph_of(text)

    async def events(self) -> AsyncIterator[OrchestrationEvent]:
        """As `OrchestrationLog.events`."""
        place: HistoryPlace | None = None
        while True:
            events, place = await self._recording.events_page(place)
            for event in events:
                yield event
            if place is None:
                return

    async def rebuild(self) -> OrchestrationSnapshot:
        """As `OrchestrationLog.rebuild`."""
        return snapshot_of(await self._recording.rebuild(), self._connected)

    def set_connected(self, connected: bool) -> None:
        """As `OrchestrationLog.set_connected`."""
        self._connected = connected
