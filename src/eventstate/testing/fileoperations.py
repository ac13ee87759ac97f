"""What a process can do to the files of a flat folder, as values, and what it does to their contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Link(NamedTuple):
    """A new file, known by a number of its own, got a name."""

    name: str
    file: int


class Unlink(NamedTuple):
    """A name was removed."""

    name: str


class Rename(NamedTuple):
    """``file`` lost the name ``source`` and got the name ``target``."""

    source: str
    target: str
    file: int


class Write(NamedTuple):
    """Bytes were written to a file."""

    file: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file was cut or extended to a size."""

    file: int
    size: int


class Sync(NamedTuple):
    """A file was synced: covers the operations before number ``since``, where the call began.

    After a sync that ``failed`` the kernel takes the pages for clean: no later sync writes them.
    """

    file: int
    since: int
    failed: bool = False


class SyncFolder(NamedTuple):
    """The names were synced: covers the operations before number ``since``. One that ``failed`` covers nothing."""

    since: int
    failed: bool = False


class Acknowledge(NamedTuple):
    """The process wrote this line to its standard output."""

    line: str


Change: TypeAlias = Write | Truncate
Naming: TypeAlias = Link | Unlink | Rename
FileOperation: TypeAlias = Change | Naming | Sync | SyncFolder | Acknowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a process did: the files at its beginning (number and content by name), then each operation."""

    initial: Mapping[str, tuple[int, bytes]]
    operations: Sequence[FileOperation]

    @property
    def acknowledged(self) -> list[str]:
        """All lines written to standard output."""
        return [operation.line for operation in self.operations if isinstance(operation, Acknowledge)]

    def files_at_end(self) -> dict[str, bytearray]:
        """The content by name once all is done and nothing is lost."""
        names = {name: number for name, (number, _) in self.initial.items()}
        contents = {number: bytearray(content) for number, content in self.initial.values()}
        for operation in self.operations:
            if isinstance(operation, Write | Truncate):
                change(contents[operation.file], operation)
            elif isinstance(operation, Link | Unlink | Rename):
                rename(names, operation)
                if isinstance(operation, Link):
                    contents[operation.file] = bytearray()
        return {name: contents[number] for name, number in names.items()}


def change(content: bytearray, operation: Change) -> None:
    """Do a write or truncation in place."""
    if isinstance(operation, Write):
        put(content, operation.offset, operation.data)
    elif operation.size < len(content):
        del content[operation.size :]
    else:
        content.extend(bytes(operation.size - len(content)))


def put(content: bytearray, offset: int, data: bytes) -> None:
    """Write bytes in place; a gap before them is filled with zeros."""
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def rename(names: dict[str, int], operation: Naming) -> None:
    """Do a link, unlink or rename in place."""
    match operation:
        case Link():
            names[operation.name] = operation.file
        case Unlink():
            names.pop(operation.name, None)
        case Rename():
            names.pop(operation.source, None)
            names[operation.target] = operation.file
