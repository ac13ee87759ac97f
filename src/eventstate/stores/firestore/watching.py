"""Noticing changes: one thread that listens on behalf of everybody who watches, and looks after its stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from eventstate.core.documents import Key
from eventstate.runtime.base import Runtime
from eventstate.stores.firestore.listening import ListenStream
from eventstate.stores.firestore.session import Session
from eventstate.stores.watching import Watch, Watches

log = logging.getLogger("eventstate.firestore")

LINGER_SECONDS: Final = 2.0
"""How long the stream stays after the last watch: another may be opened soon."""
TICK_SECONDS: Final = 1.0
"""Between two looks at the stream, and between two wake-ups of everybody while it does not work."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
STEADY_SECONDS: Final = 10.0
"""A stream that worked for so long may be opened again at once."""

_ENDED_PAUSE: Final = 0.005
_JOIN_SECONDS: Final = 1.0


class Watching:
    """The watches of one store, and the thread that listens while there are any.

    Where the stream does not work, everybody is woken about once a second, so that they look for themselves.
    """

    def __init__(
        self,
        listen: Callable[[], ListenStream],
        name: Callable[[Key], str],
        runtime: Runtime,
        *,
        store: str,
        probe: str = "",
    ) -> None:
        """Open no stream yet.

        Args:
            listen: opens one.
            name: gives a document's name, or raises for a key that can't be.
            runtime: what those who watch wait through.
            store: the store's URL, for the log.
            probe: a document's name, for `Session`.
        """
        self._listen = listen
        self._name = name
        self._runtime = runtime
        self._store = store
        self._probe = probe
        self._watches = Watches()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._poked = threading.Event()
        self._closed = False
        # The thread's own.
        self._needed_at = 0.0
        self._looked_at = 0.0
        self._has_complained = False

    def add(self, keys: Sequence[Key]) -> Watch:
        """Watch documents from now on. Does not wait for the stream: its first answers wake as well."""
        for key in keys:
            self._name(key)
        watch = self._watches.add(keys, self._runtime)
        with self._starting:
            if self._closed:
                watch.wake()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="eventstate-firestore-watch", daemon=True)
                self._thread.start()
        self._poked.set()
        return watch

    def close(self) -> None:
        """Wake those who still watch, and have the thread end. Closing twice is fine."""
        with self._starting:
            self._closed = True
        self._poked.set()
        self._watches.wake_all()

    async def ended(self, timeout: float) -> None:
        """Wait for the thread's end after `close`, up to ``timeout`` seconds: it may be asking for credentials."""
        thread = self._thread
        deadline = self._runtime.monotonic() + timeout
        while thread is not None and thread.is_alive() and self._runtime.monotonic() < deadline:
            await self._runtime.sleep(_ENDED_PAUSE)

    # From here on: the thread

    def _run(self) -> None:
        while True:
            self._needed_at = self._looked_at = self._runtime.monotonic()
            self._serve()
            with self._starting:
                if self._closed or not self._watches:
                    self._thread = None
                    return

    def _serve(self) -> None:
        """Keep a stream open until nobody needs it."""
        failures = 0
        while self._is_needed():
            began = self._runtime.monotonic()
            is_steady = False
            try:
                is_steady = self._attend() and self._runtime.monotonic() - began >= STEADY_SECONDS
            except Exception as error:  # noqa: BLE001 - whatever it is: callers never see it, and the next may work
                self._complain(error)
            failures = 1 if is_steady else failures + 1
            self._rest(failures)

    def _attend(self) -> bool:
        """Look after one stream until its end. False if it never worked, or did not at the end."""
        with closing(self._listen()) as stream:
            session = Session(stream, self._name, self._watches, self._runtime, self._poked.set, self._probe)
            while self._is_needed() and not session.has_ended and not session.is_overdue:
                if session.is_answered:
                    self._looked_at = self._runtime.monotonic()
                    self._praise()
                elif session.problem:
                    self._complain(session.problem)
                session.follow(self._watches.keys)
                session.ask()
                self._wait(TICK_SECONDS)
            works = session.is_answered
            if not works and self._is_needed():
                self._complain(session.problem or "no answer")
        session.join(_JOIN_SECONDS)
        return works

    def _is_needed(self) -> bool:
        now = self._runtime.monotonic()
        if self._watches:
            self._needed_at = now
        return not self._closed and now - self._needed_at < LINGER_SECONDS

    def _rest(self, failures: int) -> None:
        pause = min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE) * (0.5 + self._runtime.random() / 2)
        until = self._runtime.monotonic() + pause
        while self._is_needed() and (left := until - self._runtime.monotonic()) > 0:
            self._wait(min(left, TICK_SECONDS))

    def _wait(self, seconds: float) -> None:
        """Until poked, or about ``seconds``. Wakes everybody where no stream worked for `TICK_SECONDS`, and again."""
        now = self._runtime.monotonic()
        if now - self._looked_at >= TICK_SECONDS:
            self._looked_at = now
            self._watches.wake_all()
        self._poked.wait(min(seconds, self._looked_at + TICK_SECONDS - now))
        self._poked.clear()

    def _complain(self, problem: object) -> None:
        if not self._has_complained:
            self._has_complained = True
            log.warning(
                "%s: listening for changes does not work (%s); until it does, those who watch look once a second",
                self._store,
                problem,
            )

    def _praise(self) -> None:
        if self._has_complained:
            self._has_complained = False
            log.info("%s: listening for changes works again", self._store)
