"""The sync face of retention."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from eventstate.core.pins import Pin
from eventstate.core.retention import RetentionPolicy
from eventstate.errors import ConfigurationError
from eventstate.log.archive_check import ArchiveReport
from eventstate.log.pruning import PruneReport
from eventstate.machines.keyring import Keyring
from eventstate.machines.machine import Machine
from eventstate.machines.retaining import Retaining
from eventstate.runtime.blocking import BlockingRuntime, drive
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store


class RetentionManager:
    """Lets old events of a governor go by policies, and keeps what is pinned.

    A pruned stream begins at a later version, its *base*: it loads, verifies and goes on as before, and what lies
    before the base is read from the archive, if there is one. Writers go on meanwhile. A prune that was killed is
    ended by the next one. Safe to use from many threads and processes.

    Args:
        store: from `open_store`.
        governor: the namespace that owns the machines.
        machines: the declared machines; streams of others with typed events are left as they are.
        keyring: the keys for machines that declare ``subjects``; needed with them.
        archive: where events go before they are deleted; without one they are gone.

    All methods raise `StoreError` and its kin where the store or the archive can't work.
    """

    def __init__(
        self,
        store: Store,
        *,
        governor: str = "default",
        machines: Iterable[Machine[Any, Any]] = (),
        keyring: Keyring | None = None,
        archive: Archive | None = None,
    ) -> None:
        if not isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_async_store: use AsyncRetentionManager with it")
        self._retaining = Retaining(store, governor, machines, keyring.core if keyring is not None else None, archive)

    def plan(
        self,
        policy: RetentionPolicy | None = None,
        *,
        machines: Mapping[str, RetentionPolicy] | None = None,
        progress: Callable[[PruneReport], None] | None = None,
    ) -> PruneReport:
        """What `prune` would do now. Reads what would go; writes nothing.

        Args:
            policy: for all streams; none go without one.
            machines: by the name of a machine, in the place of ``policy``.
            progress: called with the report so far after each page of streams.
        """
        pruner, report = self._retaining.pruner(policy, machines), PruneReport()
        after: str | None = ""
        while after is not None:
            after = drive(pruner.plan_page(after, report))
            if progress is not None:
                progress(report)
        return report

    def prune(
        self,
        policy: RetentionPolicy | None = None,
        *,
        machines: Mapping[str, RetentionPolicy] | None = None,
        progress: Callable[[PruneReport], None] | None = None,
    ) -> PruneReport:
        """Let events go: archive them, have their streams begin later, delete them.

        Takes what `plan` takes. The archive is read back before anything is deleted. What an earlier run left
        undone is done too. The file of a SQLite store becomes smaller with `vacuum` only.

        Raises:
            CorruptionError: the archive did not give back what was written to it; nothing of it was deleted.
        """
        pruner, report = self._retaining.pruner(policy, machines), PruneReport()
        after: str | None = ""
        while after is not None:
            after = drive(pruner.prune_page(after, report))
            if progress is not None:
                progress(report)
        return report

    def check_archive(self, *, progress: Callable[[ArchiveReport], None] | None = None) -> ArchiveReport:
        """Read the whole archive: whether all that was pruned into it can be read from it, as it was.

        ``progress`` is called with the report so far after each page of streams.

        Raises:
            ConfigurationError: the manager has no archive.
        """
        check, report = self._retaining.archive_check(), ArchiveReport()
        drive(check.packs(report))
        after: str | None = ""
        while after is not None:
            after = drive(check.page(after, report))
            if progress is not None:
                progress(report)
        return report

    def hold(
        self,
        name: str,
        state_id: str | None = None,
        *,
        machine: str | None = None,
        from_version: int | None = None,
        reason: str | None = None,
        by: str | None = None,
    ) -> Pin:
        """Pin a stream, a machine's streams, or all streams of the governor: a prune keeps them, whatever its policy.

        The same hold again changes nothing.

        Args:
            name: of the hold.
            state_id: hold this stream.
            machine: hold all streams of this machine.
            from_version: of one stream, hold only this version and later ones; else all that is there.
            reason, by: for people.

        Raises:
            StateNotFoundError, VersionNotFoundError: what is to be held is not there (any more).
            InvalidInputError: another hold has this name.
        """
        return drive(
            self._retaining.hold(name, state_id, machine=machine, from_version=from_version, reason=reason, by=by)
        )

    def forget_keys(self, older_than: timedelta) -> int:
        """Delete the records of old idempotency keys that say when they were made (`timed_key`); how many.

        A key older than this is refused from now on with a TokenExpiredError: it never runs a second time. Records
        are deleted a day after that. Keys of other forms stay for good.

        Raises:
            ConfigurationError: keys are kept for two days at least.
        """
        return drive(self._retaining.forget_keys(older_than))

    def release(self, name: str) -> bool:
        """Take a hold away; whether there was one."""
        return drive(self._retaining.pins.release(name))

    def pins(self) -> list[Pin]:
        """All pins of the governor: holds, and those that the library made, such as those of forks."""
        return drive(self._retaining.pins.all())
