"""The asyncio face of migrations: the methods of `JobMigrator`, awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from eventstate.errors import ConfigurationError
from eventstate.jobs.migrations.migrating import Migrating, MigrationReport
from eventstate.jobs.migrations.steps import Migration, Steps
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


class AsyncJobMigrator:
    """`JobMigrator` for asyncio; its store is one of `open_async_store`. Steps are plain functions here too."""

    def __init__(self, store: Store, steps: Iterable[Migration] = ()) -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use JobMigrator with it")
        self._store = store
        self._steps = Steps(steps)

    async def plan(
        self,
        job: str | None = None,
        *,
        target: int | None = None,
        limit: int = 0,
        progress: Callable[[MigrationReport], None] | None = None,
    ) -> MigrationReport:
        """As `JobMigrator.plan`."""
        return await self._run(job, target, limit, progress, dry_run=True)

    async def migrate(
        self,
        job: str | None = None,
        *,
        target: int | None = None,
        limit: int = 0,
        progress: Callable[[MigrationReport], None] | None = None,
    ) -> MigrationReport:
        """As `JobMigrator.migrate`."""
        return await self._run(job, target, limit, progress, dry_run=False)

    async def _run(
        self,
        job: str | None,
        target: int | None,
        limit: int,
        progress: Callable[[MigrationReport], None] | None,
        *,
        dry_run: bool,
    ) -> MigrationReport:
        run = Migrating(self._store, self._steps, target=target, job=job, limit=limit, dry_run=dry_run)
        while await run.page():
            if progress is not None:
                progress(run.report)
        return run.report
