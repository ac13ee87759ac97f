"""Writing a seal to a file."""

from __future__ import annotations

import os
from pathlib import Path

from eventstate.core.seals import Seal
from eventstate.log.sealing.files import NewFile, first_line, lines_of
from eventstate.log.sealing.lists import SealedList, StoredPages
from eventstate.log.sealing.taking import Sealer
from eventstate.stores.base import Store


class SealExporter:
    """Writes the seals of one governor to files."""

    def __init__(self, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def export(self, path: str | os.PathLike[str], number: int | None, *, full: bool) -> Seal:
        """Write a seal, the newest unless it is named; with its list if it is to be full.

        Raises:
            InvalidInputError: there is no such seal, or the file can't be written.
            CorruptionError: the seal or its list is not as it was written.
        """
        sealed = await self._sealer.numbered(number)
        listed = SealedList(sealed, StoredPages(self._store, sealed))
        runtime = self._store.runtime
        file = NewFile(Path(path), runtime.unique())
        try:
            await runtime.run_blocking(lambda: file.add(first_line(sealed, full=full)))
            if full:
                await listed.check()
                await self._add_list(file, sealed)
            await runtime.run_blocking(file.finish)
        finally:
            await runtime.run_blocking(file.drop)
        return sealed

    async def _add_list(self, file: NewFile, sealed: Seal) -> None:
        pages = StoredPages(self._store, sealed)
        while page := await pages.next():
            content = lines_of(page)
            await self._store.runtime.run_blocking(lambda content=content: file.add(content))
