"""Entries in an archive: written and read back before anything is deleted, and read for versions that were pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from eventstate.core.documents import ENTRY, SNAPSHOT, Document, Fetched, Key, Page
from eventstate.core.format import Base, Entry, Tip
from eventstate.core.packs import (
    SUFFIX,
    TAIL_BYTES,
    Contents,
    PackWriter,
    Section,
    folder_of,
    index_offset,
    is_pack,
    read_index,
    read_section,
)
from eventstate.errors import CorruptionError
from eventstate.runtime.base import Runtime
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store

PACK_BYTES = 8 * 1024 * 1024
"""A pack ends once it holds so much. One section at most is held in memory when it is read."""

MAX_INDEXES = 16
"""Indexes of packs that a reader remembers; the oldest goes first."""


class PackSink:
    """Puts sections into packs, and each pack into the archive once it is full."""

    def __init__(self, archive: Archive, owner: str, runtime: Runtime) -> None:
        self._archive = archive
        self._owner = owner
        self._runtime = runtime
        self._pack = PackWriter(owner)
        self.packs = 0

    def begin(self, id: str, before: Base, snapshot: bytes | None) -> None:
        """Begin the section of a stream that follows ``before``."""
        self._pack.begin(id, before, snapshot)

    async def add(self, id: str, entry: Entry, document: Document) -> None:
        """Add the next entry; where the pack is full its stream goes on in the next one."""
        if self.is_full:
            before = self._pack.last
            await self.flush()
            self._pack.begin(id, before)
        self._pack.add(entry, document)

    def end(self) -> None:
        """End a section."""
        self._pack.end()

    @property
    def is_full(self) -> bool:
        return self._pack.size >= PACK_BYTES

    async def flush(self) -> None:
        """Write the pack, and read it back from the archive.

        Raises:
            CorruptionError: what came back is not what was written.
            StoreError: the archive can't be written.
        """
        if self._pack.is_empty:
            return
        name, body = self._pack.finish()
        self._pack = PackWriter(self._owner)
        archive = self._archive

        def write() -> None:
            archive.put(name, body)
            if not is_pack(name, archive.get(name)):
                raise CorruptionError(where=f"{archive.url}/{name}", problem="it can't be read back as it was written")

        await self._runtime.run_blocking(write)
        self.packs += 1


class _Extent(NamedTuple):
    """What is remembered of a pack: its streams lie between these two."""

    first: str
    last: str
    offset: int


class ArchiveReader:
    """Finds the archived entries of one governor's streams."""

    def __init__(self, archive: Archive, store: Store, owner: str) -> None:
        self._archive = archive
        self._store = store
        self._owner = owner
        self._extents: dict[str, _Extent] = {}
        self._indexes: dict[str, list[Section]] = {}

    async def view(self, tip: Tip) -> ArchiveView:
        """A stream as it is with its archived entries before it."""
        assert tip.base is not None
        lineage = await self._store.runtime.run_blocking(lambda: self._lineage(tip))
        return ArchiveView(self._archive, self._store, tip, lineage)

    def _lineage(self, tip: Tip) -> list[Section]:
        """The sections that lead to the base of a stream, each by version and digest to the next; oldest first.

        Another history of the same stream, from before a backup was restored, leads elsewhere.
        """
        assert tip.base is not None
        by_end: dict[tuple[int, str], Section] = {}
        sections, problem = self._sections(tip.id)
        for section in sections:
            known = by_end.get((section.last, section.last_chain))
            if known is None or section.after < known.after:
                by_end[section.last, section.last_chain] = section
        found: list[Section] = []
        place = (tip.base.version, tip.base.digest.decode("ascii"))
        while place[0] > 0 and (section := by_end.get(place)) is not None:
            found.append(section)
            place = (section.after, section.after_chain)
        if place[0] > 0 and problem is not None:
            raise problem  # what is missing may be in there
        return found[::-1]

    def _sections(self, id: str) -> tuple[list[Section], CorruptionError | None]:
        """The sections of a stream, and what is wrong with the first pack that can't be read."""
        found: list[Section] = []
        problem: CorruptionError | None = None
        for name in self._archive.names(folder_of(self._owner)):
            if not name.endswith(SUFFIX):
                continue
            try:
                extent = self._extents.get(name)
                if extent is None:
                    extent = self._extents[name] = self._read_extent(name)
                if extent.first <= id <= extent.last:
                    found.extend(section for section in self._index(name, extent.offset)[2] if section.stream == id)
            except CorruptionError as error:
                problem = problem or error
        return found, problem

    def _read_extent(self, name: str) -> _Extent:
        offset = index_offset(name, self._archive.get(name, start=-TAIL_BYTES))
        first, last, sections = self._index(name, offset)
        self._indexes[name] = sections
        return _Extent(first, last, offset)

    def _index(self, name: str, offset: int) -> tuple[str, str, list[Section]]:
        sections = self._indexes.get(name)
        if sections is None:
            first, last, sections = read_index(name, self._archive.get(name, start=offset)[:-TAIL_BYTES])
            self._indexes[name] = sections
            while len(self._indexes) > MAX_INDEXES:
                del self._indexes[next(iter(self._indexes))]
        else:
            first, last = sections[0].stream, sections[-1].stream
        return first, last, sections


class ArchiveView:
    """One stream, its archived entries and those in the store as one: what a `StreamReader` reads of a store.

    Attributes:
        tip: the stream's, but beginning where the archive does.
    """

    def __init__(self, archive: Archive, store: Store, tip: Tip, lineage: Sequence[Section]) -> None:
        self._archive = archive
        self._store = store
        self._live = tip
        self._lineage = lineage
        self._read: tuple[Section, Contents] | None = None
        self.tip = tip
        if lineage:
            first = lineage[0]
            base = Base(first.after, first.after_chain.encode("ascii")) if first.after else None
            bases = {section.after for section in lineage if section.after}
            self.tip = tip._replace(base=base, snapshots=tuple(sorted({*bases, *tip.snapshots})))

    @property
    def store(self) -> Store:
        """It in the place of the store, for those that get documents and scan one stream."""
        return cast("Store", self)

    async def get(self, keys: Sequence[Key]) -> Fetched:
        """Entries and snapshots of the stream, from the archive where the store has them no more."""
        fetched = await self._store.get(keys)
        found = dict(fetched.documents)
        for key in keys:
            if key not in found and key.id == self._live.id:
                document = await self._archived(key)
                if document is not None:
                    found[key] = document
        return Fetched(found, fetched.read_at)

    async def _archived(self, key: Key) -> Document | None:
        for section in self._lineage:
            if key.kind == ENTRY and section.after < key.n <= section.last:
                entries = (await self._contents(section)).entries
                return next((document for document in entries if document.key == key), None)
            if key.kind == SNAPSHOT and section.after == key.n:
                return (await self._contents(section)).snapshot
        return None

    async def scan(
        self,
        kind: str,
        owner: str,
        *,
        id: str | None = None,
        prefix: str = "",
        after: Key | None = None,
        limit: int = 1000,
    ) -> Page:
        """The entries of the stream after a version; everything else as the store has it."""
        version = after.n if after is not None else 0
        base = self._live.base
        if kind != ENTRY or id != self._live.id or base is None or version >= base.version:
            return await self._store.scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit)
        for section in self._lineage:
            if section.last > version:
                contents = await self._contents(section)
                documents = [document for document in contents.entries if document.key.n > version]
                if not documents:
                    raise CorruptionError(where=section.pack, problem=f"it lacks entries of {id!r} that it should hold")
                documents = documents[:limit]
                return Page(documents, documents[-1].key, 0)
        return await self._store.scan(kind, owner, id=id, prefix=prefix, after=after, limit=limit)

    async def _contents(self, section: Section) -> Contents:
        if self._read is None or self._read[0] != section:
            body = await self._store.runtime.run_blocking(
                lambda: self._archive.get(section.pack, start=section.offset, length=section.length)
            )
            self._read = (section, read_section(self._live.owner, section, body))
        return self._read[1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
