"""Reading the rows of a CSV or JSON Lines file, each with the line it begins at."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TextIO, cast

from eventstate.errors import InvalidInputError
from eventstate.machines.importing import MAX_ROW_BYTES
from eventstate.stores.own_files import refuse_own

Format = Literal["csv", "jsonl"]

_SUFFIXES: Final[dict[str, Format]] = {".csv": "csv", ".csv.gz": "csv", ".jsonl": "jsonl", ".jsonl.gz": "jsonl"}


class Record(NamedTuple):
    """One row. ``line`` counts from 1, the header of a CSV file included."""

    line: int
    values: Mapping[str, Any]


class EventFile:
    """A file that is read more than once and must stay the same meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.format = _format(path)
        self._identity = self._look()

    def digest(self) -> str:
        """SHA-256 of its bytes, in hexadecimal."""
        self.check_unchanged()
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def check_unchanged(self) -> None:
        """Raise an InvalidInputError if it was changed or replaced since it was first looked at."""
        if self._look() != self._identity:
            raise InvalidInputError(f"{self.path} changed while it was read; run the import again")

    def records(self) -> Iterator[Record]:
        """Its rows in order. CSV values are text as they stand, JSON values keep their types.

        Raises:
            InvalidInputError: a line that can't be read; the message names it.
        """
        read = _csv_records if self.format == "csv" else _json_records
        last = 0
        with self._text() as stream, self._explained(lambda: last):
            for record in read(stream, str(self.path)):
                last = record.line
                yield record

    def columns(self) -> Sequence[str] | None:
        """What the header of a CSV file names; None for other files, in which each row names its own.

        Raises:
            InvalidInputError: there is no header that can be read.
        """
        if self.format != "csv":
            return None
        with self._text() as stream, self._explained(lambda: 0):
            return _header(csv.reader(stream, strict=True), str(self.path))

    @contextmanager
    def _explained(self, last: Callable[[], int]) -> Generator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 text somewhere after line {last()} ({error.reason})"
            raise InvalidInputError(f"{self.path}: {problem}") from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InvalidInputError(f"{self.path}: bad gzip data after line {last()} ({error})") from None
        except csv.Error as error:
            raise InvalidInputError(f"{self.path}, line {last() + 1}: {error}") from None

    @contextmanager
    def _text(self) -> Generator[TextIO]:
        zipped = self.path.name.endswith(".gz")
        with gzip.open(self.path, "rb") if zipped else self.path.open("rb") as stream:
            # Spreadsheets put a byte order mark in front, which is no part of the first column's name.
            yield io.TextIOWrapper(cast("io.BufferedReader", stream), encoding="utf-8-sig", newline="")

    def _look(self) -> tuple[int, int, int, int]:
        refuse_own(self.path)
        try:
            status = self.path.stat()
        except OSError as error:
            raise InvalidInputError(f"{self.path} can't be read: {error.strerror}") from None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _format(path: Path) -> Format:
    for suffix, format in _SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return format
    raise InvalidInputError(f"{path}: what it is, its name must say; use {', '.join(_SUFFIXES)}")


def _csv_records(stream: TextIO, name: str) -> Iterator[Record]:
    csv.field_size_limit(MAX_ROW_BYTES)
    reader = csv.reader(stream, strict=True)
    line = 1
    try:
        header = _header(reader, name)
        line = reader.line_num + 1
        for fields in reader:
            if fields:  # a blank line is no row
                if len(fields) != len(header):
                    problem = f"{len(fields)} fields, but the header names {len(header)}"
                    raise InvalidInputError(f"{name}, line {line}: {problem}")
                yield Record(line, dict(zip(header, fields, strict=True)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InvalidInputError(f"{name}, line {line}: {error}") from None


def _header(reader: Iterator[list[str]], name: str) -> list[str]:
    header = next(reader, None)
    if header is None:
        raise InvalidInputError(f"{name} is empty: the first line must name the columns")
    if len(set(header)) != len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise InvalidInputError(f"{name}, line 1: two columns are named {twice!r}")
    return header


def _json_records(stream: TextIO, name: str) -> Iterator[Record]:
    for line, text in enumerate(stream, 1):
        if text.isspace():
            continue
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"{name}, line {line}: not JSON ({error})") from None
        if not isinstance(value, dict):
            raise InvalidInputError(f"{name}, line {line}: not a JSON object")
        yield Record(line, cast("dict[str, Any]", value))
