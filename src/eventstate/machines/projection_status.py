"""How projections are doing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from eventstate.core.documents import Batch, Delete, Document, Require
from eventstate.core.instants import utc_of
from eventstate.core.pins import unpin_operations
from eventstate.log.following import EVERYTHING, Selection
from eventstate.log.following.ordered import last_position
from eventstate.log.following.swept import current_versions
from eventstate.log.positions import definition_of, saved_place
from eventstate.log.projections import Registers, Tally, definition, generation_key, remove_generation, tally_of
from eventstate.stores.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionStatus:
    """How a projection is doing.

    Attributes:
        name, version: of the projection that is read; ``version`` is that of its code.
        generation: which building of it that is.
        events: that were handled in it.
        behind: how much has been committed and is not handled yet: entries of the whole store where it has an order,
            else events of the wanted streams.
        updated_at: when its documents were last written; None before that.
        building, building_version, building_events: of the generation that is to take its place; None if there is none.
    """

    name: str
    version: int
    generation: int
    events: int
    behind: int
    updated_at: datetime | None = None
    building: int | None = None
    building_version: int | None = None
    building_events: int | None = None


class Overview:
    """Looks at the projections of a governor, whatever code runs them."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._registers = Registers(store, owner)

    async def names(self) -> list[str]:
        return await self._registers.names()

    async def status(self, name: str) -> ProjectionStatus:
        """How one is doing.

        Raises:
            ProjectionNotFoundError: there is none of this name.
        """
        register = await self._registers.get(name)
        current, building = register.current, register.building
        tally = await self._tally(name, current.number)
        return ProjectionStatus(
            name=name,
            version=current.version,
            generation=current.number,
            events=tally.events,
            behind=await self._behind(name, current.number),
            updated_at=utc_of(tally.at) if tally.at else None,
            building=building.number if building else None,
            building_version=building.version if building else None,
            building_events=(await self._tally(name, building.number)).events if building else None,
        )

    async def _tally(self, name: str, number: int) -> Tally:
        key = generation_key(self._owner, name, number)
        document = (await self._store.get([key])).documents.get(key)
        return Tally() if document is None else tally_of(document)

    async def _behind(self, name: str, number: int) -> int:
        saved = await self._saved(name, number)
        selection = Selection(self._owner) if saved is None else definition_of(saved).selection
        if self._store.capabilities.feed_order == "store":
            place = 0 if saved is None else (await saved_place(self._store, definition_of(saved), saved)).position or 0
            return max(await last_position(self._store) - place, 0)
        versions = await current_versions(self._store, selection)
        if saved is None:
            return sum(versions.values())
        reached = (await saved_place(self._store, definition_of(saved), saved)).versions
        return sum(max(version - reached.get(stream, 0), 0) for stream, version in versions.items())

    async def _saved(self, name: str, number: int) -> Document | None:
        key = definition(self._owner, name, number, EVERYTHING, "").key
        return (await self._store.get([key])).documents.get(key)

    async def delete(self, name: str) -> None:
        """Remove a projection and all its documents. May be repeated: what tells of it goes last.

        Raises:
            ProjectionNotFoundError: there is none of this name.
        """
        register = await self._registers.get(name)
        numbers = {register.current.number, *register.old}
        if register.building is not None:
            numbers.add(register.building.number)
        for number in sorted(numbers):
            saved = await self._saved(name, number)
            about = definition(self._owner, name, number, EVERYTHING, "") if saved is None else definition_of(saved)
            await remove_generation(self._store, self._owner, name, number, about)
            unpin = unpin_operations(self._owner, f"projection:{name}.{number}")
            await self._registers.committer.commit_guarded(Batch(self._store.runtime.unique(), unpin))
        check = self._registers.check(register)
        batch = Batch(self._store.runtime.unique(), (Delete(check.key, Require.ANY),))
        await self._registers.committer.commit_guarded(batch)
