"""Following one stream, on any store."""

from __future__ import annotations

from typing import Literal

from eventstate.core.documents import ENTRY, HEAD, Key
from eventstate.log.following.checks import ChainChecks
from eventstate.log.following.followed import Followed
from eventstate.log.following.follower import PAGE, Reading
from eventstate.log.following.places import Place
from eventstate.log.following.selection import Selection
from eventstate.log.following.swept import said_version
from eventstate.stores.base import Store


class StreamFollower:
    """Reads one stream by its versions; needs neither feed nor sweep."""

    @property
    def order(self) -> Literal["stream"]:
        return "stream"

    def __init__(self, store: Store, selection: Selection, version: int) -> None:
        assert selection.governor is not None
        assert selection.state_id is not None
        self.selection = selection
        self.is_caught_up = False
        self._stream = selection.governor, selection.state_id
        self._store = store
        self._version = version
        self._end: int | None = None
        """The version that its head said when `is_caught_up` was asked for; None as long as unknown."""
        self._checks = ChainChecks(store, remembered=1)
        self._watch = store.watch([Key(HEAD, *self._stream)])

    @property
    def place(self) -> Place:
        return Place(None, {self._stream: self._version})

    def moved(self) -> Place:
        return self.place

    def catch_up_anew(self) -> None:
        self.is_caught_up = False
        self._end = None

    async def read(self, limit: int = PAGE) -> Reading:
        owner, id = self._stream
        if not self.selection.takes_stream(Key(HEAD, owner, id)):
            self.is_caught_up = True
            return Reading((), more=False)
        page = await self._store.scan(ENTRY, owner, id=id, after=Key(ENTRY, owner, id, self._version), limit=limit)
        end = self._end
        if end is None and page.next is not None and not self.is_caught_up:  # others may write as fast as this reads
            end = await self._head_version()
        # After that: what has been checked must not be read once more.
        found: list[Followed] = []
        version = self._version
        for document in page.documents:
            found.append(self._checks.follow(None, document, version))
            version = document.key.n
        found = await self._checks.judged(found)
        self._version, self._end = version, end
        if page.next is None or (end is not None and version >= end):
            self.is_caught_up = True
        wanted = [followed for followed in found if followed.is_wanted(self.selection)]
        return Reading(wanted, page.next is not None)

    async def _head_version(self) -> int | None:
        key = Key(HEAD, *self._stream)
        head = (await self._store.get([key])).documents.get(key)
        return None if head is None else said_version(head)

    async def wait(self, timeout: float) -> None:
        await self._watch.wait(timeout)

    def wake(self) -> None:
        self._watch.wake()

    def close(self) -> None:
        self._watch.close()
