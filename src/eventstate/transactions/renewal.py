"""Renewing locks while their holders work: one thread, or one task, for all locks of one manager."""

from __future__ import annotations

import threading
from collections.abc import Callable

from eventstate.errors import EventStateError, LeaseLostError
from eventstate.runtime.signal import Signal
from eventstate.transactions.locks import DistributedLock, Locks

RENEWALS_PER_TTL = 3
IDLE_SECONDS = 5.0
"""How long the service stays when there is nothing to renew."""


class Kept:
    """A hold on a lock, which is renewed until it is dropped."""

    def __init__(self, lock: DistributedLock, due: float, on_loss: Callable[[], None]) -> None:
        self.lock = lock
        self.due = due
        self.on_loss = on_loss


class Renewal:
    """Renews the locks it is given, each three times in its time to live. Safe to use from many threads.

    A lock may be given several times, by holds inside each other. One that is lost is dropped, and whoever gave
    it is told. A renewal that fails for another reason is
    tried again until the lease must be taken for over.
    """

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._runtime = locks.store.runtime
        self._mutex = threading.Lock()
        self._kept: set[Kept] = set()
        self._changed: Signal | None = None

    def keep(self, lock: DistributedLock, on_loss: Callable[[], None]) -> Kept:
        """Renew a lock from now on."""
        # In time also for a lock that was acquired a while ago, and not renewed since.
        due = min(self._runtime.monotonic() + lock.ttl / RENEWALS_PER_TTL, lock.deadline - lock.ttl / RENEWALS_PER_TTL)
        kept = Kept(lock, due, on_loss)
        with self._mutex:
            self._kept.add(kept)
            signal, is_new = self._changed, self._changed is None
            if signal is None:
                signal = self._changed = Signal(self._runtime)
        if is_new:
            self._runtime.spawn(lambda: self._run(signal), "eventstate-locks")
        else:
            signal.set()
        return kept

    def drop(self, kept: Kept | None) -> None:
        """Renew it no more."""
        with self._mutex:
            self._kept.discard(kept)

    async def _run(self, changed: Signal) -> None:
        try:
            await self._serve(changed)
        finally:
            with self._mutex:  # however it ended: the next lock that is to be kept starts another
                if self._changed is changed:
                    self._changed = None

    async def _serve(self, changed: Signal) -> None:
        while True:
            with self._mutex:
                due = min((kept.due for kept in self._kept), default=None)
            now = self._runtime.monotonic()
            if due is None:
                # Whoever keeps a lock from here on either finds this signal, or starts a service of its own.
                if not await changed.wait(IDLE_SECONDS) and self._ends(changed):
                    return
            elif due > now:
                await changed.wait(due - now)
            else:
                await self._renew_due(now)

    def _ends(self, changed: Signal) -> bool:
        with self._mutex:
            if self._kept or self._changed is not changed:
                return False
            self._changed = None
            return True

    async def _renew_due(self, now: float) -> None:
        with self._mutex:
            due = [kept for kept in self._kept if kept.due <= now]
        for lock in dict.fromkeys(kept.lock for kept in due):
            await self._renew(lock)

    async def _renew(self, lock: DistributedLock) -> None:
        pause = lock.ttl / RENEWALS_PER_TTL
        try:
            await self._locks.extend(lock, patiently=False)
        except LeaseLostError:
            self._lose(lock)
        except EventStateError:
            if lock.is_lost:
                self._lose(lock)
            pause /= 4
        due = self._runtime.monotonic() + pause
        with self._mutex:
            for kept in self._kept:
                if kept.lock is lock:
                    kept.due = due

    def _lose(self, lock: DistributedLock) -> None:
        with self._mutex:  # without those given back by their holder meanwhile
            lost = [kept for kept in self._kept if kept.lock is lock]
            self._kept.difference_update(lost)
        for kept in lost:
            kept.on_loss()
