"""What both faces of seals do."""

from __future__ import annotations

import os
from datetime import timedelta

from eventstate.core.ids import check_id
from eventstate.core.seals import Seal
from eventstate.errors import InvalidInputError
from eventstate.log.sealing.export import SealExporter
from eventstate.log.sealing.taking import Progress, Sealer
from eventstate.stores.base import Store


class Seals:
    """The seals of one governor."""

    def __init__(self, store: Store, governor: str) -> None:
        self._store = store
        self._sealer = Sealer(store, check_id("governor", governor))
        self._exporter = SealExporter(store, self._sealer)

    async def seal(self, *, if_older_than: timedelta | None, anew: bool, keep: int, progress: Progress | None) -> Seal:
        if keep < 1:
            raise InvalidInputError(f"keep={keep}: the list of the last seal at least must remain")
        if if_older_than is not None:
            newest = (await self._sealer.roll()).newest
            age = timedelta(microseconds=self._store.runtime.now() - newest.at) if newest is not None else None
            if newest is not None and age is not None and age <= if_older_than:
                return newest
        return await self._sealer.take(anew=anew, keep=keep, progress=progress)

    async def page(self, previous: Seal | None) -> tuple[list[Seal], bool]:
        return await self._sealer.page(previous)

    async def export(self, file: str | os.PathLike[str], *, number: int | None, full: bool) -> Seal:
        return await self._exporter.export(file, number, full=full)
