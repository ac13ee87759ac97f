"""Let the disk fail under SQLite: at the Nth write, sync, truncate, open, delete or read of this process.

    with FaultyDisk() as disk:
        store = open_store("sqlite:///shop.db")      # every SQLite file opened meanwhile is on the faulty disk
        disk.arm(Fault(operation="sync", number=3))
        ...

Only what goes through apsw's SQLite is affected, and only connections opened while the disk is mounted.
The shared-memory file of WAL mode never fails.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

import apsw

Operation = Literal["write", "sync", "truncate", "open", "delete", "read"]
Kind = Literal["eio", "enospc", "short", "silent"]

OPERATIONS: Final[tuple[Operation, ...]] = ("write", "sync", "truncate", "open", "delete", "read")

_EIO: Final[dict[Operation, int]] = {
    "write": apsw.SQLITE_IOERR_WRITE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "open": apsw.SQLITE_CANTOPEN,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "read": apsw.SQLITE_IOERR_READ,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure to come.

    Attributes:
        operation, number: fail the Nth operation of this sort, counted from 1 since the fault was armed.
        kind: ``eio``: an error and nothing done. For writes also ``enospc``: no space left; ``short``: no space
            left after half of the bytes; ``silent``: half of the bytes and no error, as only a broken disk does.
            For syncs also ``silent``: no error, and nothing synced.
        sticky: all later operations of this sort fail as well, until the fault is disarmed.
    """

    operation: Operation
    number: int
    kind: Kind = "eio"
    sticky: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _KINDS.get(self.operation, ("eio",)):
            raise ValueError(f"a {self.operation} can't fail as {self.kind!r}")

    @property
    def error(self) -> apsw.Error:
        """A new instance of what SQLite reports for this fault."""
        full = self.kind in ("enospc", "short")
        error = apsw.exception_for(apsw.SQLITE_FULL if full else _EIO[self.operation])
        assert isinstance(error, apsw.Error)
        return error


_KINDS: Final[dict[Operation, tuple[Kind, ...]]] = {
    "write": ("eio", "enospc", "short", "silent"),
    "sync": ("eio", "silent"),
}


class FaultyDisk:
    """A disk for apsw's SQLite that works until a fault is armed. One at a time, as a context manager.

    Attributes:
        hits: how many operations have failed since `arm`.
    """

    def __init__(self) -> None:
        self.hits = 0
        self._mutex = threading.Lock()
        self._fault: Fault | None = None
        self._seen = 0
        self._vfs: _Vfs | None = None

    def __enter__(self) -> Self:
        self._vfs = _Vfs(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disarm()
        assert self._vfs is not None
        self._vfs.unregister()

    def arm(self, fault: Fault) -> None:
        """Begin to count; an earlier fault is forgotten."""
        with self._mutex:
            self._fault, self._seen, self.hits = fault, 0, 0

    def disarm(self) -> None:
        """Work again."""
        with self._mutex:
            self._fault = None

    def meets(self, operation: Operation) -> Fault | None:
        """Count an operation; the fault that it meets, or None."""
        with self._mutex:
            fault = self._fault
            if fault is None or fault.operation != operation:
                return None
            self._seen += 1
            if self._seen != fault.number and not (fault.sticky and self._seen > fault.number):
                return None
            self.hits += 1
            return fault

    def fail(self, operation: Operation) -> None:
        """Raise the error that an operation meets, if any."""
        fault = self.meets(operation)
        if fault is not None and fault.kind != "silent":
            raise fault.error


class _Vfs(apsw.VFS):
    """The default VFS of the process while it is registered."""

    def __init__(self, disk: FaultyDisk) -> None:
        super().__init__(name=f"faulty-{id(disk):x}", base="", makedefault=True)
        self._disk = disk

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        self._disk.fail("open")
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.fail("delete")
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.fail("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # pyright: ignore[reportIncompatibleMethodOverride]
        fault = self._disk.meets("write")
        if fault is None:
            super().xWrite(data, offset)
            return
        if fault.kind in ("short", "silent"):
            super().xWrite(bytes(data)[: len(data) // 2], offset)
        if fault.kind != "silent":
            raise fault.error

    def xSync(self, flags: int) -> None:  # noqa: N802
        fault = self._disk.meets("sync")
        if fault is None:
            super().xSync(flags)
        elif fault.kind != "silent":
            raise fault.error

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.fail("truncate")
        super().xTruncate(newsize)
