"""What both retention managers do, written once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from eventstate.core.format import Image, Tip
from eventstate.core.pins import Pin
from eventstate.core.retention import Policies, RetentionPolicy
from eventstate.core.snapshots import SnapshotPolicy
from eventstate.errors import ConfigurationError
from eventstate.log.archive_check import ArchiveCheck
from eventstate.log.forgetting import forget_keys
from eventstate.log.keyring import KeyringCore
from eventstate.log.pinning import PinKeeper
from eventstate.log.pruning import Pruner
from eventstate.machines.core import PersisterCore
from eventstate.machines.machine import Machine
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store

NOTHING = RetentionPolicy()


class Retaining:
    """The retention of one governor of one store."""

    def __init__(
        self,
        store: Store,
        governor: str,
        machines: Iterable[Machine[Any, Any]],
        keyring: KeyringCore | None,
        archive: Archive | None,
    ) -> None:
        self._core = PersisterCore(store, governor, machines, SnapshotPolicy(every=0), keyring, archive)
        self._archive = archive
        self.pins = PinKeeper(store, governor, self._core.reader, self._core.appender.committer)

    def pruner(self, policy: RetentionPolicy | None, machines: Mapping[str, RetentionPolicy] | None) -> Pruner:
        """What prunes by these policies."""
        core = self._core
        return Pruner(
            core.store,
            core.governor,
            reader=core.reader,
            committer=core.appender.committer,
            pins=self.pins,
            image_at=self._image_at,
            policies=Policies(policy or NOTHING, dict(machines or {})),
            machines=core.machines,
            archive=self._archive,
        )

    async def _image_at(self, tip: Tip, version: int) -> Image:
        protection = self._core.protection
        if protection is None:
            return await self._image_of(tip, version)
        return await protection.with_keys(lambda: self._image_of(tip, version))

    async def _image_of(self, tip: Tip, version: int) -> Image:
        fold = self._core.fold_of(tip.id)
        state = (await self._core.reader.rebuild(tip, fold, version, event_needed=False)).state
        return Image(fold.dump(state), fold.version, fold.schema, fold.label(state))

    def archive_check(self) -> ArchiveCheck:
        """What checks the archive.

        Raises:
            ConfigurationError: there is none.
        """
        if self._archive is None:
            raise ConfigurationError("there is no archive to check: pass archive= to the retention manager")
        return ArchiveCheck(self._archive, self._core.store, self._core.governor)

    async def forget_keys(self, older_than: timedelta) -> int:
        """As `RetentionManager.forget_keys`."""
        core = self._core
        return await forget_keys(core.store, core.governor, core.appender.committer, older_than)

    async def hold(
        self,
        name: str,
        state_id: str | None,
        *,
        machine: str | None,
        from_version: int | None,
        reason: str | None,
        by: str | None,
    ) -> Pin:
        """As `RetentionManager.hold`."""
        return await self.pins.hold(
            name, state_id=state_id, machine=machine, from_version=from_version, reason=reason, by=by
        )
