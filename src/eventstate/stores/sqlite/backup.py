"""Copies of a store file that can be trusted, and bringing one back.

A live file is never copied as a file: bytes in its log would be missing, and closing the copy's
source would drop this process's locks on it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

from eventstate.errors import ConfigurationError, InvalidInputError, StoreUnavailableError
from eventstate.stores.base import Store
from eventstate.stores.own_files import refuse_own
from eventstate.stores.sqlite import schema
from eventstate.stores.sqlite.connection import Settings, connect, fsync_folder
from eventstate.stores.sqlite.faults import mapped
from eventstate.stores.sqlite.store import SqliteStore


def backup(store: Store, destination: Path) -> int:
    """Copy an open store to a new file, consistent as of now, and return its bytes.

    Writers go on meanwhile. The file appears under its name only once it is complete and on disk.

    Raises:
        InvalidInputError: the store is no SQLite store, or the destination exists.
        StoreError: reading or writing failed; no destination is left.
    """
    if not isinstance(store, SqliteStore):
        raise InvalidInputError(f"{store.url} is no SQLite store; see its provider's own backups")
    refuse_own(destination)
    if destination.exists():
        raise InvalidInputError(f"{destination} exists; name a new file")
    partial = destination.with_name(destination.name + ".partial")
    try:
        _copy(store.engine.settings, partial)
        partial.replace(destination)
        fsync_folder(destination.parent)
    except FileNotFoundError:
        raise ConfigurationError(f"the folder {destination.parent} does not exist; make it first") from None
    except OSError as error:
        raise StoreUnavailableError(store=store.url, detail=f"the backup can't be written: {error}") from error
    except apsw.Error as error:
        raise mapped(error, str(destination)) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return destination.stat().st_size


def _copy(settings: Settings, partial: Path) -> None:
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    source = connect(settings, writable=False)
    try:
        if not schema.check_format(source, str(settings.path)):
            raise mapped(apsw.NotADBError(), str(settings.path))
        target = apsw.Connection(str(partial), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # All pages in one step: a copy in several starts over whenever another process writes.
            with target.backup("main", source, "main") as copying:
                copying.step(-1)
            target.pragma("journal_mode", "delete")
            target.pragma("synchronous", "full")
            target.execute("INSERT OR REPLACE INTO meta VALUES ('backed up', 1)")
        finally:
            target.close(True)
    finally:
        source.close(True)
    # The copy is no SQLite file of this process any more, so syncing it by hand drops no locks.
    descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore(source: Path, destination: Path, *, replace: bool = False) -> int:
    """Put a backup in the place of a store file that nobody has open, and return its bytes.

    The restored store is a new incarnation: its clock node is new and its epoch higher, so that nothing
    written after the backup was taken can be mistaken for its own.

    Raises:
        InvalidInputError: the destination exists and ``replace`` is not set.
        StoreUnavailableError: the destination is open in some process, or can't be written.
        NotADatabaseError: the source is no store.
        FormatError: the source was written by a newer version.
    """
    if not source.exists():
        raise InvalidInputError(f"{source} does not exist")
    if destination.exists() and not replace:
        raise InvalidInputError(f"{destination} exists; pass replace=True to put the backup in its place")
    partial = destination.with_name(destination.name + ".partial")
    try:
        _copy(Settings(path=str(source.absolute()), read_only=True), partial)
        _begin_incarnation(partial, source)
        if not (destination.exists() and _overwrite(destination, partial)):
            _put_in_place(partial, destination)
    except FileNotFoundError:
        raise ConfigurationError(f"the folder {destination.parent} does not exist; make it first") from None
    except OSError as error:
        raise StoreUnavailableError(store=str(destination), detail=str(error)) from error
    except apsw.Error as error:
        raise mapped(error, str(source)) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return destination.stat().st_size


def _begin_incarnation(partial: Path, source: Path) -> None:
    connection = apsw.Connection(str(partial), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        if not schema.check_format(connection, str(source)):
            raise mapped(apsw.NotADBError(), str(source))
        connection.pragma("synchronous", "full")
        schema.begin_incarnation(connection)
    finally:
        connection.close(True)


def _put_in_place(partial: Path, destination: Path) -> None:
    """For a name that is free, or taken by something that SQLite can't open."""
    # A log left beside an old file would be replayed into the restored one.
    for suffix in ("-wal", "-shm", "-journal"):
        destination.with_name(destination.name + suffix).unlink(missing_ok=True)
    partial.replace(destination)
    fsync_folder(destination.parent)


def _overwrite(destination: Path, partial: Path) -> bool:
    """Write the pages of ``partial`` into the file in one transaction; False if it is no database.

    Replacing the file instead would leave a process that opens it meanwhile writing to the old one, unseen.

    Raises:
        StoreUnavailableError: a process has it open.
    """
    target = apsw.Connection(str(destination), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        try:
            # The lock is kept to the end of the connection, and can't be had while another one is open.
            target.pragma("locking_mode", "exclusive")
            target.execute("BEGIN EXCLUSIVE")
            target.execute("COMMIT")
        except (apsw.NotADBError, apsw.CorruptError):
            return False
        except apsw.Error as error:
            detail = "a process has it open; end that first"
            raise StoreUnavailableError(store=str(destination), detail=detail) from error
        target.pragma("synchronous", "full")
        source = apsw.Connection(str(partial), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            with target.backup("main", source, "main") as copying:
                copying.step(-1)
        finally:
            source.close(True)
        return True
    finally:
        target.close(True)
