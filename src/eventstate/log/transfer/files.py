"""Export files: written at once and whole, read line by line, checked to the last byte before anything is used."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, cast

import orjson

from eventstate.core.exports import Counts, End, Header, Line, Loose, end_line, parse_header, parse_line
from eventstate.core.ids import check_id
from eventstate.errors import CorruptionError, ExportFileError, InvalidIdError, InvalidInputError
from eventstate.log.transfer.report import TransferReport
from eventstate.log.transfer.streams import LooseItem, StreamHead, StreamPart, Walk
from eventstate.runtime.base import Runtime
from eventstate.stores.folders import fsync_folder
from eventstate.stores.own_files import refuse_own

MAX_LINE: Final = 4 * 1024 * 1024
"""Longer than any line with a body within the limits of a store."""

PORTION_BYTES: Final = 1024 * 1024
_ZIPPED: Final = ".gz"


class ExportFile:
    """An export on its way to a file. Nothing has the file's name before all of it is there and synced."""

    def __init__(self, path: Path, runtime: Runtime, *, replace: bool, is_private: bool = False) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{runtime.unique()}.part")
        self._runtime = runtime
        self._digest = hashlib.sha256()
        self._lines: list[bytes] = []
        self._size = 0
        refuse_own(path)
        if path.exists() and not replace:
            raise InvalidInputError(f"{path} exists: choose another name, or say that it may be replaced")
        try:
            if is_private:
                self._part.touch(mode=0o600)
            self._raw = self._part.open("wb")
        except OSError as error:
            raise InvalidInputError(f"{self._part} can't be written: {error.strerror}") from None
        self._file: IO[bytes] = self._raw
        if path.name.endswith(_ZIPPED):
            # Neither a name nor a time inside: equal contents make equal files.
            zipped = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)
            self._file = cast("IO[bytes]", zipped)

    async def write(self, line: bytes) -> None:
        self._digest.update(line)
        self._lines.append(line)
        self._size += len(line)
        if self._size >= PORTION_BYTES:
            await self._runtime.run_blocking(self._write_out)

    async def finish(self, counts: Counts) -> None:
        """Write the last line, and let the file have its name."""
        self._lines.append(end_line(End(counts, self._digest.hexdigest())))
        await self._runtime.run_blocking(self._close)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # of what is buffered still, on a full disk; it is closed nevertheless
            self._raw.close()
        self._part.unlink(missing_ok=True)

    def _write_out(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        try:
            self._file.write(b"".join(lines))
        except OSError as error:
            raise InvalidInputError(f"{self._part} can't be written: {error.strerror}") from None

    def _close(self) -> None:
        self._write_out()
        try:
            if self._file is not self._raw:
                self._file.close()
            self._raw.flush()
            os.fsync(self._raw.fileno())
            self._raw.close()
            self._part.replace(self._path)
            fsync_folder(self._path.parent)
        except OSError as error:
            raise InvalidInputError(f"{self._path} can't be written: {error.strerror}") from None


class Lines:
    """The lines of an export file in order, the first one apart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self._raw = _opened(path)
        zipped = path.name.endswith(_ZIPPED)
        self._file = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw, mode="rb")) if zipped else self._raw
        self._digest = hashlib.sha256()
        """Of all lines before the current one."""
        self._current = b""
        self.counts = Counts()
        try:
            self.header: Header = self._understood(lambda: parse_header(self._next(), str(path)))
            self._understood(lambda: check_id("governor", self.header.governor))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Line]:
        """The lines up to the last one, which must fit to what came before.

        Raises:
            ExportFileError: the file is no export, is cut or was changed; a line is named.
        """
        while True:
            line = self._understood(lambda: parse_line(self._next()))
            if isinstance(line, End):
                if line.digest != self._digest.hexdigest():
                    raise self.error("the file was changed since it was written: its digest is another")
                if self._understood(self._read):
                    raise self.error("there is something after the last line")
                self.counts = line.counts
                return
            yield line

    def error(self, problem: str) -> ExportFileError:
        return ExportFileError(file=str(self.path), line=self.number, problem=problem)

    def close(self) -> None:
        self._file.close()
        self._raw.close()

    def _next(self) -> bytes:
        self.number += 1
        line = self._read()
        if not line:
            raise ValueError("the file is cut: its last line is missing; fetch or export it again")
        if len(line) > MAX_LINE:
            raise ValueError(f"longer than {MAX_LINE:,} bytes")
        self._digest.update(self._current)
        self._current = line
        return line

    def _read(self) -> bytes:
        try:
            return self._file.readline(MAX_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"bad gzip data ({error}); fetch or export it again") from None
        except OSError as error:
            raise ValueError(f"can't be read: {error.strerror}") from None

    def _understood(self, parse: Callable[[], Any]) -> Any:
        try:
            return parse()
        except InvalidIdError as error:
            raise self.error(str(error)) from None
        except ValueError as error:
            if isinstance(error, InvalidInputError):
                raise
            raise self.error(str(error)) from None


def _opened(path: Path) -> IO[bytes]:
    refuse_own(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidInputError(f"{path} can't be read: {error.strerror}") from None


class FileSource:
    """The streams of an export file. See `eventstate.log.transfer.streams.StreamSource`."""

    def __init__(self, lines: Lines, runtime: Runtime) -> None:
        self._lines = lines
        self._each = iter(lines)
        self._runtime = runtime
        self._ahead: Line | None = None
        self._is_at_end = False

    @property
    def governor(self) -> str:
        return self._lines.header.governor

    async def next(self) -> StreamHead | None:
        return await self._runtime.run_blocking(self._next_head)

    async def parts(self) -> Sequence[StreamPart]:
        return await self._runtime.run_blocking(self._next_parts)

    async def loose(self) -> Sequence[LooseItem]:
        return await self._runtime.run_blocking(self._next_loose)

    async def check_unchanged(self, head: StreamHead) -> None:
        """A file that is read does not change."""

    def _peek(self) -> Line | None:
        if self._ahead is None and not self._is_at_end:
            self._ahead = next(self._each, None)
            self._is_at_end = self._ahead is None
        return self._ahead

    def _taken(self) -> Line:
        line, self._ahead = self._ahead, None
        assert line is not None
        return line

    def _next_head(self) -> StreamHead | None:
        while (line := self._peek()) is not None and line.kind == "stream":
            self._taken()
            if line.name == "head":
                return self._head(line)
        return None

    def _head(self, line: Line) -> StreamHead:
        try:
            return checked_head(check_id("state id", line.id), orjson.loads(line.body))
        except ValueError as error:
            raise self._lines.error(str(error)) from None

    def _next_parts(self) -> Sequence[StreamPart]:
        parts: list[StreamPart] = []
        size = 0
        while size < PORTION_BYTES and (line := self._peek()) is not None and line.name in ("entry", "snapshot"):
            self._taken()
            parts.append(StreamPart("entry" if line.name == "entry" else "snapshot", None, line.body))
            size += len(line.body)
        return parts

    def _next_loose(self) -> Sequence[LooseItem]:
        items: list[LooseItem] = []
        size = 0
        while size < PORTION_BYTES and (line := self._peek()) is not None and line.kind != "stream":
            self._taken()
            kind: Loose = "command" if line.kind == "command" else "document"
            items.append(LooseItem(kind, line.id, line.body))
            size += len(line.body)
        return items


def checked_head(id: str, members: object) -> StreamHead:
    """What a file says of a stream.

    Raises:
        ValueError: members are missing or can't be.
    """
    if not isinstance(members, dict):
        raise ValueError("the head is no JSON object")
    known = cast("dict[str, Any]", members)
    texts = (known.get("chain"), known.get("action"))
    numbers = (known.get("n"), known.get("last"), known.get("at"))
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(number, int) for number in numbers):
        raise ValueError("the head is incomplete")
    if known["n"] < 1 or not isinstance(known.get("c"), dict) or not _is_base(known.get("base")):
        raise ValueError("the head is incomplete")
    return StreamHead(id, known)


def _is_base(base: object) -> bool:
    if base is None:
        return True
    if not isinstance(base, dict):
        return False
    known = cast("Mapping[str, Any]", base)
    return isinstance(known.get("n"), int) and isinstance(known.get("chain"), str)


def check_file(path: Path) -> tuple[Header, Counts]:
    """Read a file to its end: form, digests, chains and counts.

    Raises:
        ExportFileError: something is not as it was written, or it was decrypted; the line is named.
        FormatError: a newer version of this library wrote it.
    """
    lines = Lines(path)
    try:
        if lines.header.decrypted:
            raise lines.error(
                "it was exported decrypted, to be read: its entries are not as they are stored, and would be stored in"
                " the clear; export them again without decrypting"
            )
        counted = _counted(lines)
        if counted != lines.counts:
            raise lines.error("its counts are not those of what comes before")
        return lines.header, lines.counts
    finally:
        lines.close()


def _counted(lines: Lines) -> Counts:
    report = TransferReport()
    walk: Walk | None = None
    last = ("", "")
    for line in lines:
        try:
            place = (line.kind, line.id)
            if line.name == "head" or line.kind != "stream":
                if walk is not None:
                    walk.finish()
                walk = None
                _check_order(last, place)
                last = place
            if line.kind != "stream":
                _count_loose(report, line)
            elif line.name == "head":
                head = checked_head(check_id("state id", line.id), orjson.loads(line.body))
                walk = Walk(head, lines.header.governor, lines.header.governor)
                report.streams += 1
            elif walk is None or walk.head.id != line.id:
                raise ValueError(f"it belongs to {line.id!r}, whose head is not above it")
            else:
                _count_part(report, walk, line)
        except CorruptionError as error:
            raise lines.error(f"{error.where} is not as it was written: {error.problem}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise lines.error(str(error)) from None
    if walk is not None:
        try:
            walk.finish()
        except CorruptionError as error:
            raise lines.error(error.problem) from None
    return report.counts


def _check_order(last: tuple[str, str], place: tuple[str, str]) -> None:
    order = {"": 0, "stream": 1, "command": 2, "document": 3}
    if (order[last[0]], last[1]) >= (order[place[0]], place[1]):
        raise ValueError(f"{place[0]} {place[1]!r} is out of order")


def _count_part(report: TransferReport, walk: Walk, line: Line) -> None:
    if line.name == "snapshot":
        walk.snapshot(StreamPart("snapshot", None, line.body))
        report.snapshots += 1
    else:
        walk.entry(StreamPart("entry", None, line.body))
        report.entries += 1
        report.events += len(walk.events)


def _count_loose(report: TransferReport, line: Line) -> None:
    orjson.loads(line.body)
    check_id(line.kind, line.id)
    if line.kind == "command":
        report.commands += 1
    else:
        report.documents += 1
