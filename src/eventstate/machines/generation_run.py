"""One generation of a projection at work: events handled, what their handler writes, and how far it is, in one commit.

Everything a commit writes is guarded by the document that says how far the generation is: of two that work on it, one
is refused and begins anew from what is saved. So whatever happens between a handler's call and its commit, each event
has its effect once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import orjson

from eventstate.core.documents import HEAD, Key, Operation, Put, Require
from eventstate.errors import ConfigurationError, CorruptionError, TransactionConflictError
from eventstate.log.following import Followed, Follower, Place, Stream, follow
from eventstate.log.positions import Positions, delete_saved
from eventstate.log.projections import Register, Tally
from eventstate.machines.deliveries import deliveries_of
from eventstate.machines.view_buffer import ViewBuffer

if TYPE_CHECKING:
    from eventstate.machines.projecting import Projecting

PAGE: Final = 250
"""Entries read at once."""
MAX_STREAMS: Final = 100
"""How many may have moved before what was handled is committed."""
SAVE_SECONDS: Final = 5.0
"""How often a place is saved that has moved over events nobody wanted."""


class GenerationRun:
    """One generation at work in this process. Thrown away after any failure: the next one begins from what is saved."""

    def __init__(self, projecting: Projecting, register: Register, number: int) -> None:
        self._projecting = projecting
        self._store = projecting.store
        self._register = register
        self._number = number
        self._definition = projecting.definition(number)
        self._positions = Positions(self._store, self._definition)
        self._view = ViewBuffer(self._store, projecting.owner, projecting.projection.name, number)
        self._follower: Follower | None = None
        self._tally = Tally()
        self._handled = 0
        self._place = Place()
        self._position: int | None = None
        self._is_pinned = False
        self._moved: dict[Stream, int] = {}
        self._saved_at = self._store.runtime.monotonic()

    @property
    def handled(self) -> int:
        """Events in all, those of earlier runs included."""
        return self._tally.events

    @property
    def place(self) -> Place:
        """Up to where it has come, as is saved."""
        return self._place

    @property
    def is_caught_up(self) -> bool:
        return self._follower is not None and self._follower.is_caught_up

    async def open(self) -> None:
        """Go to where the generation is.

        Raises:
            ConfigurationError: it would begin, and the first events of some streams are pruned.
            CorruptionError: its saved place is gone.
            TransactionConflictError: another process begins it too; open it again.
        """
        positions = self._positions
        if (await self._projecting.saved(self._number) or self._definition) != self._definition:
            raise ConfigurationError(
                f"projection {self._projecting.projection.name!r} was built with other machines= or actions=: raise its"
                " version and rebuild it"
            )
        await positions.load()
        self._tally = await self._projecting.tally(self._number)
        if positions.is_new:
            if self._tally.events:
                problem = "it says how far a projection is, and is gone; the documents are not: rebuild the projection"
                raise CorruptionError(where=str(self._definition.key), problem=problem)
            await self._begin()
        self._is_pinned = await self._projecting.is_pinned(self._number)
        if self._is_pinned and not self._tally.events:  # whoever began it may have died before its second look
            await self._check_begun()
        self._place = positions.place
        self._follower = follow(self._store, self._definition.selection, positions.place)

    async def _begin(self) -> None:
        await self._check_whole()
        beginning = Place(0 if self._definition.order == "store" else None)

        def extra(token: str) -> Sequence[Operation]:
            return (*self._checked(token), *self._projecting.pin(self._number, token))

        await self._positions.save(beginning, extra)

    async def _check_begun(self) -> None:
        try:
            await self._check_whole()  # a prune may have been faster than the pin; none that comes later can be
        except ConfigurationError:
            await delete_saved(self._store, self._definition)
            await self._projecting.unpin(self._number)
            raise

    async def _check_whole(self) -> None:
        projection = self._projecting.projection
        pruned = None if projection.accept_pruned else await self._projecting.first_pruned()
        if pruned is not None:
            raise ConfigurationError(
                f"projection {projection.name!r} would not see the first events of {pruned!r}, which are pruned: pass"
                " accept_pruned=True to build it from what is left"
            )

    def _checked(self, _token: str) -> Sequence[Operation]:
        return (self._projecting.registers.check(self._register),)

    async def step(self) -> bool:
        """Handle a page of events; whether there may be more at once.

        Raises:
            TransactionConflictError: another process works on it too, or it was switched over.
            Exception: of the handler; everything before its event is committed.
        """
        assert self._follower is not None
        reading = await self._follower.read(PAGE)
        for followed in reading.entries:
            try:
                await self._handle(followed)
            except Exception as error:
                self._view.drop_entry()
                await self._save(self._positions.place.hint)
                await self._check_alone()
                error.add_note(f"projection {self._projecting.projection.name!r} stopped at {followed.key}")
                raise
            if self._view.is_full or len(self._moved) >= MAX_STREAMS:
                await self._save(self._positions.place.hint)
        await self._save(self._follower.place.hint)
        if self._store.runtime.monotonic() - self._saved_at > SAVE_SECONDS:
            await self.save_place()
        if self._is_pinned and self.is_caught_up:
            await self._projecting.unpin(self._number)  # from here on its saved place says what is still needed
            self._is_pinned = False
        return reading.more

    async def _check_alone(self) -> None:
        """An error passes only if what its handler had read was as of this place.

        Raises:
            TransactionConflictError: another process has gone further, or the projection was switched over.
        """
        expected = (self._positions.check(), self._projecting.registers.check(self._register))
        found = (await self._store.get([check.key for check in expected])).documents
        if any(check.key not in found or found[check.key].revision != check.when for check in expected):
            detail = "another process has gone on"
            raise TransactionConflictError(keys=(str(self._definition.key),), detail=detail) from None

    async def _handle(self, followed: Followed) -> None:
        if followed.problem is not None:
            raise followed.problem
        handled = 0
        for delivery in deliveries_of(followed, self._definition.selection, self._projecting.machines):
            await self._projecting.call(delivery, self._view)
            handled += 1
        self._view.check_entry()
        if self._view.is_crowded:
            await self._save(self._positions.place.hint)
        self._view.end_entry()
        self._handled += handled
        self._position = followed.position
        self._moved[followed.stream] = followed.version

    async def _save(self, hint: int) -> None:
        """Commit what was handled, and how far that is."""
        if not self._moved:
            return
        tally = Tally(self._tally.events + self._handled, self._store.runtime.now())
        is_ordered = self._definition.order == "store"
        place = Place(self._position) if is_ordered else Place(None, self._moved, hint)

        def extra(token: str) -> Sequence[Operation]:
            members = {"t": token, "events": tally.events, "at": tally.at}
            own = Put(self._projecting.tally_key(self._number), orjson.dumps(members), Require.ANY)
            return (*self._checked(token), own, *self._view.operations(token))

        await self._positions.save(place, extra)
        self._place = place if is_ordered else Place(None, {**self._place.versions, **self._moved}, hint)
        self._view.committed()
        self._moved = {}
        self._handled = 0
        self._tally = tally
        self._saved_at = self._store.runtime.monotonic()

    async def save_place(self) -> None:
        """Save a place that has moved on over what is not wanted. Everything handled is committed already."""
        assert self._follower is not None
        place = self._follower.place
        self._saved_at = self._store.runtime.monotonic()
        if self._definition.order == "store":
            if place.position != self._place.position:
                await self._positions.save(place, self._checked)
        else:
            known = self._place.versions
            changed = {stream: version for stream, version in place.versions.items() if known.get(stream) != version}
            if changed:
                await self._positions.save(place._replace(versions=changed), self._checked)
        self._place = place

    def has_reached(self, place: Place) -> bool:
        """Whether everything up to a place has been read."""
        assert self._follower is not None
        reached = self._follower.place
        if self._definition.order == "store":
            return (reached.position or 0) >= (place.position or 0)
        takes = self._definition.selection.takes_stream
        wanted = {stream: version for stream, version in place.versions.items() if takes(Key(HEAD, *stream))}
        return all(reached.versions.get(stream, 0) >= version for stream, version in wanted.items())

    async def wait(self, seconds: float) -> None:
        assert self._follower is not None
        await self._follower.wait(seconds)

    def close(self) -> None:
        if self._follower is not None:
            self._follower.close()
