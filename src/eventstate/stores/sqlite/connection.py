"""Connections to one store file. This module holds the driver's settings, and why each is as it is."""

# Annotations are not postponed here: a named tuple would have to compile each of them when it is imported.
# Paths are text: pathlib would be a tenth of what a program's start costs.

import os
import stat
import time
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeVar

import apsw

from eventstate.errors import (
    ConfigurationError,
    NotADatabaseError,
    StorePermissionError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from eventstate.runtime.clock import chance
from eventstate.stores.sqlite import schema
from eventstate.stores.sqlite.faults import mapped, mapped_os

T = TypeVar("T")

Durability = Literal["full", "normal", "off"]

MINIMUM_SQLITE: Final = (3, 51, 3)
"""Older ones can lose committed data when two connections checkpoint (sqlite.org/wal.html, the WAL-reset bug)."""


class Settings(NamedTuple):
    """How a store file is opened.

    Attributes:
        path: the file, from the root on; its folder must exist.
        durability: ``full`` survives power loss; ``normal`` a process crash only, and may lose the last
            commits on power loss; ``off`` may corrupt the file on power loss and is for experiments.
        timeout: seconds to wait for another process's lock.
        read_only: never write, not even to recover.
        wal_pages: pages of write-ahead log after which it is copied back into the file. SQLite's own default: a log
            that is written over is synced in about half the time of one that grows.
    """

    path: str
    durability: Durability = "full"
    timeout: float = 10.0
    read_only: bool = False
    wal_pages: int = 1000
    vfs: str | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"


def create_file(settings: Settings) -> None:
    """Make a new file that only its owner can read, before SQLite would make one with wider rights.

    An existing file is never opened here: closing it would drop this process's SQLite locks on it.

    Raises:
        EventStateError: there is no file and none can be made; the class says why.
    """
    path = settings.path
    try:
        found = _found(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise NotADatabaseError(store=settings.url, detail="it is a folder")
        if found is not None:
            return
        if settings.read_only:
            detail = "there is no such file, and read-only opens make none"
            raise StoreUnavailableError(store=settings.url, detail=detail)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        fsync_folder(os.path.dirname(path))
    except FileExistsError:  # another process was faster
        return
    except FileNotFoundError:
        folder = os.path.dirname(path)
        raise ConfigurationError(f"{settings.url}: the folder {folder} does not exist; make it first") from None
    except (OSError, ValueError) as error:
        raise mapped_os(error, settings.url) from error


def identity(settings: Settings) -> tuple[int, int]:
    """What tells the file from all others, whatever it is called."""
    try:
        found = os.stat(settings.path)
    except OSError as error:
        raise mapped_os(error, settings.url) from error
    return found.st_dev, found.st_ino


def _found(path: str) -> os.stat_result | None:
    """What there is at a path, or None."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def fsync_folder(path: str | os.PathLike[str]) -> None:
    """Make the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def connect(settings: Settings, *, writable: bool) -> apsw.Connection:
    """A connection with our settings, its file checked to be openable.

    Raises:
        EventStateError: the file can't be opened; the class says why.
    """
    if tuple(map(int, apsw.sqlitelibversion().split("."))) < MINIMUM_SQLITE:
        raise ConfigurationError(f"SQLite {apsw.sqlitelibversion()} can lose data in WAL mode; upgrade apsw")
    path = settings.path
    if _found(path) is None:
        raise StoreUnavailableError(store=settings.url, detail="the file is gone")
    if not os.access(path, os.R_OK):
        raise StorePermissionError(store=settings.url, detail="the file can't be read by this user")
    if writable and not os.access(path, os.W_OK):
        raise StoreReadOnlyError(store=settings.url, detail="this user can't write the file; open with ?mode=ro")
    flags = apsw.SQLITE_OPEN_READONLY if settings.read_only else apsw.SQLITE_OPEN_READWRITE
    try:
        connection = apsw.Connection(path, flags=flags, vfs=settings.vfs, statementcachesize=64)
    except apsw.Error as error:
        raise mapped(error, settings.url) from error
    try:
        _configure(connection, settings, writable)
    except BaseException as error:
        connection.close(True)
        if isinstance(error, apsw.Error):
            raise mapped(error, settings.url) from error
        raise
    return connection


def _configure(connection: apsw.Connection, settings: Settings, writable: bool) -> None:
    connection.set_busy_handler(patience(settings.timeout))
    if settings.read_only:
        connection.pragma("query_only", True)
        return
    # First, before anything is written to it: another application's file is left as it is.
    schema.check_format(connection, settings.url)
    # A clean close asks for the final checkpoint itself; a poisoned connection must not run one.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    if writable and _patiently(lambda: connection.pragma("journal_mode", "wal"), settings) != "wal":
        detail = "its file system does not offer what WAL mode needs (shared memory and locks)"
        raise StoreUnavailableError(store=settings.url, detail=detail)
    # A COMMIT must not raise because of a checkpoint: we checkpoint between commits (checkpoint.py).
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("synchronous", settings.durability.upper())
    connection.pragma("journal_size_limit", 8 * settings.wal_pages * 4096)
    connection.pragma("cache_size", -16_384)
    connection.pragma("foreign_keys", False)
    if writable:
        _make_certain(connection, settings)
    else:
        connection.pragma("query_only", True)


def _make_certain(connection: apsw.Connection, settings: Settings) -> None:
    """Leave nothing that a later commit builds on to a sync that may have failed.

    What is in the log may come from a commit whose sync failed: the kernel shows it, the disk may never get it,
    and with it all that follows in the log. So it is copied into the file, with syncs of its own; the next commit
    then begins the log anew. SQLite itself passes over a failed sync of the folder that names the log.
    """
    _patiently(lambda: connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE), settings)
    try:
        fsync_folder(os.path.dirname(settings.path))
    except OSError as error:
        raise StoreUnavailableError(store=settings.url, detail=str(error)) from None


def _patiently(call: Callable[[], T], settings: Settings) -> T:
    """The result of a call that other processes can be in the way of, where SQLite does not wait by itself."""
    waited = patience(settings.timeout)
    tries = 0
    while True:
        try:
            return call()
        except apsw.BusyError:
            if not waited(tries):
                raise
        tries += 1


def patience(timeout: float) -> Callable[[int], bool]:
    """A busy handler that waits in short random steps: SQLite's own waits up to 100 ms and starves writers."""
    began = 0.0

    def wait(tries: int) -> bool:
        nonlocal began
        now = time.monotonic()
        if tries == 0:
            began = now
        elif now - began > timeout:
            return False
        longest = 0.002 if now - began < 1 else 0.01
        time.sleep(0.0001 + (longest - 0.0001) * chance())
        return True

    return wait
