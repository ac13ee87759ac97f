"""Errors of SQLite and of the file system as this library's errors."""

from __future__ import annotations

import errno

import apsw

from eventstate.errors import (
    ConfigurationError,
    CorruptionError,
    EventStateError,
    NotADatabaseError,
    StorageFullError,
    StorePermissionError,
    StoreReadOnlyError,
    StoreUnavailableError,
)


def mapped(error: apsw.Error, store: str) -> EventStateError:
    """The typed error for an error of SQLite that certainly left nothing written."""
    text = str(error)
    if isinstance(error, apsw.FullError):
        return StorageFullError(store=store, detail=text)
    if isinstance(error, apsw.ReadOnlyError):
        return StoreReadOnlyError(store=store, detail=f"{text}; check the file's and the folder's permissions")
    if isinstance(error, apsw.PermissionsError | apsw.AuthError):
        return StorePermissionError(store=store, detail=text)
    if isinstance(error, apsw.NotADBError):
        return NotADatabaseError(store=store, detail="the file is no SQLite database")
    if isinstance(error, apsw.CorruptError):
        return CorruptionError(where=store, problem=text)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        detail = "another process kept it locked; see which with 'eventstate doctor', or raise ?timeout="
        return StoreUnavailableError(store=store, detail=detail)
    return StoreUnavailableError(store=store, detail=f"{type(error).__name__}: {text}")


def mapped_os(error: OSError | ValueError, store: str) -> EventStateError:
    """The typed error for a file that can't be reached or made."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    match error.errno if isinstance(error, OSError) else None:
        case errno.EACCES | errno.EPERM:
            return StorePermissionError(store=store, detail=f"{text}; check the rights of the file and its folders")
        case errno.EROFS:
            return StoreReadOnlyError(store=store, detail=f"{text}; open it with ?mode=ro")
        case errno.ENOSPC | errno.EDQUOT:
            return StorageFullError(store=store, detail=text)
        case errno.ENOTDIR | errno.ENAMETOOLONG | errno.ELOOP | errno.EINVAL | None:
            return ConfigurationError(f"{store}: no file can have this path ({text})")
        case _:
            return StoreUnavailableError(store=store, detail=text)
