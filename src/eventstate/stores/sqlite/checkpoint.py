"""Copying the write-ahead log back into the file, between commits and within a bound."""

from __future__ import annotations

import time

import apsw

from eventstate.stores.sqlite.connection import Settings, patience
from eventstate.stores.sqlite.reporting import warn

HARD_FACTOR = 4
"""Beyond this many times the soft bound the checkpoint waits for readers instead of passing them by."""
READER_PATIENCE_MS = 100
WARN_EVERY_SECONDS = 30.0


class Checkpointer:
    """Runs checkpoints on the writer connection after commits have been acknowledged.

    A checkpoint's failure is never a commit's failure: it is logged and tried again later.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.url
        self._patience = patience(settings.timeout)
        self._soft = settings.wal_pages
        self._due_at = settings.wal_pages
        self._pages = 0
        self._warned = float("-inf")
        self.blocked_pages = 0
        """Pages that the last checkpoint could not copy because a reader held an old snapshot."""

    def watch(self, writer: apsw.Connection) -> None:
        """Count the pages of the log after each commit of this connection."""
        writer.set_wal_hook(self._note)
        self._due_at = self._soft

    def _note(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:  # begun anew, perhaps by another process: what was put off is done
            self._due_at = self._soft
        self._pages = pages
        return apsw.SQLITE_OK

    def run_if_due(self, writer: apsw.Connection) -> None:
        """Checkpoint if the log has grown past the bound."""
        if self._pages < self._due_at:
            return
        wait_for_readers = self._pages >= self._soft * HARD_FACTOR
        mode = apsw.SQLITE_CHECKPOINT_RESTART if wait_for_readers else apsw.SQLITE_CHECKPOINT_PASSIVE
        writer.set_busy_timeout(READER_PATIENCE_MS)
        try:
            pages, copied = writer.wal_checkpoint(mode=mode)
        except apsw.BusyError:
            pages, copied = self._pages, 0
        except apsw.Error as error:
            warn("%s: a checkpoint failed and will be tried again: %s", self._url, error)
            pages, copied = self._pages, 0
        finally:
            writer.set_busy_handler(self._patience)
        self.blocked_pages = max(0, pages - copied)
        self._due_at = self._soft if not self.blocked_pages else self._pages + self._soft
        if self.blocked_pages and self._pages >= self._soft * HARD_FACTOR:
            self._warn()

    def _warn(self) -> None:
        now = time.monotonic()
        if now - self._warned > WARN_EVERY_SECONDS:
            self._warned = now
            warn(
                "%s: the write-ahead log has %d pages and can't shrink: a reader in this or another process holds"
                " an old snapshot open; close it (a cursor, a shell, a backup)",
                self._url,
                self._pages,
            )
