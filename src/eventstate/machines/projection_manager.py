"""The sync face of projections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import ConfigurationError
from eventstate.log.projections import ViewReader
from eventstate.machines.core import PersisterCore
from eventstate.machines.deliveries import Delivery
from eventstate.machines.keyring import Keyring
from eventstate.machines.machine import Machine
from eventstate.machines.projecting import Projecting
from eventstate.machines.projection import Projection
from eventstate.machines.projection_status import Overview, ProjectionStatus
from eventstate.machines.view_buffer import ViewBuffer
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class ProjectionView:
    """The documents of a projection, as its handler reads and writes them; own writes are seen by later reads."""

    def __init__(self, core: ViewBuffer) -> None:
        self._core = core

    def get(self, id: str) -> Any:
        """The JSON value of a document, the caller's own copy; None where there is none."""
        return drive(self._core.get(id))

    def put(self, id: str, value: Any) -> None:
        """Write a document, any JSON value."""
        drive(self._core.put(id, value))

    def delete(self, id: str) -> None:
        """Delete a document, if there is one."""
        drive(self._core.delete(id))


class ProjectionManager:
    """Runs projections, reads their documents and rebuilds them.

    Each event has its effect exactly once, whatever is killed when: the documents that a handler writes and how far the
    projection is are one commit. Safe to use from many threads.

    Args:
        store: from `open_store`.
        governor: whose events are projected.
        machines: the declared machines, for typed events.
        keyring: the keys of machines that declare ``subjects``. Their events can't be projected, the others' can.

    All methods raise `StoreError` and its kin where the store can't work.
    """

    def __init__(
        self,
        store: Store,
        *,
        governor: str = "default",
        machines: Iterable[Machine[Any, Any]] = (),
        keyring: Keyring | None = None,
    ) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncProjectionManager with it")
        keys = keyring.core if keyring is not None else None
        self._core = PersisterCore(store, governor, machines, SnapshotPolicy(), keys)
        self._reader = ViewReader(store, governor)
        self._overview = Overview(store, governor)

    def catch_up(self, projection: Projection, *, progress: Callable[[int], None] | None = None) -> int:
        """Handle every event that was committed before this call, from where the projection is.

        Returns how many events it has handled in all. ``progress`` is called with that number now and then.

        Raises:
            ProjectionVersionError: it was built by another version of the code.
            ConfigurationError: it would begin, and the first events of some streams are pruned.
            CorruptionError: an event is not what was written.
            TransactionConflictError: another process works on it all the time.
            Exception: of the handler, unchanged; everything before its event is committed.
        """
        return drive(self._projecting(projection).catch_up(progress))

    def run(self, projection: Projection, *, stop: Callable[[], bool] | None = None) -> None:
        """Handle what is there, and then what comes, until ``stop()`` is true; it is asked about once a second.

        Outages of the store are waited out. Another process may run the same projection, to take over if this one dies.

        Raises:
            ProjectionVersionError, ConfigurationError, CorruptionError, Exception: as `catch_up`.
        """
        drive(self._projecting(projection).follow(stop or _never))

    def rebuild(self, projection: Projection, *, progress: Callable[[int], None] | None = None) -> int:
        """Build a projection anew from the first event on, beside the one that is read, which then gives way to it.

        Writers and readers go on, and so does the process that runs it; at the end that stands still for a moment. The
        switch is one commit: nobody ever sees less than before. A rebuild that was killed is gone on with by the next.

        Returns how many events were handled. ``progress`` is called with that number now and then.

        Raises:
            ProjectionVersionError: the one that is read is by newer code, or another rebuild has taken over.
            ConfigurationError, CorruptionError, TransactionConflictError, Exception: as `catch_up`.
        """
        return drive(self._projecting(projection).rebuild(progress))

    def get(self, name: str, id: str) -> Any:
        """The value of a document of a projection, or None where there is none.

        Raises:
            ProjectionNotFoundError: it was never run.
        """
        return drive(self._reader.get(name, id))

    def list(self, name: str, *, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Ids and values of a projection's documents in id order, a page at a time; not all as of one moment.

        Raises:
            ProjectionNotFoundError: it was never run.
        """
        after: str | None = ""
        while after is not None:
            values, after = drive(self._reader.page(name, prefix, after, 500))
            yield from values

    def status(self, name: str) -> ProjectionStatus:
        """How a projection is doing.

        Raises:
            ProjectionNotFoundError: it was never run.
        """
        return drive(self._overview.status(name))

    def statuses(self) -> Iterator[ProjectionStatus]:
        """How all projections of the governor are doing, by name."""
        for name in drive(self._overview.names()):
            yield drive(self._overview.status(name))

    def delete(self, name: str) -> None:
        """Remove a projection and all its documents. Stop what runs it first.

        Raises:
            ProjectionNotFoundError: there is none of this name.
        """
        drive(self._overview.delete(name))

    def _projecting(self, projection: Projection) -> Projecting:
        async def call(delivery: Delivery, view: ViewBuffer) -> None:
            projection.handler(delivery, ProjectionView(view))

        return Projecting(self._core, projection, call)


def _never() -> bool:
    return False
