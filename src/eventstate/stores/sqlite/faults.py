"""SQLite's errors as this library's errors."""

from __future__ import annotations

import apsw

from eventstate.errors import (
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
