"""The saved subscriptions of a governor, and how far behind each is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventstate.core.documents import CURSOR, Document, Key
from eventstate.errors import NotFoundError
from eventstate.log.following import Place
from eventstate.log.following.ordered import last_position
from eventstate.log.following.swept import current_versions
from eventstate.log.parking import Parked, ParkingLot
from eventstate.log.positions import (
    SUBSCRIPTION,
    Definition,
    check_subscription_name,
    definition_of,
    definitions_page,
    partition_positions,
    saved_place,
)
from eventstate.stores.base import Store


class SubscriptionStatus(NamedTuple):
    """A saved subscription.

    Attributes:
        place: as it is saved; of a shared one the lowest of its parts.
        behind: commits after it, wanted or not; with order ``stream``, events of the streams that are wanted.
        parked: events set aside.
        saved_at: when its place was last saved, by the store's clock in microseconds.
    """

    definition: Definition
    place: Place
    behind: int
    parked: int
    saved_at: int


async def subscription_statuses(store: Store, home: str) -> Sequence[SubscriptionStatus]:
    """The saved subscriptions of a governor, by name."""
    found: list[SubscriptionStatus] = []
    after: Key | None = None
    while True:
        documents, after = await definitions_page(store, home, after)
        found += [await _status(store, document) for document in documents]
        if after is None:
            return found


async def _status(store: Store, document: Document) -> SubscriptionStatus:
    definition = definition_of(document)
    place = await saved_place(store, definition, document)
    if definition.order == "store" and not definition.has_one_position:
        place = Place(min((await partition_positions(store, definition, place.position or 0)).values()))
    parked = len(await ParkingLot(store, definition).all())
    return SubscriptionStatus(definition, place, await _behind(store, definition, place), parked, document.written_at)


async def _behind(store: Store, definition: Definition, place: Place) -> int:
    if definition.order == "store":
        return max(0, await last_position(store) - (place.position or 0))
    current = await current_versions(store, definition.selection)
    return sum(max(0, version - place.versions.get(stream, 0)) for stream, version in current.items())


async def saved_definition(store: Store, home: str, name: str) -> Definition:
    """What a saved subscription is about.

    Raises:
        NotFoundError: there is none of this name.
    """
    key = Key(CURSOR, home, f"{SUBSCRIPTION}{check_subscription_name(name)}")
    document = (await store.get([key])).documents.get(key)
    if document is None:
        raise NotFoundError(f"governor {home!r} has no subscription {name!r}; 'eventstate subscriptions' lists them")
    return definition_of(document)


async def parked_by(store: Store, definition: Definition) -> Sequence[Parked]:
    """The events that a subscription has set aside."""
    return [parked for parked, _ in await ParkingLot(store, definition).all()]
