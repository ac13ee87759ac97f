"""Writing a store file anew, so that nothing of what was deleted or replaced is left in it."""

from __future__ import annotations

import apsw

from eventstate.errors import StoreUnavailableError
from eventstate.stores.sqlite.engine import Engine


def vacuum(engine: Engine) -> None:
    """Give free pages back to the file system, and empty the log. Commits of all processes wait meanwhile.

    Raises:
        StoreUnavailableError: others read or wrote all the time. The file is as good as before.
        StorageFullError: there must be room for a second copy of the file.
    """
    with engine.exclusive_writer() as writer:
        # Zeroes what a page does not use, which would otherwise be whatever the memory held.
        before = writer.pragma("secure_delete", True)
        try:
            writer.execute("VACUUM")
            _empty_log(engine, writer)
        finally:
            writer.pragma("secure_delete", bool(before))


def _empty_log(engine: Engine, writer: apsw.Connection) -> None:
    try:
        writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        detail = "a reader keeps the log from being emptied; call again"
        raise StoreUnavailableError(store=engine.settings.url, detail=detail) from None
