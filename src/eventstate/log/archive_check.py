"""Proving an archive: every pack has the bytes it is named by, and every pruned stream is led back to its beginning."""

from __future__ import annotations

from dataclasses import dataclass, field

from eventstate.core.chain import genesis
from eventstate.core.documents import ENTRY, HEAD, Document, Key
from eventstate.core.format import Base, decode_head
from eventstate.core.packs import SUFFIX, folder_of, is_pack
from eventstate.errors import CorruptionError, FormatError
from eventstate.log.archiving import ArchiveReader
from eventstate.log.reading import Chain
from eventstate.log.verify import Finding
from eventstate.stores.archive import Archive
from eventstate.stores.base import Store


@dataclass(slots=True, kw_only=True)
class ArchiveReport:
    """What a check of an archive saw.

    Attributes:
        packs: blobs whose bytes were read.
        streams: pruned streams of the governor.
        events: archived events that lead to where these streams begin.
        partial_streams: of which the archive has the later part only: they were pruned without it before, or a pack
            is lost.
        findings: packs that are not what they were, and streams that the archive does not lead to.
    """

    packs: int = 0
    streams: int = 0
    events: int = 0
    partial_streams: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def is_complete(self) -> bool:
        """Whether all that was pruned can be read from it, to the beginning of each stream."""
        return not self.findings and not self.partial_streams


class ArchiveCheck:
    """Checks what an archive holds of one governor."""

    def __init__(self, archive: Archive, store: Store, owner: str) -> None:
        self._archive = archive
        self._store = store
        self._owner = owner
        self._reader = ArchiveReader(archive, store, owner)

    async def packs(self, report: ArchiveReport) -> None:
        """Read every pack and hold it against its name."""
        run = self._store.runtime.run_blocking
        for name in await run(lambda: self._archive.names(folder_of(self._owner))):
            if not name.endswith(SUFFIX):
                continue
            body = await run(lambda name=name: self._archive.get(name))
            report.packs += 1
            if not is_pack(name, body):
                problem = "its bytes do not match the digest that it is named by"
                report.findings.append(Finding(state_id="", where=f"{self._archive.url}/{name}", problem=problem))

    async def page(self, after: str, report: ArchiveReport, limit: int = 500) -> str | None:
        """Walk the archived entries of some streams; the id to go on from, or None."""
        start = Key(HEAD, self._owner, after) if after else None
        page = await self._store.scan(HEAD, self._owner, after=start, limit=limit)
        for document in page.documents:
            try:
                await self._stream(document, report)
            except (CorruptionError, FormatError) as error:
                where = error.where if isinstance(error, CorruptionError) else error.store
                report.findings.append(Finding(state_id=document.key.id, where=where, problem=str(error)))
        return page.next.id if page.next else None

    async def _stream(self, document: Document, report: ArchiveReport) -> None:
        tip = decode_head(document)[0].tip
        if tip.base is None:
            return
        report.streams += 1
        view = await self._reader.view(tip)
        if view.tip == tip:
            where = f"{self._archive.url}/{folder_of(self._owner)}"
            raise CorruptionError(where=where, problem=f"nothing in it leads to where {tip.id!r} begins")
        report.partial_streams += view.tip.base is not None
        chain = Chain(*(view.tip.base or Base(0, genesis(self._owner, tip.id))))
        while chain.version < tip.base.version:
            after = Key(ENTRY, self._owner, tip.id, chain.version)
            found = await view.scan(ENTRY, self._owner, id=tip.id, after=after)
            for entry in chain.follow(found.documents, tip.base.version):
                report.events += len(entry.events)
        if chain.digest != tip.base.digest:
            raise CorruptionError(where=str(tip.key), problem="the archived entries do not lead to where it begins")
