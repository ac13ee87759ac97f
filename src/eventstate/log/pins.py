"""What saved subscriptions still have to read: nothing of that may be pruned."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from eventstate.core.documents import CURSOR, ENTRY, Document, Key
from eventstate.log.following import Selection, Stream
from eventstate.log.parking import parked_of
from eventstate.log.positions import (
    SUBSCRIPTION,
    Definition,
    definition_of,
    owners_of,
    partition_positions,
    saved_place,
)
from eventstate.stores.base import Store


class Pins:
    """Of one governor, as they were when they were read. Positions only move on, so nothing is pinned that was not.

    Subscriptions that are made later are not in it; what is written later is, once `read_on` has read it.
    """

    def __init__(self, store: Store, governor: str) -> None:
        self._store = store
        self._governor = governor
        self._lowest: dict[str, int] = {}
        self._read: list[tuple[Selection, dict[str, int]]] = []
        self._positions: list[tuple[Selection, int]] = []
        self._reached = 0
        self._kept: set[Stream] = set()

    def first_unread(self, state_id: str) -> int | None:
        """The lowest version of a stream that a subscription may still read: it and those after it must stay.

        None, or the version after its last one, where all of it was read or nobody wants it.
        """
        found = [versions.get(state_id, 0) + 1 for selection, versions in self._read if _takes(selection, state_id)]
        if state_id in self._lowest:
            found.append(self._lowest[state_id])
        return min(found, default=None)

    def keep(self, state_id: str, version: int) -> None:
        """Pin a version and all after it."""
        self._lowest[state_id] = min(self._lowest.get(state_id, version), version)

    def keep_after(self, selection: Selection, versions: dict[str, int]) -> None:
        """Pin everything after these versions, in every stream that is wanted."""
        self._read.append((selection, versions))

    def keep_from(self, positions: Sequence[tuple[Selection, int]]) -> None:
        """Pin what lies after these positions of the feed, as far as `read_on` reads."""
        self._positions = list(positions)
        self._reached = min((position for _, position in positions), default=0)

    async def read_on(self) -> None:
        """Pin the first entry of each stream that somebody has not read, up to the end of the feed.

        Each time it goes on where it stopped, so that all of a prune reads the feed once.
        """
        while self._positions:
            page = await self._store.feed(self._reached)
            if not page.entries:
                return
            for position, document in page.entries:
                self._keep_unread(position, document)
            self._reached = page.position

    def _keep_unread(self, position: int, document: Document) -> None:
        key = document.key
        stream = key.owner, key.id
        if key.owner != self._governor or stream in self._kept:
            return
        if any(position > at and selection.takes_stream(key) for selection, at in self._positions):
            self._kept.add(stream)
            self.keep(key.id, _first(document))


def _takes(selection: Selection, state_id: str) -> bool:
    return selection.takes_stream(Key(ENTRY, selection.governor or "", state_id))


async def pins(store: Store, governor: str) -> Pins:
    """What the saved subscriptions to a governor's streams pin, with what they have parked."""
    found = Pins(store, governor)
    positions: list[tuple[Selection, int]] = []
    for document in await _subscriptions_to(store, governor):
        definition = definition_of(document)
        place = await saved_place(store, definition, document)
        if definition.order == "stream":
            versions = {id: n for (owner, id), n in place.versions.items() if owner == governor}
            found.keep_after(definition.selection._replace(governor=governor), versions)
        elif definition.has_one_position:
            positions.append((definition.selection, place.position or 0))
        else:
            parts = await partition_positions(store, definition, place.position or 0)
            positions.append((definition.selection, min(parts.values())))
        # After its place: what is parked between the two reads lies after the place that was read.
        await _keep_parked(store, definition, governor, found)
    found.keep_from(positions)
    await found.read_on()
    return found


async def _subscriptions_to(store: Store, governor: str) -> list[Document]:
    """The main documents of subscriptions that read a governor: its own, and those of others to all."""
    documents: list[Document] = []
    for home in await owners_of(store, Selection()):
        after: Key | None = None
        while True:
            page = await store.scan(CURSOR, home, prefix=SUBSCRIPTION, after=after)
            wanted = (None, governor)
            documents += [d for d in page.documents if definition_of(d).selection.governor in wanted]
            after = page.next
            if after is None:
                break
    return documents


async def _keep_parked(store: Store, definition: Definition, governor: str, found: Pins) -> None:
    after: Key | None = None
    while True:
        page = await store.scan(CURSOR, governor, prefix=definition.parked_prefix(), after=after)
        for document in page.documents:
            parked = parked_of(document, definition)
            found.keep(parked.state_id, parked.version)
        after = page.next
        if after is None:
            return


def _first(document: Document) -> int:
    """The first version in an entry; of one that can't be read, the last."""
    try:
        return document.key.n - len(orjson.loads(document.body)["e"]) + 1
    except (ValueError, TypeError, KeyError):
        return document.key.n
