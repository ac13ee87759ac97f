"""Who waits for which documents: what the backends' watches have in common."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable
from typing import Self

from eventstate.core.documents import ENTRY, Batch, Check, Key
from eventstate.runtime.base import Runtime
from eventstate.runtime.signal import Signal


def entries_of(governor: str = "") -> Key:
    """Stands for every entry of a governor, or of all, in a watch of a store whose feed is in store order."""
    return Key(ENTRY, governor, "")


def changed_keys(batch: Batch) -> list[Key]:
    """The documents that a batch writes or removes, and what stands for its entries."""
    keys = [operation.key for operation in batch.operations if not isinstance(operation, Check)]
    owners = {key.owner for key in keys if key.kind == ENTRY}
    if owners:
        keys += [entries_of(), *map(entries_of, owners)]
    return keys


class Watch:
    """Wake-ups for some documents, from the moment it was opened until it is closed.

    A wake-up says that a document may have changed: several changes may come as one, and one may come without
    any. The truth is read back.
    """

    def __init__(self, watches: Watches, keys: frozenset[Key], runtime: Runtime) -> None:
        self._watches = watches
        self._signal = Signal(runtime)
        self.keys = keys

    async def wait(self, timeout: float) -> bool:
        """True at once if something may have changed since the last wait, False after ``timeout`` seconds."""
        return await self._signal.wait(timeout)

    def wake(self) -> None:
        """Called by the store, from any thread."""
        self._signal.set()

    def close(self) -> None:
        """Expect no further wake-ups. Closing twice is fine."""
        self._watches.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watches:
    """The open watches of one store. Safe to use from many threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._pid = os.getpid()
        self._open: dict[Key, set[Watch]] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def keys(self) -> frozenset[Key]:
        """What is watched now."""
        with self._mutex:
            return frozenset(self._open)

    def add(self, keys: Iterable[Key], runtime: Runtime) -> Watch:
        watch = Watch(self, frozenset(keys), runtime)
        with self._mutex:
            for key in watch.keys:
                self._open.setdefault(key, set()).add(watch)
        return watch

    def remove(self, watch: Watch) -> None:
        if os.getpid() != self._pid:
            return  # inherited, perhaps together with a mutex that a thread of the parent held
        with self._mutex:
            for key in watch.keys:
                watching = self._open.get(key)
                if watching is not None:
                    watching.discard(watch)
                    if not watching:
                        del self._open[key]

    def wake(self, keys: Collection[Key]) -> None:
        """Wake those who watch one of these documents."""
        if not self._open:
            return
        with self._mutex:
            woken = {watch for key in keys for watch in self._open.get(key, ())}
        for watch in woken:
            watch.wake()

    def wake_all(self) -> None:
        """Wake everybody: something may have changed, and which is not known."""
        with self._mutex:
            woken = {watch for watching in self._open.values() for watch in watching}
        for watch in woken:
            watch.wake()
