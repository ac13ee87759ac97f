"""How far a named subscription has come: what was delivered, what of it was dealt with, what of that is saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eventstate.log.following import Followed, Place, Stream
from eventstate.log.positions import Extra, Positions
from eventstate.machines.deliveries import Delivery
from eventstate.machines.membership import Membership
from eventstate.stores.base import Store


class Progress:
    """Of a subscription that one process works on.

    Where there is an order over streams, dealing with an event says so of everything before it; else of everything
    before it in its stream.

    Attributes:
        noted: events dealt with and not saved yet.
    """

    def __init__(self, positions: Positions) -> None:
        self.positions = positions
        self.noted = 0
        self._parking: list[tuple[Stream, Extra]] = []
        self._position: int | None = None
        self._versions: dict[Stream, int] = {}
        self._delivered: dict[Stream, int] = {}
        self._saved_at = 0.0
        self._hint = 0

    @property
    def place(self) -> Place:
        """Where to begin."""
        return self.positions.place

    async def begin(self) -> None:
        """Called once the position is loaded."""
        self._hint = self.positions.place.hint

    def taken(self, entries: Sequence[Followed]) -> Sequence[Followed]:
        """Those entries that are for this process."""
        return entries

    def may_handle(self, delivery: Delivery) -> bool:
        """Whether this process may deal with an event now."""
        return True

    def delivered(self, delivery: Delivery) -> None:
        """An event is handed over."""
        if delivery.position is None:
            self._delivered[delivery.stream] = _version_after(delivery)

    def note(self, delivery: Delivery) -> None:
        """An event was dealt with."""
        self.noted += 1
        if delivery.position is not None:
            self._position = max(self._position or 0, _position_after(delivery))
        else:
            self._note_version(delivery.stream, _version_after(delivery))

    def park(self, delivery: Delivery, extra: Extra) -> None:
        """An event is set aside; whatever save moves the place past it writes ``extra`` in the same commit."""
        self.note(delivery)
        self._parking.append((delivery.stream, extra))

    def _parked(self, streams: Callable[[Stream], bool] = lambda _: True) -> Extra:
        extras = [extra for stream, extra in self._parking if streams(stream)]
        return lambda token: [operation for extra in extras for operation in extra(token)]

    def _note_version(self, stream: Stream, version: int) -> None:
        self._versions[stream] = max(self._versions.get(stream, 0), version)

    def note_delivered(self, place: Place) -> None:
        """Everything handed over was dealt with, up to a place in store order where there is such."""
        if place.position is not None:
            self.note_all(place)
            return
        for stream, version in self._delivered.items():
            self._note_version(stream, version)
            self.noted += 1
        self._delivered = {}

    def note_all(self, moved: Place) -> None:
        """Everything up to a place was dealt with, what is not wanted included."""
        self._hint = moved.hint or self._hint
        if moved.position is not None:
            if moved.position > (self._position or self.positions.place.position or 0):
                self._position = moved.position
                self.noted += 1
            return
        self._delivered = {}
        for stream, version in moved.versions.items():
            if version > self.positions.place.versions.get(stream, 0):
                self._note_version(stream, version)
                self.noted += 1

    def is_due(self, now: float, seconds: float) -> bool:
        """Whether something has waited for so long to be saved."""
        return self.noted > 0 and now - self._saved_at >= seconds

    def seconds_left(self, now: float, seconds: float) -> float:
        """Until something has to be looked after."""
        return max(0.0, self._saved_at + seconds - now) if self.noted else 3600.0

    async def save(self) -> None:
        """Save what was dealt with, and in the same commit what was parked.

        Raises:
            TransactionConflictError: another process works on the same subscription.
        """
        if not self.noted:
            return
        extra = self._parked()
        before = self.positions.place
        if self.positions.definition.order == "store":
            await self.positions.save(Place(self._position or before.position), extra)
        else:
            has_one = self.positions.definition.has_one_position
            versions = self._versions or (before.versions if has_one else {})
            await self.positions.save(Place(None, versions, self._hint), extra)
            self._versions = {}
        self._was_saved()

    def _was_saved(self) -> None:
        self.noted = 0
        self._parking = []
        self._saved_at = self._now()

    def _now(self) -> float:
        return self.positions.store.runtime.monotonic()

    async def end(self) -> None:
        """Called when a run is over, however it ended."""
        await self.save()

    async def leave(self) -> None:
        """Called when the subscription is closed."""


def _position_after(delivery: Delivery) -> int:
    """The position to save once an event was dealt with: before its commit as long as more of that is to come."""
    position = delivery.position
    assert position is not None
    return position if delivery.is_last else position - 1


def _version_after(delivery: Delivery) -> int:
    """The same where a version is saved."""
    followed = delivery.followed
    if delivery.is_last or followed.entry is None:
        return followed.version
    return followed.entry.first - 1


class SharedProgress(Progress):
    """Of a subscription that several processes share: each works on the parts whose locks it holds."""

    def __init__(self, store: Store, positions: Positions) -> None:
        super().__init__(positions)
        definition = positions.definition
        self._membership = Membership(store, definition.home, definition.name, definition.partitions)
        self._parts: Mapping[int, str] = {}
        self._is_torn = False
        self._reached: dict[int, int] = {}

    @property
    def place(self) -> Place:
        """The lowest of those of its parts."""
        positions = self.positions
        if positions.definition.order == "stream":
            return positions.place
        return Place(min((positions.partitions[part] for part in self._parts), default=positions.place.position or 0))

    async def begin(self) -> None:
        await super().begin()
        await self._membership.look()
        await self._reload()

    async def _reload(self) -> None:
        # Loaded after the locks were taken: nobody else moves them from here on.
        await self.positions.load()
        self._parts = self._membership.parts
        self._is_torn = False
        self._reached, self._versions, self._delivered = {}, {}, {}
        self.noted = 0
        self._parking = []

    async def look(self) -> bool:
        """Look after the parts, when it is time; whether they have changed, so that reading begins anew."""
        if self._membership.seconds_left > 0 and not self._is_torn:
            return False
        # What was dealt with is saved first, as parts may be given away.
        await self.save()
        await self._membership.look()
        if self._membership.parts == self._parts and not self._is_torn:
            return False
        await self._reload()
        return True

    def taken(self, entries: Sequence[Followed]) -> Sequence[Followed]:
        return list(filter(self._takes, entries))

    def _takes(self, followed: Followed) -> bool:
        part = self._membership.partition_of(followed.stream)
        if part not in self._parts:
            return False
        if followed.position is None:
            return True
        return followed.position > self.positions.partitions[part]

    def may_handle(self, delivery: Delivery) -> bool:
        delivery.lock = self._membership.lock_of(self._membership.partition_of(delivery.stream))
        if delivery.lock is None:  # what is passed over now is read again, should the part come back
            self._is_torn = True
        return delivery.lock is not None

    def note(self, delivery: Delivery) -> None:
        if delivery.position is None:
            super().note(delivery)
            return
        self.noted += 1
        part = self._membership.partition_of(delivery.stream)
        self._reached[part] = max(self._reached.get(part, 0), _position_after(delivery))

    def note_all(self, moved: Place) -> None:
        if self._is_torn:  # something was passed over
            return
        if moved.position is None:
            own = {s: v for s, v in moved.versions.items() if self._membership.partition_of(s) in self._parts}
            super().note_all(moved._replace(versions=own))
            return
        for part in self._parts:
            if moved.position > max(self._reached.get(part, 0), self.positions.partitions[part]):
                self._reached[part] = moved.position
                self.noted += 1

    async def save(self) -> None:
        if not self.noted:
            return
        membership = self._membership
        parts = {membership.partition_of(stream) for stream in self._versions} | set(self._reached)
        locks = {part: membership.lock_of(part) for part in parts}
        # Each part by itself: one that was lost must not hold up the others.
        for part, lock in locks.items():
            if lock is None:
                self._is_torn = True
                continue
            reached = {part: self._reached[part]} if part in self._reached else {}
            versions = {s: v for s, v in self._versions.items() if membership.partition_of(s) == part}
            extra = self._parked(lambda stream, part=part: membership.partition_of(stream) == part)
            if not await self.positions.save_shared(
                [lock.fence.check], partitions=reached, versions=versions, extra=extra
            ):
                lock.end()
                self._is_torn = True
        self._versions, self._reached = {}, {}
        self._was_saved()

    async def end(self) -> None:
        try:
            await self.save()
        finally:
            await self.leave()

    async def leave(self) -> None:
        await self._membership.leave()
        self._parts = {}

    def seconds_left(self, now: float, seconds: float) -> float:
        return min(super().seconds_left(now, seconds), self._membership.seconds_left)
