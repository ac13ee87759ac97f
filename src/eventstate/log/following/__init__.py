"""Following what is committed: each entry after a place, once and in order, for ever."""

from __future__ import annotations

from eventstate.errors import ConfigurationError
from eventstate.log.following.followed import Followed
from eventstate.log.following.follower import PAGE, Follower, Reading
from eventstate.log.following.ordered import OrderedFollower, last_position
from eventstate.log.following.places import BEGINNING, Place, Stream, place_of
from eventstate.log.following.reached import check_reached
from eventstate.log.following.selection import EVERYTHING, Selection
from eventstate.log.following.single import StreamFollower
from eventstate.log.following.swept import SweptFollower, current_versions
from eventstate.stores.base import Store

__all__ = [
    "BEGINNING",
    "EVERYTHING",
    "PAGE",
    "Followed",
    "Follower",
    "Place",
    "Reading",
    "Selection",
    "Stream",
    "check_place",
    "check_reached",
    "end_of",
    "follow",
    "place_of",
]


def follow(store: Store, selection: Selection = EVERYTHING, place: Place = BEGINNING) -> Follower:
    """A follower of what is wanted, after a place.

    One stream is read by its versions. Else the order is that of the store where it has one.

    Raises:
        ConfigurationError: the place is one of another kind of store, or of another selection.
    """
    check_place(store, selection, place)
    if selection.state_id is not None:
        version = place.versions.get((selection.governor or "", selection.state_id), 0)
        return StreamFollower(store, selection, version)
    if store.capabilities.feed_order == "store":
        return OrderedFollower(store, selection, place.position or 0)
    return SweptFollower(store, selection, place.versions, place.hint)


def check_place(store: Store, selection: Selection, place: Place) -> None:
    """Raise unless one can begin at a place.

    Raises:
        ConfigurationError: the place is one of another kind of store, or of another selection.
    """
    if selection.state_id is not None:
        if selection.governor is None:
            raise ConfigurationError(f"state_id={selection.state_id!r}: name its governor, too")
        if place.position:
            raise ConfigurationError("one stream is followed from a version, not from a position")
    elif store.capabilities.feed_order == "store":
        if place.versions:
            raise ConfigurationError(f"{store.url} is followed from a position, not from versions of its streams")
    elif place.position:
        raise ConfigurationError(f"{store.url} has no order over streams: follow it from the versions of its streams")


async def end_of(store: Store, selection: Selection) -> Place:
    """The place after everything that was committed before this call: from here on, only what is new is read."""
    if selection.state_id is None and store.capabilities.feed_order == "store":
        return Place(await last_position(store))
    if selection.state_id is None or selection.governor is None:
        hint = store.runtime.now()
        return Place(None, await current_versions(store, selection), hint)
    return await _end_of_stream(store, selection.governor, selection.state_id)


async def _end_of_stream(store: Store, governor: str, state_id: str) -> Place:
    versions = await current_versions(store, Selection(governor, state_id))
    return Place(None, versions)
