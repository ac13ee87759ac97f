"""The asyncio face of seals: the methods of `SealManager`, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from eventstate.core.seals import Seal
from eventstate.errors import ConfigurationError
from eventstate.log.sealing.seals import Seals
from eventstate.log.sealing.taking import KEEP_LISTS
from eventstate.runtime.blocking import BlockingRuntime
from eventstate.stores.base import Store


class AsyncSealManager:
    """`SealManager` for asyncio; its store is one of `open_async_store`."""

    def __init__(self, store: Store, *, governor: str = "default") -> None:
        if isinstance(store.runtime, BlockingRuntime):
            raise ConfigurationError("a store of open_store: use SealManager with it")
        self._seals = Seals(store, governor)

    async def seal(
        self,
        *,
        if_older_than: timedelta | None = None,
        anew: bool = False,
        keep: int = KEEP_LISTS,
        progress: Callable[[int], None] | None = None,
    ) -> Seal:
        """As `SealManager.seal`."""
        return await self._seals.seal(if_older_than=if_older_than, anew=anew, keep=keep, progress=progress)

    async def list_seals(self) -> AsyncIterator[Seal]:
        """As `SealManager.list_seals`."""
        previous: Seal | None = None
        more = True
        while more:
            found, more = await self._seals.page(previous)
            for sealed in found:
                yield sealed
            previous = found[-1] if found else previous

    async def export(self, file: str | os.PathLike[str], *, number: int | None = None, full: bool = False) -> Seal:
        """As `SealManager.export`."""
        return await self._seals.export(file, number=number, full=full)
