"""Reader connections of one store file, lent out for one short read each."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable

import apsw

from eventstate.errors import StoreClosedError
from eventstate.stores.sqlite.connection import Settings

MAX_IDLE = 8
LOOK_SECONDS = 0.002
"""Between looks at what is still lent. Only a fork and a close wait so."""


class Readers:
    """Safe to use from many threads, also when an interrupt comes in the middle of a read.

    A bare lock, since entering it can't be cut in two, and weak references to what is lent: a connection that
    an interrupted caller lost is not waited for.
    """

    def __init__(self, settings: Settings, connect: Callable[[], apsw.Connection]) -> None:
        self._settings = settings
        self._connect = connect
        self._idle: deque[apsw.Connection] = deque()
        self._lock = threading.Lock()
        self._lent: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._resting = False
        self._closed = False

    def take(self) -> apsw.Connection:
        """A connection that nobody else uses until it is given back.

        Raises:
            StoreClosedError: after `close`.
        """
        fresh: apsw.Connection | None = None
        while True:
            with self._lock:
                if self._closed:
                    raise StoreClosedError(store=self._settings.url)
                if not self._resting and (self._idle or fresh is not None):
                    connection = fresh if fresh is not None else self._idle.pop()
                    self._lent.add(connection)
                    return connection
            if self._resting:
                if fresh is not None:
                    fresh.close(True)
                    fresh = None
                time.sleep(LOOK_SECONDS)  # noqa: TID251 - in the middle of a fork, where no runtime is at hand
            else:
                fresh = self._connect()

    def give_back(self, connection: apsw.Connection) -> None:
        """Keep a connection for the next read, or close it where there are enough."""
        with self._lock:
            self._lent.discard(connection)
            if len(self._idle) < MAX_IDLE and not self._closed and not self._resting:
                self._idle.append(connection)
                return
        connection.close(True)

    def discard(self, connection: apsw.Connection) -> None:
        """Close a connection whose read was cut off."""
        with self._lock:
            self._lent.discard(connection)
        connection.close(True)

    def rest(self, timeout: float) -> None:
        """Close all connections and lend none until `resume`; waits so many seconds for those in use."""
        self._resting = True
        self._wait_for_lent(timeout)
        self._close_idle()

    @property
    def are_at_rest(self) -> bool:
        """Whether no connection is open, nor will be before `resume`."""
        return self._resting and not self._lent

    def resume(self) -> None:
        """Lend connections again."""
        self._resting = False

    def close(self) -> None:
        """Close all connections, those in use once they are given back, and never lend one again."""
        self._closed = True
        self._wait_for_lent(self._settings.timeout)
        self._close_idle()

    def _wait_for_lent(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            with self._lock:
                if not self._lent:
                    return
            time.sleep(LOOK_SECONDS)  # noqa: TID251 - as above

    def _close_idle(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close(True)
