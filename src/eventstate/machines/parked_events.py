"""What a subscription has set aside: what waits for it, and how it is tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from eventstate.core.documents import ENTRY, Key
from eventstate.errors import CorruptionError
from eventstate.log.following import Selection, Stream
from eventstate.log.following.checks import ChainChecks
from eventstate.log.parking import Parked, ParkingLot, stream_of
from eventstate.log.positions import Definition
from eventstate.machines.declared import Declared
from eventstate.machines.deliveries import Delivery, deliveries_of
from eventstate.stores.base import Store

REPLAY_ROUNDS: Final = 20
"""How often one replay looks for what was held back while it ran: it must end, however busy the writers are."""

Handler = Callable[[Delivery], Awaitable[object]]


class ParkedReport(NamedTuple):
    """What became of parked events that were tried again."""

    handled: int = 0
    failed: int = 0


class ParkedEvents:
    """The parked events of one subscription."""

    def __init__(self, store: Store, definition: Definition, selection: Selection, machines: Declared) -> None:
        self._store = store
        self._selection = selection
        self._machines = machines
        self._lot = ParkingLot(store, definition)
        self._held: dict[Stream, int] | None = None
        """The first parked event of each stream that has any, as was last read; None before that."""

    # What waits for them

    def forget(self) -> None:
        """Have `first_before` read anew what is parked: others may have parked events meanwhile."""
        self._held = None

    def add(self, parked: Parked) -> None:
        """Take note of an event that was parked just now."""
        if self._held is not None:
            first = self._held.setdefault(stream_of(parked), parked.version)
            self._held[stream_of(parked)] = min(first, parked.version)

    async def first_before(self, delivery: Delivery) -> int:
        """The version of a parked event that must be handled before this one; 0 where there is none."""
        held = self._held
        if held is None:
            held = dict[Stream, int]()
            for parked, _ in await self._lot.all():
                held.setdefault(stream_of(parked), parked.version)
            self._held = held
        stream = delivery.stream
        if held.get(stream, delivery.version) >= delivery.version:
            return 0
        first = await self._lot.first_of(stream)  # perhaps it has been handled meanwhile, by any process
        if first is None:
            del held[stream]
            return 0
        held[stream] = first
        return first if first < delivery.version else 0

    # Trying them again

    async def all(self) -> list[Parked]:
        """The events that were set aside."""
        return [parked for parked, _ in await self._lot.all()]

    async def replay(self, handler: Handler) -> ParkedReport:
        """Hand each parked event over once more, but for those that wait for one which fails again."""
        handled = failed = 0
        lot = self._lot
        stuck: set[Stream] = set()
        seen: set[Key] = set()
        for _ in range(REPLAY_ROUNDS):
            found = [item for item in await lot.all() if item[1].key not in seen]
            if not found:
                break
            for parked, document in found:
                seen.add(document.key)
                if parked.held and stream_of(parked) in stuck:
                    continue
                problem = await self._replayed(parked, handler)
                if problem is None:
                    await lot.remove(document)
                    handled += 1
                else:
                    await lot.failed_again(parked, document, problem)
                    stuck.add(stream_of(parked))
                    failed += 1
        return ParkedReport(handled, failed)

    async def _replayed(self, parked: Parked, handler: Handler) -> str | None:
        """Hand one parked event over; what went wrong."""
        try:
            delivery = await self._delivery_of(parked)
        except CorruptionError as error:  # it stays parked, and the others have their turn
            return str(error)
        try:
            await handler(delivery)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is noted, and kept
            return delivery.told(error)
        return None

    async def _delivery_of(self, parked: Parked) -> Delivery:
        owner, id = parked.governor, parked.state_id
        key = Key(ENTRY, owner, id, parked.version)
        page = await self._store.scan(ENTRY, owner, id=id, after=key._replace(n=key.n - 1), limit=1)
        if not page.documents:
            raise CorruptionError(where=str(key), problem="the parked event is missing")
        followed = ChainChecks(self._store).follow(None, page.documents[0], None)
        if followed.entry is not None and followed.entry.first > parked.version:
            raise CorruptionError(where=str(key), problem="the parked event is missing")
        everything = self._selection._replace(actions=None)
        found = [d for d in deliveries_of(followed, everything, self._machines) if d.version == parked.version]
        if not found:
            raise CorruptionError(where=str(key), problem="the parked event is missing")
        delivery = found[0]
        delivery.attempt = parked.attempts + 1
        return delivery
