"""Following the feed of a store that has an order: memory and SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from eventstate.core.documents import rows_of
from eventstate.log.following.checks import ChainChecks
from eventstate.log.following.followed import Followed, FollowedRows
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
        self._end: int | None = None
        """The last position of what was committed before `is_caught_up` was asked for; None as long as unknown."""
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
        self._end = None

    async def read(self, limit: int = PAGE) -> Reading:
        page = await self._store.feed(self._position, limit=limit)
        # A page may end early, so only an empty one says that there was no more. Where others write all the time
        # there may never be one.
        end = self._end
        if end is None and page.entries and not self.is_caught_up:
            end = await last_position(self._store, page.position)
        # After that: what has been checked must not be read once more.
        rows = rows_of(page.entries)
        found = await self._checks.judged(self._checks.follow_all(rows, self.selection))
        self._position, self._end = page.position, end
        if not page.entries or (end is not None and page.position >= end):
            self.is_caught_up = True
        return Reading(self._wanted(FollowedRows(found, rows.streams)), bool(page.entries))

    def _wanted(self, entries: FollowedRows) -> Sequence[Followed]:
        selection = self.selection
        if selection.actions is None:
            return entries
        return [followed for followed in entries if followed.is_wanted(selection)]

    async def wait(self, timeout: float) -> None:
        await self._watch.wait(timeout)

    def wake(self) -> None:
        self._watch.wake()

    def close(self) -> None:
        self._watch.close()


async def last_position(store: Store, below: int = 0) -> int:
    """The position of the last entry there is now, of a store that has an order; ``below`` if none is after that.

    Positions are numbers that a feed can be asked about, so it is found by halving.
    """

    async def is_end(position: int) -> bool:
        return not (await store.feed(position, limit=1)).entries

    if await is_end(below):
        return below
    step = 1
    while not await is_end(end := below + step):
        below, step = end, step * 2
    while end - below > 1:
        middle = (below + end) // 2
        if await is_end(middle):
            end = middle
        else:
            below = middle
    return end
