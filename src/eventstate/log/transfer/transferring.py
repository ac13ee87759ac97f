"""Export, import and copy: streams from a source to a file or a store, written once for sync and asyncio callers."""

from __future__ import annotations

from pathlib import Path

from eventstate.core.documents import HEAD, Document, Key
from eventstate.core.exports import Header, head_line, header_line, loose_line, part_line
from eventstate.core.format import decode_head
from eventstate.core.ids import check_id
from eventstate.errors import ConfigurationError, CorruptionError, HistoryConflictError
from eventstate.log.transfer.decrypting import Decryption, Keys
from eventstate.log.transfer.files import ExportFile, FileSource, Lines, check_file
from eventstate.log.transfer.loose import LooseTarget
from eventstate.log.transfer.places import TargetHeads
from eventstate.log.transfer.report import TransferProgress, TransferReport
from eventstate.log.transfer.source import HEADS, Selection, StoreSource
from eventstate.log.transfer.streams import StreamSource, Walk
from eventstate.log.transfer.target import StreamTarget
from eventstate.stores.base import Store


def _silent(_: TransferReport) -> None:
    """Nobody asked."""


def check_governor(source: str, target: str, *, rechain: bool) -> None:
    """Refuse to bring streams to another governor unaware of what becomes of their chains.

    Raises:
        ConfigurationError: the governors differ, and new chains were not asked for.
    """
    if source != target and not rechain:
        raise ConfigurationError(
            f"the streams are those of governor {source!r}, and their chains say so: keep the governor, or ask for new"
            f" chains under {target!r} (rechain), whose digests are others"
        )


class Transferring:
    """The transfers of one governor of one store."""

    def __init__(self, store: Store, governor: str) -> None:
        self.store = store
        self.governor = check_id("governor", governor)

    async def export_file(
        self,
        path: Path,
        selection: Selection,
        *,
        replace: bool,
        progress: TransferProgress | None,
        decrypt: Keys | None = None,
    ) -> TransferReport:
        """Write the selected streams to a file; with a keyring, what is encrypted in the clear."""
        opening = Decryption(decrypt, self.store, self.governor) if decrypt is not None else None
        file = ExportFile(path, self.store.runtime, replace=replace, is_private=opening is not None)
        try:
            report = await self._export(file, selection, progress or _silent, opening)
            await file.finish(report.counts)
        except BaseException:
            file.abandon()
            raise
        return report

    async def _export(
        self, file: ExportFile, selection: Selection, progress: TransferProgress, opening: Decryption | None
    ) -> TransferReport:
        report = TransferReport()
        source = StoreSource(self.store, self.governor, selection)
        choice = (selection.prefix, selection.state_ids, selection.includes)
        header = Header(self.governor, *choice, decrypted=opening is not None)
        await file.write(header_line(header))
        while (head := await source.next()) is not None:
            walk = Walk(head, self.governor, self.governor)
            members = head.members if opening is None else await opening.head(head.id, head.members)
            await file.write(head_line(head.id, members))
            try:
                await self._export_parts(file, source, walk, report, opening)
            except CorruptionError:
                await source.check_unchanged(head)
                raise
            report.streams += 1
            progress(report)
        while items := await source.loose():
            for item in items:
                await file.write(loose_line(item.kind, item.id, item.body))
                report.commands += item.kind == "command"
                report.documents += item.kind == "document"
            progress(report)
        return report

    async def _export_parts(
        self,
        file: ExportFile,
        source: StreamSource,
        walk: Walk,
        report: TransferReport,
        opening: Decryption | None,
    ) -> None:
        while parts := await source.parts():
            for part in parts:
                if part.name == "entry":
                    walk.entry(part)
                    report.entries += 1
                    report.events += len(walk.events)
                else:
                    walk.snapshot(part)
                    report.snapshots += 1
                body = part.body
                if opening is not None:
                    opened = opening.entry if part.name == "entry" else opening.snapshot
                    body = await opened(walk.head.id, walk.version, body)
                await file.write(part_line(walk.head.id, part.name, body))
        walk.finish()

    async def import_file(self, path: Path, *, rechain: bool, progress: TransferProgress | None) -> TransferReport:
        """Write the streams of a file into the store, once all of the file has been checked."""
        runtime = self.store.runtime
        header, counts = await runtime.run_blocking(lambda: check_file(path))
        check_governor(header.governor, self.governor, rechain=rechain)
        report = TransferReport(expected_streams=counts.streams)
        lines = Lines(path)
        try:
            await self._copy(FileSource(lines, runtime), self.store, self.governor, report, progress or _silent)
        finally:
            lines.close()
        return report

    async def copy_to(
        self,
        target: Store,
        governor: str | None,
        selection: Selection,
        *,
        rechain: bool,
        progress: TransferProgress | None,
    ) -> TransferReport:
        """Write the selected streams into another store, and compare where they have got to."""
        to = check_id("governor", governor) if governor is not None else self.governor
        check_governor(self.governor, to, rechain=rechain)
        if target.url == self.store.url and to == self.governor and target.url != "memory://":
            raise ConfigurationError(f"source and target are the same store, {target.url}")
        source = StoreSource(self.store, self.governor, selection)
        report = TransferReport()
        await self._copy(source, target, to, report, progress or _silent)
        await self._compare(target, to, selection, report)
        return report

    async def _copy(
        self, source: StreamSource, store: Store, governor: str, report: TransferReport, progress: TransferProgress
    ) -> None:
        target = StreamTarget(store, governor, source.governor, report)
        while (head := await source.next()) is not None:
            if await target.begin(head):
                try:
                    while parts := await source.parts():
                        for part in parts:
                            await target.take(part)
                        progress(report)
                    await target.finish()
                except CorruptionError:
                    await source.check_unchanged(head)
                    raise
            progress(report)
        await target.flush()
        loose = LooseTarget(store, governor, source.governor, report)
        while items := await source.loose():
            await loose.take(items)
            progress(report)

    async def _compare(self, store: Store, governor: str, selection: Selection, report: TransferReport) -> None:
        """See that every stream of the source is in the target, as far as it was when it was copied."""
        heads = TargetHeads(store, governor)
        after: Key | None = None
        while True:
            documents, after = await self._heads(selection, after)
            for document in documents:
                tip = decode_head(document)[0].tip
                copied = await heads.of(tip.id) if tip.version else document
                if tip.version and not self._is_there(document, copied, store, governor):
                    report.streams_behind += 1
            if after is None:
                return

    async def _heads(self, selection: Selection, after: Key | None) -> tuple[list[Document], Key | None]:
        if selection.state_ids:
            found = (await self.store.get([Key(HEAD, self.governor, id) for id in selection.state_ids])).documents
            return [document for _, document in sorted(found.items())], None
        page = await self.store.scan(HEAD, self.governor, prefix=selection.prefix, after=after, limit=HEADS)
        return list(page.documents), page.next

    def _is_there(self, document: Document, copied: Document | None, store: Store, governor: str) -> bool:
        tip = decode_head(document)[0].tip
        other = decode_head(copied)[0].tip if copied is not None else None
        if other is None or other.version < tip.version:
            return False
        differs = governor == self.governor and other.digest != tip.digest
        if other.version > tip.version or differs:
            problem = (
                f"it is at version {other.version} with digest {other.digest.decode()}, its source at {tip.version}"
            )
            raise HistoryConflictError(store=store.url, stream=tip.id, problem=f"{problem} with {tip.digest.decode()}")
        return True
