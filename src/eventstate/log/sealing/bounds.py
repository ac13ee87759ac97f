"""How far streams may be pruned where their governor takes seals: no further than the newest one saw."""

from __future__ import annotations

from collections.abc import Mapping

from eventstate.log.sealing.lists import SealedList
from eventstate.log.sealing.taking import Sealer
from eventstate.stores.base import Store


class SealedBounds:
    """What the newest seal saw, read along with pages of streams.

    A stream that begins beyond what a seal saw can't be held against it, and looks like one that was forged.
    """

    def __init__(self, store: Store, owner: str) -> None:
        self._sealer = Sealer(store, owner)
        self._listed: SealedList | None = None

    async def has_begun(self) -> bool:
        """Whether the governor takes seals by now."""
        return (await self._sealer.roll()).newest is not None

    async def page(self, after: str, last: str | None) -> Mapping[str, int] | None:
        """The sealed versions of the streams after an id, as far as another; None where there is no seal.

        Pages are asked for in order; with ``after=""`` it begins anew, with the seal that is the newest then.

        Raises:
            CorruptionError: a seal or its list is not as it was written.
        """
        if not after or self._listed is None:
            newest = (await self._sealer.roll()).newest
            self._listed = self._sealer.listed(newest) if newest is not None else None
            if self._listed is not None:
                await self._listed.check()
                if after:
                    await self._listed.skip(after)
        if self._listed is None:
            return None
        return {tip.id: tip.version for tip in await self._listed.upto(last)}
