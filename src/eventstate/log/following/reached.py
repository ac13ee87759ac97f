"""Whether a store has come as far as a place at all: one that was restored from a copy may not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eventstate.core.documents import HEAD, Key
from eventstate.errors import InvalidInputError
from eventstate.log.following.places import Place, Stream
from eventstate.log.following.swept import said_version
from eventstate.stores.base import Store

HEADS: Final = 300
"""Heads that are read at once."""


async def check_reached(store: Store, place: Place) -> None:
    """Raise for a place that is beyond everything there is: what is yet to come up to it would be passed over unseen.

    Raises:
        InvalidInputError: it is.
    """
    if place.position:
        await _check_position(store, place.position)
    await _check_versions(store, place.versions)


async def _check_position(store: Store, position: int) -> None:
    # The last entry of a stream is never pruned, so there is always one at the last position.
    if (await store.feed(position, limit=1)).entries or (await store.feed(position - 1, limit=1)).entries:
        return
    raise InvalidInputError(f"position {position} is beyond the end of {store.url}: {_ADVICE}")


async def _check_versions(store: Store, versions: Mapping[Stream, int]) -> None:
    keys = [Key(HEAD, governor, id) for (governor, id), version in versions.items() if version]
    for begin in range(0, len(keys), HEADS):
        heads = (await store.get(keys[begin : begin + HEADS])).documents
        for key in keys[begin : begin + HEADS]:
            head = heads.get(key)
            # None: it can't be read. Its entries will tell.
            reached = 0 if head is None else said_version(head)
            if reached is not None and reached < versions[key.owner, key.id]:
                asked = versions[key.owner, key.id]
                raise InvalidInputError(f"version {asked} of {key.id!r} is beyond its end, {reached}: {_ADVICE}")


_ADVICE: Final = (
    "it is one of another store, or this one was restored from an older copy. Begin at the beginning, at now, or at a "
    "place from before that copy was made"
)
