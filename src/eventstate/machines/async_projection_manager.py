"""The asyncio face of projections: the methods of `ProjectionManager`, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import ConfigurationError
from eventstate.log.projections import ViewReader
from eventstate.machines.async_keyring import AsyncKeyring
from eventstate.machines.core import PersisterCore
from eventstate.machines.deliveries import Delivery
from eventstate.machines.machine import Machine
from eventstate.machines.projecting import Projecting
from eventstate.machines.projection import Projection
from eventstate.machines.projection_status import Overview, ProjectionStatus
from eventstate.machines.view_buffer import ViewBuffer
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


class AsyncProjectionView:
    """`ProjectionView` for the handlers of asyncio, which are coroutine functions."""

    def __init__(self, core: ViewBuffer) -> None:
        self._core = core

    async def get(self, id: str) -> Any:
        """The JSON value of a document, the caller's own copy; None where there is none."""
        return await self._core.get(id)

    async def put(self, id: str, value: Any) -> None:
        """Write a document, any JSON value."""
        await self._core.put(id, value)

    async def delete(self, id: str) -> None:
        """Delete a document, if there is one."""
        await self._core.delete(id)


class AsyncProjectionManager:
    """`ProjectionManager` for asyncio; its store is one of `open_async_store`, its handlers are coroutine functions."""

    def __init__(
        self,
        store: Store,
        *,
        governor: str = "default",
        machines: Iterable[Machine[Any, Any]] = (),
        keyring: AsyncKeyring | None = None,
    ) -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use ProjectionManager with it")
        keys = keyring.core if keyring is not None else None
        self._core = PersisterCore(store, governor, machines, SnapshotPolicy(), keys)
        self._reader = ViewReader(store, governor)
        self._overview = Overview(store, governor)

    async def catch_up(self, projection: Projection, *, progress: Callable[[int], None] | None = None) -> int:
        """As `ProjectionManager.catch_up`."""
        return await self._projecting(projection).catch_up(progress)

    async def run(self, projection: Projection, *, stop: Callable[[], bool] | None = None) -> None:
        """As `ProjectionManager.run`."""
        await self._projecting(projection).follow(stop or _never)

    async def rebuild(self, projection: Projection, *, progress: Callable[[int], None] | None = None) -> int:
        """As `ProjectionManager.rebuild`."""
        return await self._projecting(projection).rebuild(progress)

    async def get(self, name: str, id: str) -> Any:
        """As `ProjectionManager.get`."""
        return await self._reader.get(name, id)

    async def list(self, name: str, *, prefix: str = "") -> AsyncIterator[tuple[str, Any]]:
        """As `ProjectionManager.list`."""
        after: str | None = ""
        while after is not None:
            values, after = await self._reader.page(name, prefix, after, 500)
            for value in values:
                yield value

    async def status(self, name: str) -> ProjectionStatus:
        """As `ProjectionManager.status`."""
        return await self._overview.status(name)

    async def statuses(self) -> AsyncIterator[ProjectionStatus]:
        """As `ProjectionManager.statuses`."""
        for name in await self._overview.names():
            yield await self._overview.status(name)

    async def delete(self, name: str) -> None:
        """As `ProjectionManager.delete`."""
        await self._overview.delete(name)

    def _projecting(self, projection: Projection) -> Projecting:
        async def call(delivery: Delivery, view: ViewBuffer) -> None:
            await projection.handler(delivery, AsyncProjectionView(view))

        return Projecting(self._core, projection, call)


def _never() -> bool:
    return False
