"""The lists behind seals: read from a store or a file, a page at a time, in the order of ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from eventstate.core.documents import SEAL, Key
from eventstate.core.seals import Root, Seal, SealedTip, decode_line, decode_part, part_key
from eventstate.errors import CorruptionError, InvalidInputError
from eventstate.runtime.base import Runtime
from eventstate.stores.base import Store
from eventstate.stores.own_files import refuse_own

FILE_PAGE_BYTES = 1024 * 1024


class Pages(Protocol):
    """The streams of a list."""

    def rewind(self) -> None:
        """Begin anew."""
        ...

    async def next(self) -> Sequence[SealedTip]:
        """The next streams; none at the end."""
        ...


class StoredPages:
    """The list that lies beside a seal in its store."""

    def __init__(self, store: Store, sealed: Seal) -> None:
        self._store = store
        self._sealed = sealed
        self._number = 0

    def rewind(self) -> None:
        self._number = 0

    async def next(self) -> Sequence[SealedTip]:
        owner, listed = self._sealed.governor, self._sealed.listed
        after = Key(SEAL, owner, listed, self._number)
        documents = (await self._store.scan(SEAL, owner, id=listed, after=after, limit=1)).documents
        if not documents:
            return ()
        self._number += 1
        if documents[0].key.n != self._number:
            raise CorruptionError(where=str(part_key(owner, listed, self._number)), problem="this part is missing")
        return decode_part(documents[0])


class FiledPages:
    """The list in a file, after its first line."""

    def __init__(self, runtime: Runtime, file: Path, begin: int) -> None:
        self._runtime = runtime
        self._file = file
        self._begin = self._at = begin

    def rewind(self) -> None:
        self._at = self._begin

    async def next(self) -> Sequence[SealedTip]:
        return await self._runtime.run_blocking(self._read)

    def _read(self) -> Sequence[SealedTip]:
        refuse_own(self._file)
        try:
            with self._file.open("rb") as lines:
                lines.seek(self._at)
                page = lines.readlines(FILE_PAGE_BYTES)
                self._at = lines.tell()
        except OSError as error:
            raise InvalidInputError(f"{self._file} can't be read: {error.strerror}") from None
        try:
            return [decode_line(line) for line in page if not line.isspace()]
        except (ValueError, TypeError) as error:
            raise CorruptionError(where=str(self._file), problem=f"a line is no stream ({error})") from None


class SealedList:
    """What a seal saw of each stream."""

    def __init__(self, sealed: Seal, pages: Pages) -> None:
        self.sealed = sealed
        self._pages = pages
        self._ahead: deque[SealedTip] = deque()
        self._ended = False

    async def check(self) -> None:
        """Compare the list with the root of its seal, and begin anew.

        Raises:
            CorruptionError: it is not the list that was sealed.
        """
        self.rewind()
        root, streams, last = Root(self.sealed.governor), 0, ""
        while page := await self._pages.next():
            root.add(page)
            for tip in page:
                if tip.id <= last:
                    raise self._not_the_list(f"{tip.id!r} is out of order")
                last = tip.id
            streams += len(page)
        if streams != self.sealed.streams:
            raise self._not_the_list(f"its list has {streams} streams, not {self.sealed.streams}")
        if root.digest != self.sealed.root:
            raise self._not_the_list("its list is not the one that was sealed")
        self.rewind()

    def _not_the_list(self, problem: str) -> CorruptionError:
        return CorruptionError(where=str(self.sealed.key), problem=problem)

    def rewind(self) -> None:
        self._pages.rewind()
        self._ahead.clear()
        self._ended = False

    async def upto(self, last: str | None) -> list[SealedTip]:
        """The next streams as far as an id, or all that are left."""
        found: list[SealedTip] = []
        while True:
            while self._ahead:
                if last is not None and self._ahead[0].id > last:
                    return found
                found.append(self._ahead.popleft())
            if self._ended:
                return found
            page = await self._pages.next()
            self._ended = not page
            self._ahead.extend(page)

    async def skip(self, last: str) -> None:
        """Go on after an id."""
        self.rewind()
        while not self._ended and not self._ahead:
            page = await self._pages.next()
            self._ended = not page
            self._ahead.extend(tip for tip in page if tip.id > last)
