"""Reader connections of one store file, lent out for one short read each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import apsw

from eventstate.errors import StoreClosedError
from eventstate.stores.sqlite.connection import Settings

MAX_IDLE = 8


class Readers:
    """Safe to use from many threads."""

    def __init__(self, settings: Settings, connect: Callable[[], apsw.Connection]) -> None:
        self._settings = settings
        self._connect = connect
        self._idle: deque[apsw.Connection] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._lent = 0
        self._resting = False
        self._closed = False

    def take(self) -> apsw.Connection:
        """A connection that nobody else uses until it is given back.

        Raises:
            StoreClosedError: after `close`.
        """
        with self._changed:
            while self._resting:
                self._changed.wait()
            if self._closed:
                raise StoreClosedError(store=self._settings.url)
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect()
        except BaseException:
            self._one_less()
            raise

    def give_back(self, connection: apsw.Connection) -> None:
        """Keep a connection for the next read, or close it where there are enough."""
        keep = len(self._idle) < MAX_IDLE and not self._closed
        try:
            if not keep:
                connection.close(True)
        finally:
            self._one_less(connection if keep else None)

    def _one_less(self, connection: apsw.Connection | None = None) -> None:
        with self._changed:
            self._lent -= 1
            if connection is not None:
                self._idle.append(connection)
            if self._resting or self._closed:
                self._changed.notify_all()

    def rest(self, timeout: float) -> None:
        """Close all connections and lend none until `resume`; waits so many seconds for those in use."""
        with self._changed:
            self._resting = True
            self._changed.wait_for(lambda: self._lent == 0, timeout)
            self._close_idle()

    @property
    def are_at_rest(self) -> bool:
        """Whether no connection is open, nor will be before `resume`."""
        return self._resting and self._lent == 0

    def resume(self) -> None:
        """Lend connections again."""
        with self._changed:
            self._resting = False
            self._changed.notify_all()

    def close(self) -> None:
        """Close all connections, those in use once they are given back, and never lend one again."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._lent == 0, self._settings.timeout)
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close(True)
