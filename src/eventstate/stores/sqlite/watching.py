"""Noticing what other processes commit: one look at the file's change counter for everybody who waits here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import apsw

from eventstate.core.documents import Batch, Key
from eventstate.errors import EventStateError
from eventstate.runtime.base import Runtime
from eventstate.stores.sqlite.reporting import warn
from eventstate.stores.watching import Watch, Watches, changed_keys

BUSY_SECONDS = 0.003
IDLE_SECONDS = 0.02
"""Between two looks: right after a change, and when nothing happens."""


class Watching:
    """The watches of one store file in one process.

    Commits of this process wake their watchers by key. For those of others a thread looks at SQLite's
    ``data_version`` while anybody watches, and wakes all: which documents changed, it does not tell.
    """

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self._watches = Watches()
        self._looking = threading.RLock()
        """Held for each look, and while the process forks."""
        self._connection: apsw.Connection | None = None
        self._connections = 0
        self._has_failed = False
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def add(self, keys: Iterable[Key], runtime: Runtime) -> Watch:
        watch = self._watches.add(keys, runtime)
        with self._looking:
            if self._thread is None and not self._closed.is_set():
                # The counter is read now: a commit between here and the thread's first look must show.
                seen = self._look()
                self._thread = threading.Thread(
                    target=self._run, args=(seen,), name="eventstate-sqlite-watch", daemon=True
                )
                self._thread.start()
        return watch

    @property
    def is_watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._watches)

    def wake(self, batch: Batch) -> None:
        """Tell of a commit of this process."""
        self._watches.wake(changed_keys(batch))

    def _run(self, seen: tuple[int, int] | None) -> None:
        pause = IDLE_SECONDS
        while not self._closed.wait(pause):
            with self._looking:
                if self._closed.is_set() or not self._watches:
                    self._stop()
                    return
                found = self._look()
            if found == seen:
                pause = min(pause * 1.5, IDLE_SECONDS)
            else:
                seen, pause = found, BUSY_SECONDS
                self._watches.wake_all()

    def _look(self) -> tuple[int, int] | None:
        """What other connections committed, as a counter of this connection; None where it can't be read just now."""
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._connections += 1
            found = self._connections, self._connection.pragma("data_version")
            self._has_failed = False
            return found
        except (apsw.Error, EventStateError) as error:
            if not self._has_failed:
                self._has_failed = True
                warn("looking for changes failed, and is tried again until it works: %s", error)
            self._disconnect()
            return None

    def _stop(self) -> None:
        self._thread = None
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(True)

    def close(self) -> None:
        """Wake those who still watch, and stop."""
        self._closed.set()
        self._watches.wake_all()
        with self._looking:
            self._stop()

    def rest(self) -> None:
        """Before a fork: no connection, and none until `resume`."""
        self._looking.acquire()
        self._disconnect()

    def resume(self) -> None:
        """After a fork, in the parent. A new connection counts anew, so its first look wakes everybody."""
        self._looking.release()
