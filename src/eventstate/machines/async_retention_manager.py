"""The asyncio face of retention: the methods of `RetentionManager`, awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from eventstate.core.pins import Pin
from eventstate.core.retention import RetentionPolicy
from eventstate.errors import ConfigurationError
from eventstate.log.archive_check import ArchiveReport
from eventstate.log.pruning import PruneReport
from eventstate.machines.async_keyring import AsyncKeyring
from eventstate.machines.machine import Machine
from eventstate.machines.retaining import Retaining
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store


class AsyncRetentionManager:
    """`RetentionManager` for asyncio; its store is one of `open_async_store`."""

    def __init__(
        self,
        store: Store,
        *,
        governor: str = "default",
        machines: Iterable[Machine[Any, Any]] = (),
        keyring: AsyncKeyring | None = None,
        archive: Archive | None = None,
    ) -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use RetentionManager with it")
        self._retaining = Retaining(store, governor, machines, keyring.core if keyring is not None else None, archive)

    async def plan(
        self,
        policy: RetentionPolicy | None = None,
        *,
        machines: Mapping[str, RetentionPolicy] | None = None,
        progress: Callable[[PruneReport], None] | None = None,
    ) -> PruneReport:
        """As `RetentionManager.plan`."""
        pruner, report = self._retaining.pruner(policy, machines), PruneReport()
        after: str | None = ""
        while after is not None:
            after = await pruner.plan_page(after, report)
            if progress is not None:
                progress(report)
        return report

    async def prune(
        self,
        policy: RetentionPolicy | None = None,
        *,
        machines: Mapping[str, RetentionPolicy] | None = None,
        progress: Callable[[PruneReport], None] | None = None,
    ) -> PruneReport:
        """As `RetentionManager.prune`."""
        pruner, report = self._retaining.pruner(policy, machines), PruneReport()
        after: str | None = ""
        while after is not None:
            after = await pruner.prune_page(after, report)
            if progress is not None:
                progress(report)
        return report

    async def check_archive(self, *, progress: Callable[[ArchiveReport], None] | None = None) -> ArchiveReport:
        """As `RetentionManager.check_archive`."""
        check, report = self._retaining.archive_check(), ArchiveReport()
        await check.packs(report)
        after: str | None = ""
        while after is not None:
            after = await check.page(after, report)
            if progress is not None:
                progress(report)
        return report

    async def hold(
        self,
        name: str,
        state_id: str | None = None,
        *,
        machine: str | None = None,
        from_version: int | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Pin:
        """As `RetentionManager.hold`."""
        return await self._retaining.hold(
            name, state_id, machine=machine, from_version=from_version, reason=reason, by=by
        )

    async def forget_keys(self, older_than: timedelta) -> int:
        """As `RetentionManager.forget_keys`."""
        return await self._retaining.forget_keys(older_than)

    async def release(self, name: str) -> bool:
        """As `RetentionManager.release`."""
        return await self._retaining.pins.release(name)

    async def pins(self) -> list[Pin]:
        """As `RetentionManager.pins`."""
        return await self._retaining.pins.all()
