"""What a disk may hold after a power loss: crash states made from a recording of a process.

The disk is modelled as badly as POSIX allows. A write is on the disk for certain only after a sync of
its file; until then each 512-byte sector of it may be there, missing, or garbage, whatever became of
earlier and later writes. A new, removed or changed name is certain only after a sync of the folder.

    recording = record([sys.executable, "writer.py", str(folder)], folder)
    for state in crash_states(recording, seed=1, torn=5):
        state.write_to(fresh_folder)
        ...  # open it, and look for everything in state.acknowledged
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

from eventstate.testing.fileoperations import (
    Acknowledge,
    Change,
    FileOperation,
    Link,
    Naming,
    Recording,
    Rename,
    Sync,
    SyncFolder,
    Truncate,
    Unlink,
    Write,
    change,
    put,
    rename,
)

SECTOR: Final = 512

Mode = Literal["kept", "dropped", "torn"]
"""What became of unsynced operations: all done (a process crash), none, or any part of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashState:
    """The files of a folder as a power loss may leave them.

    Attributes:
        operation: how many operations of the recording had begun.
        mode, seed: what became of the unsynced ones; together with ``operation`` they make this state again.
        files: content by name.
        acknowledged: the lines that the process had written to standard output.
    """

    operation: int
    mode: Mode
    seed: str
    files: Mapping[str, bytes | bytearray]
    acknowledged: Sequence[str]

    def write_to(self, folder: Path) -> None:
        """Make the folder, which exists, hold these files and no others."""
        for name in os.listdir(folder):
            if name not in self.files:
                os.unlink(folder / name)
        for name, content in self.files.items():
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, content)
            finally:
                os.close(descriptor)


def crash_states(recording: Recording, *, seed: int, torn: int = 1, first: int = 0) -> Iterator[CrashState]:
    """Every crash state of a kind: after each operation one ``kept``, one ``dropped`` and ``torn`` random ones.

    Where nothing is unsynced there is only one state. States before operation ``first`` are left out.
    The same seed gives the same states.
    """
    disk = _Disk(recording)
    acknowledged: list[str] = []
    for number, operation in enumerate(recording.operations, 1):
        if isinstance(operation, Acknowledge):
            acknowledged.append(operation.line)
        else:
            disk.do(number - 1, operation)
        if number < first:
            continue
        for mode, name in _plan(number, seed, torn, disk.is_synced):
            files = disk.after_crash(mode, Random(name))
            yield CrashState(operation=number, mode=mode, seed=name, files=files, acknowledged=tuple(acknowledged))


def _plan(number: int, seed: int, torn: int, is_synced: bool) -> Iterator[tuple[Mode, str]]:
    yield "kept", f"{seed}:{number}:kept"
    if not is_synced:
        yield "dropped", f"{seed}:{number}:dropped"
        for repeat in range(torn):
            yield "torn", f"{seed}:{number}:{repeat}"


class _Fate(enum.Enum):
    UNSYNCED = enum.auto()
    SYNCED = enum.auto()
    FORSAKEN = enum.auto()
    """Its sync failed: it may reach the disk or not, and no later sync changes that."""


class _File:
    """One file: what is certainly on the disk, and the changes since, in order."""

    __slots__ = ("certain", "changes")

    def __init__(self, content: bytes) -> None:
        self.certain = bytearray(content)
        self.changes: list[tuple[int, Change, _Fate]] = []

    def add(self, number: int, operation: Change) -> None:
        self.changes.append((number, operation, _Fate.UNSYNCED))

    def sync(self, operation: Sync) -> None:
        fate = _Fate.FORSAKEN if operation.failed else _Fate.SYNCED
        for place, (number, item, old) in enumerate(self.changes):
            if number < operation.since and old is _Fate.UNSYNCED:
                self.changes[place] = (number, item, fate)
        while self.changes and self.changes[0][2] is _Fate.SYNCED:
            change(self.certain, self.changes.pop(0)[1])

    def after_crash(self, mode: Mode, random: Random) -> bytearray:
        content = bytearray(self.certain)
        kept = random.random() if mode == "torn" else 0.0
        for _, operation, fate in self.changes:
            if mode == "kept" or fate is _Fate.SYNCED or random.random() < kept:
                change(content, operation)
            elif mode == "torn" and isinstance(operation, Write) and random.random() < 0.5:
                _tear(content, operation, random)
        return content


class _Disk:
    def __init__(self, recording: Recording) -> None:
        self._files = {number: _File(content) for number, content in recording.initial.values()}
        self._names = {name: number for name, (number, _) in recording.initial.items()}
        self._unsynced_names: list[tuple[int, Naming]] = []

    @property
    def is_synced(self) -> bool:
        return not self._unsynced_names and not any(file.changes for file in self._files.values())

    def do(self, number: int, operation: FileOperation) -> None:
        match operation:
            case Write() | Truncate():
                self._files[operation.file].add(number, operation)
            case Sync():
                self._files[operation.file].sync(operation)
            case Link() | Unlink() | Rename():
                if isinstance(operation, Link):
                    self._files[operation.file] = _File(b"")
                self._unsynced_names.append((number, operation))
            case SyncFolder():
                if not operation.failed:
                    self._sync_names(operation.since)
            case Acknowledge():
                pass

    def _sync_names(self, since: int) -> None:
        covered = [naming for number, naming in self._unsynced_names if number < since]
        for naming in covered:
            rename(self._names, naming)
        del self._unsynced_names[: len(covered)]

    def after_crash(self, mode: Mode, random: Random) -> dict[str, bytearray]:
        names = dict(self._names)
        for _, naming in self._unsynced_names:
            if mode == "kept" or (mode == "torn" and random.random() < 0.5):
                rename(names, naming)
        return {name: self._files[number].after_crash(mode, random) for name, number in names.items()}


def _tear(content: bytearray, operation: Write, random: Random) -> None:
    """Do some sectors of a write: half stay as they were, the others get the new bytes or garbage."""
    end = operation.offset + len(operation.data)
    fates = random.getrandbits(2 * (len(operation.data) // SECTOR + 2))
    for start in range(operation.offset - operation.offset % SECTOR, end, SECTOR):
        first, last = max(start, operation.offset), min(start + SECTOR, end)
        if fates & 3 == 3:
            put(content, first, random.randbytes(last - first))
        elif fates & 1:
            put(content, first, operation.data[first - operation.offset : last - operation.offset])
        fates >>= 2
