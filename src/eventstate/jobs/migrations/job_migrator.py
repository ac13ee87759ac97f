"""The sync face of migrations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from eventstate.errors import ConfigurationError
from eventstate.jobs.migrations.migrating import Migrating, MigrationReport
from eventstate.jobs.migrations.steps import Migration, Steps
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.base import Store


class JobMigrator:
    """Brings the stored documents of jobs to a later schema, step by step.

    Each job says which version it is of. A step changes some of its documents in one commit together with how far it
    has come, so each document is changed once, whatever is killed when, and the next run goes on where one was broken
    off. Two runs at the same time do no harm. What was before stays in the histories.

    Args:
        store: from `open_store`.
        steps: the caller's own `Migration`s, besides those of the library.

    All methods raise `StoreError` and its kin where the store can't work.

    Raises:
        ConfigurationError: two steps lead to one version, one has a version below 100, or is no `Migration`.
    """

    def __init__(self, store: Store, steps: Iterable[Migration] = ()) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncJobMigrator with it")
        self._store = store
        self._steps = Steps(steps)

    def plan(
        self,
        job: str | None = None,
        *,
        target: int | None = None,
        limit: int = 0,
        progress: Callable[[MigrationReport], None] | None = None,
    ) -> MigrationReport:
        """What `migrate` would do now: the steps run, and nothing is written. Raises like `migrate`."""
        return self._run(job, target, limit, progress, dry_run=True)

    def migrate(
        self,
        job: str | None = None,
        *,
        target: int | None = None,
        limit: int = 0,
        progress: Callable[[MigrationReport], None] | None = None,
    ) -> MigrationReport:
        """Migrate one job, or all of the store that are of an earlier version.

        Args:
            target: the version to bring them to; the newest that a step leads to unless given. Steps to lower ones
                that a job has not had come first.
            limit: stop after so many jobs were migrated; 0 for no limit.
            progress: called with the report so far after each commit.

        Raises:
            JobNotFoundError: there is no such job, or it is deleted.
            SchemaNewerError: a job is of a version that no step is known of; nothing of it was changed.
            InvalidInputError: no step leads to ``target``, ``limit`` is none, or a step gave what can't be stored.
            InvalidIdError: no job can have this id.
            CorruptionError: there is something else in the place of a job's record, or of a status.
            Whatever a step raises, with a note that names the document.
        """
        return self._run(job, target, limit, progress, dry_run=False)

    def _run(
        self,
        job: str | None,
        target: int | None,
        limit: int,
        progress: Callable[[MigrationReport], None] | None,
        *,
        dry_run: bool,
    ) -> MigrationReport:
        run = Migrating(self._store, self._steps, target=target, job=job, limit=limit, dry_run=dry_run)
        while drive(run.page()):
            if progress is not None:
                progress(run.report)
        return run.report
