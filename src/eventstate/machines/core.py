"""What both persisters do, written once: coroutines that wait only through the store's runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventstate.machines.writing import Writing

if TYPE_CHECKING:
    from eventstate.machines.upkeep import Upkeep


class PersisterCore(Writing):
    """The operations of a persister on one governor of one store."""

    @property
    def upkeep(self) -> Upkeep:
        """What keeps the streams quick and sound."""
        from eventstate.machines.upkeep import Upkeep  # most programs leave that to others

        return Upkeep(self)
