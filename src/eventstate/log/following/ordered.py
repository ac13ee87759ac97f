"""Following the feed of a store that has an order: memory and SQLite."""

from __future__ import annotations

from typing import Literal

from eventstate.log.following.followed import ChainChecks
from eventstate.log.following.follower import PAGE, Reading
from eventstate.log.following.places import Place
from eventstate.log.following.selection import Selection
from eventstate.stores.base import Store
from eventstate.stores.watching import entries_of


class OrderedFollower:
    """Reads all streams in the order of their commits; what is not wanted is passed over."""

    @property
    def order(self) -> Literal["store"]:
        return "store"

    def __init__(self, store: Store, selection: Selection, position: int) -> None:
        self.selection = selection
        self.is_caught_up = False
        self._store = store
        self._position = position
        self._checks = ChainChecks(store)
        # Opened before the first look: what is committed between a look and a wait ends the wait at once.
        self._watch = store.watch([entries_of(selection.governor or "")])

    @property
    def place(self) -> Place:
        return Place(self._position)

    def moved(self) -> Place:
        return self.place

    def catch_up_anew(self) -> None:
        self.is_caught_up = False

    async def read(self, limit: int = PAGE) -> Reading:
        page = await self._store.feed(self._position, limit=limit)
        selection = self.selection
        entries = page.entries
        if not selection.takes_all:
            takes = selection.takes_stream
            entries = [item for item in entries if takes(item[1].key)]
        found = self._checks.follow_all(entries)
        found = await self._checks.judged(found)
        if selection.actions is not None:
            found = [followed for followed in found if followed.is_wanted(selection)]
        self._position = page.position
        # A page may end early, so only an empty one says that everything before it has been read.
        if not page.entries:
            self.is_caught_up = True
        return Reading(found, bool(page.entries))

    async def wait(self, timeout: float) -> None:
        await self._watch.wait(timeout)

    def wake(self) -> None:
        self._watch.wake()

    def close(self) -> None:
        self._watch.close()


async def last_position(store: Store) -> int:
    """The position of the last entry there is now, of a store that has an order; 0 for none.

    Positions are numbers that a feed can be asked about, so it is found by halving.
    """

    async def is_end(position: int) -> bool:
        return not (await store.feed(position, limit=1)).entries

    if await is_end(0):
        return 0
    below, end = 0, 1
    while not await is_end(end):
        below, end = end, end * 2
    while end - below > 1:
        middle = (below + end) // 2
        if await is_end(middle):
            end = middle
        else:
            below = middle
    return end
